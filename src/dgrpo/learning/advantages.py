"""Group advantages: how much better a completion did than the others of its group."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

Scaling = Literal["group", "batch", "none"]

EPSILON = 1e-4
"""Added to the standard deviation, as in TRL's GRPOTrainer."""


def group_advantages(
    groups: Sequence[Sequence[float]], scaling: Scaling = "group"
) -> list[list[float]]:
    """Advantages of each group's rewards, in the same order.

    Â_i = (r_i − mean(r)) / (std(r) + 1e-4) with the sample standard deviation (n − 1), as the field
    computes it. `batch` divides by the deviation over all groups, `none` does not divide
    (Dr. GRPO). A group of fewer than two rewards, or of equal ones, gets zeros.

    >>> group_advantages([[1.0, 0.0], [1.0]], scaling="none")
    [[0.5, -0.5], [0.0]]
    """
    whole = _deviation([r for group in groups for r in group]) if scaling == "batch" else 0.0
    advantages = []
    for rewards in groups:
        if teaches_nothing(rewards):
            advantages.append([0.0] * len(rewards))
            continue
        mean = math.fsum(rewards) / len(rewards)
        scale = 1.0
        if scaling != "none":
            scale = (_deviation(rewards) if scaling == "group" else whole) + EPSILON
        advantages.append([(reward - mean) / scale for reward in rewards])
    return advantages


def teaches_nothing(rewards: Sequence[float]) -> bool:
    """Whether a group carries no signal: fewer than two rewards, or all equal."""
    return len(rewards) < 2 or max(rewards) == min(rewards)


def _deviation(rewards: Sequence[float]) -> float:
    if len(rewards) < 2:
        return 0.0
    mean = math.fsum(rewards) / len(rewards)
    return math.sqrt(math.fsum((r - mean) ** 2 for r in rewards) / (len(rewards) - 1))
