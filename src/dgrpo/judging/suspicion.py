"""Whose fault a failing endpoint is: an outage, or something that a peer's text brought about.

A peer can write a completion that crashes or stalls the server. So every failure counts as provoked
after peers' texts were sent, until a probe is answered that was sent while no text was out.

Leaves out: which of the texts it was.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Probe:
    """What was known when a harmless question went out."""

    cleared: int
    """Batches of texts that an earlier probe had cleared."""
    clears: int
    """Batches of texts that this probe clears if it is answered."""


class Suspicion:
    """Batches of peers' texts: how many were sent, are out, and were followed by an answer."""

    def __init__(self) -> None:
        self._sent = 0
        self._out = 0
        self._cleared = 0

    @contextmanager
    def texts_out(self) -> Iterator[None]:
        """Count a batch of texts as sent, and as out until the block ends."""
        self._sent += 1
        self._out += 1
        try:
            yield
        finally:
            self._out -= 1

    def probe_started(self) -> Probe:
        """Call this before a harmless question is sent. It clears nothing while texts are out."""
        return Probe(self._cleared, 0 if self._out else self._sent)

    def answered(self, probe: Probe) -> None:
        """The endpoint lived through everything that was sent before `probe`."""
        self._cleared = max(self._cleared, probe.clears)

    def provoked(self, probe: Probe | None = None) -> bool:
        """Whether a failure may be a peer's doing: now, or of a question begun with `probe`."""
        return self._sent > (self._cleared if probe is None else probe.cleared)
