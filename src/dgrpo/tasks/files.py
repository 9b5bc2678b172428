"""Data files of tasks, read in one way: lines of text, compressed or not, byte-order mark or not.

Small example files are written here too.

Leaves out: what the lines must hold, which each task says for itself.
"""

from __future__ import annotations

import codecs
import gzip
import json
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path

from dgrpo.errors import DgrpoError, first_line

LARGEST_FILE = 1 << 30
"""Bytes of a file, decompressed: a small compressed one can hold any number."""
_GZIP = b"\x1f\x8b"
_UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def read_lines(path: Path, field: str, remedy: str = "") -> list[tuple[str, str]]:
    """(place, line) of every line of a text file that is not blank.

    A gzip file is known by its first bytes, whatever it is called. Raises DgrpoError naming `field`
    where the file cannot be read, is too large, or is no UTF-8 (with a mark, UTF-16 is read too).
    """
    try:
        data = _bytes(path.expanduser())
        if len(data) > LARGEST_FILE:
            raise ValueError(f"it holds more than {LARGEST_FILE >> 20} MiB")
        text = data.decode("utf-16" if data.startswith(_UTF_16) else "utf-8-sig")
    except (OSError, EOFError, zlib.error, ValueError, RuntimeError) as error:
        raise DgrpoError(
            f"{field} = {str(path)!r} cannot be read: {first_line(error)}", remedy=remedy
        ) from None
    lines = enumerate(text.split("\n"), 1)  # splitlines also cuts at U+2028
    return [(f"{path}, line {number}", line) for number, line in lines if line.strip()]


def write_rows(path: Path, rows: Iterable[Mapping[str, str]]) -> None:
    """Write a JSONL file, as tasks' examples of their own files are."""
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")


def _bytes(path: Path) -> bytes:
    """The file's content, decompressed, at most one byte more than is allowed."""
    with path.open("rb") as file:
        start = file.read(len(_GZIP))
        rest = file.read(LARGEST_FILE + 1) if start != _GZIP else b""
    if start != _GZIP:
        return start + rest
    with gzip.open(path) as compressed:
        return compressed.read(LARGEST_FILE + 1)
