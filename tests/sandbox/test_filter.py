"""The filter's bytes, run call by call on a machine of our own, against the written-down list."""

from __future__ import annotations

import errno
import struct
from collections.abc import Iterator

import pytest
from tests.sandbox.hostile import ALLOWED_CALLS, FATAL_CALLS

from dgrpo.sandbox import bpf, system_calls
from dgrpo.sandbox.bpf import Argument

ALLOWED, KILLED, REFUSED = 0x7FFF0000, 0x80000000, 0x00050000 | errno.EPERM
ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
OTHERS = (0x40000003, 0x40000028, 0xC00000F3, 0xC0000032, 0x80000015, 0, 0xFFFFFFFF)
"""i386, arm, riscv64, ia64, ppc64 and two that do not exist."""
X32 = 0x40000000
ANY = (7, 2**64 - 1, 1, 2**31, 5, 2**63)

CONDITIONS = {
    "read": (0, [3]),
    "write": (0, [3]),
    "clock_gettime": (0, range(12)),
    "clock_getres": (0, range(12)),
    "clock_nanosleep": (0, range(12)),
    "sched_getaffinity": (0, [0]),
    "mmap": (2, [0, 1, 2, 3, 8, 2**31]),
    "mprotect": (2, [0, 1, 2, 3, 8, 2**31]),
    "prlimit64": (2, [0]),
}
"""Calls that pass with some values of one argument only. Written down twice on purpose."""


def verdict(program: bytes, architecture: int, number: int, arguments: tuple[int, ...]) -> int:
    """What the kernel would do: classic BPF as linux/filter.h and seccomp(2) describe it."""
    data = struct.pack("<IIQ6Q", number, architecture, 0x7F0000001000, *arguments)
    lines = list(struct.iter_unpack("<HBBI", program))
    held, place = 0, 0
    while True:
        code, if_true, if_false, value = lines[place]
        place += 1
        match code:
            case 0x20:
                assert value % 4 == 0
                (held,) = struct.unpack_from("<I", data, value)
            case 0x15:
                place += if_true if held == value else if_false
            case 0x25:
                place += if_true if held > value else if_false
            case 0x45:
                place += if_true if held & value else if_false
            case 0x06:
                return int(value)
            case _:
                raise AssertionError(f"an instruction that the filter has no need of: {code:#x}")


@pytest.fixture(scope="module", params=list(ARCHITECTURES))
def machine(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def program(machine: str) -> bytes:
    return system_calls.program_for(machine)


def fitting(name: str) -> tuple[int, ...]:
    """Arguments with which an allowed call passes, the others as unlikely as can be."""
    arguments = list(ANY)
    if name in CONDITIONS:
        index, values = CONDITIONS[name]
        arguments[index] = values[0]
    if name == "prlimit64":
        arguments[0] = 0
    return tuple(arguments)


def every_number() -> Iterator[int]:
    yield from range(4096)
    yield from range(X32, X32 + 4096)
    yield from range(2**32 - 4096, 2**32)


def test_of_all_calls_the_listed_ones_pass_and_the_fatal_ones_end_the_run(
    machine: str, program: bytes
) -> None:
    known = system_calls.numbers(machine)
    passing = {known[name]: name for name in ALLOWED_CALLS if name in known}
    fatal = {known[name] for name in FATAL_CALLS}
    assert set(ALLOWED_CALLS) - set(known) <= {"time"}  # aarch64 has no `time`
    assert len(passing) + len(fatal) == len(known)
    assert len(known) == len(set(known.values()))
    for number in every_number():
        arguments = fitting(passing.get(number, ""))
        expected = KILLED if number in fatal else ALLOWED if number in passing else REFUSED
        assert verdict(program, ARCHITECTURES[machine], number, arguments) == expected, number


def test_a_number_with_one_bit_more_is_another_call(machine: str, program: bytes) -> None:
    known = system_calls.numbers(machine)
    listed = set(known.values())
    for name, number in known.items():
        for bit in range(32):
            other = number ^ (1 << bit)
            if other not in listed:
                found = verdict(program, ARCHITECTURES[machine], other, fitting(name))
                assert found == REFUSED, (name, bit)


def test_a_call_of_another_architecture_ends_the_run(machine: str, program: bytes) -> None:
    own = ARCHITECTURES[machine]
    others = {*OTHERS, *ARCHITECTURES.values(), *(own ^ (1 << bit) for bit in range(32))} - {own}
    for architecture in others:
        for name, number in system_calls.numbers(machine).items():
            assert verdict(program, architecture, number, fitting(name)) == KILLED


@pytest.mark.parametrize("name", CONDITIONS)
def test_an_argument_that_is_not_listed_is_refused(machine: str, program: bytes, name: str) -> None:
    index, values = CONDITIONS[name]
    number, whole = system_calls.numbers(machine)[name], {"read", "write", "prlimit64"}
    whole |= {"sched_getaffinity"}  # compared with all its bits; of others the kernel reads 32
    tried = {*range(64), *(1 << bit for bit in range(64)), 2**64 - 1}
    tried |= {((~process << 3) | which) % 2**32 for process in (0, 1, 4711) for which in range(8)}
    tried |= {value ^ (1 << bit) for value in values for bit in range(64)}
    for value in tried:
        arguments = list(fitting(name))
        arguments[index] = value
        read = value if name in whole else value % 2**32
        executable = name in ("mmap", "mprotect") and read & 4
        passes = not executable if name in ("mmap", "mprotect") else read in values
        found = verdict(program, ARCHITECTURES[machine], number, tuple(arguments))
        assert found == (ALLOWED if passes else REFUSED), hex(value)


def test_no_limit_of_another_process_can_be_read(machine: str, program: bytes) -> None:
    number = system_calls.numbers(machine)["prlimit64"]
    for process in (1, 4711, 2**32, 2**64 - 1):
        arguments = (process, *fitting("prlimit64")[1:])
        assert verdict(program, ARCHITECTURES[machine], number, arguments) == REFUSED


def test_a_filter_too_long_for_its_jumps_is_refused() -> None:
    many = {number: (Argument(0, "equals", 1),) for number in range(80)}
    with pytest.raises(ValueError, match="too far"):
        bpf.assemble(ARCHITECTURES["x86_64"], many, ())
