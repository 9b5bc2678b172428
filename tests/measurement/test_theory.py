"""Theory of poisoned share: it agrees with groups drawn at random and with the learner's code."""

from __future__ import annotations

import math
import random
from statistics import fmean, stdev

import pytest

from dgrpo.learning.advantages import Scaling, group_advantages
from dgrpo.measurement.theory import exact_push, horizontal_push, vertical_push


@pytest.mark.parametrize("scaling", ["group", "none"])
@pytest.mark.parametrize(
    ("poisoned", "size", "right"),
    [(3, 12, 0.2), (3, 12, 0.9), (6, 12, 0.0), (1, 12, 0.5), (2, 4, 0.3), (12, 12, 0.5)],
)
def test_expectation_agrees_with_groups_drawn_at_random(
    poisoned: int, size: int, right: float, scaling: Scaling
) -> None:
    rng = random.Random(7)
    groups = [
        [1.0] * poisoned + [float(rng.random() < right) for _ in range(size - poisoned)]
        for _ in range(20_000)
    ]
    drawn = [group[0] for group in group_advantages(groups, scaling)]
    error = stdev(drawn) / math.sqrt(len(drawn))
    assert exact_push(poisoned, size, right, scaling).advantage == pytest.approx(
        fmean(drawn), abs=4.5 * error + 1e-9
    )


@pytest.mark.parametrize("scaling", ["group", "none"])
@pytest.mark.parametrize(("share", "right"), [(0.25, 0.2), (0.5, 0.0), (0.1, 0.6)])
def test_large_groups_reach_the_papers_formula(
    share: float, right: float, scaling: Scaling
) -> None:
    limit = horizontal_push(share, right, scaling)
    exact = exact_push(round(400 * share), 400, right, scaling)
    assert exact.advantage == pytest.approx(limit.advantage, rel=0.01)


def test_vertical_push_peaks_at_one_half_and_is_still_strong_at_a_fifth() -> None:
    shares = [n / 100 for n in range(1, 100)]
    for scaling in ("group", "none"):
        assert max(shares, key=lambda p: vertical_push(p, scaling).total) == 0.5
    assert vertical_push(0.2).total / vertical_push(0.5).total == pytest.approx(0.8)
    assert vertical_push(0.2).advantage == pytest.approx(2.0)


def test_the_exact_peak_of_twelve_is_six() -> None:
    assert max(range(1, 13), key=lambda k: exact_push(k, 12).total) == 6


def test_nothing_is_pushed_where_everyone_is_right() -> None:
    assert exact_push(3, 12, 1.0).total == 0
    assert exact_push(12, 12).total == 0
    assert vertical_push(1.0).total == 0


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: vertical_push(0.0),
        lambda: vertical_push(1.5),
        lambda: horizontal_push(0.5, -0.1),
        lambda: horizontal_push(0.5, 0.5, "batch"),
        lambda: exact_push(0, 12),
        lambda: exact_push(13, 12),
    ],
)
def test_impossible_groups_are_refused(wrong) -> None:
    with pytest.raises(ValueError, match=r"share|probability|batch|poisoned"):
        wrong()
