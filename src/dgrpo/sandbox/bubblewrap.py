"""Bubblewrap around the worker: a second fence, in place before any code of the worker runs.

The worker then sees the interpreter, the system's libraries and nothing else; no network, no other
process. Its own jail stands inside; without bubblewrap that holds just as well.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

INSIDE = "/inside"
"""Where the worker's code stands in there."""


def command(inside: Path, interpreter: str) -> list[str]:
    """The words before the worker's own command line."""
    wrapped = [
        shutil.which("bwrap") or "bwrap",
        "--unshare-pid",
        "--unshare-net",
        "--unshare-ipc",
        "--unshare-uts",
        "--unshare-cgroup-try",
        "--new-session",
        "--die-with-parent",
        "--cap-drop",
        "ALL",
        "--proc",
        "/proc",
        "--dir",
        "/tmp",  # where the worker makes its empty root
    ]
    if os.geteuid() == 0:  # to become nobody, and to leave for an empty root, once it is warm
        for capability in ("CAP_SETUID", "CAP_SETGID", "CAP_SYS_ADMIN"):
            wrapped += ["--cap-add", capability]
    else:
        wrapped += ["--unshare-user"]
    for folder in _needed(interpreter):
        wrapped += ["--ro-bind", folder, folder]
    for folder in ("/bin", "/lib", "/lib64"):
        if os.path.islink(folder):
            wrapped += ["--symlink", os.readlink(folder), folder]
        elif os.path.isdir(folder):
            wrapped += ["--ro-bind", folder, folder]
    wrapped += ["--ro-bind-try", "/etc/ld.so.cache", "/etc/ld.so.cache"]
    return [*wrapped, "--ro-bind", str(inside), INSIDE, "--chdir", "/", "--"]


def missing() -> str:
    """Why bubblewrap cannot be used here; nothing where it can."""
    if shutil.which("bwrap") is None:
        return "it is not installed"
    return _attempt(os.path.realpath(sys.executable))


@cache
def _attempt(interpreter: str) -> str:
    words = command(Path(__file__).parent / "inside", interpreter)
    try:
        tried = subprocess.run(
            [*words, interpreter, "-S", "-c", "pass"],
            env={},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    return "" if tried.returncode == 0 else (tried.stderr.strip() or "it fails")


def _needed(interpreter: str) -> list[str]:
    """Folders without which the interpreter does not start, outermost first, none twice."""
    wanted = {"/usr", os.path.realpath(sys.base_prefix), str(Path(interpreter).parent.parent)}
    outermost: list[str] = []
    for folder in sorted(wanted):
        inside_another = any(folder.startswith(outer.rstrip("/") + "/") for outer in outermost)
        if os.path.isdir(folder) and folder != "/" and not inside_another:
            outermost.append(folder)
    return outermost
