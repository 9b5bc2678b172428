"""The system calls that a run may make: about forty, none of which takes a path or makes anything.

The filter is assembled by seccompy, in the trainer; the worker installs the finished bytes. Every
other call fails with EPERM, so that a harmless program which asks for a thread or a file gets an
exception; calls that no harmless program makes end the run. Calls of another architecture end it
too, and x32 calls have numbers that are not on the list.
"""

from __future__ import annotations

import errno
import mmap

from seccompy import Action, ArgCmp, CmpOp, Filter, UnsupportedError, supported, syscall_nr

from dgrpo.sandbox.inside.jail import CHANNEL
from dgrpo.sandbox.settings import SandboxUnavailable

_ALLOWED_NAMES = """brk munmap mremap madvise futex set_robust_list rseq restart_syscall
rt_sigaction rt_sigprocmask rt_sigreturn sigaltstack
clock_gettime clock_getres gettimeofday time times getrusage nanosleep clock_nanosleep sched_yield
getpid gettid getppid getuid geteuid getgid getegid sched_getaffinity getrandom
exit exit_group"""
ALLOWED = tuple(_ALLOWED_NAMES.split())
"""On memory, time and itself. `close` is not here: a run has one descriptor, and keeps it."""

ON_THE_CHANNEL = ("read", "write")
"""Allowed on the run's one descriptor."""

NOT_EXECUTABLE = ("mmap", "mprotect")
"""Allowed unless they make memory executable."""

_FATAL_NAMES = """execve execveat ptrace process_vm_readv process_vm_writev bpf mount umount2
pivot_root chroot setns unshare init_module finit_module kexec_load io_uring_setup userfaultfd
perf_event_open keyctl add_key reboot"""
FATAL = tuple(_FATAL_NAMES.split())
"""What only an attack does."""


def program() -> bytes:
    """The compiled filter. Raises SandboxUnavailable where the kernel or the machine has none."""
    remedy = "use a kernel with CONFIG_SECCOMP_FILTER on x86-64 or aarch64, or engine = 'monty'"
    try:
        if not supported():
            raise SandboxUnavailable("system call filter", "the kernel has none", remedy=remedy)
        return _filter().program
    except UnsupportedError as error:
        raise SandboxUnavailable("system call filter", str(error), remedy=remedy) from error


def _filter() -> Filter:
    made = Filter(default=int(Action.ERRNO) | errno.EPERM)
    for name in _known(ALLOWED):
        made.allow(name)
    for name in _known(ON_THE_CHANNEL):
        made.allow(name, args={0: CHANNEL})
    for name in _known(NOT_EXECUTABLE):
        made.allow(name, args=[ArgCmp(2, CmpOp.MASKED_EQ, 0, mask=mmap.PROT_EXEC)])
    made.allow("prlimit64", args={0: 0, 2: 0})  # reading one's own limits
    for name in _known(FATAL):
        made.kill(name)
    return made


def _known(names: tuple[str, ...]) -> list[str]:
    """Those that this architecture has (aarch64 has no `time`)."""
    known = []
    for name in names:
        try:
            syscall_nr(name)
        except (KeyError, ValueError, UnsupportedError):
            continue
        known.append(name)
    return known
