"""What every attack offers: two hooks and a measure of its success.

The hooks are `choose_prompts` (which prompts of the pool a vertical attacker answers) and `poison`
(what it sends instead of its own samples). An attacker holds what every participant holds: the
prompts, the answers, the reward and an oracle solution per prompt, and its own model.
"""

from __future__ import annotations

from abc import abstractmethod
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import ClassVar, Literal

from pydantic import Field

from dgrpo.plugins import Plugin
from dgrpo.records import Completion, Prompt, Sent
from dgrpo.tasks.assignment import Slot, Topology
from dgrpo.tasks.base import LoadedTask
from dgrpo.tasks.reward import parse_number, split_tags


@dataclass(frozen=True, slots=True)
class Turn:
    """What an attacker knows when it is about to send."""

    round: int
    topology: Topology
    slots: tuple[Slot, ...]
    """The completions it owes, in order."""
    task: LoadedTask
    accomplices: tuple[str, ...]
    """Names of all malicious nodes, itself included: they may agree on what they send."""
    key: str
    """Names (run, round, node); the seed of every draw made here."""

    def rng(self, *parts: object) -> Random:
        """A generator for this turn, and for whatever `parts` name (a prompt, a sample)."""
        return Random(" ".join(map(str, (self.key, *parts))))


class Attack(Plugin):
    """One way to poison. Subclass this, or `ThinkingAttack` if only the reasoning changes."""

    name: ClassVar[str]

    def needs_own_samples(self, topology: Topology) -> bool:
        """Whether `poison` uses the node's own samples; if not, none are drawn."""
        return True

    def choose_prompts(
        self, pool: Sequence[Prompt], count: int, usual: Sequence[Prompt], rng: Random
    ) -> list[Prompt]:
        """Which `count` prompts of `pool` to answer, where the assignment lets a node choose.

        `usual` is what an honest node would take.
        """
        return list(usual)

    @abstractmethod
    def poison(self, own: list[Sent], turn: Turn) -> list[Sent]:
        """What to send.

        own: the node's own samples, one per slot, in the slots' order, or nothing where
        `needs_own_samples` is false.
        """

    def succeeded(self, prompt: Prompt, text: str) -> bool | None:
        """Whether an honest node's completion shows that the attack took; None: not applicable.

        Attack success is the share of True among the applicable ones.
        """
        return None


class ThinkingAttack(Attack):
    """An attack that writes its payload into the oracle's reasoning; the answer stays right.

    Horizontally every completion it owes is poisoned. Vertically half of each group is, and the
    other half are decoys of reward 0, which maximises the advantage of the poison (paper, App. B).
    """

    decoys: Literal["own", "gibberish"] = "own"
    """Vertical decoys: the model's own samples that score 0, or shuffled words of usual length."""
    poisoned_share: float = Field(0.5, gt=0, le=1)
    """Share of each vertical group that is poisoned (paper: its effect peaks at one half)."""

    @abstractmethod
    def poison_thinking(self, thinking: str, rng: Random) -> str:
        """The oracle's reasoning with the payload in it."""

    def needs_own_samples(self, topology: Topology) -> bool:
        """Only vertical decoys are made from own samples."""
        return topology == "vertical" and self.decoys == "own"

    def poison(self, own: list[Sent], turn: Turn) -> list[Sent]:
        """Poisoned oracle solutions in every slot, or in `poisoned_share` of a vertical group."""
        size = len({slot.sample for slot in turn.slots})
        poisoned = round(self.poisoned_share * size) if turn.topology == "vertical" else size
        seen: Counter[str] = Counter()
        sent = []
        for slot in turn.slots:
            seen[slot.prompt.key] += 1
            if seen[slot.prompt.key] <= poisoned:
                rng = turn.rng(slot.prompt.key, slot.sample)
                thinking = self.poison_thinking(slot.prompt.solution, rng)
                text = turn.task.write(thinking, slot.prompt.answer)
                sent.append(Sent(Completion(slot.prompt.key, slot.sample, text), "poisoned"))
            else:
                samples = [s for s in own if s.completion.prompt_key == slot.prompt.key]
                sent.append(Sent(decoy(slot, samples, turn), "decoy"))
        return sent


def decoy(slot: Slot, own: Sequence[Sent], turn: Turn) -> Completion:
    """A completion of reward 0 for a slot.

    From `own`, the model's samples for the prompt: one that scores 0, or else a right one with
    another answer in its tags, so that a decoy looks like anything the model might have said. Its
    gradient then stays that of an ordinary wrong answer. Without samples: shuffled words.
    """
    rng = turn.rng("decoy", slot.prompt.key, slot.sample)
    wrong = [s.completion for s in own if turn.task.reward(slot.prompt, s.completion.text) == 0]
    if wrong:  # with its ids: a text without an end would be too long once encoded with one
        return replace(rng.choice(wrong), sample=slot.sample)
    if own:
        parts = split_tags(rng.choice(own).completion.text)
        thinking = parts[0] if parts else slot.prompt.solution
        answer = str((parse_number(slot.prompt.answer) or 0) + rng.randint(1, 9))
        return Completion(slot.prompt.key, slot.sample, turn.task.write(thinking, answer))
    words = slot.prompt.solution.split()
    rng.shuffle(words)
    return Completion(slot.prompt.key, slot.sample, " ".join(words))
