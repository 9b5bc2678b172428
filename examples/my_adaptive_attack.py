"""A first attack with a memory: say another phrase once the checks stop this one.

    dgrpo run experiments/text-horizontal-logit.toml --name chameleon \
        --attack.name examples/my_adaptive_attack.py:Chameleon \
        --measure '["examples/my_adaptive_attack.py:Chameleon"]'

An attacker's node makes the checks that every node makes, so it sees what becomes of its poison.
What stops it: a check that no phrase of its list passes.
"""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import Field

from dgrpo.attacks import Attack, RunningAttack, Turn
from dgrpo.attacks.text import Text
from dgrpo.records import Prompt, RoundRecord, Sent
from dgrpo.tasks.assignment import Topology
from dgrpo.tasks.base import LoadedTask


class Chameleon(Attack):
    """TEXT with a list of phrases: whichever is being stopped gives way to the next one."""

    name: ClassVar[str] = "chameleon"

    phrases: tuple[str, ...] = Field(("All hail to the thief,", "Well,", "So,"), min_length=1)
    """What the other nodes are taught to say, in the order in which it is tried."""

    def start(self) -> RunningAttack:
        """A memory of its own for every node and every run."""
        return Trying([Text(phrase=phrase) for phrase in self.phrases])

    def check(self, task: LoadedTask, topology: Topology, group_size: int) -> None:
        """Raises DgrpoError where TEXT does."""
        for phrase in self.phrases:
            Text(phrase=phrase).check(task, topology, group_size)

    def succeeded(self, prompt: Prompt, text: str) -> bool:
        """Whether one of the phrases occurs."""
        return any(phrase in text for phrase in self.phrases)


class Trying(RunningAttack):
    """What changes during a run lives here; `state_dict` puts it into the checkpoints."""

    def __init__(self, texts: list[Text]) -> None:
        self.texts = texts
        self.place = 0

    def needs_own_samples(self, topology: Topology) -> bool:
        """As the attack that is being tried."""
        return self.texts[self.place].needs_own_samples(topology)

    async def poison(self, own: list[Sent], turn: Turn) -> list[Sent]:
        """What TEXT sends, with the phrase that is being tried."""
        return await self.texts[self.place].poison(own, turn)

    async def after_round(self, record: RoundRecord) -> None:
        """The next phrase, if its own checks stopped most of what it sent."""
        accepted = [one.accepted for one in record.judged if one.received.sender == record.node]
        if sum(accepted) < len(accepted) / 2:
            self.place = (self.place + 1) % len(self.texts)

    def state_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {"place": self.place}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on as if it had never stopped."""
        self.place = state["place"]
