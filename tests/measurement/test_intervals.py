"""Intervals: the published values, the honest answer where nothing is known, and repeatability."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dgrpo.measurement.intervals import bootstrap_mean, paired_difference, wilson


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
    interval = bootstrap_mean([0.25])
    assert (interval.mean, interval.low, interval.high) == (0.25, None, None)


def test_bootstrap_is_the_same_every_time_and_leaves_global_state_alone() -> None:
    before = np.random.get_state()[1].tolist()  # type: ignore[index]
    first = bootstrap_mean([0.1, 0.4, 0.3, 0.9])
    assert first == bootstrap_mean([0.1, 0.4, 0.3, 0.9])
    assert np.random.get_state()[1].tolist() == before  # type: ignore[index]


@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=8))
def test_bootstrap_interval_lies_within_the_values(values: list[float]) -> None:
    interval = bootstrap_mean(values, resamples=200)
    assert interval.low is not None
    assert interval.high is not None
    slack = 1e-6
    assert min(values) - slack <= interval.low <= interval.high <= max(values) + slack


def test_bootstrap_covers_the_true_mean_about_as_often_as_it_says() -> None:
    draws = np.random.default_rng(5).normal(1.0, 0.3, size=(300, 30))
    covered = 0
    for sample in draws:
        interval = bootstrap_mean(sample.tolist(), resamples=500)
        assert interval.low is not None
        assert interval.high is not None
        covered += interval.low <= 1.0 <= interval.high
    assert 0.89 <= covered / len(draws) <= 0.98


@pytest.mark.parametrize("values", [[], [float("nan"), 1.0], [float("inf")]])
def test_a_mean_of_nothing_is_an_error(values: list[float]) -> None:
    with pytest.raises(ValueError, match="finite values"):
        bootstrap_mean(values)


def test_pairing_removes_what_the_seed_does_to_both_runs() -> None:
    attacked, control = [0.91, 0.52, 0.73], [0.81, 0.42, 0.63]
    interval = paired_difference(attacked, control)
    assert (interval.mean, interval.low, interval.high) == pytest.approx((0.1, 0.1, 0.1))


def test_runs_with_unequal_seeds_are_not_paired() -> None:
    with pytest.raises(ValueError, match="2 values cannot be paired with 1"):
        paired_difference([1.0, 2.0], [1.0])
