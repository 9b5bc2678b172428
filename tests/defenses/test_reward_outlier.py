"""The reward-outlier baseline: what it compares, in which unit, and what it cannot see."""

from __future__ import annotations

import statistics
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dgrpo.defenses.reward_outlier import RewardOutlier
from dgrpo.guard import Guard
from dgrpo.records import Received, Verdict
from dgrpo.tasks.assignment import Topology
from dgrpo.tasks.base import LoadedTask, make_prompt

PROMPTS = tuple(make_prompt("t", f"{n} cows?", str(n), f"{n}") for n in range(1, 9))
TASK = LoadedTask("t", PROMPTS, ())
RIGHT, WRONG = True, False


def said(sender: str, right: bool, prompt: int = 0, sample: int = 0) -> Received:
    """A completion of `sender` that is right or wrong."""
    one = PROMPTS[prompt]
    text = TASK.write("by hand", one.answer if right else "999")
    return Received(sender, one, sample, text, (1, 2, 0))


def group(*right: bool, prompt: int = 0) -> list[Received]:
    """A group of one prompt, a sender each."""
    return [said(f"node-{s}", one, prompt, s) for s, one in enumerate(right)]


def check(
    defense: RewardOutlier, received: list[Received], topology: Topology = "horizontal"
) -> list[Verdict]:
    """Its verdicts: a guard without a model will do."""
    guard = Guard([defense.settings()], task=TASK, topology=topology)
    return [one["reward-outlier"] for one in guard.screen_received(received).verdicts]


@pytest.mark.parametrize(("wrong", "accepted"), [(3, True), (4, True), (5, False), (11, False)])
def test_a_lone_right_answer_stands_out_once_enough_are_wrong(wrong: int, accepted: bool) -> None:
    """One of n lies √(n-1) deviations out: more than 2 from six on."""
    verdicts = check(RewardOutlier(), group(RIGHT, *[WRONG] * wrong))
    assert verdicts[0].score == pytest.approx(wrong**0.5)
    assert verdicts[0].accepted is accepted
    assert all(verdict.accepted for verdict in verdicts[1:])


def test_a_lone_wrong_answer_stands_out_as_well() -> None:
    verdicts = check(RewardOutlier(), group(WRONG, *[RIGHT] * 11))
    assert [v.accepted for v in verdicts] == [False, *[True] * 11]
    assert verdicts[0].reason == "reward 3.3 standard deviations from the group's mean"


def test_vertically_a_group_is_a_senders() -> None:
    """Two senders happen on one prompt: neither is measured by the other's answers."""
    several = [said("node-0", RIGHT, 0, sample) for sample in range(12)]
    alone = [said("node-1", WRONG, 0, 0)]
    assert not check(RewardOutlier(), [*several, *alone])[-1].accepted
    assert check(RewardOutlier(), [*several, *alone], "vertical")[-1].accepted


def test_poison_of_full_reward_in_a_mixed_group_passes() -> None:
    """Three poisoned of twelve, where the honest are right one time in three."""
    verdicts = check(RewardOutlier(), group(*[RIGHT] * 6, *[WRONG] * 6))
    assert all(verdict.accepted for verdict in verdicts)
    assert {verdict.score for verdict in verdicts} == {1.0}


def test_equal_rewards_are_all_accepted() -> None:
    for right in (RIGHT, WRONG):
        assert {v.score for v in check(RewardOutlier(), group(*[right] * 12))} == {0.0}


def test_groups_are_compared_by_prompt() -> None:
    mixed = group(RIGHT, *[WRONG] * 11) + group(*[RIGHT] * 12, prompt=1)
    assert [v.accepted for v in check(RewardOutlier(), mixed)] == [False, *[True] * 23]
    assert [v.accepted for v in check(RewardOutlier(), mixed[::-1])] == [*[True] * 23, False]


def by_sender(*shares: float, prompts: int = 8) -> list[Received]:
    """Senders that are right in these shares of `prompts` prompts."""
    return [
        said(f"node-{s}", p < share * prompts, p) for p in range(prompts) for s, share in
        enumerate(shares)
    ]  # fmt: skip


def test_a_sender_that_is_always_right_stands_out_among_many() -> None:
    received = by_sender(0.25, 0.25, 0.25, 0.25, 0.25, 1.0)
    verdicts = check(RewardOutlier(unit="sender"), received)
    assert {r.sender for r, v in zip(received, verdicts, strict=True) if not v.accepted} == {
        "node-5"
    }
    rejected = [v for v in verdicts if not v.accepted]
    assert len(rejected) == 8
    assert rejected[0].reason == "reward 2.2 standard deviations from the other senders"


def test_of_four_senders_none_can_stand_out_by_two_deviations() -> None:
    received = by_sender(0.25, 0.25, 0.25, 1.0)
    assert all(v.accepted for v in check(RewardOutlier(unit="sender"), received))
    strict = check(RewardOutlier(unit="sender", threshold=1.5), received)
    assert {r.sender for r, v in zip(received, strict, strict=True) if not v.accepted} == {"node-3"}


def test_every_completion_of_a_sender_gets_one_score() -> None:
    received = by_sender(0.0, 0.5, 0.25, 1.0, 0.5)
    verdicts = check(RewardOutlier(unit="sender"), received)
    means = [0.0, 0.5, 0.25, 1.0, 0.5]
    spread = statistics.pstdev(means)
    for one, verdict in zip(received, verdicts, strict=True):
        mean = means[int(one.sender[-1])]
        assert verdict.score == pytest.approx(abs(mean - statistics.fmean(means)) / spread)


@given(
    st.lists(
        st.tuples(st.integers(0, 4), st.integers(0, 3), st.booleans()), max_size=40, unique=True
    ),
    st.sampled_from(["completion", "sender"]),
    st.floats(0.1, 5),
)
def test_nothing_received_raises_and_no_score_passes_its_bound(
    claims: list[tuple[int, int, bool]], unit: Literal["completion", "sender"], threshold: float
) -> None:
    received = [said(f"node-{s}", right, p, i) for i, (s, p, right) in enumerate(claims)]
    verdicts = check(RewardOutlier(unit=unit, threshold=threshold), received)
    assert len(verdicts) == len(received)
    for verdict in verdicts:
        assert verdict.accepted is (verdict.score <= threshold)
        assert verdict.accepted is (verdict.reason == "")
        assert 0 <= verdict.score <= max(len(received) - 1, 0) ** 0.5 + 1e-9
