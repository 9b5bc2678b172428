"""Ctrl-C and SIGTERM while a run is played: the round is finished and saved, then the run ends.

A second one ends it at once. Leaves out what is saved, and when (`running.py`).
"""

from __future__ import annotations

import logging
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_ONE_PRESS = 0.5
"""Seconds within which a second signal is the first one, passed on by a shell or a launcher too."""


class Interrupted(KeyboardInterrupt):
    """A run was stopped from outside; the text says what is saved, and how it goes on."""

    def __init__(self, told: str, by: int = signal.SIGINT) -> None:
        super().__init__(told)
        self.exit_code = 128 + by
        """What a process that was stopped in this way returns."""


class Stop:
    """Whether the run is to end, and by which signal."""

    def __init__(self) -> None:
        self.by: int | None = None
        self.since = 0.0


@contextmanager
def stopping_late(tell: Callable[[], None]) -> Iterator[Stop]:
    """A `Stop` that the first Ctrl-C or SIGTERM sets; the second raises KeyboardInterrupt.

    tell: called at the first one, in a thread of its own, since a handler may interrupt a print.
    Nothing changes outside the main thread, or for a signal that the process ignores.
    """
    stop = Stop()

    def handle(number: int, _frame: object) -> None:
        if stop.by is None:
            stop.by, stop.since = number, time.monotonic()
            threading.Thread(target=tell, daemon=True).start()
        elif time.monotonic() - stop.since > _ONE_PRESS:
            stop.by = number
            # it would call the round's task, which this ends, an exception never retrieved
            logging.getLogger("asyncio").setLevel(logging.CRITICAL)
            raise KeyboardInterrupt

    before = {}
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, signal.SIGTERM):
            if signal.getsignal(number) not in (signal.SIG_IGN, None):
                before[number] = signal.signal(number, handle)
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def say(text: str) -> None:
    """Print `text` where messages go."""
    print(text, file=sys.stderr, flush=True)
