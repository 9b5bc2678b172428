"""Runs side by side in threads, each on somebody's time; an interrupted caller's runs are ended.

Both engines use it. Leaves out how a run is begun and ended, which is the engine's.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from contextlib import contextmanager

from dgrpo.sandbox.programs import Outcome
from dgrpo.sandbox.settings import SandboxBroken

_LOOK_SECONDS = 0.1
"""How often a waiting caller looks whether it was interrupted."""
UNRUN = Outcome("unrun", detail="the time of everyone who sent it was used up")


class Allowance:
    """Seconds by the clock that some programs may take, all together."""

    def __init__(self, seconds: float) -> None:
        self._left = seconds
        self._lock = threading.Lock()

    @property
    def spent(self) -> bool:
        """Whether nothing is left."""
        return self._left <= 0

    def charge(self, seconds: float) -> None:
        """Take `seconds` off; what is left may fall below nothing."""
        with self._lock:
            self._left -= seconds


class Stopped(Exception):  # noqa: N818
    """The caller was interrupted, or the sandbox closed: nobody waits for the outcome."""


class Turn:
    """What a job is told: who pays for its runs; and it tells in turn how to end them."""

    def __init__(self, call: _Call, payers: Sequence[Allowance]) -> None:
        self._call = call
        self._payers = payers

    @property
    def is_paid(self) -> bool:
        """Whether nobody has to pay, or one who has to still can."""
        return not self._payers or not all(payer.spent for payer in self._payers)

    @contextmanager
    def running(self, end: Callable[[], None]) -> Iterator[None]:
        """Around a run that `end`, called from another thread, makes fail. Raises Stopped."""
        self._call.enter(end)
        started = time.monotonic()
        try:
            yield
        except Exception as error:
            self._call.check(error)
            raise
        finally:
            self._call.leave(end)
            for payer in self._payers:
                payer.charge(time.monotonic() - started)


class _Call:
    """The jobs of one call, and how to end those that run."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._ends: list[Callable[[], None]] = []
        self._stopped = False

    def check(self, error: Exception | None = None) -> None:
        """Raise Stopped where the call was stopped."""
        if self._stopped:
            raise Stopped from error

    def enter(self, end: Callable[[], None]) -> None:
        with self._lock:
            self.check()
            self._ends.append(end)

    def leave(self, end: Callable[[], None]) -> None:
        with self._lock:
            self._ends.remove(end)

    def stop(self) -> None:
        with self._lock:  # held while ending, so that none of it is another call's by then
            self._stopped = True
            for end in self._ends:
                end()


Job = Callable[[Turn], Outcome]


class Jobs:
    """Threads for the jobs of every caller."""

    def __init__(self, threads: int, name: str) -> None:
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix=name)
        self._calls: set[_Call] = set()
        self.closed = False

    def each(
        self, jobs: Sequence[Job], payers: Sequence[Sequence[Allowance]] | None = None
    ) -> list[Outcome]:
        """The jobs' outcomes, in order; `unrun` for those whose payers have all spent their time.

        Interrupted by Ctrl-C or by the cancelling of the task that calls, it ends what runs before
        it raises. Raises SandboxBroken when closed, and as the jobs do.
        """
        if self.closed:
            raise SandboxBroken("this sandbox is closed", remedy="open another")
        call = _Call()
        self._calls.add(call)
        turns = [Turn(call, paying) for paying in payers or [()] * len(jobs)]
        look = _interruption()
        futures: list[Future[Outcome]] = []
        try:
            for job, turn in zip(jobs, turns, strict=True):
                futures.append(self._threads.submit(_play, job, turn))
            return [_outcome(future, look) for future in futures]
        except (Stopped, CancelledError) as error:
            raise SandboxBroken(
                "the sandbox was closed while programs ran in it", remedy="open another"
            ) from error
        except BaseException as error:
            for future in futures:
                future.cancel()
            if not isinstance(error, Exception):
                call.stop()
            raise
        finally:
            self._calls.discard(call)

    def close(self) -> None:
        """End what runs, and the threads."""
        self.closed = True
        for call in list(self._calls):
            call.stop()
        self._threads.shutdown(cancel_futures=True)


def _play(job: Job, turn: Turn) -> Outcome:
    return job(turn) if turn.is_paid else UNRUN


def _outcome(future: Future[Outcome], look: Callable[[], None]) -> Outcome:
    while not future.done():
        try:
            return future.result(timeout=_LOOK_SECONDS)
        except TimeoutError:
            look()
    return future.result()


def _interruption() -> Callable[[], None]:
    """What raises CancelledError once the calling task is cancelled.

    In `asyncio.run` Ctrl-C cancels the task, which would hear of it after the last program only.
    """
    try:
        task = asyncio.current_task()
    except RuntimeError:  # no loop is running
        task = None
    before = task.cancelling() if task else 0

    def look() -> None:
        if task and task.cancelling() > before:
            raise asyncio.CancelledError

    return look
