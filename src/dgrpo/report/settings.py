"""An experiment's settings as TOML, for people to read.

Values without a TOML form (null) become comments, so that nothing is hidden. It leaves out reading:
`dgrpo.experiment` does that.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any


def settings_text(settings: Mapping[str, Any]) -> str:
    """`settings` as TOML: plain values first, then tables and lists of tables."""
    return "\n".join(_table(settings, "")).strip() + "\n"


def _table(table: Mapping[str, Any], path: str) -> Iterator[str]:
    for key, value in table.items():
        if not _is_table(value) and not _is_tables(value):
            shown = "# " if value is None else ""
            yield f"{shown}{_key(key)} = {_value(value)}"
    for key, value in table.items():
        inner = f"{path}.{_key(key)}" if path else _key(key)
        if _is_table(value):
            yield from ("", f"[{inner}]")
            yield from _table(value, inner)
        elif _is_tables(value):
            for entry in value:
                yield from ("", f"[[{inner}]]")
                yield from _table(entry, inner)


def _is_table(value: object) -> bool:
    return isinstance(value, Mapping)


def _is_tables(value: object) -> bool:
    return isinstance(value, list) and bool(value) and all(map(_is_table, value))


def _key(key: str) -> str:
    bare = key.replace("-", "").replace("_", "")
    return key if bare.isascii() and bare.isalnum() else json.dumps(key)


def _value(value: object) -> str:
    if isinstance(value, list):
        return "[" + ", ".join(map(_value, value)) + "]"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_key(k)} = {_value(v)}" for k, v in value.items()) + "}"
    return json.dumps(value, ensure_ascii=False)
