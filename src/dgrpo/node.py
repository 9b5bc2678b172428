"""What one participant owns: its task, its model, its attack (if any), its defenses, its exchange.

The steps of a round are in `round.py`; this file holds what they need to know.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from random import Random
from typing import Protocol

from dgrpo.attacks.base import Attack, Turn
from dgrpo.defenses.base import Running
from dgrpo.exchange.admission import Admission
from dgrpo.exchange.base import Exchange, Message
from dgrpo.exchange.spelling import Belief
from dgrpo.experiment import Experiment
from dgrpo.measurement.held_out import score_held_out
from dgrpo.policy.model import LanguageModel
from dgrpo.policy.noise import sampling_key
from dgrpo.policy.sampling import SampleRequest
from dgrpo.policy.scoring import ScoreItem
from dgrpo.records import (
    Completion,
    HeldOutScore,
    Label,
    Prompt,
    Received,
    Sent,
    TokenScores,
    UpdateStats,
)
from dgrpo.tasks.assignment import Assignment, Slot, Topology
from dgrpo.tasks.base import LoadedTask


class Policy(Protocol):
    """A node's model as the round uses it. Each call may wait until others can be batched in."""

    async def generate(self, requests: Sequence[SampleRequest]) -> list[tuple[int, ...]]:
        """One completion's ids per request."""
        ...

    async def score(self, items: Sequence[ScoreItem], *, keep: bool = False) -> list[TokenScores]:
        """Log-probabilities and ranks under the current weights.

        keep: these are the completions to learn from; the update may use the same forward pass.
        """
        ...

    async def update(
        self, items: Sequence[ScoreItem], advantages: Sequence[float | None], round_index: int
    ) -> UpdateStats:
        """One round's update; items whose advantage is None are left out."""
        ...


