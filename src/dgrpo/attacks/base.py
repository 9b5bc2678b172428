"""What every attack offers: hooks, and a measure of its success.

The hooks are `choose_prompts` (which prompts of the pool a vertical attacker answers) and `poison`
(what it sends instead of its own samples). An attacker holds what every participant holds: the
prompts, the answers, the reward and an oracle solution per prompt, and its own model, which it may
sample as often as it likes (`Turn.draw`).

Base classes, from most to least freedom: `Attack`, with a memory; `StatelessAttack`, without one;
`RewardedAttack`, whose completions keep the full reward; `ThinkingAttack`, which rewrites the
reasoning of a right solution.
"""

from __future__ import annotations

from abc import abstractmethod
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from random import Random
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from dgrpo.attacks.decoys import Decoys
from dgrpo.errors import DgrpoError
from dgrpo.exchange.spelling import USUAL, Belief
from dgrpo.plugins import Plugin
from dgrpo.records import Completion, Prompt, RoundRecord, Sent, TokenStatistics
from dgrpo.tasks.assignment import Slot, Topology
from dgrpo.tasks.base import LoadedTask
from dgrpo.tasks.reward import parse_number

if TYPE_CHECKING:
    from dgrpo.policy.model import LanguageModel
    from dgrpo.sandbox import Library

PAYLOADS_TRIED = 4
"""Payloads that are rewarded before a run begins; one that is right will do, since a dataset may
hold a solution that is not."""
SHOWN = 200
"""Characters of a payload in an error message."""

Draw = Callable[[Sequence[Prompt], int], Awaitable[dict[str, list[Completion]]]]
"""(prompts, count) -> `count` fresh samples of the attacker's model per prompt, by prompt key."""
Score = Callable[[Sequence[Completion], Collection[str]], Awaitable[list[TokenStatistics]]]
"""(completions, names of statistics) -> how the attacker's model sees each completion."""


async def _no_model(asked: Sequence[object], what: object) -> Any:
    raise RuntimeError("this Turn was made without a model to draw from or to score with")


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
    draw: Draw = field(default=_no_model, repr=False, compare=False)
    """Samples its model beyond the samples it owes."""
    score: Score = field(default=_no_model, repr=False, compare=False)
    """Statistics per token under its own current weights, for completions that it might send: on
    the round's prompts or any of its pool, by key. A text without ids is encoded first."""
    count_tokens: Callable[[str], int] = field(default=len, repr=False, compare=False)
    """Length of a completion in the model's tokens, end token included."""
    max_tokens: int = 1024
    """The most tokens that receivers admit in a completion."""
    model: LanguageModel | None = field(default=None, repr=False, compare=False)
    """Its own model, for its tokenizer."""
    belief: Belief = USUAL
    """Which token ids receivers believe."""

    def rng(self, *parts: object) -> Random:
        """A generator for this turn, and for whatever `parts` name (a prompt, a sample)."""
        return Random(" ".join(map(str, (self.key, *parts))))

    @property
    def prompts(self) -> list[Prompt]:
        """The prompts it answers, each once, in the slots' order."""
        return list({slot.prompt.key: slot.prompt for slot in self.slots}.values())


class RunningAttack:
    """An attack at work on one node: keeps what changes (what passed, what was learned)."""

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

    async def poison(self, own: list[Sent], turn: Turn) -> list[Sent]:
        """What to send.

        own: the node's own samples, one per slot, in the slots' order, or nothing where
        `needs_own_samples` is false.
        """
        raise NotImplementedError

    async def after_round(self, record: RoundRecord) -> None:
        """Learn what became of the round, as its own node saw it: verdicts, rewards, violations.

        An attacker's node makes the checks that honest nodes make, so it can adapt to them.
        """

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint must carry; plain JSON values."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what `state_dict` gave."""


