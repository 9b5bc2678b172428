"""The engine of choice: programs in forks of warm, jailed CPython workers (Linux)."""

from __future__ import annotations

import signal
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from queue import LifoQueue
from typing import Any

from dgrpo.sandbox import bubblewrap, system_calls
from dgrpo.sandbox.engine import Sandbox
from dgrpo.sandbox.inside import frames, plain
from dgrpo.sandbox.programs import Examination, Failed, Outcome, Program
from dgrpo.sandbox.proof import PROBE, broken_layer
from dgrpo.sandbox.settings import SandboxBroken, SandboxSettings, SandboxUnavailable
from dgrpo.sandbox.worker_process import Run, WorkerFault, WorkerProcess

_ATTEMPTS = 3
"""Of a program whose worker fails, or whose run is killed from outside."""
_MOST_CALLS = 10_000
"""Calls of the candidate by its tests; HumanEval's longest make about a thousand."""

_REPORTED = ("finished", "raised", "memory", "output")
_Job = Callable[[WorkerProcess], Outcome]


class _ClockTimeout(Exception):  # noqa: N818
    """A run was out of time by the clock: it slept, or the machine had no time for it."""


class WorkerSandbox(Sandbox):
    """A pool of workers and a thread for each."""

    def __init__(self, settings: SandboxSettings) -> None:
        """Start one worker and prove its walls; the others start when first needed.

        Raises SandboxUnavailable.
        """
        self._settings = settings
        self._filter = system_calls.program()
        self._wrap = _use_bubblewrap(settings)
        self._started: set[WorkerProcess] = set()
        self._proved: dict[str, bool] = {}
        first = self._start_first()
        self._prove(first)
        self._proved = first.layers
        self.layers = _layers(first.layers)
        self._idle: LifoQueue[WorkerProcess | None] = LifoQueue()
        for _ in range(settings.parallel - 1):
            self._idle.put(None)
        self._idle.put(first)
        self._threads = ThreadPoolExecutor(settings.parallel, thread_name_prefix="sandbox")
        self._closed = False

    def run(self, programs: Sequence[Program]) -> list[Outcome]:
        """As Sandbox.run."""
        return self._each([partial(_play, program=program) for program in programs])

    def examine(self, examinations: Sequence[Examination]) -> list[Outcome]:
        """As Sandbox.examine: two runs in one worker, and this process between them."""
        return self._each([partial(_examine, examination=one) for one in examinations])

    def close(self) -> None:
        """As Sandbox.close."""
        if self._closed:
            return
        self._closed = True
        self._threads.shutdown()
        while not self._idle.empty():
            worker = self._idle.get()
            if worker is not None:
                worker.close()

    def abandon(self) -> None:
        """As Sandbox.abandon."""
        self._closed = True
        for worker in self._started:
            worker.abandon()

    def _each(self, jobs: Sequence[_Job]) -> list[Outcome]:
        if self._closed:
            raise SandboxBroken("this sandbox is closed", remedy="open another")
        return list(self._threads.map(self._persist, jobs))

    def _persist(self, job: _Job) -> Outcome:
        """The job's outcome; its faults are tried again on a fresh worker.

        A program that takes every worker down with it while others run is to blame itself, and so
        is one that is out of time twice by the clock while others are not.
        """
        worker = self._idle.get()
        blamed: Outcome | None = None
        late = False
        try:
            for _ in range(_ATTEMPTS):
                try:
                    worker = worker or self._start()
                    return job(worker)
                except _ClockTimeout:
                    if late:
                        blamed = Outcome("timeout", detail="out of time by the clock, twice")
                        break
                    late = True
                except WorkerFault as error:
                    blamed = Outcome("killed", detail=f"every worker it ran in failed: {error}")
                    self._end(worker)
                    worker = None
            for last in (False, True):
                try:
                    worker = worker or self._start()
                    _play(worker, PROBE)
                    break
                except WorkerFault as error:
                    self._end(worker)
                    worker = None
                    if last:
                        raise SandboxBroken(
                            f"sandbox workers fail: {error}",
                            remedy="look for memory or process limits of this machine or container",
                        ) from error
                except _ClockTimeout as error:
                    raise self._starved() from error
            assert blamed is not None  # of three attempts at most one was late and went on
            return blamed
        finally:
            self._idle.put(worker)

    def _start(self) -> WorkerProcess:
        """A worker; after the first, one that has every layer which that one was proved to have."""
        worker = WorkerProcess(self._settings, self._filter, self._wrap)
        lost = [name for name, holds in self._proved.items() if holds and not worker.layers[name]]
        if lost:
            worker.close()
            raise WorkerFault(f"a new one lacks what the first had: {', '.join(lost)}")
        self._started.add(worker)
        return worker

    def _end(self, worker: WorkerProcess | None) -> None:
        if worker is not None:
            worker.close()
            self._started.discard(worker)

    def _start_first(self) -> WorkerProcess:
        try:
            return self._start()
        except WorkerFault as error:
            raise SandboxUnavailable(
                "warm worker",
                str(error),
                remedy="run dgrpo with an interpreter that starts with -S, or engine = 'monty'",
            ) from error

    def _starved(self) -> SandboxBroken:
        return SandboxBroken(
            "a program that does nothing takes longer than "
            f"sandbox.wall_seconds = {self._settings.wall_seconds:g}",
            remedy="raise it, or leave the machine more time for it",
        )

    def _prove(self, worker: WorkerProcess) -> None:
        try:
            outcome = _play(worker, PROBE)
        except WorkerFault as error:
            worker.close()
            raise SandboxUnavailable("warm worker", str(error), remedy=_REMEDY) from error
        except _ClockTimeout as error:
            worker.close()
            raise self._starved() from error  # no reason to take another engine
        broken = broken_layer(outcome)
        if self._settings.namespaces == "always" and not worker.layers["namespaces"]:
            broken = ("namespaces", "the kernel or the container refuses them")
        if broken:
            worker.close()
            raise SandboxUnavailable(*broken, remedy=_REMEDY)


