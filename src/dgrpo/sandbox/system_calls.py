"""The system calls that a run may make: about forty, none of which takes a path or makes anything.

The filter is assembled in the trainer; the worker installs the finished bytes. Every other call
fails with EPERM, so that a harmless program which asks for a thread or a file gets an exception.
Calls that no harmless program makes end the run, and so do calls of another architecture. Calls of
x86-64's second ABI, x32, have numbers that are not on the list.
"""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import sys

from dgrpo.sandbox import bpf
from dgrpo.sandbox.bpf import Argument
from dgrpo.sandbox.inside.jail import CHANNEL
from dgrpo.sandbox.settings import SandboxUnavailable

_LAST_CLOCK = 11
"""CLOCK_TAI. Higher numbers, and negative ones, are other processes' and devices' clocks."""

ON_A_CLOCK = (Argument(0, "at-most", _LAST_CLOCK),)
ON_THE_CHANNEL = (Argument(0, "equals", CHANNEL),)
ON_ITSELF = (Argument(0, "equals", 0),)
NOT_EXECUTABLE = (Argument(2, "without", mmap.PROT_EXEC),)
READING_ITS_OWN = (Argument(0, "equals", 0), Argument(2, "equals", 0))

_UNCONDITIONAL = """brk munmap mremap madvise futex set_robust_list rseq restart_syscall
rt_sigaction rt_sigprocmask rt_sigreturn sigaltstack
gettimeofday time times getrusage nanosleep sched_yield
getpid gettid getppid getuid geteuid getgid getegid getrandom
exit exit_group"""
ALLOWED: dict[str, tuple[Argument, ...]] = {
    **dict.fromkeys(_UNCONDITIONAL.split(), ()),
    **dict.fromkeys(("clock_gettime", "clock_getres", "clock_nanosleep"), ON_A_CLOCK),
    **dict.fromkeys(("read", "write"), ON_THE_CHANNEL),
    **dict.fromkeys(("mmap", "mprotect"), NOT_EXECUTABLE),
    "sched_getaffinity": ON_ITSELF,
    "prlimit64": READING_ITS_OWN,
}
"""On memory, time and itself. `close` is not here: a run has one descriptor, and keeps it."""

_FATAL_NAMES = """execve execveat ptrace process_vm_readv process_vm_writev bpf mount umount2
pivot_root chroot setns unshare init_module finit_module kexec_load io_uring_setup userfaultfd
perf_event_open keyctl add_key reboot"""
FATAL = tuple(_FATAL_NAMES.split())
"""What only an attack does."""

ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
"""AUDIT_ARCH of linux/audit.h."""

_NUMBERS = {
    "x86_64": """add_key=248 bpf=321 brk=12 chroot=161 clock_getres=229 clock_gettime=228
    clock_nanosleep=230 execve=59 execveat=322 exit=60 exit_group=231 finit_module=313 futex=202
    getegid=108 geteuid=107 getgid=104 getpid=39 getppid=110 getrandom=318 getrusage=98 gettid=186
    gettimeofday=96 getuid=102 init_module=175 io_uring_setup=425 kexec_load=246 keyctl=250
    madvise=28 mmap=9 mount=165 mprotect=10 mremap=25 munmap=11 nanosleep=35 perf_event_open=298
    pivot_root=155 prlimit64=302 process_vm_readv=310 process_vm_writev=311 ptrace=101 read=0
    reboot=169 restart_syscall=219 rseq=334 rt_sigaction=13 rt_sigprocmask=14 rt_sigreturn=15
    sched_getaffinity=204 sched_yield=24 set_robust_list=273 setns=308 sigaltstack=131 time=201
    times=100 umount2=166 unshare=272 userfaultfd=323 write=1""",
    "aarch64": """add_key=217 bpf=280 brk=214 chroot=51 clock_getres=114 clock_gettime=113
    clock_nanosleep=115 execve=221 execveat=281 exit=93 exit_group=94 finit_module=273 futex=98
    getegid=177 geteuid=175 getgid=176 getpid=172 getppid=173 getrandom=278 getrusage=165 gettid=178
    gettimeofday=169 getuid=174 init_module=105 io_uring_setup=425 kexec_load=104 keyctl=219
    madvise=233 mmap=222 mount=40 mprotect=226 mremap=216 munmap=215 nanosleep=101
    perf_event_open=241 pivot_root=41 prlimit64=261 process_vm_readv=270 process_vm_writev=271
    ptrace=117 read=63 reboot=142 restart_syscall=128 rseq=293 rt_sigaction=134 rt_sigprocmask=135
    rt_sigreturn=139 sched_getaffinity=123 sched_yield=124 set_robust_list=99 setns=268
    sigaltstack=132 times=153 umount2=39 unshare=97 userfaultfd=282 write=64""",
}
"""From asm/unistd_64.h and asm-generic/unistd.h; aarch64 has no `time`."""

_PR_SET_SECCOMP, _FILTER_MODE = 22, 2
_REMEDY = "use a kernel with CONFIG_SECCOMP_FILTER on x86-64 or aarch64, or engine = 'monty'"


def numbers(machine: str) -> dict[str, int]:
    """The number of every listed call that `machine` has."""
    pairs = (entry.split("=") for entry in _NUMBERS[machine].split())
    return {name: int(number) for name, number in pairs}


def program() -> bytes:
    """The filter of this machine. Raises SandboxUnavailable where there can be none."""
    machine = os.uname().machine
    if machine not in ARCHITECTURES or sys.maxsize < 2**32:
        raise SandboxUnavailable(
            "system call filter", f"there is none for {machine}", remedy=_REMEDY
        )
    if not _kernel_has_filters():
        raise SandboxUnavailable("system call filter", "the kernel offers none", remedy=_REMEDY)
    return program_for(machine)


def program_for(machine: str) -> bytes:
    """The filter of an architecture; the kernel reads it with the words' low half first."""
    known = numbers(machine)
    return bpf.assemble(
        ARCHITECTURES[machine],
        {known[name]: conditions for name, conditions in ALLOWED.items() if name in known},
        [known[name] for name in FATAL],
    )


def _kernel_has_filters() -> bool:
    """A kernel with filters reads the address it is given, 0, and fails; another does not look."""
    libc = ctypes.CDLL(None, use_errno=True)
    failed = libc.prctl(_PR_SET_SECCOMP, _FILTER_MODE, None, 0, 0)
    return bool(failed == -1 and ctypes.get_errno() == errno.EFAULT)
