"""What one participant owns: its task, its model, its attack (if any), its defenses, its exchange.

The steps of a round are in `round.py`; this file holds what they need to know.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from random import Random

from dgrpo.attacks.base import RunningAttack, Turn
from dgrpo.exchange.admission import Admission
from dgrpo.exchange.base import AllGather, Message, Roster
from dgrpo.exchange.envelope import open_envelopes
from dgrpo.exchange.spelling import Belief
from dgrpo.experiment import Experiment
from dgrpo.learning.policies import NodePolicy
from dgrpo.measurement.held_out import score_held_out
from dgrpo.policy.model import LanguageModel
from dgrpo.policy.noise import sampling_key
from dgrpo.policy.room import positions
from dgrpo.policy.sampling import SampleRequest
from dgrpo.policy.scoring import ScoreItem, score_items
from dgrpo.policy.statistics import known_statistics
from dgrpo.records import (
    Completion,
    HeldOutScore,
    Label,
    Prompt,
    Received,
    RoundRecord,
    Sent,
    TokenStatistics,
    UpdateStats,
)
from dgrpo.screening import MODEL, REWARDS, Mounted, rewards_of, start_defenses
from dgrpo.tasks.assignment import Assignment, Slot, Topology
from dgrpo.tasks.base import LoadedTask


@dataclass
class Node:
    """One participant of a swarm. `Node.of` makes one from an experiment."""

    name: str
    index: int
    """Its number in the swarm's agreed order."""
    experiment: Experiment
    seed: int
    """Its private seed: an attacker's choices and held-out samples come from it."""
    beacon: int
    """The swarm's public seed: prompts are dealt and completions drawn by it. In a simulation it is
    the run's seed, and so is `seed`."""
    task: LoadedTask
    model: LanguageModel
    """For tokenising; weights are only used through `policy`."""
    policy: NodePolicy
    exchange: AllGather
    attack: RunningAttack
    malicious: bool = False
    accomplices: tuple[str, ...] = ()
    defenses: list[Mounted] = field(default_factory=list)
    labels: dict[tuple[str, int], Label] = field(default_factory=dict)
    """What it knows of its own last message, by (prompt key, sample); read by reports only."""
    _dealt: tuple[int, list[Prompt]] | None = None

    def __post_init__(self) -> None:
        self.roster: Roster = self.experiment.roster
        self.assignment: Assignment = self.experiment.assignment(self.beacon)
        self.topology: Topology = self.experiment.topology
        self.attack_name = self.experiment.attack_of(self.index).name
        self.on_reject = self.experiment.on_reject
        self.advantage_scaling = self.experiment.learner.advantage_scaling
        self.vocabulary = self.model.vocabulary
        self.offers = frozenset({REWARDS, MODEL}) | known_statistics()
        proven = any(one.check.proves_ids for one in self.experiment.defense)
        self.belief = Belief(believe="claimed") if proven else self.experiment.admission

    @classmethod
    def of(
        cls,
        experiment: Experiment,
        index: int,
        seed: int,
        *,
        task: LoadedTask,
        model: LanguageModel,
        policy: NodePolicy,
        exchange: AllGather,
        beacon: int | None = None,
    ) -> Node:
        """Node number `index` of an experiment, its attack and its defenses started.

        model: the one behind `policy`, for its tokenizer. beacon: `seed` unless given. Raises
        DgrpoError for a defense that cannot work here.
        """
        roster = experiment.roster
        malicious = range(experiment.nodes - experiment.malicious, experiment.nodes)
        node = cls(
            name=roster[index],
            index=index,
            experiment=experiment,
            seed=seed,
            beacon=seed if beacon is None else beacon,
            task=task,
            model=model,
            policy=policy,
            exchange=exchange,
            attack=experiment.attack_of(index).start(),
            malicious=index in malicious,
            accomplices=tuple(roster[i] for i in malicious),
        )
        node.defenses = start_defenses(experiment.defense, node)
        return node

    def slots(self, round_index: int) -> list[Slot]:
        """The completions this node owes in a round."""
        prompts = self._prompts(round_index)
        return [Slot(p, s) for p in prompts for s in self.assignment.samples(self.index)]

    async def generate(self, slots: Sequence[Slot], round_index: int) -> list[Sent]:
        """The node's own samples, one per slot; none where its attack does not look at them."""
        if not self.attack.needs_own_samples(self.topology):
            return []
        keys = [
            sampling_key(self.beacon, round_index, self.index, slot.prompt.key, slot.sample)
            for slot in slots
        ]
        drawn = await self.policy.generate(
            [SampleRequest(s.prompt.text, key) for s, key in zip(slots, keys, strict=True)]
        )
        return [
            Sent(self._drawn(s.prompt, s.sample, ids), "honest")
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
                found[p.key].append(self._drawn(p, s, ids))
            return found

        async def score(
            completions: Sequence[Completion], statistics: Collection[str]
        ) -> list[TokenStatistics]:
            return await self.policy.score(
                [
                    ScoreItem(
                        self.task.by_key[one.prompt_key].text,
                        one.token_ids or self.model.encode_completion(one.text, ended=one.ended),
                    )
                    for one in completions
                ],
                statistics,
            )

        return Turn(
            round=round_index,
            topology=self.topology,
            slots=tuple(slots),
            task=self.task,
            accomplices=self.accomplices,
            key=key,
            draw=draw,
            score=score,
            count_tokens=lambda text: len(self.model.encode_completion(text)),
            max_tokens=self.experiment.sampling_of(self.index).max_tokens,
            model=self.model,
            belief=self.belief,
        )

    def remember_labels(self, sent: Sequence[Sent]) -> None:
        """Keep what only the sender knows, for the report."""
        self.labels = {(s.completion.prompt_key, s.completion.sample): s.label for s in sent}

    def message(self, sent: Sequence[Sent]) -> Message:
        """What it sends, with the labels left at home."""
        completions = tuple(one.completion for one in sent)
        return Message(self.name, self.index, self.model.tokenizer_digest, completions)

    def admission(self, prompts: dict[str, Prompt], sender: int) -> Admission:
        """Its rules for what arrives from node number `sender` on `prompts`, by key."""
        most = self.experiment.sampling_of(sender).max_tokens
        room = positions(self.model)
        return Admission(self.assignment, prompts, self.model, most, self.belief, room)

    def admit(
        self, messages: Sequence[Message], round_index: int
    ) -> tuple[list[Received], dict[str, int]]:
        """Everyone's completions that hold to the rules, in one order on all nodes; violations.

        Nothing that a peer sends raises.
        """
        prompts = self.task.by_key
        if self.topology == "horizontal":
            prompts = {prompt.key: prompt for prompt in self._common(round_index)}
        received: list[Received] = []
        opened, violations = open_envelopes(messages, self.roster)
        heard = {message.sender_index for message in opened}
        for index in set(range(len(self.roster))) - heard:
            owed = len(self.assignment.samples(index)) * self.assignment.prompts_per_node
            violations["missing"] += owed
        for message in opened:
            same = message.tokenizer_digest == self.model.tokenizer_digest
            admission = self.admission(prompts, message.sender_index)
            admitted, broken = admission.admit(
                message.sender, message.sender_index, message.completions, same
            )
            received += admitted
            violations += broken
        received.sort(key=lambda one: (one.prompt.key, one.sample, one.sender))
        return received, dict(violations)

    async def token_statistics(
        self, received: Sequence[Received], names: Collection[str]
    ) -> list[TokenStatistics]:
        """How its own model sees each completion; the update may use the same forward pass."""
        return await self.policy.score(score_items(received), names, keep=True)

    def rewards(self, received: Sequence[Received]) -> tuple[float, ...]:
        """One per completion, against the node's own ground truth."""
        return rewards_of(self.task, received)

    def parts(self, received: Sequence[Received]) -> list[list[int]]:
        """Indices of what is screened and learned from together: whole groups, in order.

        It is one part unless `learner.groups_per_pass` bounds how many prompts a pass may have.
        """
        limit = self.experiment.learner.groups_per_part
        keys = list(dict.fromkeys(one.prompt.key for one in received))
        if limit is None or len(keys) <= limit:
            return [list(range(len(received)))]
        part_of = {key: place // limit for place, key in enumerate(keys)}
        parts: list[list[int]] = [[] for _ in range(-(-len(keys) // limit))]
        for index, one in enumerate(received):
            parts[part_of[one.prompt.key]].append(index)
        return parts

    async def update(
        self,
        received: Sequence[Received],
        advantages: Sequence[float | None],
        round_index: int,
        *,
        more: bool = False,
    ) -> UpdateStats:
        """Learn from what was received; more: other parts of the round follow."""
        return await self.policy.update(score_items(received), advantages, round_index, more=more)

    async def after_round(self, record: RoundRecord) -> None:
        """Tell the defenses and the attack what became of the round."""
        for mounted in self.defenses:
            await mounted.running.after_round(record)
        await self.attack.after_round(record)

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

    def _drawn(self, prompt: Prompt, sample: int, ids: tuple[int, ...]) -> Completion:
        return Completion(prompt.key, sample, self.model.decode(ids), ids, self.model.ended(ids))

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
