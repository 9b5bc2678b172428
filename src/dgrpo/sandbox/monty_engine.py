"""The portable engine: pydantic-monty, an interpreter of a subset of Python written in Rust.

It has no way to the file system, the network or other processes, so nothing needs to be fenced off;
it runs in processes of its own because it may crash. What it lacks: libraries other than the few it
brings, and the rarer parts of the language, which raise in the program.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from pydantic_monty import (
    CollectString,
    Monty,
    MontyCrashedError,
    MontyError,
    MontyRuntimeError,
    MontySession,
)

from dgrpo.sandbox.engine import Sandbox
from dgrpo.sandbox.inside import plain
from dgrpo.sandbox.programs import Examination, Failed, Library, Outcome, Program
from dgrpo.sandbox.settings import SandboxBroken, SandboxSettings, SandboxUnavailable

_MOST_CALLS = 10_000
_ATTEMPTS = 2
_LONGEST_DETAIL = 500
_REMEDY = "pip install --force-reinstall 'dgrpo[monty]'"


_PROBE = Program(
    """
import os
from pathlib import Path

reached = []

def attempt(name, action):
    try:
        action()
        reached.append(name)
    except Exception:
        pass

attempt("read", lambda: open("/etc/passwd").read())
attempt("read by path", lambda: Path("/etc/passwd").read_text())
attempt("write", lambda: open("/tmp/probe", "w"))
attempt("list", lambda: os.listdir("/"))
attempt("environment", lambda: os.getenv("PATH"))
""",
    expressions=("reached", "6 * 7"),
)
"""Tries to get out; a program that runs where monty does."""


class MontySandbox(Sandbox):
    """A pool of monty's processes and a thread for each run at a time."""

    layers = ("monty interpreter", "process of its own", "limits")

    def __init__(self, settings: SandboxSettings) -> None:
        """Start the pool, and prove its walls. Raises SandboxUnavailable where they do not hold."""
        self._settings = settings
        self._pool = Monty(
            max_processes=2 * settings.parallel,  # an examination needs two
            request_timeout=settings.wall_seconds,
        )
        try:
            self._pool.__enter__()
        except (OSError, MontyError, RuntimeError) as error:
            raise SandboxUnavailable("monty", str(error), remedy=_REMEDY) from error
        self._threads = ThreadPoolExecutor(settings.parallel, thread_name_prefix="monty")
        self._closed = False
        try:
            self._prove()
        except SandboxUnavailable:
            self.close()
            raise

    def require(self, libraries: Sequence[Library]) -> None:
        """As Sandbox.require: monty imports no library but its own."""
        if libraries:
            names = ", ".join(library.name for library in libraries)
            raise SandboxUnavailable(
                "monty",
                f"it cannot import other libraries ({names})",
                remedy="use engine = 'worker' on Linux",
            )

    def run(self, programs: Sequence[Program]) -> list[Outcome]:
        """As Sandbox.run."""
        for program in programs:
            self.require(program.libraries)
        return self._each([partial(self._play, program) for program in programs])

    def examine(self, examinations: Sequence[Examination]) -> list[Outcome]:
        """As Sandbox.examine."""
        for examination in examinations:
            self.require(examination.candidate.libraries)
        return self._each([partial(self._examine, one) for one in examinations])

    def close(self) -> None:
        """As Sandbox.close."""
        if not self._closed:
            self._closed = True
            self._threads.shutdown()
            self._pool.__exit__(None, None, None)

    def abandon(self) -> None:
        """As Sandbox.abandon."""
        self._closed = True

    def _each(self, jobs: Sequence[Callable[[], Outcome]]) -> list[Outcome]:
        if self._closed:
            raise SandboxBroken("this sandbox is closed", remedy="open another")
        return list(self._threads.map(self._persist, jobs))

    def _prove(self) -> None:
        try:
            outcome = self._play(_PROBE)
        except MontyCrashedError as error:
            raise SandboxUnavailable("monty", str(error), remedy=_REMEDY) from error
        if outcome.status != "finished" or outcome.values[1] != 42:
            problem = f"its first run {outcome.status}: {outcome.detail or outcome.values}"
            raise SandboxUnavailable("monty", problem, remedy=_REMEDY)
        if reached := outcome.values[0]:
            raise SandboxUnavailable(
                "monty interpreter", f"a program can {', '.join(reached)}", remedy=_REMEDY
            )

    def _persist(self, job: Callable[[], Outcome]) -> Outcome:
        """The job's outcome; a crash of monty is tried again once, and so is time by the clock.

        Then a harmless program decides whose fault it is. Raises SandboxBroken where that fails.
        """
        for _ in range(_ATTEMPTS):
            try:
                return job()
            except MontyCrashedError as error:
                crash = error
        try:
            self._play(_PROBE)
        except MontyCrashedError as error:
            raise SandboxBroken(
                f"monty fails with a program that does next to nothing: {error}",
                remedy="look for memory or process limits of this machine, or raise "
                f"sandbox.wall_seconds = {self._settings.wall_seconds:g}",
            ) from error
        if crash.timed_out:
            return Outcome("timeout", detail="out of time by the clock, twice")
        return Outcome("killed", detail=str(crash)[:_LONGEST_DETAIL])

    def _session(self, program: Program) -> MontySession:
        return self._pool.checkout(
            limits={
                "max_feed_duration_secs": float(self._settings.cpu_seconds),
                "max_memory": self._settings.memory_mb * 2**20,
                "max_suspensions": _MOST_CALLS,
                "max_total_sleep_secs": self._settings.wall_seconds,
            },
            os_policy={"random_start": {"seed": program.seed}},
            assert_message_annotations=False,
        )

    def _play(self, program: Program) -> Outcome:
        printed = CollectString(plain.MOST_BYTES)
        with self._session(program) as session:
            try:
                session.feed_run(program.source, print_callback=printed)
                values = tuple(_value(session, text, printed) for text in program.expressions)
            except MontyCrashedError:
                raise
            except MontyError as error:
                return _failed(error, printed.output)
        return Outcome("finished", printed.output, values)

    def _examine(self, examination: Examination) -> Outcome:
        printed = CollectString(plain.MOST_BYTES)
        candidate = self._session(examination.candidate)
        examiner = self._session(Program("".join(examination.tests)))
        with candidate, examiner:
            call = partial(_call, candidate, examination.function, printed)
            try:
                candidate.feed_run(examination.candidate.source, print_callback=printed)
                for source in examination.tests:
                    examiner.feed_run(
                        source,
                        print_callback=CollectString(plain.MOST_BYTES),
                        external_lookup={"candidate": call},
                    )
                    examiner.feed_run(
                        f"{examination.function} = candidate", external_lookup={"candidate": call}
                    )
            except MontyCrashedError:
                raise
            except MontyError as error:
                return _failed(error, printed.output)
        return Outcome("finished", printed.output)


