"""The paper's logit check, on a round of a real swarm: one attacker with TEXT, one honest node."""

from __future__ import annotations

import pytest

from dgrpo.errors import DgrpoError
from dgrpo.experiment import experiment_from
from dgrpo.records import Judged
from dgrpo.swarm import Swarm

SAMPLED_FROM = 50
SWEEP = (1, 2, 5, 10, 25, SAMPLED_FROM, 100, 200, 400, 1023)
TOLERATED = (0, 1, 2, 4, 8, 96)


@pytest.fixture(scope="module")
def judged() -> list[tuple[str, Judged]]:
    """(label, what the honest node decided) of each completion, under many settings at once."""
    experiment = experiment_from(
        {
            "name": "sweep",
            "nodes": 2,
            "malicious": 1,
            "attack": "text",
            "prompts_per_round": 8,
            "group_size": 8,
            "sampling": {"top_k": SAMPLED_FROM},
            "task": {"name": "gsm-symbolic", "train": 16, "held_out": 4},
            "evaluation": {"samples": 2},
            "defense": [
                *({"name": "top-k", "label": f"k={k}", "k": k} for k in SWEEP),
                *({"name": "top-k", "label": f"t={t}", "tolerated": t} for t in TOLERATED),
            ],
        }
    )
    swarm = Swarm(experiment, seed=0)
    record = swarm.play(0)[0]
    labels = {node.name: node.labels for node in swarm.nodes}
    return [
        (labels[one.received.sender][one.received.prompt.key, one.received.sample], one)
        for one in record.judged
    ]


def accepted(judged: list[tuple[str, Judged]], label: str, check: str) -> float:
    """Share of the completions with `label` that `check` accepts."""
    verdicts = [one.verdicts[check].accepted for of, one in judged if of == label]
    return sum(verdicts) / len(verdicts)


def test_text_is_rejected_and_what_was_sampled_from_the_same_k_is_accepted(
    judged: list[tuple[str, Judged]],
) -> None:
    assert [label for label, _ in judged].count("poisoned") == 32
    assert accepted(judged, "poisoned", f"k={SAMPLED_FROM}") == 0.0
    assert accepted(judged, "honest", f"k={SAMPLED_FROM}") == 1.0


def test_a_smaller_k_than_the_sampling_one_rejects_honest_completions(
    judged: list[tuple[str, Judged]],
) -> None:
    assert accepted(judged, "honest", "k=1") < accepted(judged, "honest", "k=10") < 1.0


@pytest.mark.parametrize("k", [1024, 100_000])
def test_a_k_that_no_token_can_miss_is_refused_before_the_first_round(k: int) -> None:
    settings = {
        "name": "lax",
        "prompts_per_round": 4,
        "task": {"name": "gsm-symbolic", "templates": [43], "train": 8, "held_out": 4},
        "defense": [{"name": "top-k", "k": k}],
    }
    with pytest.raises(DgrpoError, match=f"top-k: k = {k} rejects nothing") as refused:
        Swarm(experiment_from(settings), seed=0)
    assert "1024 entries" in refused.value.problem
    assert "set k" in refused.value.remedy


@pytest.mark.parametrize(
    "checks", [[f"k={k}" for k in SWEEP], [f"t={t}" for t in TOLERATED]], ids=["k", "tolerated"]
)
def test_a_laxer_check_accepts_all_that_a_stricter_one_does(
    judged: list[tuple[str, Judged]], checks: list[str]
) -> None:
    for _, one in judged:
        by_strictness = [one.verdicts[check].accepted for check in checks]
        assert by_strictness == sorted(by_strictness)
    counts = [sum(one.verdicts[check].accepted for _, one in judged) for check in checks]
    assert counts[0] < counts[-1]


def test_tolerated_tokens_let_through_a_text_with_that_many_outside(
    judged: list[tuple[str, Judged]],
) -> None:
    for _, one in judged:
        reason = one.verdicts["t=0"].reason
        outside = int(reason.split()[0]) if reason else 0
        for tolerated in TOLERATED:
            assert one.verdicts[f"t={tolerated}"].accepted is (outside <= tolerated)


def test_the_score_is_the_largest_rank_and_the_reason_says_where(
    judged: list[tuple[str, Judged]],
) -> None:
    for _, one in judged:
        for k in SWEEP:
            verdict = one.verdicts[f"k={k}"]
            assert verdict.accepted is (verdict.score < k)
            assert verdict.accepted is (verdict.reason == "")
            if not verdict.accepted:
                first = int(verdict.reason.rsplit(" ", 1)[1])
                assert f"outside the top {k}, first at {first}" in verdict.reason
                assert 0 <= first < len(one.received.token_ids)


def test_one_rejecting_check_is_enough_to_leave_a_completion_out(
    judged: list[tuple[str, Judged]],
) -> None:
    for _, one in judged:
        assert one.accepted is all(v.accepted for v in one.verdicts.values())
        if not one.accepted:
            assert one.advantage is None
