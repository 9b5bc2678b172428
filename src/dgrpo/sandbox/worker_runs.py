"""One run or examination in a worker: what is sent, what is read, and what it came to.

Whatever a run says is a claim. Faults of the worker are raised, never turned into an outcome.
"""

from __future__ import annotations

import signal
from typing import Any

from dgrpo.sandbox.inside import frames, plain
from dgrpo.sandbox.programs import Examination, Failed, Outcome, Program
from dgrpo.sandbox.worker_process import Run, WorkerFault, WorkerProcess

_MOST_CALLS = 10_000
"""Calls of the candidate by its tests; HumanEval's longest make about a thousand."""
_REPORTED = ("finished", "raised", "memory", "output")


class ClockTimeout(Exception):  # noqa: N818
    """A run was out of time by the clock: it slept, or the machine had no time for it."""


def play(worker: WorkerProcess, program: Program) -> Outcome:
    """The outcome of a program. Raises WorkerFault and ClockTimeout."""
    with worker.open() as run:
        try:
            run.send(_task(program))
            return _read_report(run.receive(), len(program.expressions))
        except (frames.Closed, frames.Malformed, plain.NotPlain, TimeoutError) as error:
            return _gone(run, error)


def examine(worker: WorkerProcess, examination: Examination) -> Outcome:
    """The outcome of the tests: two runs in one worker, and this process between them.

    Raises as `play`.
    """
    tests = Program("", name=examination.candidate.name)
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


def _task(program: Program, **more: Any) -> dict[str, Any]:
    return {
        "sources": [program.source],
        "libraries": {library.name: library.source for library in program.libraries},
        "expressions": list(program.expressions),
        "seed": program.seed,
        "name": program.name,
        "names": [],
        "stay": False,
        **more,
    }


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
    """The outcome of a run that ended without a report. Raises WorkerFault, or ClockTimeout."""
    if isinstance(error, (frames.Malformed, plain.NotPlain)):
        return Outcome("output", detail=str(error))
    end = run.end()
    if isinstance(error, TimeoutError):
        raise ClockTimeout
    if end.signal == signal.SIGSYS:
        return Outcome("denied", detail="killed for a forbidden system call")
    if end.out_of_time:
        return Outcome("timeout", detail="out of processor time")
    if end.signal == signal.SIGKILL:  # no program can: the machine ran out of memory
        raise WorkerFault("a run was killed from outside")
    if end.signal:
        return Outcome("killed", detail=f"by signal {end.signal}")
    return Outcome("killed", detail="it left without a report")
