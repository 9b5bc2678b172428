"""Files that are whole at any moment, and what is said where one cannot be written or read."""

from __future__ import annotations

import errno
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dgrpo.errors import DgrpoError


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn a full or read-only disk into a message that says what is safe and what to do."""
    try:
        yield
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        raise DgrpoError(
            f"{path} cannot be written: {error.strerror or error}",
            remedy=("free some space" if full else "check the path and its permissions")
            + " and give the same command again: it goes on from the last checkpoint",
        ) from error


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from `path`; DgrpoError if it is missing or damaged."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DgrpoError(
            f"{path} is missing or damaged: {error}",
            remedy=f"delete {path.parent} to start it again",
        ) from None
    if not isinstance(value, dict):
        raise DgrpoError(f"{path} does not hold a JSON object")
    return value


def write_json(path: Path, value: dict[str, Any]) -> None:
    """Write `value` as `replace_file` does."""
    replace_file(path, (json.dumps(value, indent=1, ensure_ascii=False) + "\n").encode())


def replace_file(path: Path, content: bytes) -> None:
    """Write under a temporary name, then rename: no reader ever meets half a file."""
    temporary = path.with_name(path.name + ".tmp")
    try:
        temporary.write_bytes(content)
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise


def write_file(file: Path, content: bytes) -> None:
    """Write `content`, making the folder. Raises DgrpoError where that is not possible.

    What was there stays whole until all of it is written.
    """
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        if file.exists() and not file.is_file():  # /dev/stdout, or a folder in the way
            file.write_bytes(content)
        else:
            replace_file(file.resolve(), content)
    except OSError as error:
        raise DgrpoError(
            f"cannot write {file}: {error.strerror or error}",
            remedy="check the path and its permissions, or free some space",
        ) from error
