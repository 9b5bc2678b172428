"""The walls around one run, from the inside: namespaces, limits, no privileges, no system calls.

`leave_the_host` is done once by the worker, `spawn` and `confine` for every run. What the kernel or
a container refuses is reported, not assumed: the trainer decides which layers it can do without,
and proves the ones it relies on with a run that tries to break them.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import signal
from collections.abc import Callable
from dataclasses import dataclass

NOBODY = 65534
CHANNEL = 3
"""The one descriptor that a run has."""

_NEWNS, _NEWUTS, _NEWIPC = 0x00020000, 0x04000000, 0x08000000
_NEWUSER, _NEWPID, _NEWNET = 0x10000000, 0x20000000, 0x40000000
_PER_RUN = _NEWUSER | _NEWPID | _NEWNET | _NEWIPC | _NEWUTS
_PR_SET_PDEATHSIG, _PR_SET_SECCOMP, _PR_SET_NO_NEW_PRIVS, _PR_SET_DUMPABLE = 1, 22, 38, 4
_SECCOMP_MODE_FILTER = 2
_MS_NOSUID, _MS_NODEV, _MS_NOEXEC, _MS_RDONLY, _MS_REMOUNT = 2, 4, 8, 1, 32
_MS_REC, _MS_PRIVATE = 0x4000, 0x40000
_MNT_DETACH = 2
_CLONE = {"x86_64": 56, "aarch64": 220}
_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}
_CAPSET = {"x86_64": 126, "aarch64": 91}
_CAPABILITY_VERSION_3 = 0x20080522

_libc = ctypes.PyDLL(None, use_errno=True)  # PyDLL keeps the interpreter's lock across the call
_machine = os.uname().machine


@dataclass(frozen=True)
class Limits:
    """What one run may use. Seconds, MiB."""

    cpu_seconds: int
    memory_mb: int


class _SockFprog(ctypes.Structure):
    _fields_ = (("len", ctypes.c_ushort), ("filter", ctypes.c_void_p))


class Jail:
    """What is needed to confine a run, prepared once so that a run pays only for system calls."""

    def __init__(self, program: bytes, limits: Limits, namespaces: bool) -> None:
        self._buffer = ctypes.create_string_buffer(program, len(program))
        self._fprog = _SockFprog(len(program) // 8, ctypes.addressof(self._buffer))
        self._capabilities = (ctypes.c_uint32 * 6)()
        self._header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
        self._flags = _PER_RUN if namespaces and _machine in _CLONE else 0
        self._limits = _resource_limits(limits)

    def try_namespaces(self) -> bool:
        """Whether this kernel gives every run namespaces of its own; if not, do without them."""
        if not self._flags:
            return False
        try:
            pid = self.spawn()
        except OSError:
            self._flags = 0
            return False
        if pid == 0:
            os._exit(0)
        os.waitpid(pid, 0)
        return True

    def spawn(self) -> int:
        """Fork, into namespaces of its own where they hold: 0 in the child, its pid in the worker.

        One raw `clone` instead of `unshare` and a second fork, which would double the cost; the
        worker has a single thread, and CPython's own hooks are called around it. Raises OSError.
        """
        if not self._flags:
            return os.fork()
        ctypes.pythonapi.PyOS_BeforeFork()
        pid = int(_libc.syscall(_CLONE[_machine], self._flags | signal.SIGCHLD, 0, 0, 0, 0))
        if pid == 0:
            ctypes.pythonapi.PyOS_AfterFork_Child()
            return 0
        problem = ctypes.get_errno()
        ctypes.pythonapi.PyOS_AfterFork_Parent()
        if pid < 0:
            raise OSError(problem, os.strerror(problem))
        return pid

    def confine(self, channel: int) -> None:
        """Give everything up that a run does not need; irreversible. Raises OSError.

        What is left of the descriptors is the channel, as number `CHANNEL`.
        """
        if channel != CHANNEL:
            os.dup2(channel, CHANNEL)
        os.closerange(0, CHANNEL)
        os.closerange(CHANNEL + 1, 1024)
        os.setsid()
        _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        _prctl(_PR_SET_DUMPABLE, 0)
        for kind, value in self._limits:
            resource.setrlimit(kind, (value, value))
        _prctl(_PR_SET_NO_NEW_PRIVS, 1)
        _check(_libc.syscall(_CAPSET[_machine], self._header, self._capabilities))
        _check(_libc.prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.byref(self._fprog), 0, 0))


def leave_the_host() -> dict[str, bool]:
    """Drop root, and stand in an empty read-only root; each where it can be had.

    Returns which layers hold.
    """
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as score:
        score.write("1000")  # if memory runs out, the kernel ends a run, never the trainer
    empty = _holds(_empty_root)
    unprivileged = _holds(_drop_root) if os.geteuid() == 0 else True
    if not empty and unprivileged:  # a root without capabilities; a plain user may do better
        empty = _holds(_empty_root)
    return {"empty root": empty, "unprivileged user": unprivileged}


def _empty_root() -> None:
    if os.geteuid() != 0:
        uid, gid = os.geteuid(), os.getegid()
        _check(_libc.unshare(_NEWUSER | _NEWNS))
        for file, text in (
            ("setgroups", "deny"),
            ("uid_map", f"{NOBODY} {uid} 1"),
            ("gid_map", f"{NOBODY} {gid} 1"),
        ):
            with open(f"/proc/self/{file}", "w") as entry:
                entry.write(text)
    else:
        _check(_libc.unshare(_NEWNS))
    _check(_libc.mount(None, b"/", None, _MS_REC | _MS_PRIVATE, None))
    flags = _MS_NOSUID | _MS_NODEV | _MS_NOEXEC
    _check(_libc.mount(b"none", b"/tmp", b"tmpfs", flags, b"size=4k,nr_inodes=2,mode=0555"))
    os.chdir("/tmp")
    _check(_libc.syscall(_PIVOT_ROOT[_machine], b".", b"."))
    _check(_libc.umount2(b".", _MNT_DETACH))
    os.chdir("/")
    _check(_libc.mount(None, b"/", None, _MS_REMOUNT | _MS_RDONLY | flags, None))


def _drop_root() -> None:
    os.setgroups([])
    os.setresgid(NOBODY, NOBODY, NOBODY)
    os.setresuid(NOBODY, NOBODY, NOBODY)
    _prctl(_PR_SET_DUMPABLE, 1)  # so that it may write its own user map; a run gives this up again


def _holds(step: Callable[[], None]) -> bool:
    try:
        step()
    except (OSError, KeyError):
        return False
    return True


def _resource_limits(limits: Limits) -> tuple[tuple[int, int], ...]:
    pages = int(_statm().split()[0])
    inherited = pages * resource.getpagesize()
    most: list[tuple[int, int]] = [
        (resource.RLIMIT_AS, inherited + limits.memory_mb * 2**20),
        (resource.RLIMIT_CPU, limits.cpu_seconds),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_NOFILE, CHANNEL + 1),
        (resource.RLIMIT_NPROC, 0),
        (resource.RLIMIT_MEMLOCK, 0),
        (resource.RLIMIT_MSGQUEUE, 0),
        (resource.RLIMIT_SIGPENDING, 0),
    ]
    return tuple(most)


def _statm() -> str:
    with open("/proc/self/statm") as table:
        return table.read()


def _prctl(option: int, value: int) -> None:
    _check(_libc.prctl(option, value, 0, 0, 0))


def _check(result: int) -> None:
    if result != 0:
        problem = ctypes.get_errno()
        raise OSError(problem, os.strerror(problem))
