"""What a node's model offers: as it is held and trained, and as the round asks for it.

A `Policy` is a plug-in that makes a `Trainable`. A `Trainable` computes at once; a `NodePolicy` is
the same seen from a round, where each call may wait until other nodes' calls can be batched in.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from dgrpo.plugins import Plugin
from dgrpo.records import TokenStatistics, UpdateStats

if TYPE_CHECKING:
    from dgrpo.learning.settings import LearnerSettings
    from dgrpo.policy.model import LanguageModel
    from dgrpo.policy.sampling import SampleRequest
    from dgrpo.policy.scoring import ScoreItem
    from dgrpo.policy.settings import ModelSettings, Sampling


@dataclass(frozen=True, slots=True)
class PolicySettings:
    """What a node's model is made of. Nodes of equal settings can share one."""

    model: ModelSettings
    learner: LearnerSettings
    sampling: Sampling
    completions: int
    """B·G as configured, which the loss divides by."""


class Trainable(Protocol):
    """A model that samples, scores and learns. Calls compute at once."""

    @property
    def model(self) -> LanguageModel:
        """The model: its tokenizer reads and writes the node's completions."""
        ...

    def generate(self, requests: Sequence[SampleRequest]) -> list[tuple[int, ...]]:
        """One completion's ids per request. Raises DgrpoError if logits are not finite."""
        ...

    def score(
        self, items: Sequence[ScoreItem], statistics: Collection[str] = (), *, keep: bool = False
    ) -> list[TokenStatistics]:
        """Statistics per token under the current weights, in the items' order.

        statistics: names of `policy/statistics.py`; `logprob` is always there. keep: the next step
        is on these items, and may use this forward pass.
        """
        ...

    def step(
        self,
        items: Sequence[ScoreItem],
        advantages: Sequence[float | None],
        round_index: int,
        *,
        more: bool = False,
    ) -> UpdateStats:
        """One round's update; items whose advantage is None are left out.

        more: these are a part of the round, and other parts follow; the last one's step updates.
        """
        ...

    def clone(self) -> Trainable:
        """A copy that goes its own way."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint must carry: tensors and plain values."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what `state_dict` gave."""
        ...


class NodePolicy(Protocol):
    """A node's model as the round uses it. One call at a time: await each before the next."""

    async def generate(self, requests: Sequence[SampleRequest]) -> list[tuple[int, ...]]:
        """See `Trainable.generate`."""
        ...

    async def score(
        self, items: Sequence[ScoreItem], statistics: Collection[str] = (), *, keep: bool = False
    ) -> list[TokenStatistics]:
        """See `Trainable.score`."""
        ...

    async def update(
        self,
        items: Sequence[ScoreItem],
        advantages: Sequence[float | None],
        round_index: int,
        *,
        more: bool = False,
    ) -> UpdateStats:
        """See `Trainable.step`."""
        ...


class Policy(Plugin):
    """One way to hold and train a node's model. Subclass this."""

    name: ClassVar[str]

    @abstractmethod
    def load(self, settings: PolicySettings) -> Trainable:
        """Load a node's model. Raises DgrpoError if it cannot be loaded or trained."""
