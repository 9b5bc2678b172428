"""How hard a poisoned share of a group pushes, in theory (paper, Appendix B.1 and B.2).

A completion's tokens are pushed up in proportion to its advantage, so the push of all poisoned
completions of a group together is share x advantage. Rewards are 0 or 1 and poisoned completions
score 1. Two forms of each quantity: in the limit of large groups, and exactly for G completions
with the deviation and the epsilon that `learning.advantages` uses.

Leaves out: batch scaling, prompts of unequal difficulty within one figure, and what the push does
to the model (attack success is measured, not derived).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from dgrpo.learning.advantages import Scaling, group_advantages


@dataclass(frozen=True, slots=True)
class Push:
    """What the poisoned completions of a group get, averaged over groups."""

    share: float
    """Poisoned share of the group, 0 to 1."""
    advantage: float
    """Advantage of one poisoned completion."""

    @property
    def total(self) -> float:
        """Push per completion of the group: share x advantage."""
        return self.share * self.advantage


def vertical_push(share: float, scaling: Scaling = "group") -> Push:
    """Poison of reward 1 in a group of decoys of reward 0, large groups (paper B.1).

    Scaled by the group's deviation: advantage sqrt((1 - p) / p), total sqrt(p (1 - p)). Unscaled:
    1 - p and p (1 - p). Both totals peak at p = 1/2. Raises ValueError unless 0 < share <= 1, and
    for batch scaling.

    >>> vertical_push(0.5).total, round(vertical_push(0.2).total, 3)
    (0.5, 0.4)
    """
    return horizontal_push(share, 0.0, scaling)


def horizontal_push(share: float, honest_right: float, scaling: Scaling = "group") -> Push:
    """Poison beside honest completions that are right with probability a, large groups (paper B.2).

    The group's mean is mu = p + (1 - p) a; scaled advantage (1 - mu) / sqrt(mu (1 - mu)), unscaled
    1 - mu. Raises ValueError unless 0 < share <= 1 and 0 <= honest_right <= 1, and for batch
    scaling.

    >>> round(horizontal_push(0.25, 0.2).advantage, 3)
    1.225
    """
    _check(share, honest_right, scaling)
    mean = share + (1 - share) * honest_right
    unscaled = 1 - mean
    if scaling == "none":
        return Push(share, unscaled)
    return Push(share, math.sqrt(unscaled / mean))


def exact_push(
    poisoned: int, group_size: int, honest_right: float = 0.0, scaling: Scaling = "group"
) -> Push:
    """The expectation over groups of `group_size` completions, `poisoned` of them poisoned.

    The others are right independently with probability `honest_right`: 0 for decoys (B.1). The
    number of right ones is binomial, so the expectation is a finite sum; a group that is all right
    teaches nothing and counts with advantage 0. Raises ValueError unless 1 <= poisoned <=
    group_size and 0 <= honest_right <= 1, and for batch scaling.

    >>> round(exact_push(6, 12).advantage, 3)
    0.957
    """
    if not 1 <= poisoned <= group_size:
        raise ValueError(f"{poisoned} poisoned completions in a group of {group_size}")
    _check(poisoned / group_size, honest_right, scaling)
    others = group_size - poisoned
    expected = 0.0
    for right in range(others + 1):
        chance = (
            math.comb(others, right) * honest_right**right * (1 - honest_right) ** (others - right)
        )
        rewards = [1.0] * (poisoned + right) + [0.0] * (others - right)
        expected += chance * group_advantages([rewards], scaling)[0][0]
    return Push(poisoned / group_size, expected)


def _check(share: float, honest_right: float, scaling: Scaling) -> None:
    if not 0 < share <= 1:
        raise ValueError(f"a poisoned share of {share} is not above 0 and at most 1")
    if not 0 <= honest_right <= 1:
        raise ValueError(f"{honest_right} is not a probability")
    if scaling == "batch":
        raise ValueError("batch scaling depends on all groups: give 'group' or 'none'")