def _value(session: MontySession, expression: str, printed: CollectString) -> Any:
    try:
        return _exact(session.feed_run(f"({expression})", print_callback=printed))
    except MontyCrashedError:
        raise
    except plain.NotPlain as error:
        return Failed("NotPlain", str(error))
    except MontyError as error:
        if _out_of(error) is not None:
            raise
        inner = error.exception()
        return Failed(type(inner).__name__, str(inner)[:_LONGEST_DETAIL])


def _call(
    candidate: MontySession,
    function: str,
    printed: CollectString,
    *arguments: Any,
    **keywords: Any,
) -> Any:
    """What the tests call; runs out here, between the two sessions."""
    try:
        value = candidate.feed_run(
            f"{function}(*dgrpo_arguments, **dgrpo_keywords)",
            inputs={
                "dgrpo_arguments": _exact(list(arguments)),
                "dgrpo_keywords": _exact(keywords),
            },
            print_callback=printed,
        )
    except MontyRuntimeError as error:
        inner = error.exception()
        if isinstance(inner, StopIteration | StopAsyncIteration):  # a loop over calls would end
            raise RuntimeError(str(inner)[:_LONGEST_DETAIL]) from None
        raise inner from None
    try:
        return _exact(value)
    except plain.NotPlain as error:  # no ValueError of the candidate's, which tests may expect
        raise RuntimeError(str(error)) from None


def _exact(value: Any) -> Any:
    """The value anew, of exact builtins. Raises NotPlain."""
    return plain.decode(plain.encode(value))


def _failed(error: MontyError, printed: str) -> Outcome:
    inner = error.exception()
    detail = f"{type(inner).__name__}: {inner}"[:_LONGEST_DETAIL]
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
