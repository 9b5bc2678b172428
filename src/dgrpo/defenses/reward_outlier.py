"""A baseline: leave out completions whose reward stands out, or senders whose mean reward does.

The paper names it among the defenses that do not work: every attack here keeps the full reward, so
within a group what stands out is a rare right answer, not the poison. Read the other way, a
sender's mean reward against the other senders', it does see an attacker who is always right while
honest nodes are not (docs/results/paper.md). Such an attacker can send some wrong answers.
"""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Hashable, Iterable, Sequence
from typing import ClassVar, Literal

from pydantic import Field

from dgrpo.defenses.base import Need, Receiver, StatelessDefense
from dgrpo.records import Batch, Verdict


class RewardOutlier(StatelessDefense):
    """Rejects rewards that lie far from the rest: a baseline that misses poison (paper)."""

    name: ClassVar[str] = "reward-outlier"

    unit: Literal["completion", "sender"] = "completion"
    """What is compared: a completion with the others of its group, or a sender's mean reward."""
    threshold: float = Field(2.0, gt=0)
    """Standard deviations from the mean (of the group, or of the senders' means).

    The largest possible distance among n values is √(n-1): 1.73 for four senders, 3.3 for twelve.
    """

    def needs(self) -> frozenset[Need]:
        """The rewards of what was received."""
        return frozenset({"rewards"})

    async def screen(self, batch: Batch, node: Receiver) -> list[Verdict]:
        """Score: distance from the mean in standard deviations, 0 where all are equal."""
        vertical = node.topology == "vertical"
        received, rewards = batch.received, batch.rewards
        scores = [0.0] * len(received)
        if self.unit == "completion":
            groups = group_indices(
                (one.prompt.key, one.sender if vertical else "") for one in received
            )
            for members in groups.values():
                for index, score in zip(
                    members, _distances([rewards[i] for i in members]), strict=True
                ):
                    scores[index] = score
        else:
            senders = group_indices(one.sender for one in received)
            means = [statistics.fmean(rewards[i] for i in s) for s in senders.values()]
            for members, score in zip(senders.values(), _distances(means), strict=True):
                for index in members:
                    scores[index] = score
        what = "the group's mean" if self.unit == "completion" else "the other senders"
        return [
            Verdict(accepted=True, score=score)
            if score <= self.threshold
            else Verdict(
                accepted=False,
                score=score,
                reason=f"reward {score:.1f} standard deviations from {what}",
            )
            for score in scores
        ]


def group_indices(names: Iterable[Hashable]) -> dict[Hashable, list[int]]:
    """Indices by name, in order."""
    found: dict[Hashable, list[int]] = defaultdict(list)
    for place, name in enumerate(names):
        found[name].append(place)
    return found


def _distances(values: Sequence[float]) -> list[float]:
    """Each value's distance from the mean in population standard deviations."""
    spread = statistics.pstdev(values) if values else 0.0
    if spread == 0:
        return [0.0] * len(values)
    middle = statistics.fmean(values)
    return [abs(value - middle) / spread for value in values]
