"""What goes into a sandbox and what comes out: programs, examinations, outcomes."""

from __future__ import annotations

import hashlib
import keyword
import sys
from dataclasses import dataclass
from typing import Any, Literal

Status = Literal["finished", "raised", "timeout", "memory", "output", "denied", "killed", "unrun"]
"""How a run ended: to its end; with an exception; out of time, processor time included; out of
memory; with more printed or sent than allowed; killed for a forbidden system call; otherwise gone
without a report (a crash, a forged exit); or never begun, as all who pay had spent their time."""


@dataclass(frozen=True)
class Library:
    """A module that programs can import inside the jail; it is run there, as untrusted as they."""

    name: str
    source: str


def checked_name(name: str) -> str:
    """`name` if a library can have it; ValueError says why not."""
    if not name.isidentifier() or keyword.iskeyword(name) or name == "__main__":
        raise ValueError("not a name that Python can import")
    if name in sys.stdlib_module_names:
        raise ValueError("a module of the standard library has this name")
    return name


@dataclass(frozen=True)
class Program:
    """One run: Python source, then expressions whose values are wanted."""

    source: str
    libraries: tuple[Library, ...] = ()
    expressions: tuple[str, ...] = ()
    """Evaluated in order among the program's names once it has ended; each gives a value."""
    name: str = "__main__"
    """Its `__name__`: under another one than this, what stands below a main guard does not run."""

    @property
    def seed(self) -> int:
        """Where the program's `random` starts: the same program, the same values."""
        text = "\x1f".join((self.source, *self.expressions))
        return int.from_bytes(hashlib.sha256(text.encode(errors="replace")).digest()[:8], "big")


@dataclass(frozen=True)
class Examination:
    """Tests that call a candidate, each in a jail of its own; only plain values pass between."""

    candidate: Program
    tests: tuple[str, ...]
    """Sources, run one after the other in the tests' jail. The candidate never sees them."""
    function: str
    """Of the candidate; in the tests it stands under this name and under `candidate`."""


@dataclass(frozen=True)
class Failed:
    """In place of a value: the expression raised, or its value is not plain."""

    kind: str
    message: str


@dataclass(frozen=True)
class Outcome:
    """What a run came to. All of it but a status set from outside is the program's own claim."""

    status: Status
    printed: str = ""
    """The first 64 KiB of what it printed; nothing unless it came to report."""
    values: tuple[Any, ...] = ()
    """Per expression an exact builtin, or Failed; empty unless the status is `finished`."""
    detail: str = ""
    """For people: the exception, or what ended the run."""
