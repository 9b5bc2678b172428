"""The engine of choice: programs in forks of warm, jailed CPython workers (Linux)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from queue import LifoQueue

from dgrpo.sandbox import bubblewrap, system_calls
from dgrpo.sandbox.engine import Sandbox
from dgrpo.sandbox.jobs import Allowance, Jobs, Stopped, Turn
from dgrpo.sandbox.programs import Examination, Outcome, Program
from dgrpo.sandbox.proof import PROBE, broken_layer
from dgrpo.sandbox.settings import SandboxBroken, SandboxSettings, SandboxUnavailable
from dgrpo.sandbox.worker_process import WorkerFault, WorkerProcess
from dgrpo.sandbox.worker_runs import ClockTimeout, examine, play

_ATTEMPTS = 3
"""Of a program whose worker fails, or whose run is killed from outside."""
_REMEDY = "allow it on this machine, or use the portable engine: engine = 'monty'"
_Run = Callable[[WorkerProcess], Outcome]


@dataclass
class _Seat:
    """A place for one worker; empty before its first program, and where its worker failed."""

    worker: WorkerProcess | None = None


@dataclass(frozen=True)
class _Blamed:
    """What a program came to, unless a good one fares no better where it ran."""

    outcome: Outcome


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
        self._seats: LifoQueue[_Seat] = LifoQueue()
        for _ in range(settings.parallel - 1):
            self._seats.put(_Seat())
        self._seats.put(_Seat(first))
        self._jobs = Jobs(settings.parallel, "sandbox")

    def run(
        self,
        programs: Sequence[Program],
        payers: Sequence[Sequence[Allowance]] | None = None,
    ) -> list[Outcome]:
        """As Sandbox.run."""
        return self._each([partial(play, program=program) for program in programs], payers)

    def examine(
        self,
        examinations: Sequence[Examination],
        payers: Sequence[Sequence[Allowance]] | None = None,
    ) -> list[Outcome]:
        """As Sandbox.examine."""
        return self._each([partial(examine, examination=one) for one in examinations], payers)

    def close(self) -> None:
        """As Sandbox.close."""
        if not self._jobs.closed:
            self._jobs.close()
            for worker in self._started:
                worker.close()

    def abandon(self) -> None:
        """As Sandbox.abandon."""
        self._jobs.closed = True
        for worker in self._started:
            worker.abandon()

    def _each(
        self, runs: Sequence[_Run], payers: Sequence[Sequence[Allowance]] | None
    ) -> list[Outcome]:
        return self._jobs.each([partial(self._persist, run) for run in runs], payers)

    def _persist(self, run: _Run, turn: Turn) -> Outcome:
        """The outcome of a run, whose faults are tried again on a fresh worker.

        A program that takes every worker down with it while others run is to blame itself, and so
        is one that is out of time twice by the clock while others are not.
        """
        with self._borrowed() as seat:
            found = self._attempts(seat, run, turn)
            if isinstance(found, Outcome):
                return found
            self._require_that_a_good_program_runs(seat, turn)
            return found.outcome

    def _attempts(self, seat: _Seat, run: _Run, turn: Turn) -> Outcome | _Blamed:
        late, fault = False, ""
        for _ in range(_ATTEMPTS):
            try:
                return self._run_in(seat, run, turn)
            except ClockTimeout:
                if late:
                    return _Blamed(Outcome("timeout", detail="out of time by the clock, twice"))
                late = True
            except WorkerFault as error:
                fault = str(error)
        return _Blamed(Outcome("killed", detail=f"every worker it ran in failed: {fault}"))

    def _require_that_a_good_program_runs(self, seat: _Seat, turn: Turn) -> None:
        """Run one, twice if need be. Raises SandboxBroken where it fails, too."""
        probe = partial(play, program=PROBE)
        try:
            try:
                self._run_in(seat, probe, turn)
            except WorkerFault:
                self._run_in(seat, probe, turn)
        except WorkerFault as error:
            raise SandboxBroken(
                f"sandbox workers fail: {error}",
                remedy="look for memory or process limits of this machine or container",
            ) from error
        except ClockTimeout as error:
            raise self._starved() from error

    def _run_in(self, seat: _Seat, run: _Run, turn: Turn) -> Outcome:
        """The outcome, in the seat's worker or a fresh one; a worker at fault leaves the seat.

        Raises WorkerFault, ClockTimeout and Stopped.
        """
        worker = seat.worker = seat.worker or self._start()
        try:
            with turn.running(worker.stop):
                return run(worker)
        except (WorkerFault, Stopped):
            seat.worker = None
            worker.close()
            self._started.discard(worker)
            raise

    @contextmanager
    def _borrowed(self) -> Iterator[_Seat]:
        seat = self._seats.get()
        try:
            yield seat
        finally:
            self._seats.put(seat)

    def _start(self) -> WorkerProcess:
        """A worker; after the first, one that has every layer which that one was proved to have."""
        worker = WorkerProcess(self._settings, self._filter, self._wrap)
        lost = [name for name, holds in self._proved.items() if holds and not worker.layers[name]]
        if lost:
            worker.close()
            raise WorkerFault(f"a new one lacks what the first had: {', '.join(lost)}")
        self._started.add(worker)
        return worker

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
            outcome = play(worker, PROBE)
        except WorkerFault as error:
            worker.close()
            raise SandboxUnavailable("warm worker", str(error), remedy=_REMEDY) from error
        except ClockTimeout as error:
            worker.close()
            raise self._starved() from error  # no reason to take another engine
        broken = broken_layer(outcome)
        if self._settings.namespaces == "always" and not worker.layers["namespaces"]:
            broken = ("namespaces", "the kernel or the container refuses them")
        if broken:
            worker.close()
            raise SandboxUnavailable(*broken, remedy=_REMEDY)


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
