"""Settings from the command line: dotted names laid over a table, and values as TOML reads them."""

from __future__ import annotations

import tomllib
from typing import Any

from dgrpo.errors import DgrpoError


def apply_override(table: dict[str, Any], dotted: str, value: Any) -> None:
    """Set `a.b.c` in nested tables; a number picks an entry of a list of tables."""
    *path, last = dotted.split(".")
    place: Any = table
    for depth, part in enumerate(path):
        where = ".".join(path[: depth + 1])
        if isinstance(place, list):
            if not (part.isdecimal() and int(part) < len(place)):
                raise DgrpoError(
                    f"--{dotted}: {where} does not exist",
                    remedy=f"give an index from 0 to {len(place) - 1}, as in --{path[0]}.0.{last}",
                )
            place = place[int(part)]
        else:
            place = place.setdefault(part, {})
        if not isinstance(place, dict | list):
            raise DgrpoError(
                f"--{dotted}: {where} is a value, not a table", remedy=f"set --{where} itself"
            )
    if isinstance(place, list):
        raise DgrpoError(
            f"--{dotted}: {'.'.join(path)} is a list of tables",
            remedy=f"name the entry: --{'.'.join(path)}.0.{last}",
        )
    place[last] = value


def parse_value(text: str, option: str = "") -> Any:
    """A command-line value as TOML reads it; text that is not TOML stays text.

    Raises DgrpoError, which names `option`, for a list, table or quoted text that is broken.
    """
    try:
        table = tomllib.loads(f"value = {text}")
    except tomllib.TOMLDecodeError as error:
        if _is_meant_as_toml(text.strip()):
            reason = str(error).partition(" (at ")[0]  # a place counted from our own "value = "
            raise DgrpoError(
                f"--{option} {text}: the value is broken TOML: {reason}",
                remedy="put the whole value into single quotes, as in --measure '[\"text\"]'; "
                "text that begins with a bracket needs quotes of its own: "
                "--attack.phrase '\"[sic]\"'",
            ) from None
        return text
    return table["value"] if len(table) == 1 else text  # a text of several lines is no value


def _is_meant_as_toml(text: str) -> bool:
    """Whether it begins as a list or a table does, or stands in quotes as a whole."""
    return text.startswith(("[", "{")) or (
        len(text) > 1 and text[0] in "\"'" and text[0] == text[-1]
    )
