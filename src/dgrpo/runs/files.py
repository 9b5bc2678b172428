"""Read and write the files of a run folder, which may be a stranger's.

What is read is a regular file of bounded size inside the folder, never a device, a pipe or a link.
What is written is whole at any moment: it gets a name of its own that nobody can foresee, and is
renamed; no link leads it out of the folder. Leaves out: what the files say (`reader.py`), and
folders that another process changes in the meantime.
"""

from __future__ import annotations

import errno
import json
import os
import re
import secrets
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import BufferedReader, BufferedWriter
from pathlib import Path
from typing import Any

from dgrpo.errors import DgrpoError

MIB = 1024 * 1024
JSON_LIMIT = 64 * MIB
"""Bytes of a JSON file: summary.json of 100,000 rounds has 30 MB, the largest shipped 40 kB."""
_DEPTH = 32
"""Levels of nested JSON: an experiment has five, and a plug-in's knobs few more."""
_OURS = re.compile(r"\.dgrpo-[0-9a-f]{16}\.tmp")
_OPEN = getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
_SYSTEM = (Path("/dev"), Path("/dev/fd"), Path("/proc/self/fd"))
"""Links that lie here are the system's: /dev/stdout."""
RESTORE = "restore the file from a copy, or delete the run's folder and run that seed again"


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


def refuse_link(path: Path) -> Path:
    """`path`, unless it is a symbolic link: in a stranger's folder it may lead anywhere.

    Raises DgrpoError for a link, also for one that leads nowhere.
    """
    if path.is_symlink():
        raise DgrpoError(
            f"{path} is a symbolic link, and links in run folders are not followed",
            remedy="put the file or folder itself in its place, or remove the link",
        )
    return path


def open_regular(path: Path, limit: int) -> BufferedReader:
    """A regular file, opened for reading.

    Raises DgrpoError if it is missing, a link, no regular file, or has more than `limit` bytes.
    """
    refuse_link(path)  # where the system has no O_NOFOLLOW
    try:
        number = os.open(path, os.O_RDONLY | _OPEN | getattr(os, "O_NONBLOCK", 0))
    except OSError as error:
        raise DgrpoError(
            f"{path} is missing or cannot be read: {error.strerror or error}", remedy=RESTORE
        ) from None
    about = os.fstat(number)
    if not stat.S_ISREG(about.st_mode) or about.st_size > limit:
        os.close(number)
        kind = (
            f"has {about.st_size:,} bytes, and at most {limit:,} are read"
            if stat.S_ISREG(about.st_mode)
            else "is no regular file (a device, a pipe, a folder?)"
        )
        raise DgrpoError(f"{path} {kind}", remedy=RESTORE)
    return os.fdopen(number, "rb")


def read_bytes(path: Path, limit: int) -> bytes:
    """The content of a regular file. Raises as `open_regular` does."""
    with open_regular(path, limit) as file:
        try:
            return file.read(limit)
        except OSError as error:
            raise DgrpoError(f"{path} cannot be read: {error.strerror or error}") from None


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from `path`. Raises DgrpoError if it is missing, damaged or nested deeply."""
    return json_object(read_bytes(path, JSON_LIMIT), str(path))


def json_object(raw: bytes, where: str, *, measured: bool = False) -> dict[str, Any]:
    """A JSON object of bounded depth. Raises DgrpoError that begins with `where`.

    measured: NaN, which older runs wrote where nothing was measured, is read as null.
    """
    try:
        value = json.loads(raw, parse_constant=_null_for_nan if measured else None)
        problem = "" if isinstance(value, dict) else "it does not hold a JSON object"
    except RecursionError:
        problem = _too_deep()
    except ValueError as error:
        problem = str(error)
    else:
        problem = problem or _depth_problem(value)
    if problem:
        raise DgrpoError(f"{where} is damaged: {problem}", remedy=RESTORE)
    found: dict[str, Any] = value
    return found


def _null_for_nan(constant: str) -> float | None:
    return None if constant == "NaN" else float(constant)


def _too_deep() -> str:
    return f"it is nested more than {_DEPTH} levels deep"


def _depth_problem(value: Any) -> str:
    level = [value]
    for _ in range(_DEPTH):
        inner = [one.values() if isinstance(one, dict) else one for one in level]
        level = [one for some in inner for one in some if isinstance(one, dict | list)]
        if not level:
            return ""
    return _too_deep()


def write_json(path: Path, value: dict[str, Any]) -> None:
    """Write `value` as `replace_file` does."""
    replace_file(path, (json.dumps(value, indent=1, ensure_ascii=False) + "\n").encode())


def replace_file(path: Path, content: bytes | memoryview) -> None:
    """Write under a name of its own, then rename: no reader ever meets half a file.

    A link at `path` is replaced, not followed.
    """
    temporary = _new_name(path.parent)
    try:
        with os.fdopen(
            os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _OPEN, 0o666), "wb"
        ) as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def open_end(path: Path) -> BufferedWriter:
    """A regular file, made if need be, opened for writing at its end.

    Raises OSError for a link, a device or a pipe.
    """
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | _OPEN | getattr(os, "O_NONBLOCK", 0)
    if path.is_symlink():
        raise OSError(errno.ELOOP, "it is a symbolic link")
    number = os.open(path, flags, 0o666)
    if not stat.S_ISREG(os.fstat(number).st_mode):
        os.close(number)
        raise OSError(errno.EINVAL, "it is no regular file")
    return os.fdopen(number, "ab")


def append_bytes(path: Path, content: bytes, *, sync: bool = False) -> None:
    """Add to what `open_end` opens. sync: all of the file reaches the disk."""
    with open_end(path) as file:
        file.write(content)
        file.flush()
        if sync:
            os.fsync(file.fileno())


def new_folder(parent: Path) -> Path:
    """An empty folder under a name of its own, to be filled and renamed."""
    folder = _new_name(parent)
    folder.mkdir()
    return folder


def remove(path: Path) -> None:
    """Remove a file, a link or a whole folder, if it is there; nothing beyond a link."""
    if path.is_symlink() or not path.is_dir():
        path.unlink(missing_ok=True)
    else:
        shutil.rmtree(path)


def sweep(folder: Path) -> None:
    """Remove what a killed process left half written."""
    for path in folder.iterdir() if folder.is_dir() else ():
        if _OURS.fullmatch(path.name):
            with suppress(OSError):
                remove(path)


def _new_name(parent: Path) -> Path:
    return parent / f".dgrpo-{secrets.token_hex(8)}.tmp"


def write_file(file: Path, content: bytes) -> None:
    """Write `content`, making the folder. Raises DgrpoError where that is not possible.

    What was there stays whole until all of it is written. A link at `file` is refused: it may lie
    in a stranger's folder.
    """
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        if file.parent in _SYSTEM or (file.exists() and not refuse_link(file).is_file()):
            file.write_bytes(content)  # /dev/stdout, a named pipe, or a folder in the way
        else:
            replace_file(refuse_link(file), content)
    except OSError as error:
        raise DgrpoError(
            f"cannot write {file}: {error.strerror or error}",
            remedy="check the path and its permissions, or free some space",
        ) from error
