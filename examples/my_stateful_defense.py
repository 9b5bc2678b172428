"""A first defense with a memory: refuse a text that was already sent in an earlier round.

    dgrpo run experiments/text-horizontal.toml --name replay --task.train 64 \
        --defense '["examples/my_stateful_defense.py:Replay"]'

An attacker with an oracle says the same whenever a prompt comes round again, here every fourth
round. What it misses: whatever is said in other words, and everything until then.
"""

from __future__ import annotations

from typing import Any, ClassVar

from dgrpo.defenses import Defense, Receiver, RunningDefense
from dgrpo.records import Batch, Verdict


class Replay(Defense):
    """Rejects a text that was sent in an earlier round, whoever sent it and to whatever prompt."""

    name: ClassVar[str] = "replay"

    def start(self, node: Receiver) -> RunningDefense:
        """A memory of its own for every node and every run."""
        return Memory()


class Memory(RunningDefense):
    """What changes during a run lives here; `state_dict` puts it into the checkpoints."""

    def __init__(self) -> None:
        self.heard: set[str] = set()

    async def screen(self, batch: Batch, node: Receiver) -> list[Verdict]:
        """Score: 1 for a replay, else 0. Texts of the same round are no replays of each other."""
        replayed = [one.text in self.heard for one in batch.received]
        self.heard.update(one.text for one in batch.received)
        reasons = ["sent in an earlier round" if old else "" for old in replayed]
        return [Verdict(not why, float(bool(why)), why) for why in reasons]

    def state_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {"heard": sorted(self.heard)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on as if it had never stopped."""
        self.heard = set(state["heard"])
