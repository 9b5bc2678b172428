"""A node's view of its model without a swarm around it: every call is computed at once."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from dgrpo.learning.policies import Trainable
from dgrpo.records import TokenStatistics, UpdateStats

if TYPE_CHECKING:
    from dgrpo.policy.sampling import SampleRequest
    from dgrpo.policy.scoring import ScoreItem


class LocalPolicy:
    """A `Trainable` as a node's own policy. See `NodePolicy`."""

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
