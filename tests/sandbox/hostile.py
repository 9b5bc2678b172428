"""Attacks on the sandbox: programs as a malicious peer would send them.

Each leaves what it achieved in `loot`. What is written in capitals is filled in by the test: the
path of a file with a secret, a port of the test's own that listens, a folder that anyone may
write to, numbers of system calls. `ENDS` says how each has to end: with loot to look at unless it
is named there. Loops are bounded, so that an attack which were to succeed would not end the
machine.
"""

from __future__ import annotations

TRY = """
loot = []
def attempt(action):
    try:
        loot.append(str(action()))
    except (Exception, SystemExit) as error:
        pass
"""

ATTACKS = {
    "shell": """
import os, subprocess, pty
attempt(lambda: os.system("touch OPEN_FOLDER/shell") == 0 and "ran")
attempt(lambda: subprocess.run(["/bin/sh", "-c", "id"], capture_output=True).stdout)
attempt(lambda: os.popen("id").read() and "ran")
attempt(lambda: os.posix_spawn("/bin/sh", ["sh", "-c", "touch OPEN_FOLDER/spawn"], {}))
""",
    "exec": """
import os
attempt(lambda: os.execv("/bin/sh", ["sh", "-c", "touch OPEN_FOLDER/exec"]))
""",
    "secrets": """
import os, io, linecache, glob, gc
attempt(lambda: open("SECRET_FILE").read())
attempt(lambda: os.environ["DGRPO_TEST_SECRET"])
attempt(lambda: open("/proc/self/environ").read())
attempt(lambda: open(f"/proc/{os.getppid()}/environ").read())
attempt(lambda: io.FileIO("SECRET_FILE").read())
attempt(lambda: os.read(os.open("SECRET_FILE", os.O_RDONLY), 100))
attempt(lambda: linecache.getlines("SECRET_FILE") or [][0])
attempt(lambda: glob.glob("/etc/*") or [][0])
attempt(lambda: open("/etc/passwd").read())
attempt(lambda: os.stat("SECRET_FILE"))
attempt(lambda: os.readlink("/proc/self/exe"))
attempt(lambda: os.listdir("/") or [][0])
for number in range(64):
    attempt(lambda: os.pread(number, 100, 0))
""",
    "write": """
import os, tempfile, shutil
attempt(lambda: open("OPEN_FOLDER/write", "w").write("x"))
attempt(lambda: tempfile.mkstemp(prefix="dgrpo-attack-"))
attempt(lambda: os.mkdir("OPEN_FOLDER/folder") or "made")
attempt(lambda: os.rename("SECRET_FILE", "OPEN_FOLDER/moved") or "moved")
attempt(lambda: os.unlink("SECRET_FILE") or "gone")
attempt(lambda: os.chmod("SECRET_FILE", 0o777) or "changed")
attempt(lambda: os.symlink("/etc/passwd", "OPEN_FOLDER/link") or "linked")
attempt(lambda: os.truncate("SECRET_FILE", 0) or "cut")
""",
    "network": """
import socket
attempt(lambda: socket.create_connection(("127.0.0.1", PORT)))
attempt(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", ("8.8.8.8", 53)))
attempt(lambda: socket.socket(socket.AF_UNIX))
attempt(lambda: socket.socketpair())
attempt(lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW))
attempt(lambda: socket.getaddrinfo("localhost", 80))
""",
    "fork bomb": """
import os, multiprocessing, threading
for _ in range(50):
    attempt(lambda: os.fork())
    attempt(lambda: os.forkpty())
attempt(lambda: multiprocessing.Process(target=print).start() or "started")
attempt(lambda: threading.Thread(target=print).start() or "started")
""",
    "daemon": """
import os, time
def leave():
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            time.sleep(1)
            open("OPEN_FOLDER/daemon", "w")
            os._exit(0)
        os._exit(0)
    return "left"
attempt(leave)
""",
    "kill": """
import os, signal, ctypes
attempt(lambda: os.kill(os.getppid(), signal.SIGKILL) or "killed")
attempt(lambda: os.kill(-1, signal.SIGKILL) or "killed")
attempt(lambda: os.kill(1, signal.SIGKILL) or "killed")
attempt(lambda: os.killpg(0, signal.SIGKILL) or "killed")
attempt(lambda: os.kill(TEST_PID, 0) or "found")
""",
    "ptrace": """
import ctypes, os
libc = ctypes.CDLL(None)
attempt(lambda: libc.ptrace(16, os.getppid(), 0, 0) == 0 and "attached" or [][0])
""",
    "memory": """
held = []
while True:
    held.append(bytearray(2**24))
""",
    "memory of small things": """
held = [()]
while True:
    held = held + held
""",
    "memory kept from the exception": """
held = []
for _ in range(20000):
    try:
        held.append(bytearray(2**20))
    except MemoryError:
        pass
while True:
    pass
""",
    "CPU loop": "while True:\n    pass",
    "CPU loop in C": "sum(range(10**12))",
    "CPU loop in one operation": "2 ** (2 ** 60)",
    "CPU loop past signals": """
import signal
for number in range(1, 64):
    attempt(lambda: signal.signal(number, signal.SIG_IGN) and [][0])
while True:
    try:
        while True:
            pass
    except BaseException:
        pass
""",
    "sleep": "import time\ntime.sleep(1000)",
    "output flood": "while True:\n    print('flood' * 1000)",
    "output flood past the exception": """
for _ in range(1000):
    try:
        print("flood" * 1000)
    except BaseException:
        pass
""",
    "output flood on descriptors": """
import os
for number in range(8):
    for _ in range(3000):
        attempt(lambda: os.write(number, b"flood" * 1000) and [][0])
""",
    "disk": """
import os, mmap, ctypes
attempt(lambda: open("OPEN_FOLDER/disk", "wb").write(bytes(2**24)))
attempt(lambda: os.memfd_create("disk"))
attempt(lambda: os.open("/tmp", os.O_TMPFILE | os.O_RDWR))
attempt(lambda: os.posix_fallocate(3, 0, 2**30) or "written")
attempt(lambda: os.mkfifo("OPEN_FOLDER/fifo") or "made")
""",
    "C crash": """
import ctypes
ctypes.string_at(0)
""",
    "C crash by recursion": """
import sys
sys.setrecursionlimit(10**8)
class Deep:
    def __repr__(self):
        return repr(self)
def down(): return down()
try:
    repr(Deep())
except RecursionError:
    down()
""",
    "abort": "import os\nos.abort()",
    "forged exit": "import os\nos._exit(0)",
    "forged exit by exception": "raise SystemExit('all tests passed')",
    "exit at the end": "import atexit, os\natexit.register(os._exit, 0)\nraise KeyboardInterrupt",
    "executable memory": """
import ctypes, mmap
attempt(lambda: mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC))
""",
    "system calls by number": """
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
X32 = 0x40000000
for number in range(600):
    for call in (number, X32 | number):
        if call in (ALLOWED_NUMBERS) or call in (FATAL_NUMBERS) or call in (UNFILTERED_NUMBERS):
            continue
        for argument in (0, -1):  # the kernel itself forbids some of them with the one or the other
            ctypes.set_errno(0)
            result = libc.syscall(call, *[ctypes.c_long(argument)] * 6)
            if result != -1 or ctypes.get_errno() != 1:
                loot.append(f"system call {call}({argument}): {result}, {ctypes.get_errno()}")
""",
    "clocks of other processes": """
import ctypes, os, time
libc = ctypes.CDLL(None)
for process in (TEST_PID, os.getppid(), 1, 2):
    for which in range(8):
        clock = (~process << 3) | which
        attempt(lambda: time.clock_gettime(clock))
        attempt(lambda: time.clock_getres(clock))
        attempt(lambda: libc.clock_nanosleep(clock, 0, ctypes.create_string_buffer(16), None) or 0)
for clock in range(12, 4096):
    attempt(lambda: time.clock_gettime(clock))
loot = [found for found in loot if found not in ("1", "3", "22", "95")]  # libc says why it failed
""",
    "processors of other processes": """
import os
for process in (TEST_PID, os.getppid(), 2):
    if process:  # 0, where it has no parent, is itself
        attempt(lambda: os.sched_getaffinity(process))
""",
    "weaken the jail": """
import ctypes, resource, os
libc = ctypes.CDLL(None, use_errno=True)
attempt(lambda: resource.setrlimit(resource.RLIMIT_CPU, (1000, 1000)) or "raised")
attempt(lambda: libc.prctl(38, 0, 0, 0, 0) == 0 and "cleared" or [][0])
attempt(lambda: libc.prctl(22, 0, 0, 0, 0) == 0 and "cleared" or [][0])
attempt(lambda: os.setuid(0) or "root")
attempt(lambda: os.setuid(os.getuid()) or "allowed")
""",
    "leave the namespaces": """
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
attempt(lambda: libc.setns(3, 0) == 0 and "left" or [][0])
""",
    "catch everything": """
import sys
class Sticky(dict):
    pass
sys.excepthook = lambda *values: None
sys.settrace(lambda *values: 1 / 0)
raise BaseException
""",
    "close the channel": """
import os
os.closerange(0, 1024)
import socket
attempt(lambda: os.dup2(3, 4) and [][0])
""",
    "garbage on the channel": "import os\nos.write(3, b'\\xff' * 1000)\nwhile True:\n    pass",
    "a frame of 4 GiB": "import os\nos.write(3, b'\\xff\\xff\\xff\\xff' + b'x' * 100)",
    "half a frame": "import os\nos.write(3, b'\\x00\\x00\\x10')\nos._exit(0)",
    "a frame nested too deep": """
import os
body = b'[' * 100000
os.write(3, len(body).to_bytes(4, "big") + body)
""",
    "a frame that is no report": """
import os
body = b'{"status": "promoted", "printed": 3, "values": {}, "detail": null}'
os.write(3, len(body).to_bytes(4, "big") + body)
""",
    "a question instead of a report": """
import os
body = b'{"ask": {"arguments": ["list"], "keywords": ["dict"]}}'
os.write(3, len(body).to_bytes(4, "big") + body)
""",
    "introspection": """
import gc, sys
frame = sys._getframe()
while frame:
    for name, value in list(frame.f_locals.items()):
        if "DGRPO_TEST_" + "SECRET" in str(value)[:100000] and name != "name":
            loot.append(name)
    frame = frame.f_back
attempt(lambda: [o for o in gc.get_objects() if type(o).__name__ == "Jail"][0])
""",
}
"""By name: of the corpus that chose the design those that want out of it, and more. What fakes a
reward is in test_unit_tests.py, where there is something to gain."""

