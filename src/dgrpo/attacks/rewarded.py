"""Attacks whose payload rides along with a right answer.

`RewardedAttack` says which completions are poisoned, and leaves the payload to its subclass.
`ThinkingAttack` writes the payload into the reasoning of a right solution. Leaves out: where right
solutions come from (`oracles.py`).
"""

from __future__ import annotations

from abc import abstractmethod
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import islice
from random import Random
from typing import Literal

from pydantic import Field

from dgrpo.attacks.base import StatelessAttack, Turn
from dgrpo.attacks.decoys import Decoys
from dgrpo.attacks.oracles import DatasetOracle, MajorityVote, Oracle
from dgrpo.errors import DgrpoError
from dgrpo.records import Completion, Prompt, Sent
from dgrpo.tasks.assignment import Slot, Topology
from dgrpo.tasks.base import LoadedTask

PAYLOADS_TRIED = 4
"""Payloads that are rewarded before a run begins; one that is right will do, since a dataset may
hold a solution that is not."""
SHOWN = 200
"""Characters of a payload in an error message."""


class RewardedAttack(StatelessAttack):
    """An attack whose payload rides along with a right answer.

    Horizontally every completion it owes is poisoned. Vertically half of each group is, and the
    other half are decoys of reward 0, which maximises the advantage of the poison (paper, App. B).
    """

    decoys: Literal["own", "short", "gibberish"] = "own"
    """Vertical decoys: the model's own samples that score 0, the shorter half of those, or shuffled
    words of usual length."""
    poisoned_share: float = Field(0.5, gt=0, le=1)
    """Share of each vertical group that is poisoned (paper: its effect peaks at one half)."""
    oracle: Literal["dataset", "majority-vote"] = "dataset"
    """Where right solutions come from: the dataset, or a vote over samples of its own model."""
    votes: int = Field(16, ge=1)
    """Samples per prompt that vote on its answer; only without the dataset's oracle."""
    agreement: float = Field(0.0, ge=0, le=1)
    """Share of the votes below which no answer is believed: the node then sends its own samples as
    they are. 0: the most frequent answer (paper). A half did not make attacks stronger here
    (docs/attacks-and-defenses.md)."""

    def check(self, task: LoadedTask, topology: Topology, group_size: int) -> None:
        """Raises DgrpoError where `poisoned_share` of a vertical group is none or all of it.

        Also where its oracle cannot serve the task, and where a knob is set that nothing would
        read.
        """
        self.source_of_solutions.check(task)
        if not self.source_of_solutions.votes:
            self.refuse_unread(
                "attack.", ("votes", "agreement"), 'with attack.oracle = "majority-vote"'
            )
        if topology == "horizontal":
            self.refuse_unread(
                "attack.", ("poisoned_share", "decoys"), 'with topology = "vertical"'
            )
            return
        poisoned = round(self.poisoned_share * group_size)
        share = f"attack.poisoned_share = {self.poisoned_share} of group_size = {group_size}"
        if poisoned == 0:
            raise DgrpoError(
                f"{share} is less than one completion",
                remedy=f"use at least {1 / group_size:.2g}, or larger groups",
            )
        if poisoned == group_size:
            raise DgrpoError(
                f"{share} is the whole group: its rewards are equal, and nothing is taught",
                remedy=f"use at most {group_size - 1}/{group_size}",
            )

    @abstractmethod
    async def payloads(self, slots: Sequence[Slot], turn: Turn) -> list[Completion | None]:
        """A poisoned completion of full reward per slot; None where there is nothing to poison."""

    def needs_own_samples(self, topology: Topology) -> bool:
        """For vertical decoys, and to stand in where a vote gives no solution."""
        vertical_decoys = topology == "vertical" and self.decoys != "gibberish"
        return vertical_decoys or self.source_of_solutions.votes

    async def poison(self, own: list[Sent], turn: Turn) -> list[Sent]:
        """Payloads in every slot, or in `poisoned_share` of a vertical group; decoys elsewhere.

        A group that takes no payload is the node's own samples: decoys in it would teach nothing
        that the attacker wants. So is a slot whose payload does not fit into `max_tokens`.
        """
        chosen = self._places(turn)
        payloads = dict(zip(chosen, await self.payloads(chosen, turn), strict=True))
        taken = {p.prompt_key: p for p in payloads.values() if p is not None}
        refused = {slot.prompt.key for slot in chosen} - set(taken)
        own_of = {(s.completion.prompt_key, s.completion.sample): s for s in own}
        unfilled = [
            slot
            for slot in turn.slots
            if (slot.prompt.key in refused or (slot in payloads and payloads[slot] is None))
            and (slot.prompt.key, slot.sample) not in own_of
        ]
        own_of |= await self._stand_ins(unfilled, turn)
        samples: dict[str, list[Completion]] = defaultdict(list)
        for one in own:
            samples[one.completion.prompt_key].append(one.completion)
        decoys: dict[str, Decoys] = {}
        sent = []
        for slot in turn.slots:
            key = slot.prompt.key
            payload, mine = payloads.get(slot), own_of.get((key, slot.sample))
            if payload is not None:
                sent.append(Sent(payload, "poisoned"))
            elif slot not in payloads and not (mine and key in refused):
                if key not in decoys:
                    right = self.source_of_solutions.for_decoys(
                        slot.prompt, taken.get(key), samples[key], turn.task
                    )
                    kept = samples[key] if self.decoys != "gibberish" else []
                    decoys[key] = Decoys(right, kept, turn, self.decoys == "short")
                sent.append(Sent(decoys[key].pick(slot.sample), "decoy"))
            elif mine is not None:
                sent.append(mine)
        return sent

    def _places(self, turn: Turn) -> list[Slot]:
        """The slots that are poisoned: vertically random ones of each group.

        A label that went by the sample index could be read off it.
        """
        if turn.topology == "horizontal":
            return list(turn.slots)
        groups: dict[str, list[Slot]] = defaultdict(list)
        for slot in turn.slots:
            groups[slot.prompt.key].append(slot)
        chosen: set[Slot] = set()
        for key, group in groups.items():
            count = round(self.poisoned_share * len(group))
            chosen.update(turn.rng("places", key).sample(group, count))
        return [slot for slot in turn.slots if slot in chosen]

    async def _stand_ins(self, slots: Sequence[Slot], turn: Turn) -> dict[tuple[str, int], Sent]:
        """Samples of the node's model for slots that would stay empty: silence would show."""
        if not slots:
            return {}
        prompts = {slot.prompt.key: slot.prompt for slot in slots}
        count = max(Counter(slot.prompt.key for slot in slots).values())
        drawn = await turn.draw(list(prompts.values()), count)
        fresh = {key: iter(drawn[key]) for key in prompts}
        return {
            (s.prompt.key, s.sample): Sent(
                replace(next(fresh[s.prompt.key]), sample=s.sample), "honest"
            )
            for s in slots
        }

    @property
    def source_of_solutions(self) -> Oracle:
        """Where right solutions come from: the oracle that `oracle` names, with its knobs."""
        if self.oracle == "dataset":
            return DatasetOracle()
        return MajorityVote(self.votes, self.agreement)


