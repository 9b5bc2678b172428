"""Intervals: the published values, the honest answer where nothing is known, and repeatability."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dgrpo.measurement.intervals import (
    SHARE,
    mean_over_seeds,
    paired_difference,
    share_over_seeds,
    t_quantile,
    wilson,
)


@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"),
    [  # Newcombe 1998, table I, method 3
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_gives_the_published_intervals(
    successes: int, trials: int, low: float, high: float
) -> None:
    assert wilson(successes, trials) == pytest.approx((low, high), abs=5e-5)


@given(st.integers(0, 10_000), st.integers(0, 10_000))
def test_wilson_holds_the_rate_and_stays_a_share(some: int, more: int) -> None:
    successes, trials = some, some + more
    low, high = wilson(successes, trials)
    assert 0 <= low <= high <= 1
    if trials:
        assert low <= successes / trials <= high


def test_wilson_refuses_more_successes_than_trials() -> None:
    with pytest.raises(ValueError, match="3 successes in 2 trials"):
        wilson(3, 2)


def test_one_value_has_a_mean_but_no_interval() -> None:
    interval = mean_over_seeds([0.25])
    assert (interval.mean, interval.low, interval.high) == (0.25, None, None)


def test_seeds_that_agree_to_the_digit_are_no_certainty() -> None:
    interval = mean_over_seeds([4.0, 4.0, 4.0])
    assert (interval.mean, interval.low, interval.high) == (4.0, None, None)


@pytest.mark.parametrize(
    ("freedom", "quantile"),  # any table of Student's t
    [(1, 12.706), (2, 4.303), (4, 2.776), (8, 2.306), (9, 2.262), (10, 2.228), (30, 2.042)],
)
def test_quantiles_are_students(freedom: int, quantile: float) -> None:
    assert t_quantile(freedom) == pytest.approx(quantile, abs=6e-4)


@pytest.mark.parametrize("seeds", [3, 5, 12])
def test_the_interval_covers_the_true_mean_as_often_as_it_says(seeds: int) -> None:
    """With few seeds, too: that is what a bootstrap does not do."""
    draws = np.random.default_rng(5).normal(1.0, 0.3, size=(2_000, seeds))
    covered = 0
    for sample in draws.tolist():
        interval = mean_over_seeds(sample)
        assert interval.low is not None
        assert interval.high is not None
        covered += interval.low <= 1.0 <= interval.high
    assert 0.935 <= covered / len(draws) <= 0.965


def test_bounds_of_shares_are_shares() -> None:
    wide = mean_over_seeds([0.1, 0.95])
    assert wide.low is not None
    assert wide.low < 0
    interval = mean_over_seeds([0.1, 0.95], within=SHARE)
    assert (interval.mean, interval.low, interval.high) == (pytest.approx(0.525), 0.0, 1.0)


@pytest.mark.parametrize(
    ("values", "samples"), [([0.95, 0.95], 2048), ([0.95, 0.9501], 2048), ([1.0, 1.0], 88)]
)
def test_a_shares_interval_is_never_narrower_than_its_sample_leaves_open(
    values: list[float], samples: int
) -> None:
    interval = share_over_seeds(values, samples)
    assert interval.low is not None
    low, high = wilson(interval.mean * samples, samples)
    assert interval.low <= low
    assert interval.high == pytest.approx(high, abs=1e-3)


def test_seeds_that_differ_by_more_than_their_samples_have_students_interval() -> None:
    values = [0.3, 0.5, 0.4]
    assert share_over_seeds(values, 3072) == mean_over_seeds(values, within=SHARE)
    assert share_over_seeds([0.5], 1024) == mean_over_seeds([0.5])
    assert share_over_seeds([0.5, 0.5], 0) == mean_over_seeds([0.5, 0.5])


@pytest.mark.parametrize("values", [[], [float("nan"), 1.0], [float("inf")]])
def test_a_mean_of_nothing_is_an_error(values: list[float]) -> None:
    with pytest.raises(ValueError, match="finite values"):
        mean_over_seeds(values)


def test_pairing_removes_what_the_seed_does_to_both_runs() -> None:
    attacked, control = [0.91, 0.52, 0.73], [0.81, 0.42, 0.63]
    interval = paired_difference(attacked, control)
    assert (interval.mean, interval.low, interval.high) == pytest.approx((0.1, 0.1, 0.1))


def test_runs_with_unequal_seeds_are_not_paired() -> None:
    with pytest.raises(ValueError, match="2 values cannot be paired with 1"):
        paired_difference([1.0, 2.0], [1.0])
