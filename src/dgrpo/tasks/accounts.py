"""Whose time a received program takes: every sender of a batch has its own, and no more.

A batch is what a node received in a round. Nodes of a simulation share a task and receive the same
batch, so what was left unrun for one of them is unrun for all.
"""

from __future__ import annotations

import hashlib
import logging
from collections import Counter
from collections.abc import Hashable, Iterator, Sequence
from contextlib import contextmanager

from dgrpo.sandbox import Allowance

_log = logging.getLogger(__name__)
_LONGEST_NAME = 60

Sent = tuple[str, str, str]
"""Who sent a program, in answer to which prompt (its key), and the program."""


class Accounts:
    """The batch at hand, who pays for its programs, and which of them were not run."""

    def __init__(self) -> None:
        self._sent: list[Sent] = []
        self._batch = ""
        self._unrun: set[Hashable] = set()
        self._payers: dict[Hashable, list[Allowance]] | None = None
        self._seconds = 0.0

    @contextmanager
    def opened(self, sent: Sequence[Sent], seconds: float) -> Iterator[None]:
        """In the block, everyone who sent a program pays for it, with `seconds` in all each.

        A batch other than the last begins anew.
        """
        batch = hashlib.sha256(repr(sent).encode(errors="surrogatepass")).hexdigest()
        if batch != self._batch:
            self._batch, self._sent, self._unrun = batch, list(sent), set()
        allowances = {sender: Allowance(seconds) for sender, _, _ in sent}
        by_key: dict[Hashable, dict[str, Allowance]] = {}
        for sender, prompt, program in sent:
            for key in (program, (prompt, program)):
                by_key.setdefault(key, {})[sender] = allowances[sender]
        self._payers = {key: list(paying.values()) for key, paying in by_key.items()}
        self._seconds = seconds
        try:
            yield
        finally:
            self._payers = None

    def was_left_out(self, key: Hashable) -> bool:
        """Whether a program was left out of this batch already.

        key: the program, or (prompt key, program) where its outcome depends on the prompt.
        """
        return self._payers is not None and key in self._unrun

    def payers(self, keys: Sequence[Hashable]) -> list[list[Allowance]] | None:
        """Per program, whose time it takes; None outside `opened`."""
        return None if self._payers is None else [self._payers.get(key, []) for key in keys]

    def leave_unrun(self, keys: Sequence[Hashable]) -> None:
        """Remember what was not run of this batch, and say whose it was."""
        if not keys:
            return
        lost = set(keys)
        self._unrun |= lost
        all_of = Counter(sender for sender, _, _ in self._sent)
        theirs = [
            s for s, key, program in self._sent if not lost.isdisjoint({program, (key, program)})
        ]
        for sender, count in Counter(theirs).items():
            _log.warning(
                "%d of the %d programs that %.*s sent were not run and earn 0: the others took "
                "sandbox.sender_seconds = %g",
                count,
                all_of[sender],
                _LONGEST_NAME,
                ascii(sender),
                self._seconds,
            )