ENDS = {
    "exec": {"denied"},
    "ptrace": {"denied"},
    "leave the namespaces": {"denied"},
    "memory": {"memory"},
    "memory of small things": {"memory"},
    "memory kept from the exception": {"timeout"},
    "CPU loop": {"timeout"},
    "CPU loop in C": {"timeout"},
    "CPU loop in one operation": {"timeout", "memory"},  # which comes first
    "CPU loop past signals": {"timeout"},
    "sleep": {"timeout"},
    "output flood": {"output"},
    "output flood past the exception": {"output"},
    "output flood on descriptors": {"output"},
    "C crash": {"killed"},
    "C crash by recursion": {"killed", "memory", "timeout"},  # where Python's stack is not C's
    "abort": {"killed"},
    "forged exit": {"killed"},
    "forged exit by exception": {"raised"},
    "exit at the end": {"raised"},
    "catch everything": {"killed"},
    "garbage on the channel": {"output"},
    "a frame of 4 GiB": {"output"},
    "half a frame": {"killed"},
    "a frame nested too deep": {"output"},
    "a frame that is no report": {"output"},
    "a question instead of a report": {"output"},
}
"""How a worker's run of an attack ends; any other is `finished`, so that its loot can be read."""

_ALLOWED_NAMES = """brk munmap mremap madvise futex set_robust_list rseq restart_syscall
rt_sigaction rt_sigprocmask rt_sigreturn sigaltstack
clock_gettime clock_getres gettimeofday time times getrusage nanosleep clock_nanosleep sched_yield
getpid gettid getppid getuid geteuid getgid getegid sched_getaffinity getrandom
exit exit_group read write mmap mprotect prlimit64"""
ALLOWED_CALLS = frozenset(_ALLOWED_NAMES.split())
"""The system calls that may get through. Written down twice on purpose: whoever lets another one
through has to say so here, too."""

_FATAL_NAMES = """execve execveat ptrace process_vm_readv process_vm_writev bpf mount umount2
pivot_root chroot setns unshare init_module finit_module kexec_load io_uring_setup userfaultfd
perf_event_open keyctl add_key reboot"""
FATAL_CALLS = frozenset(_FATAL_NAMES.split())
"""Those that end a run: each is tried in a run of its own."""

UNFILTERED_NUMBERS = (335, 336)
"""`uretprobe` and `uprobe` of x86-64: new kernels let them past every filter, and end whoever calls
them with SIGILL unless a tracer has put a probe there."""