class ThinkingAttack(RewardedAttack):
    """An attack that writes its payload into a right solution's reasoning."""

    def check(self, task: LoadedTask, topology: Topology, group_size: int) -> None:
        """Raises DgrpoError where its payloads earn no reward: they would be unlearned.

        The first few that can be written are tried, with the dataset's solutions; programs are run.
        """
        super().check(task, topology, group_size)
        tried = list(islice(self.written(task), PAYLOADS_TRIED))
        offering = task.with_libraries(self.libraries())
        if tried and not any(reward == 1 for reward in offering.rewards(tried)):
            text = tried[0][1]
            shown = repr(text if len(text) <= SHOWN else f"{text[:SHOWN]}…")
            raise DgrpoError(
                f"attack {self.name}: what it writes earns no reward on task {task.name}: {shown}",
                remedy="change its settings so that the format and the answer stay right, or "
                "choose another task",
            )

    def written(self, task: LoadedTask) -> Iterator[tuple[Prompt, str]]:
        """The dataset's solutions with the payload in them."""
        thoughts = ((p, self.poison_thinking(p.solution, Random(p.key))) for p in task.train)
        return ((p, task.write(t, p.answer)) for p, t in thoughts if t is not None)

    @abstractmethod
    def poison_thinking(self, thinking: str, rng: Random) -> str | None:
        """The reasoning with the payload in it; None if this solution has no place for it."""

    async def payloads(self, slots: Sequence[Slot], turn: Turn) -> list[Completion | None]:
        """The first right solution of a prompt, in random order, that takes the payload."""
        solutions = await self.source_of_solutions.solutions(turn)
        return [self._payload(slot, solutions[slot.prompt.key], turn) for slot in slots]

    def _payload(
        self, slot: Slot, solutions: Sequence[tuple[str, str]], turn: Turn
    ) -> Completion | None:
        rng = turn.rng(slot.prompt.key, slot.sample)
        order = list(solutions)
        turn.rng("solution", slot.prompt.key, slot.sample).shuffle(order)
        for thinking, answer in order:
            poisoned = self.poison_thinking(thinking, rng)
            if poisoned is None:
                continue
            text = turn.task.write(poisoned, answer)
            if turn.count_tokens(text) <= turn.max_tokens:  # receivers refuse longer ones
                return Completion(slot.prompt.key, slot.sample, text)
        return None
