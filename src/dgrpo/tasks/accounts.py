"""Whose time a received program takes: every sender of a batch has its own, and no more.

A batch is what a node received in a round. Nodes of a simulation share a task and receive the same
batch, so what was left unrun for one of them is unrun for all.
"""

from __future__ import annotations

import hashlib
import logging
from collections import Counter
from collections.abc import Hashable, Sequence

from dgrpo.sandbox import Allowance

_log = logging.getLogger(__name__)
_LONGEST_NAME = 60

Payers = dict[Hashable, list[Allowance]]
"""By program, the allowances of everyone who sent it."""


class Accounts:
    """The batch at hand, and the programs in it that were not run."""

    def __init__(self) -> None:
        self._sent: list[tuple[str, Hashable]] = []
        self._batch = ""
        self.unrun: set[Hashable] = set()

    def open(self, sent: Sequence[tuple[str, Hashable]], seconds: float) -> Payers:
        """Who pays for each program of a batch, `sent` being (sender, program) of each completion.

        A batch other than the last begins anew.
        """
        batch = hashlib.sha256(repr(sent).encode(errors="surrogatepass")).hexdigest()
        if batch != self._batch:
            self._batch, self._sent, self.unrun = batch, list(sent), set()
        allowances = {sender: Allowance(seconds) for sender, _ in sent}
        payers: dict[Hashable, dict[str, Allowance]] = {}
        for sender, program in sent:
            payers.setdefault(program, {})[sender] = allowances[sender]
        return {program: list(paying.values()) for program, paying in payers.items()}

    def leave_unrun(self, programs: Sequence[Hashable], seconds: float) -> None:
        """Remember what was not run in this batch, and say whose it was."""
        self.unrun.update(programs)
        lost, all_of = set(programs), Counter(sender for sender, _ in self._sent)
        for sender, count in Counter(s for s, program in self._sent if program in lost).items():
            _log.warning(
                "%d of the %d programs that %.*s sent were not run and earn 0: the others took "
                "sandbox.sender_seconds = %g",
                count,
                all_of[sender],
                _LONGEST_NAME,
                ascii(sender),
                seconds,
            )
