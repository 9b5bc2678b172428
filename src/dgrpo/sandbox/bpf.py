"""Filters of system calls as the bytes that the kernel takes: classic BPF, with jumps by name.

The kernel runs a filter on `struct seccomp_data` (the number of the call, the architecture, six
arguments of 64 bits) and does what the filter returns. Leaves out all of classic BPF that a filter
of a few rules does not need: scratch memory, arithmetic, and jumps over 255 instructions.
"""

from __future__ import annotations

import errno
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

ALLOW = 0x7FFF0000
KILL_PROCESS = 0x80000000
REFUSE = 0x00050000 | errno.EPERM
"""The call fails with EPERM."""

_NUMBER, _ARCHITECTURE, _ARGUMENTS = 0, 4, 16
"""Where the fields of `struct seccomp_data` begin, in bytes."""
_LOAD, _RETURN = 0x20, 0x06
_EQUAL, _GREATER, _ANY_BIT = 0x15, 0x25, 0x45
_JUMPS = {"equals": _EQUAL, "at-most": _GREATER, "without": _ANY_BIT}
_FARTHEST = 255
_LOW_HALF = 0xFFFFFFFF


@dataclass(frozen=True)
class Argument:
    """What must hold of one argument of a call."""

    index: int
    must: Literal["equals", "at-most", "without"]
    """`equals` compares all 64 bits. `at-most` and `without` (none of these bits) compare the low
    32, for arguments of which the kernel reads no more."""
    value: int


@dataclass(frozen=True)
class _Jump:
    code: int
    value: int
    if_true: str = ""
    """A label; the next instruction where it is empty."""
    if_false: str = ""


_Line = _Jump | tuple[int, int] | str
"""A jump; a code with its value; or a label of the line after it."""


def assemble(
    architecture: int,
    allowed: Mapping[int, Sequence[Argument]],
    fatal: Sequence[int],
) -> bytes:
    """The filter: `allowed` calls pass if all their conditions hold, `fatal` ones end the process.

    Every other call is refused with EPERM. A call of another architecture ends the process.
    """
    lines: list[_Line] = [
        (_LOAD, _ARCHITECTURE),
        _Jump(_EQUAL, architecture, if_false="kill"),
        (_LOAD, _NUMBER),
        *(_Jump(_EQUAL, n, if_true=f"call {n}" if c else "allow") for n, c in allowed.items()),
        *(_Jump(_EQUAL, number, if_true="kill") for number in fatal),
        (_RETURN, REFUSE),
    ]
    for number, conditions in allowed.items():
        if conditions:
            lines += [f"call {number}", *_checks(conditions), (_RETURN, ALLOW)]
    lines += ["refuse", (_RETURN, REFUSE), "allow", (_RETURN, ALLOW), "kill"]
    return _bytes([*lines, (_RETURN, KILL_PROCESS)])


def _checks(conditions: Sequence[Argument]) -> list[_Line]:
    """Go on to the next line if all conditions hold, to `refuse` if not."""
    lines: list[_Line] = []
    for one in conditions:
        low, jump = _ARGUMENTS + 8 * one.index, _JUMPS[one.must]
        lines.append((_LOAD, low))
        if one.must == "equals":
            lines.append(_Jump(jump, one.value & _LOW_HALF, if_false="refuse"))
            lines.append((_LOAD, low + 4))
            lines.append(_Jump(jump, one.value >> 32, if_false="refuse"))
        else:
            lines.append(_Jump(jump, one.value, if_true="refuse"))
    return lines


def _bytes(lines: Sequence[_Line]) -> bytes:
    """`struct sock_filter` after `struct sock_filter`: code, two distances, value."""
    places: dict[str, int] = {}
    instructions: list[_Jump | tuple[int, int]] = []
    for line in lines:
        if isinstance(line, str):
            places[line] = len(instructions)
        else:
            instructions.append(line)
    packed = []
    for place, one in enumerate(instructions):
        if isinstance(one, _Jump):
            far = [places[to] - place - 1 if to else 0 for to in (one.if_true, one.if_false)]
            if not all(0 <= distance <= _FARTHEST for distance in far):
                raise ValueError(f"a jump from instruction {place} to one too far: {far}")
            packed.append(struct.pack("<HBBI", one.code, *far, one.value))
        else:
            packed.append(struct.pack("<HBBI", one[0], 0, 0, one[1]))
    return b"".join(packed)
