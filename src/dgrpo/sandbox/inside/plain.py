"""Plain values as tagged JSON: what may cross the wall of the jail, in either direction.

Plain are None, bool, int, float, complex, str, bytes, and lists, tuples, dicts, sets and frozensets
of them. Reading rebuilds *exact* builtins, so that no class of a hostile program, with its own
`__eq__` or `__hash__`, ever reaches a comparison. Pickle is not used anywhere: it runs code.
"""

from __future__ import annotations

import json
from typing import Any

MOST_BYTES = 64 * 1024
"""Size of one value as JSON text, and of what a program may print."""
MOST_DEPTH = 32
"""Containers within containers."""
MOST_HASHED = 1024
"""Entries of a set or dict: integers whose hashes collide cost the square of it to put in one."""
_LARGEST_JSON_INT = 2**63
_CONTAINERS: dict[str, Any] = {"list": list, "tuple": tuple, "set": set, "frozenset": frozenset}


class NotPlain(ValueError):  # noqa: N818 - it is a statement about a value
    """The value cannot cross: another type, too deep, too large, or a malformed encoding."""


def encode(value: object) -> Any:
    """`value` as JSON data. A subclass of a plain type is written as that type.

    What could not fit into `MOST_BYTES` is left as soon as that is known: lists within lists can
    share what they hold, and stand for far more than their memory. Raises NotPlain.
    """
    return _Encoder().encode(value, 0)


class _Encoder:
    """Writes one value, and counts the least number of characters that it takes."""

    def __init__(self) -> None:
        self.taken = 0

    def encode(self, value: object, depth: int) -> Any:
        """The value as JSON data. Raises NotPlain."""
        if depth > MOST_DEPTH:
            raise NotPlain(f"more than {MOST_DEPTH} containers within one another")
        self.take(1)
        if value is None or value is True or value is False:
            return value
        if isinstance(value, str):
            self.take(str.__len__(value))
            return str.__str__(value)
        if isinstance(value, int):
            number = int.__int__(value)
            small = -_LARGEST_JSON_INT < number < _LARGEST_JSON_INT
            self.take(0 if small else number.bit_length() // 4)
            return number if small else ["int", hex(number)]
        if isinstance(value, float):
            return ["float", float.hex(float.__float__(value))]
        if isinstance(value, complex):
            number_ = complex.__complex__(value)
            return ["complex", float.hex(number_.real), float.hex(number_.imag)]
        if isinstance(value, (bytes, bytearray)):
            data = bytes(value)
            self.take(2 * len(data))
            return ["bytes", data.hex()]
        return self._container(value, depth)

    def _container(self, value: object, depth: int) -> list[Any]:
        if isinstance(value, (dict, set, frozenset)) and len(value) > MOST_HASHED:
            raise NotPlain(f"a {type(value).__name__} of more than {MOST_HASHED} entries")
        if isinstance(value, dict):
            pairs = (part for pair in dict.items(value) for part in pair)
            return ["dict", *(self.encode(part, depth + 1) for part in pairs)]
        for tag, kind in _CONTAINERS.items():
            if isinstance(value, kind):
                return [tag, *(self.encode(item, depth + 1) for item in kind.__iter__(value))]
        raise NotPlain(f"a value of type {type(value).__name__} is not plain")

    def take(self, characters: int) -> None:
        """Count characters. Raises NotPlain where they are too many."""
        self.taken += characters
        if self.taken > MOST_BYTES:
            raise NotPlain(f"more than {MOST_BYTES} bytes")


def decode_claim(data: Any) -> Any:
    """`decode` of what a run sent: its size is measured here too, whatever the far side says."""
    if len(json.dumps(data)) > MOST_BYTES:
        raise NotPlain(f"more than {MOST_BYTES} bytes")
    return decode(data)


def decode(data: Any, depth: int = 0) -> Any:
    """The value that `data` encodes, built of exact builtins. Raises NotPlain."""
    if depth > MOST_DEPTH:
        raise NotPlain(f"more than {MOST_DEPTH} containers within one another")
    if data is None or data is True or data is False or type(data) is int:
        return data
    if type(data) is str:
        return _text(data)
    if type(data) is not list or not data or type(data[0]) is not str:
        raise NotPlain("not an encoded value")
    tag, *parts = data
    if tag in _CONTAINERS or tag == "dict":
        return _container(tag, [decode(part, depth + 1) for part in parts])
    if any(type(part) is not str for part in parts):
        raise NotPlain("not an encoded value")
    try:
        return _scalar(tag, parts)
    except (ValueError, OverflowError) as error:
        raise NotPlain(f"not an encoded {tag}") from error


def _text(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise NotPlain("text with lone surrogates") from error
    return text


def _scalar(tag: str, parts: list[str]) -> object:
    match tag, parts:
        case "int", [digits]:
            return int(digits, 16)
        case "float", [digits]:
            return float.fromhex(digits)
        case "complex", [real, imaginary]:
            return complex(float.fromhex(real), float.fromhex(imaginary))
        case "bytes", [digits]:
            return bytes.fromhex(digits)
    raise NotPlain("not an encoded value")


def _container(tag: str, items: list[Any]) -> object:
    if tag not in ("list", "tuple") and len(items) > MOST_HASHED * (2 if tag == "dict" else 1):
        raise NotPlain(f"a {tag} of more than {MOST_HASHED} entries")
    try:
        if tag == "dict":
            return dict(zip(items[::2], items[1::2], strict=True))
        return _CONTAINERS[tag](items)
    except (TypeError, ValueError) as error:  # a list as a key, a key without a value
        raise NotPlain(f"not a {tag}") from error
