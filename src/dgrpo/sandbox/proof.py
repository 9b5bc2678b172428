"""The proof that the walls stand: a run that tries to get out, judged from outside at start-up.

It is our own program, so here its report is believed.
"""

from __future__ import annotations

from dgrpo.sandbox.programs import Outcome, Program

PROBE = Program(
    """
import ctypes, errno, os, resource, socket

def refused(attempt):
    try:
        attempt()
    except MemoryError:
        return "MemoryError"
    except OSError as error:
        return errno.errorcode.get(error.errno, "OSError")
    return "allowed"

def executable_memory():
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p
    if libc.mmap(None, 4096, 7, 0x22, -1, 0) in (None, ctypes.c_void_p(-1).value):
        raise OSError(ctypes.get_errno(), "refused")

def descriptors():
    return [number for number in range(64) if refused(lambda: os.write(number, b"")) != "EPERM"]

tried = {
    "read": refused(lambda: open("/etc/passwd")),
    "list": refused(lambda: os.listdir("/")),
    "write": refused(lambda: open("/tmp/probe", "w")),
    "socket": refused(socket.socket),
    "fork": refused(os.fork),
    "kill": refused(lambda: os.kill(os.getppid(), 0)),
    "executable": refused(executable_memory),
}
most = resource.getrlimit(resource.RLIMIT_AS)[1]
memory = refused(lambda: bytearray(most)) if most > 0 else "unlimited"
processor = resource.getrlimit(resource.RLIMIT_CPU)[1]
""",
    expressions=("tried", "memory", "processor", "dict(os.environ)", "descriptors()"),
)


def broken_layer(outcome: Outcome) -> tuple[str, str] | None:
    """The first layer that did not hold, and what happened; None where all hold."""
    if outcome.status != "finished":
        return "warm worker", f"its first run {outcome.status}: {outcome.detail}"
    tried, memory, processor, environment, descriptors = outcome.values
    for attempt, result in tried.items():
        if result != "EPERM":
            return "system call filter", f"{attempt}: {result}"
    if memory != "MemoryError" or processor < 0:
        return "limits", f"memory: {memory}, processor time: {processor} s"
    if descriptors != [3]:
        return "system call filter", f"it can write to descriptors {descriptors}"
    if environment:
        return "clean process", f"environment {environment}"
    return None