_REMEDY = "allow it on this machine, or use the portable engine: engine = 'monty'"


def _use_bubblewrap(settings: SandboxSettings) -> bool:
    if settings.bubblewrap == "never":
        return False
    missing = bubblewrap.missing()
    if missing and settings.bubblewrap == "always":
        raise SandboxUnavailable(
            "bubblewrap", missing, remedy="install bubblewrap, or set bubblewrap = 'auto'"
        )
    return not missing


def _layers(held: dict[str, bool]) -> tuple[str, ...]:
    always = ("system call filter", "limits", "warm worker")
    return (*(name for name, holds in held.items() if holds), *always)


def _task(program: Program, **more: Any) -> dict[str, Any]:
    return {
        "sources": [program.source],
        "libraries": {library.name: library.source for library in program.libraries},
        "expressions": list(program.expressions),
        "seed": program.seed,
        "names": [],
        "stay": False,
        **more,
    }


def _play(worker: WorkerProcess, program: Program) -> Outcome:
    with worker.open() as run:
        try:
            run.send(_task(program))
            return _read_report(run.receive(), len(program.expressions))
        except (frames.Closed, frames.Malformed, plain.NotPlain, TimeoutError) as error:
            return _gone(run, error)


def _examine(worker: WorkerProcess, examination: Examination) -> Outcome:
    tests = Program("", expressions=())
    with worker.open() as candidate, worker.open() as examiner:
        try:
            candidate.send(_task(examination.candidate, stay=True))
            report = _read_report(candidate.receive(), 0)
        except (frames.Closed, frames.Malformed, plain.NotPlain, TimeoutError) as error:
            return _gone(candidate, error)
        if report.status != "finished":
            return report
        try:
            names = ["candidate", examination.function]
            examiner.send(_task(tests, sources=list(examination.tests), names=names))
            for _ in range(_MOST_CALLS):
                frame = examiner.receive()
                if "ask" not in frame:
                    return _read_report(frame, 0)
                try:
                    answer = _call(candidate, examination.function, frame["ask"])
                except (frames.Closed, frames.Malformed, plain.NotPlain, TimeoutError) as error:
                    return _gone(candidate, error)
                examiner.send(answer)
        except (frames.Closed, frames.Malformed, TimeoutError) as error:
            return _gone(examiner, error)
    return Outcome("timeout", detail=f"the tests made more than {_MOST_CALLS} calls")


def _call(candidate: Run, function: str, question: dict[str, Any]) -> dict[str, Any]:
    """The candidate's answer, read and written anew: nothing of its own making passes."""
    candidate.send({"call": function, **question})
    answer = _read_value(candidate.receive())
    if isinstance(answer, Failed):
        return {"raised": [answer.kind, answer.message]}
    return {"value": plain.encode(answer)}


def _read_report(frame: dict[str, Any], expressions: int) -> Outcome:
    """The outcome that a run claims. Raises Malformed or NotPlain."""
    status, printed, detail = (frame.get(key) for key in ("status", "printed", "detail"))
    values = frame.get("values")
    if not (
        status in _REPORTED
        and type(printed) is str
        and type(detail) is str
        and type(values) is list
        and len(values) == (expressions if status == "finished" else len(values))
    ):
        raise frames.Malformed("not a report")
    kept = tuple(_read_value(value) for value in values) if status == "finished" else ()
    return Outcome(status, _legible(printed), kept, _legible(detail)[:1000])


def _read_value(answer: object) -> Any:
    match answer:
        case {"raised": [str(kind), str(message)]}:
            return Failed(_legible(kind)[:100], _legible(message)[:1000])
        case {"value": value}:
            return plain.decode_claim(value)
    raise frames.Malformed("not an answer")


def _legible(text: str) -> str:
    """At most 64 KiB, without lone surrogates."""
    return (
        text[: plain.MOST_BYTES]
        .encode(errors="replace")[: plain.MOST_BYTES]
        .decode(errors="ignore")
    )


def _gone(run: Run, error: Exception) -> Outcome:
    """The outcome of a run that ended without a report. Raises WorkerFault, or _ClockTimeout."""
    if isinstance(error, (frames.Malformed, plain.NotPlain)):
        return Outcome("output", detail=str(error))
    end = run.end()
    if isinstance(error, TimeoutError):
        raise _ClockTimeout
    if end.signal == signal.SIGSYS:
        return Outcome("denied", detail="killed for a forbidden system call")
    if end.out_of_time:
        return Outcome("timeout", detail="out of processor time")
    if end.signal == signal.SIGKILL:  # no program can: the machine ran out of memory
        raise WorkerFault("a run was killed from outside")
    if end.signal:
        return Outcome("killed", detail=f"by signal {end.signal}")
    return Outcome("killed", detail="it left without a report")
