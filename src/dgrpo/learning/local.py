"""A model in this process, trained whole; and a node's view of one, without a swarm around it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import ClassVar

from dgrpo.learning.base import Policy, PolicySettings, Trainable
from dgrpo.learning.learner import Learner
from dgrpo.policy.model import load_model
from dgrpo.policy.sampling import SampleRequest
from dgrpo.policy.scoring import ScoreItem
from dgrpo.records import TokenStatistics, UpdateStats


class Local(Policy):
    """A model in this process; all of its weights are trained."""

    name: ClassVar[str] = "local"

    def load(self, settings: PolicySettings) -> Learner:
        """See `Policy.load`."""
        model = load_model(settings.model, trained=True)
        return Learner(model, settings.learner, settings.sampling, completions=settings.completions)


class LocalPolicy:
    """A `Trainable` as a node's own policy: every call is computed at once, for this node alone."""

    def __init__(self, trainable: Trainable) -> None:
        self.trainable = trainable

    async def generate(self, requests: Sequence[SampleRequest]) -> list[tuple[int, ...]]:
        """See `NodePolicy`."""
        return self.trainable.generate(requests)

    async def score(
        self, items: Sequence[ScoreItem], statistics: Collection[str] = (), *, keep: bool = False
    ) -> list[TokenStatistics]:
        """See `NodePolicy`."""
        return self.trainable.score(items, statistics, keep=keep)

    async def update(
        self,
        items: Sequence[ScoreItem],
        advantages: Sequence[float | None],
        round_index: int,
        *,
        more: bool = False,
    ) -> UpdateStats:
        """See `NodePolicy`."""
        return self.trainable.step(items, advantages, round_index, more=more)
