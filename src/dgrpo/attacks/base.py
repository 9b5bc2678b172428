"""What every attack offers: hooks, and a measure of its success.

The hooks are `choose_prompts` (which prompts of the pool a vertical attacker answers) and `poison`
(what it sends instead of its own samples). An attacker holds what every participant holds: the
prompts, the answers, the reward and an oracle solution per prompt, and its own model, which it may
sample as often as it likes (`Turn.draw`).

Two base classes: `Attack`, with a memory, and `StatelessAttack`, without one. Attacks whose
completions keep the full reward have bases of their own (`rewarded.py`).
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Awaitable, Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING, Any, ClassVar

from dgrpo.exchange.spelling import USUAL, Belief
from dgrpo.plugins import Plugin
from dgrpo.records import Completion, Prompt, RoundRecord, Sent, TokenStatistics
from dgrpo.tasks.assignment import Slot, Topology
from dgrpo.tasks.base import LoadedTask

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


def share_of_true(judged: Sequence[bool | None]) -> float | None:
    """Share of True among those that are not None; None where there are none."""
    known = [one for one in judged if one is not None]
    return sum(known) / len(known) if known else None
