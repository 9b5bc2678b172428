"""The portable engine: pydantic-monty, an interpreter of a subset of Python written in Rust.

It has no way to the file system, the network or other processes, so nothing needs to be fenced off;
it runs in processes of its own because it may crash. What it lacks: libraries other than the few it
brings, and the rarer parts of the language, which raise in the program. Sleeping takes no time in
it. Values leave it as text (`monty_values`).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from pydantic_monty import CollectString, Monty, MontyCrashedError, MontyError, MontySession

from dgrpo.sandbox.engine import Sandbox
from dgrpo.sandbox.inside import plain
from dgrpo.sandbox.jobs import Allowance, Job, Jobs, Turn
from dgrpo.sandbox.monty_runs import LONGEST_DETAIL, OutOfTime, Speaker, ending, failed
from dgrpo.sandbox.programs import Examination, Library, Outcome, Program
from dgrpo.sandbox.settings import SandboxBroken, SandboxSettings, SandboxUnavailable

_MOST_CALLS = 10_000
_ATTEMPTS = 2
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
        try:
            self._pool = Monty(
                max_processes=2 * settings.parallel,  # an examination needs two
                request_timeout=settings.wall_seconds,
            )
            self._pool.__enter__()
        except (OSError, MontyError, RuntimeError) as error:  # its binary is missing, or not one
            raise SandboxUnavailable("monty", str(error), remedy=_REMEDY) from error
        self._jobs = Jobs(settings.parallel, "monty")
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

    def run(
        self,
        programs: Sequence[Program],
        payers: Sequence[Sequence[Allowance]] | None = None,
    ) -> list[Outcome]:
        """As Sandbox.run."""
        for program in programs:
            self.require(program.libraries)
        return self._each([partial(self._play, program) for program in programs], payers)

    def examine(
        self,
        examinations: Sequence[Examination],
        payers: Sequence[Sequence[Allowance]] | None = None,
    ) -> list[Outcome]:
        """As Sandbox.examine."""
        for examination in examinations:
            self.require(examination.candidate.libraries)
        return self._each([partial(self._examine, one) for one in examinations], payers)

    def close(self) -> None:
        """As Sandbox.close."""
        if not self._jobs.closed:
            self._jobs.close()
            self._pool.__exit__(None, None, None)

    def abandon(self) -> None:
        """As Sandbox.abandon."""
        self._jobs.closed = True

    def _each(
        self, jobs: Sequence[Job], payers: Sequence[Sequence[Allowance]] | None
    ) -> list[Outcome]:
        return self._jobs.each([partial(self._persist, job) for job in jobs], payers)

    def _prove(self) -> None:
        try:
            [outcome] = self._jobs.each([partial(self._play, _PROBE)])
        except MontyCrashedError as error:
            raise SandboxUnavailable("monty", str(error), remedy=_REMEDY) from error
        if outcome.status != "finished" or outcome.values[1] != 42:
            problem = f"its first run {outcome.status}: {outcome.detail or outcome.values}"
            raise SandboxUnavailable("monty", problem, remedy=_REMEDY)
        if reached := outcome.values[0]:
            raise SandboxUnavailable(
                "monty interpreter", f"a program can {', '.join(reached)}", remedy=_REMEDY
            )

    def _persist(self, job: Job, turn: Turn) -> Outcome:
        """The job's outcome; a crash of monty is tried again once, and so is time by the clock.

        Then a harmless program decides whose fault it is. Raises SandboxBroken where that fails.
        """
        for _ in range(_ATTEMPTS):
            try:
                return job(turn)
            except MontyCrashedError as error:
                crash = error
        try:
            self._play(_PROBE, turn)
        except MontyCrashedError as error:
            raise SandboxBroken(
                f"monty fails with a program that does next to nothing: {error}",
                remedy="look for memory or process limits of this machine, or raise "
                f"sandbox.wall_seconds = {self._settings.wall_seconds:g}",
            ) from error
        if crash.timed_out:
            return Outcome("timeout", detail="out of time by the clock, twice")
        return Outcome("killed", detail=str(crash)[:LONGEST_DETAIL])

    def _session(self, program: Program) -> MontySession:
        return self._pool.checkout(
            limits={
                "max_feed_duration_secs": float(self._settings.cpu_seconds),
                "max_memory": self._settings.memory_mb * 2**20,
                "max_suspensions": _MOST_CALLS,
            },
            os_policy={"random_start": {"seed": program.seed}, "sleep": "zero"},
            assert_message_annotations=False,
        )

    def _play(self, program: Program, turn: Turn) -> Outcome:
        printed = CollectString(plain.MOST_BYTES)
        with self._session(program) as session, turn.running(ending([session])):
            speak = Speaker(session, printed, self._settings.wall_seconds)
            try:
                speak.play(program, values=bool(program.expressions))
                values = tuple(speak.value(text) for text in program.expressions)
            except MontyCrashedError:
                raise
            except (MontyError, OutOfTime) as error:
                return failed(error, printed.output)
        return Outcome("finished", printed.output, values)

    def _examine(self, examination: Examination, turn: Turn) -> Outcome:
        printed, seconds = CollectString(plain.MOST_BYTES), self._settings.wall_seconds
        tests = Program("".join(examination.tests), name=examination.candidate.name)
        sessions = (self._session(examination.candidate), self._session(tests))
        with sessions[0], sessions[1], turn.running(ending(sessions)):
            speak = Speaker(sessions[0], printed, seconds)
            ask = Speaker(sessions[1], CollectString(plain.MOST_BYTES), seconds)
            outside = {"candidate": partial(speak.call, examination.function)}
            try:
                speak.play(examination.candidate, values=True)
                for source in examination.tests:
                    ask.feed(source, tests.name, external_lookup=outside)
                    ask.feed(f"{examination.function} = candidate", external_lookup=outside)
            except MontyCrashedError:
                raise
            except (MontyError, OutOfTime) as error:
                speak.gone = speak.gone or error
            if isinstance(speak.gone, MontyCrashedError):
                raise speak.gone
        if speak.gone:
            return failed(speak.gone, printed.output)
        return Outcome("finished", printed.output)
