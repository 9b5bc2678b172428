"""What every defense offers: verdicts on received completions, the node's own included.

A defense sees what any receiver sees: texts, ids, its own ground truth, its own model. It never
sees which completions are poisoned. `screening.py` starts defenses and asks them.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol

from dgrpo.plugins import Plugin
from dgrpo.records import Batch, RoundRecord, TokenStatistics, Verdict

if TYPE_CHECKING:
    from dgrpo.policy.model import LanguageModel
    from dgrpo.policy.sampling import SampleRequest
    from dgrpo.policy.scoring import ScoreItem
    from dgrpo.tasks.assignment import Topology

Need = Literal["rewards", "model", "logprob", "rank", "entropy"]
"""What a defense may need of its receiver: `rewards` of the receiver's own task, its `model` for
texts of the defense's own, or statistics per token (`policy/statistics.py`)."""


class OwnModel(Protocol):
    """The receiver's current weights, for texts of a defense's own; batched over nodes.

    One call at a time: a node has one request out, so await each before the next.
    """

    async def generate(self, requests: Sequence[SampleRequest]) -> list[tuple[int, ...]]:
        """One continuation's ids per request, under the receiver's sampling."""
        ...

    async def score(
        self, items: Sequence[ScoreItem], statistics: Collection[str] = ()
    ) -> list[TokenStatistics]:
        """Statistics per token at the receiver's temperature; `logprob` is always there."""
        ...


class Receiver(Protocol):
    """What a defense may ask of whoever it guards: a node, or a guard of someone's trainer."""

    @property
    def name(self) -> str:
        """The receiver's own name: the sender of its own completions."""
        ...

    @property
    def topology(self) -> Topology:
        """Whether a group is a prompt's, or a prompt's from one sender."""
        ...

    @property
    def offers(self) -> frozenset[str]:
        """What a defense may need of it (`Need`)."""
        ...

    @property
    def vocabulary(self) -> int:
        """Entries of its model's output distribution. For receivers that offer statistics."""
        ...

    @property
    def model(self) -> LanguageModel:
        """Its tokenizer; the weights that count are behind `policy`. Offered as "model"."""
        ...

    @property
    def policy(self) -> OwnModel:
        """Its own model as it is now. Offered as "model"."""
        ...


class RunningDefense:
    """A defense at work in one run: keeps what changes (calibration, reputation, a judge)."""

    async def screen(self, batch: Batch, node: Receiver) -> list[Verdict]:
        """One verdict per completion of `batch.received`, in the same order."""
        raise NotImplementedError

    async def after_round(self, record: RoundRecord) -> None:
        """Learn what became of the round: all verdicts, rewards, violations, the update."""

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint must carry; plain JSON values."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what `state_dict` gave."""


class Defense(Plugin):
    """One check. `start` returns the object that does the work during a run."""

    name: ClassVar[str]
    per_completion: ClassVar[bool] = False
    """Whether it judges each completion by itself, whatever else is in the round. Then a round that
    is learned from in parts (`learner.groups_per_pass`) is screened in these parts, by the forward
    pass that the update uses. Other defenses see the whole round at once."""
    proves_ids: ClassVar[bool] = False
    """Whether it accepts only ids that were drawn as claimed: receivers then believe all of them,
    and leave what was not drawn to it."""

    def needs(self) -> frozenset[Need]:
        """What it needs of its receiver. It is handed over in the batch, or refused at the start.

        Statistics that several defenses need are computed together, once.
        """
        return frozenset()

    def models(self) -> tuple[str, ...]:
        """Models that it loads into this process: experiment.json records their digests."""
        return ()

    @abstractmethod
    def start(self, node: Receiver) -> RunningDefense:
        """Make ready for a run of `node`; raises DgrpoError if that cannot be done."""


class StatelessDefense(Defense, RunningDefense):
    """A defense that remembers nothing: the plug-in is its own runtime object."""

    @abstractmethod
    async def screen(self, batch: Batch, node: Receiver) -> list[Verdict]:
        """See `RunningDefense.screen`."""

    def start(self, node: Receiver) -> RunningDefense:
        """Nothing to prepare."""
        return self
