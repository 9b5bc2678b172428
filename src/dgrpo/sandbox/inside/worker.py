"""The warm worker: an interpreter with the standard library in memory that forks a child per run.

It is started by a fresh exec with an empty environment, so its memory never held anything of the
trainer; and it never reads a program: every run gets a channel of its own straight to the trainer,
which the worker only passes on. It answers three requests on its control socket, one at a time:
`prepare`, `start` (with the run's channel) and `end`. When the trainer goes away, so does it.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import signal
import socket
import sys
from typing import Any

from dgrpo.sandbox.inside import frames
from dgrpo.sandbox.inside.frames import Descriptor
from dgrpo.sandbox.inside.harness import Harness
from dgrpo.sandbox.inside.jail import CHANNEL, Jail, Limits, leave_the_host
from dgrpo.sandbox.inside.library import FromMemory, warm_up

_MOST_BYTES = 65536


def serve(control: socket.socket) -> None:
    """Answer the trainer's requests until it closes the control socket."""
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGPIPE):
        signal.signal(number, signal.SIG_IGN)
    os.environ.clear()
    request, _ = _receive(control)
    memory = warm_up()
    jail = Jail(
        bytes.fromhex(request["filter"]),
        Limits(request["cpu_seconds"], request["memory_mb"]),
        request["namespaces"],
    )
    layers = leave_the_host()
    layers["namespaces"] = jail.try_namespaces()
    gc.collect()
    gc.freeze()  # a child's collector leaves these pages alone, so they stay shared
    _reply(control, {"layers": layers, "version": sys.version_info[:3]})
    running: dict[int, int] = {}
    try:
        while True:
            request, descriptors = _receive(control)
            if "start" in request:
                channel = descriptors[0]
                _reply(control, _start(request["start"], channel, control, jail, memory, running))
                os.close(channel)
            else:
                _reply(control, _end(running.pop(request["end"])))
    except EOFError:
        for pid in running.values():
            _end(pid)


def _start(
    run: int,
    channel: int,
    control: socket.socket,
    jail: Jail,
    memory: FromMemory,
    running: dict[int, int],
) -> dict[str, Any]:
    try:
        pid = jail.spawn()
    except OSError as error:
        return {"failed": str(error)}
    if pid == 0:
        _play(channel, jail, memory)
    running[run] = pid
    return {"started": run}


def _play(channel: int, jail: Jail, memory: FromMemory) -> None:
    """In the child: raise the walls, then run. Never returns."""
    try:
        wall = Descriptor(channel)
        jail.confine(channel)
        wall = Descriptor(CHANNEL)
        wall.sendall(frames.pack({"ready": True}))
    except BaseException as error:
        with contextlib.suppress(BaseException):
            wall.sendall(frames.pack({"ready": False, "problem": repr(error)}))
        os._exit(1)
    try:
        for number in (signal.SIGINT, signal.SIGHUP, signal.SIGPIPE):
            signal.signal(number, signal.SIG_DFL)
        Harness(wall, memory).play()
    finally:
        os._exit(1)


def _end(pid: int) -> dict[str, Any]:
    """Kill a run if it still lives, and say how it ended."""
    os.kill(pid, signal.SIGKILL)
    _, status, usage = os.wait4(pid, 0)
    return {
        "signal": os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0,
        "code": os.WEXITSTATUS(status) if os.WIFEXITED(status) else 0,
        "cpu_ms": round(1000 * (usage.ru_utime + usage.ru_stime)),
    }


def _receive(control: socket.socket) -> tuple[dict[str, Any], list[int]]:
    message, descriptors, _, _ = socket.recv_fds(control, _MOST_BYTES, 1)
    if not message:
        raise EOFError
    return json.loads(message), descriptors


def _reply(control: socket.socket, answer: dict[str, Any]) -> None:
    try:
        control.send(json.dumps(answer).encode())
    except OSError as error:
        raise EOFError from error
