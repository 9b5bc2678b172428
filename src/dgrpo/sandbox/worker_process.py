"""One warm worker, as the trainer holds it: start it, open runs in it, close it.

Faults of the worker are `WorkerFault`: the engine starts a fresh one and tries again. What a run
does or says is never a fault.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any

from dgrpo.sandbox import bubblewrap
from dgrpo.sandbox.inside import frames
from dgrpo.sandbox.settings import SandboxSettings

INSIDE = Path(__file__).parent / "inside"
_STARTING_SECONDS = 60.0
_ANSWER_SECONDS = 20.0
_MOST_BYTES = 65536
_LEFT = 5.0
"""Seconds that a worker gets to leave on its own once its control socket is closed."""

_BOOTSTRAP = """
import socket, sys, types
for name, path in (("dgrpo", []), ("dgrpo.sandbox", []), ("dgrpo.sandbox.inside", [{inside!r}])):
    sys.modules[name] = package = types.ModuleType(name)
    package.__path__ = path
from dgrpo.sandbox.inside.worker import serve
serve(socket.socket(fileno={control}))
"""
"""Loads the far side alone, without the package around it and without site-packages."""


class WorkerFault(Exception):  # noqa: N818
    """The worker, not a run in it, failed."""


@dataclass(frozen=True)
class End:
    """How a run's process ended. `signal` 0 and `code` 0 for one that left on its own."""

    signal: int
    code: int
    out_of_time: bool
    """The kernel killed it, and it had used most of its processor time."""


class Run:
    """One run in a worker: its channel, and its deadline. Killed when the block is left."""

    def __init__(self, channel: socket.socket, wall_seconds: float, end: Callable[[], End]) -> None:
        self._channel = channel
        self._deadline = time.monotonic() + wall_seconds
        self._end = end
        self._ended: End | None = None

    def send(self, frame: dict[str, Any]) -> None:
        """Send a frame. Raises Closed, or TimeoutError at the run's deadline."""
        self._hurry()
        try:
            self._channel.sendall(frames.pack(frame))
        except ConnectionError as error:
            raise frames.Closed from error

    def receive(self) -> dict[str, Any]:
        """The next frame. Raises Closed, Malformed, or TimeoutError at the run's deadline."""
        return frames.receive(self._channel, frames.MOST_BYTES, self._hurry)

    def end(self) -> End:
        """Kill the run if it lives; how it ended. Raises WorkerFault."""
        if self._ended is None:
            self._channel.close()
            self._ended = self._end()
        return self._ended

    def _hurry(self) -> None:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self._channel.settimeout(left)

    def __enter__(self) -> Run:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._channel.close()
        if kind is None or not issubclass(kind, WorkerFault):
            self.end()


class WorkerProcess:
    """A started worker. Used by one thread at a time; it may hold several runs at once."""

    def __init__(self, settings: SandboxSettings, filter_program: bytes, wrap: bool) -> None:
        """Start it and wait until it is warm. Raises WorkerFault."""
        self._settings = settings
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            try:
                self._process = subprocess.Popen(
                    _command(theirs.fileno(), wrap),
                    pass_fds=[theirs.fileno()],
                    env={"PYTHONHASHSEED": "0"},  # the only thing it is told; sets keep their order
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    cwd="/",
                    start_new_session=True,
                )
            except OSError as error:  # no process or memory left
                self._control.close()
                raise WorkerFault(f"it cannot be started: {error.strerror or error}") from error
        try:
            ready = self._request(
                {
                    "filter": filter_program.hex(),
                    "cpu_seconds": settings.cpu_seconds,
                    "memory_mb": settings.memory_mb,
                    "namespaces": settings.namespaces != "never",
                },
                seconds=_STARTING_SECONDS,
            )
        except WorkerFault:
            self.close()
            raise
        self.layers: dict[str, bool] = {"bubblewrap": wrap, **ready["layers"]}
        """Which of the layers that depend on the machine hold."""

    @property
    def pid(self) -> int:
        """Of the worker, or of bubblewrap around it."""
        return self._process.pid

    def open(self) -> Run:
        """A fresh process in its jail, waiting for a task. Raises WorkerFault."""
        number = secrets.randbits(48)  # a program can read it: it must not count the runs before
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        with theirs:
            try:
                answer = self._request({"start": number}, [theirs.fileno()])
            except WorkerFault:
                ours.close()
                raise
        if "failed" in answer:
            ours.close()
            raise WorkerFault(f"it could not fork: {answer['failed']}")
        self._wait_for_the_jail(ours)
        return Run(ours, self._settings.wall_seconds, partial(self._end, number))

    def _wait_for_the_jail(self, channel: socket.socket) -> None:
        """The run's first frame; sent before any of the program, so it is believed."""
        channel.settimeout(_ANSWER_SECONDS)
        try:
            frame = frames.receive(channel, frames.MOST_BYTES)
        except (frames.Closed, frames.Malformed, TimeoutError) as error:
            channel.close()
            raise WorkerFault(f"a jail was not closed: {error!r}") from error
        if not frame.get("ready"):
            channel.close()
            raise WorkerFault(f"a jail was not closed: {frame.get('problem')}")

    def stop(self) -> None:
        """Make it end whatever runs in it, and itself; from any thread, without waiting."""
        with contextlib.suppress(OSError):
            self._control.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """End the worker and whatever runs in it. May be called again."""
        self._control.close()
        try:
            self._process.wait(_LEFT)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def abandon(self) -> None:
        """Let go without ending it: in a forked child, which does not own it."""
        self._control.close()
        self._process.returncode = 0  # not ours to wait for

    def _end(self, number: int) -> End:
        answer = self._request({"end": number})
        # the kernel counts for its limit what it does not all report: 0.8 to 1.0 of it was seen
        most = answer["cpu_ms"] > 500 * self._settings.cpu_seconds
        killed = answer["signal"] in (signal.SIGKILL, signal.SIGXCPU)
        return End(answer["signal"], answer["code"], killed and most)

    def _request(
        self, message: dict[str, Any], channels: list[int] | None = None, seconds: float = 0
    ) -> dict[str, Any]:
        self._control.settimeout(seconds or _ANSWER_SECONDS)
        try:
            socket.send_fds(self._control, [json.dumps(message).encode()], channels or [])
            answer = self._control.recv(_MOST_BYTES)
        except OSError as error:
            raise WorkerFault(f"it does not answer: {error!r}") from error
        if not answer:
            code = None
            with contextlib.suppress(subprocess.TimeoutExpired):
                code = self._process.wait(1.0)
            raise WorkerFault(f"it ended by itself, with code {code}")
        parsed: dict[str, Any] = json.loads(answer)
        return parsed


def _command(control: int, wrap: bool) -> list[str]:
    inside = bubblewrap.INSIDE if wrap else str(INSIDE)
    # the base interpreter: a virtual environment's would look for its pyvenv.cfg
    interpreter = os.path.realpath(sys.executable)
    command = [
        interpreter,
        "-s",  # no user site-packages
        "-S",  # no site-packages
        "-P",  # nothing from the working directory
        "-B",  # write no bytecode
        "-X",
        "utf8",
        "-c",
        _BOOTSTRAP.format(inside=inside, control=control),
    ]
    # if memory runs out, the kernel ends the worker or a run, never the trainer
    first = ["/bin/sh", "-c", 'echo 1000 >/proc/self/oom_score_adj; exec "$@"', "sh"]
    return [*first, *(bubblewrap.command(INSIDE, interpreter) if wrap else []), *command]
