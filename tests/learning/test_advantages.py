"""Group advantages: the paper's formula, and silence where a group says nothing.

Agreement with TRL's own computation is tested with the losses (`test_losses.py`).
"""

from __future__ import annotations

import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dgrpo.learning.advantages import EPSILON, Scaling, group_advantages, teaches_nothing

REWARDS = st.lists(st.floats(-10, 10, allow_nan=False), max_size=12)
SCALINGS: tuple[Scaling, ...] = ("group", "batch", "none")


def test_advantage_is_the_distance_from_the_mean_in_sample_deviations() -> None:
    rewards = [1.0, 0.0, 0.0, 1.0, 0.5]
    mean, deviation = statistics.mean(rewards), statistics.stdev(rewards)
    wanted = [(r - mean) / (deviation + EPSILON) for r in rewards]
    assert group_advantages([rewards])[0] == pytest.approx(wanted)


def test_a_binary_group_gets_the_published_values() -> None:
    # one right answer of four: (1 − 0.25) / 0.5 and (0 − 0.25) / 0.5, ε aside
    right, *wrong = group_advantages([[1.0, 0.0, 0.0, 0.0]])[0]
    assert right == pytest.approx(1.5, rel=1e-3)
    assert wrong == pytest.approx([-0.5] * 3, rel=1e-3)


def test_batch_scaling_divides_all_groups_by_one_deviation() -> None:
    groups = [[1.0, 0.0], [3.0, 0.0, 0.0], [2.0, 2.0]]
    deviation = statistics.stdev([r for group in groups for r in group]) + EPSILON
    ours = group_advantages(groups, "batch")
    plain = group_advantages(groups, "none")
    assert ours == [[pytest.approx(a / deviation) for a in group] for group in plain]


def test_no_scaling_only_subtracts_the_mean() -> None:
    assert group_advantages([[3.0, 1.0, 2.0]], "none") == [[1.0, -1.0, 0.0]]


@pytest.mark.parametrize("scaling", SCALINGS)
@pytest.mark.parametrize("silent", [[], [0.7], [0.0, 0.0], [1.0, 1.0, 1.0], [0.1, 0.1, 0.1]])
def test_a_group_without_two_different_rewards_gets_zeros(
    silent: list[float], scaling: Scaling
) -> None:
    assert teaches_nothing(silent)
    ours = group_advantages([silent, [1.0, 0.0]], scaling)
    assert ours[0] == [0.0] * len(silent)
    assert all(ours[1])


def test_no_groups_have_no_advantages() -> None:
    assert group_advantages([]) == []


@given(st.lists(REWARDS, max_size=6), st.sampled_from(SCALINGS))
def test_each_group_keeps_its_shape_and_sums_to_zero(
    groups: list[list[float]], scaling: Scaling
) -> None:
    ours = group_advantages(groups, scaling)
    assert [len(group) for group in ours] == [len(group) for group in groups]
    for group in ours:
        assert sum(group) == pytest.approx(0, abs=1e-6)


@given(REWARDS, REWARDS)
def test_a_group_does_not_move_another_unless_the_batch_scales(
    one: list[float], other: list[float]
) -> None:
    for scaling in ("group", "none"):
        assert group_advantages([one, other], scaling)[0] == group_advantages([one], scaling)[0]


@given(st.permutations(range(6)))
def test_order_within_a_group_does_not_matter(order: list[int]) -> None:
    rewards = [1.0, 0.0, 0.25, 0.0, 1.0, 0.5]
    usual = group_advantages([rewards])[0]
    mixed = group_advantages([[rewards[i] for i in order]])[0]
    assert mixed == pytest.approx([usual[i] for i in order])