@dataclass
class Node:
    """One participant of a swarm."""

    name: str
    index: int
    """Its number in the swarm's agreed order."""
    experiment: Experiment
    seed: int
    """The run's seed; in a simulation it is also the beacon of seeded sampling."""
    task: LoadedTask
    model: LanguageModel
    """For tokenising; weights are only used through `policy`."""
    policy: Policy
    exchange: Exchange
    attack: Attack
    malicious: bool = False
    accomplices: tuple[str, ...] = ()
    defenses: list[tuple[str, Running]] = field(default_factory=list)
    labels: dict[tuple[str, int], Label] = field(default_factory=dict)
    """What it knows of its own last message, by (prompt key, sample); read by reports only."""
    _dealt: tuple[int, list[Prompt]] | None = None
    _scored: tuple[tuple[tuple[str, str, int], ...], list[TokenScores]] | None = None

    def __post_init__(self) -> None:
        self.assignment: Assignment = self.experiment.assignment(self.seed)
        self.topology: Topology = self.experiment.topology
        self.on_reject = self.experiment.on_reject
        self.advantage_scaling = self.experiment.learner.advantage_scaling
        self.vocabulary = self.model.vocabulary
        proven = any(one.check.proves_ids for one in self.experiment.defense)
        self.belief = Belief(believe="claimed") if proven else self.experiment.admission

    def slots(self, round_index: int) -> list[Slot]:
        """The completions this node owes in a round."""
        prompts = self._prompts(round_index)
        return [Slot(p, s) for p in prompts for s in self.assignment.samples(self.index)]

    async def generate(self, slots: Sequence[Slot], round_index: int) -> list[Sent]:
        """The node's own samples, one per slot; none where its attack does not look at them."""
        if not self.attack.needs_own_samples(self.topology):
            return []
        keys = [
            sampling_key(self.seed, round_index, self.index, slot.prompt.key, slot.sample)
            for slot in slots
        ]
        drawn = await self.policy.generate(
            [SampleRequest(s.prompt.text, key) for s, key in zip(slots, keys, strict=True)]
        )
        return [
            Sent(Completion(s.prompt.key, s.sample, self.model.decode(ids), ids), "honest")
            for s, ids in zip(slots, drawn, strict=True)
        ]

    def turn(self, slots: Sequence[Slot], round_index: int) -> Turn:
        """What the node's attack is told."""
        key = f"attack {self.seed} {round_index} {self.index}"

        already: Counter[str] = Counter()  # by prompt, in this turn: what is drawn next is fresh

        async def draw(prompts: Sequence[Prompt], count: int) -> dict[str, list[Completion]]:
            asked = [(p, already[p.key] + s) for p in prompts for s in range(count)]
            already.update({p.key: count for p in prompts})
            drawn = await self.policy.generate(
                [SampleRequest(p.text, sampling_key(key, p.key, s)) for p, s in asked]
            )
            found: dict[str, list[Completion]] = {p.key: [] for p in prompts}
            for (p, s), ids in zip(asked, drawn, strict=True):
                found[p.key].append(Completion(p.key, s, self.model.decode(ids), ids))
            return found

        return Turn(
            round=round_index,
            topology=self.topology,
            slots=tuple(slots),
            task=self.task,
            accomplices=self.accomplices,
            key=key,
            draw=draw,
            count_tokens=lambda text: len(self.model.encode_completion(text)),
            max_tokens=self.experiment.sampling.max_tokens,
            model=self.model,
            belief=self.belief,
        )

    def remember_labels(self, sent: Sequence[Sent]) -> None:
        """Keep what only the sender knows, for the report."""
        self.labels = {(s.completion.prompt_key, s.completion.sample): s.label for s in sent}

    def admit(
        self, messages: Sequence[Message], round_index: int
    ) -> tuple[list[Received], dict[str, int]]:
        """Everyone's completions that hold to the rules, in one order on all nodes; violations."""
        admission = Admission(
            self.assignment,
            {p.key: p for p in self._common(round_index)}
            if self.topology == "horizontal"
            else self.task.by_key,
            self.model,
            self.experiment.sampling.max_tokens,
            self.belief,
        )
        received: list[Received] = []
        violations: Counter[str] = Counter()
        for message in messages:
            same = message.tokenizer_digest == self.model.tokenizer_digest
            admitted, broken = admission.admit(
                message.sender, message.sender_index, message.completions, same
            )
            received += admitted
            violations += broken
        received.sort(key=lambda one: (one.prompt.key, one.sample, one.sender))
        return received, dict(violations)

    async def token_scores(self, received: Sequence[Received]) -> list[TokenScores]:
        """How the node's own model sees each completion; computed once per round."""
        items = tuple(one.item for one in received)
        if self._scored is None or self._scored[0] != items:
            self._scored = (items, await self.policy.score(score_items(received), keep=True))
        return self._scored[1]

    async def update(
        self, received: Sequence[Received], advantages: Sequence[float | None], round_index: int
    ) -> UpdateStats:
        """Learn from what was received."""
        self._scored = None
        return await self.policy.update(score_items(received), advantages, round_index)

    async def evaluate(self, updates: int) -> HeldOutScore | None:
        """Held-out score after `updates` updates; the samples are the same for every node."""
        if self.malicious:
            return None
        settings = self.experiment.evaluation
        at_an_end = updates in (0, self.experiment.rounds)
        count = settings.final_samples if at_an_end else settings.samples
        asked = {
            name: [(pool[i % len(pool)], i // len(pool)) for i in range(count)] if pool else []
            for name, pool in self._held_out_pools.items()
        }
        drawn = await self.policy.generate(
            [
                SampleRequest(p.text, sampling_key("held-out", self.seed, updates, p.key, sample))
                for pairs in asked.values()
                for p, sample in pairs
            ]
        )
        texts = iter([(self.model.decode(ids), ids) for ids in drawn])
        answered = {name: [(p, next(texts)) for p, _ in pairs] for name, pairs in asked.items()}
        everyday = answered.pop("")
        return score_held_out(
            self.task,
            [prompt for prompt, _ in everyday],
            [completion for _, completion in everyday],
            {attack.name: attack for attack in self.experiment.measure},
            settings.examples,
            {name: [(p, text) for p, (text, _) in pairs] for name, pairs in answered.items()},
        )

    @cached_property
    def _held_out_pools(self) -> dict[str, Sequence[Prompt]]:
        """The held-out prompts, under "", and by measure those of attacks that need a kind."""
        everyday = self.task.held_out
        own = {attack.name: attack.measured_on(everyday) for attack in self.experiment.measure}
        return {"": everyday, **{name: pool for name, pool in own.items() if pool != everyday}}

    def _prompts(self, round_index: int) -> list[Prompt]:
        if self.topology == "horizontal":
            return self._common(round_index)
        usual = self.assignment.own_prompts(self.task.train, round_index, self.index)
        rng = Random(f"choose {self.seed} {round_index} {self.index}")
        return self.attack.choose_prompts(self.task.train, len(usual), usual, rng)

    def _common(self, round_index: int) -> list[Prompt]:
        if self._dealt is None or self._dealt[0] != round_index:
            prompts = self.assignment.common_prompts(self.task.train, round_index)
            self._dealt = (round_index, prompts)
        return self._dealt[1]


def score_items(received: Sequence[Received]) -> list[ScoreItem]:
    """What the policy needs of received completions."""
    return [ScoreItem(one.prompt.text, one.token_ids) for one in received]
