"""One session of monty: the snippets it is fed, and what became of them."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import time
from collections.abc import Callable, Sequence
from typing import Any

from pydantic_monty import (
    CollectString,
    MontyCrashedError,
    MontyError,
    MontyRuntimeError,
    MontySession,
)

from dgrpo.sandbox.inside import plain
from dgrpo.sandbox.monty_values import TELL, evaluate, give, prelude, read, without_value
from dgrpo.sandbox.programs import Failed, Outcome, Program

LONGEST_DETAIL = 500
_MODULE_NAME = re.compile(r"(?<![\w.])__name__(?!\w)")
"""Monty does not let a session have another name than `__main__`."""
_KILL = getattr(signal, "SIGKILL", signal.SIGTERM)


class OutOfTime(Exception):  # noqa: N818
    """A run took longer by the clock than it may, over all its snippets."""


class Speaker:
    """Feeds one session its snippets, of which none gives a value of the program's."""

    def __init__(self, session: MontySession, printed: CollectString, seconds: float) -> None:
        self._session = session
        self._printed = printed
        self._deadline = time.monotonic() + seconds
        self.gone: MontyError | OutOfTime | None = None
        """Why a call could not be answered: tests that catch what it raised have not passed."""

    def feed(self, source: str, name: str = "__main__", **more: Any) -> None:
        """Run a snippet. Raises MontyError, and OutOfTime where the run has no time left."""
        if name != "__main__":
            source = f"dgrpo_name = {name!r}\n{_MODULE_NAME.sub('dgrpo_name', source)}"
        self._tell(without_value(source), **more)

    def play(self, program: Program, *, values: bool) -> None:
        """Run a program; one that leaves by `exit()` has come to its end. Raises as `feed`.

        values: whether it is asked for any afterwards.
        """
        if before := prelude(program.source, values=values):
            self.feed(before)
        try:
            self.feed(program.source, program.name)
        except MontyRuntimeError as error:
            inner = error.exception()
            if not (isinstance(inner, SystemExit) and str(inner) == ""):
                raise

    def value(self, expression: str) -> Any:
        """An expression's value, or Failed. Raises as `feed` where nothing more can be run."""
        try:
            self.feed(evaluate(expression))
            return self._told()
        except plain.NotPlain as error:
            return Failed("NotPlain", str(error))
        except MontyCrashedError:
            raise
        except MontyError as error:
            if _out_of(error) is not None:
                raise
            inner = error.exception()
            return Failed(type(inner).__name__, str(inner)[:LONGEST_DETAIL])

    def call(self, function: str, *arguments: Any, **keywords: Any) -> Any:
        """What the tests call; runs out here, between the two sessions."""
        given = {"dgrpo_arguments": give(list(arguments)), "dgrpo_keywords": give(keywords)}
        try:
            self.feed(evaluate(f"{function}(*dgrpo_arguments, **dgrpo_keywords)"), inputs=given)
            return self._told()
        except plain.NotPlain as error:  # no ValueError of the candidate's, which tests may expect
            raise RuntimeError(str(error)) from None
        except (MontyError, OutOfTime) as error:
            if not isinstance(error, MontyRuntimeError) or _out_of(error) is not None:
                self.gone = error
                raise
            inner = error.exception()
            if isinstance(inner, StopIteration | StopAsyncIteration):  # a loop over calls would end
                raise RuntimeError(str(inner)[:LONGEST_DETAIL]) from None
            raise inner from None

    def _told(self) -> Any:
        """What the last evaluated expression gave. Raises NotPlain, and as `feed`."""
        try:
            return read(self._tell(TELL))
        except MontyRuntimeError as error:
            if _out_of(error) is not None:
                raise
            raise plain.NotPlain(str(error.exception())[:LONGEST_DETAIL]) from error

    def _tell(self, source: str, **more: Any) -> Any:
        if time.monotonic() > self._deadline:
            raise OutOfTime
        return self._session.feed_run(source, print_callback=self._printed, **more)


def ending(sessions: Sequence[MontySession]) -> Callable[[], None]:
    """What kills the sessions' processes, of which only idle sessions tell the number."""
    pids = [session.worker_pid for session in sessions]

    def end() -> None:
        for pid in pids:
            if pid is not None:
                with contextlib.suppress(OSError):
                    os.kill(pid, _KILL)

    return end


def failed(error: MontyError | OutOfTime, printed: str) -> Outcome:
    """The outcome of a run that an error ended."""
    if isinstance(error, OutOfTime):
        return Outcome("timeout", printed, detail="out of time by the clock")
    inner = error.exception()
    detail = f"{type(inner).__name__}: {inner}"[:LONGEST_DETAIL]
    if len(printed.encode()) >= plain.MOST_BYTES - 8192 and isinstance(inner, MemoryError):
        return Outcome("output", printed, detail=detail)
    match _out_of(error):
        case "memory":
            return Outcome("memory", printed, detail=detail)
        case "time":
            return Outcome("timeout", printed, detail=detail)
    return Outcome("raised", printed, detail=detail)


def _out_of(error: MontyError) -> str | None:
    match error.exception():
        case MemoryError():
            return "memory"
        case TimeoutError():
            return "time"
    return None