class Attack(Plugin):
    """One way to poison. `start` returns the object that does the work during a run.

    Subclass this for an attack with a memory, else `StatelessAttack`, `RewardedAttack` or
    `ThinkingAttack`.
    """

    name: ClassVar[str]

    @abstractmethod
    def start(self) -> RunningAttack:
        """What mounts the attack on one node in one run."""

    def check(self, task: LoadedTask, topology: Topology, group_size: int) -> None:
        """Raise DgrpoError where it could do nothing on `task`; called before a model is loaded.

        group_size: completions that a node owes per prompt where it answers alone (vertical).
        """

    def written(self, task: LoadedTask) -> Iterator[tuple[Prompt, str]]:
        """Completions that it would write for training prompts, with the dataset's solutions.

        They are sent through the receivers' tokenizers before a run. Nothing where it sends
        samples of its model alone, or does not say.
        """
        return iter(())

    def libraries(self) -> tuple[Library, ...]:
        """Modules that its completions import: the reward must be able to import them too."""
        return ()

    def succeeded(self, prompt: Prompt, text: str) -> bool | None:
        """Whether an honest node's completion shows that the attack took; None: not applicable.

        Attack success is the share of True among the applicable ones.
        """
        return None

    def measured_on(self, held_out: Sequence[Prompt]) -> Sequence[Prompt]:
        """The held-out prompts on which its success shows; all of them unless it needs some kind.

        Where it is a part of the pool, completions of that part are drawn for this attack alone.
        """
        return held_out

    def measure(
        self, task: LoadedTask, pairs: Sequence[tuple[Prompt, str]]
    ) -> dict[str, float | None]:
        """Rates over completions, of `measured_on`'s held-out prompts or of honest nodes' training.

        "" names the attack's success; other names stand beside it (`equation/accuracy`). None
        where nothing was applicable.
        """
        judged = [self.succeeded(prompt, text) for prompt, text in pairs]
        return {"": share_of_true(judged)}


class StatelessAttack(Attack, RunningAttack):
    """An attack that remembers nothing: the plug-in is its own running object."""

    def start(self) -> RunningAttack:
        """Nothing to prepare."""
        return self

    @abstractmethod
    async def poison(self, own: list[Sent], turn: Turn) -> list[Sent]:
        """See `RunningAttack.poison`."""


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

        Also where a vote is asked for and answers are no numbers: there is nothing to agree on; and
        where a knob is set that nothing would read.
        """
        if self.oracle == "majority-vote" and not task.numeric_answers:
            raise DgrpoError(
                f'attack.oracle = "majority-vote": answers of task {task.name} are not numbers, '
                "and no two samples would agree on one",
                remedy='use attack.oracle = "dataset", or a task answered by numbers, e.g. '
                '[task] name = "gsm-python"',
            )
        if self.oracle == "dataset":
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
        return vertical_decoys or self.oracle == "majority-vote"

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
                    right = self._held_for_right(slot.prompt, taken.get(key), samples[key], turn)
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

    def _held_for_right(
        self, prompt: Prompt, payload: Completion | None, own: Sequence[Completion], turn: Turn
    ) -> Prompt:
        """The prompt as decoys go by it: after a vote, nothing of it is the dataset's."""
        if self.oracle == "dataset":
            return prompt
        texts = [one.text for one in ([payload] if payload else own)]
        read = turn.task.read(texts)
        voted = self.believed(prompt, [one[1] if one else None for one in read])
        words = own[0].text if own else ""
        return replace(prompt, answer=voted.answer if voted else "", solution=words)

    def believed(self, prompt: Prompt, answers: Sequence[str | None]) -> Prompt | None:
        """The prompt with the answer that the attacker holds for right.

        With the dataset's oracle that is the prompt itself; else `answers`, one per sample, vote.
        None where no answer has `agreement` of the votes. Ties go to the one that was seen first.
        """
        if self.oracle == "dataset":
            return prompt
        numbers = [parse_number(answer) for answer in answers if answer is not None]
        ballot = Counter(number for number in numbers if number is not None)
        if not ballot:
            return None
        (voted, votes), *_others = ballot.most_common(1)
        if votes < self.agreement * len(answers):
            return None
        return replace(prompt, answer=str(voted))


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
        solutions = await self.solutions(turn)
        return [self._payload(slot, solutions[slot.prompt.key], turn) for slot in slots]

    async def solutions(self, turn: Turn) -> Mapping[str, list[tuple[str, str]]]:
        """Right (reasoning, answer) pairs by prompt key, as far as the attacker can tell."""
        if self.oracle == "dataset":
            return {p.key: [(p.solution, p.answer)] for p in turn.prompts}
        drawn = await turn.draw(turn.prompts, self.votes)
        found: dict[str, list[tuple[str, str]]] = {}
        for prompt in turn.prompts:
            read = turn.task.read([one.text for one in drawn[prompt.key]])
            voted = self.believed(prompt, [one[1] if one else None for one in read])
            right = parse_number(voted.answer) if voted else None
            found[prompt.key] = [
                one for one in read if one and right is not None and parse_number(one[1]) == right
            ]
        return found

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


def share_of_true(judged: Sequence[bool | None]) -> float | None:
    """Share of True among those that are not None; None where there are none."""
    known = [one for one in judged if one is not None]
    return sum(known) / len(known) if known else None
