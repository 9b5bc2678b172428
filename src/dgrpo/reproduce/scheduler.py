"""Play many runs with a few worker processes: a failed run stops nobody, Ctrl-C stops all.

One fresh process per run, so that a run which is killed or runs out of memory takes no other with
it. Leaves out: which runs to play (`matrix`) and how progress looks (`display`).
"""

from __future__ import annotations

import multiprocessing
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Any, Protocol

from dgrpo.reproduce.matrix import Task
from dgrpo.reproduce.worker import Assignment, Ended, Line, play

_GRACE = 10.0
"""Seconds that a worker gets to end by itself before it is killed."""


class Listener(Protocol):
    """What is told of the progress."""

    def started(self, task: Task) -> None:
        """A worker has begun."""
        ...

    def measured(self, task: Task, line: Line) -> None:
        """A point of a run was measured, or read from an interrupted run."""
        ...

    def ended(self, task: Task, problem: str) -> None:
        """A run is finished, or failed where `problem` says something."""
        ...


@dataclass(frozen=True)
class Failure:
    """A run that did not finish."""

    task: Task
    problem: str
    log: Path


@dataclass
class Outcome:
    """What became of the tasks."""

    finished: list[Task] = field(default_factory=list)
    failed: list[Failure] = field(default_factory=list)
    not_started: list[Task] = field(default_factory=list)
    """Those for which no time was left."""


@dataclass
class _Worker:
    task: Task
    process: SpawnProcess
    connection: Connection
    log: Path
    ended: Ended | None = None


def run_folder(out: Path, task: Task) -> Path:
    """The experiment's folder under `out`."""
    return out / f"{task.experiment.name}-{task.experiment.digest[:8]}"


def _log_of(out: Path, task: Task) -> Path:
    """Where what a run prints is written."""
    return out / "logs" / f"{run_folder(out, task).name}-seed-{task.seed}.log"


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


@contextmanager
def _handling(number: signal.Signals, handler: Any) -> Iterator[None]:
    """A signal goes to `handler` inside; nothing changes where this is not the main thread."""
    try:
        before = signal.signal(number, handler)
    except ValueError:
        yield
        return
    try:
        yield
    finally:
        signal.signal(number, before)


@_handling(signal.SIGTERM, _interrupt)
def play_all(
    tasks: Sequence[Task],
    out: Path,
    workers: int,
    listener: Listener,
    *,
    threads: int = 1,
    seconds: float | None = None,
) -> Outcome:
    """Play `tasks` in order, `workers` at a time; none is started after `seconds`.

    KeyboardInterrupt passes through once every worker has ended; all runs can be resumed. SIGTERM
    does the same: a command in a shell's background hears no Ctrl-C.
    """
    started, outcome = time.monotonic(), Outcome()
    waiting, busy = list(tasks), list[_Worker]()
    try:
        while waiting or busy:
            if seconds is not None and time.monotonic() - started > seconds:
                outcome.not_started, waiting = [*outcome.not_started, *waiting], []
            while waiting and len(busy) < workers:
                task = waiting[0]
                try:
                    worker = _start(task, out, threads)
                except OSError as error:
                    if busy:
                        break  # room comes when one of them ends
                    problem = f"no process could be started: {error}; end others, or allow more"
                    outcome.failed.append(Failure(task, problem, _log_of(out, task)))
                else:
                    busy.append(worker)
                    listener.started(task)
                waiting.pop(0)
            wait([w.connection for w in busy] + [w.process.sentinel for w in busy], timeout=1.0)
            for worker in list(busy):
                _listen(worker, listener)
                if worker.process.exitcode is not None:
                    _listen(worker, listener)  # what it sent before it ended
                    busy.remove(worker)
                    _close(worker, outcome, listener)
    finally:
        _end(busy)
    return outcome


def _start(task: Task, out: Path, threads: int) -> _Worker:
    folder, log = run_folder(out, task), _log_of(out, task)
    assignment = Assignment(task.experiment.resolved(), task.seed, str(folder), str(log), threads)
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=play, args=(assignment, theirs), name=task.title)
    # inherited, so that Ctrl-C reaches no half-started worker
    with _handling(signal.SIGINT, signal.SIG_IGN):
        process.start()
    theirs.close()
    return _Worker(task, process, ours, log)


def _listen(worker: _Worker, listener: Listener) -> None:
    """Take in everything that the worker has sent so far."""
    try:
        while worker.connection.poll():
            message = worker.connection.recv()
            if isinstance(message, Line):
                listener.measured(worker.task, message)
            elif isinstance(message, Ended):
                worker.ended = message
    except (EOFError, OSError):
        worker.process.join(_GRACE)  # it closed its end: it is about to exit


def _close(worker: _Worker, outcome: Outcome, listener: Listener) -> None:
    problem = _problem(worker)
    if problem:
        outcome.failed.append(Failure(worker.task, problem, worker.log))
    else:
        outcome.finished.append(worker.task)
    worker.connection.close()
    worker.process.close()
    listener.ended(worker.task, problem)


def _problem(worker: _Worker) -> str:
    if worker.ended is not None:
        return worker.ended.problem
    code = worker.process.exitcode or 0
    if code < 0:
        return f"the process was killed by {signal.Signals(-code).name} (out of memory?)"
    return f"the process ended with exit code {code} and no word"


def _end(workers: Sequence[_Worker]) -> None:
    """Ask every worker to end, and kill those that do not."""
    for worker in workers:
        worker.process.terminate()
    deadline = time.monotonic() + _GRACE
    for worker in workers:
        worker.process.join(max(0.0, deadline - time.monotonic()))
        if worker.process.exitcode is None:
            worker.process.kill()
            worker.process.join()
        worker.connection.close()
