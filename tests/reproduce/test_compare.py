"""The verdict on one figure, from runs with known ends."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from tests.reproduce.finished_runs import experiment, write_finished

from dgrpo.measurement.intervals import wilson
from dgrpo.report.groups import Group
from dgrpo.report.tables import experiment_row
from dgrpo.reproduce.compare import Collapse, compare, curve_point, verdict_of
from dgrpo.reproduce.page import figure_text, paper_page
from dgrpo.reproduce.paper import Figure
from dgrpo.reproduce.render import markdown
from dgrpo.runs.reader import Run, read_run


def figure(**changes: object) -> Figure:
    return Figure(
        **{
            "id": "row", "section": "Attacks", "where": "TEXT", "says": "It works.",
            "paper": "≈100 %", "experiment": "tiny", "metric": "attack_success",
            "agrees": (0.95, 1.0), **changes,
        }
    )  # fmt: skip


def runs(folder: Path, name: str, ends: dict[int, float], **changes: float) -> dict[int, Run]:
    of = experiment(name)
    return {
        seed: read_run(write_finished(folder / name, of, seed, end, **changes))
        for seed, end in ends.items()
    }


@pytest.mark.parametrize(
    ("mean", "higher", "verdict"),
    [
        (0.97, "stronger", "agrees"),
        (0.95, "stronger", "agrees"),
        (0.94, "stronger", "weaker"),
        (1.01, "stronger", "stronger"),
        (0.94, "weaker", "stronger"),
        (1.01, "weaker", "weaker"),
        (0.5, "differs", "differs"),
        (1.5, "differs", "differs"),
    ],
)
def test_verdict_names_the_side(mean: float, higher: str, verdict: str) -> None:
    assert verdict_of(figure(higher=higher), mean) == verdict


def test_a_row_without_a_range_goes_beyond_the_paper(tmp_path: Path) -> None:
    row = compare(figure(agrees=None), {"tiny": runs(tmp_path, "tiny", {0: 0.2})})
    assert (row.verdict, row.seeds) == ("beyond the paper", 1)


def test_ours_is_the_mean_over_seeds_with_its_interval(tmp_path: Path) -> None:
    row = compare(figure(), {"tiny": runs(tmp_path, "tiny", {0: 0.8, 1: 0.9, 2: 1.0})})
    assert row.ours is not None
    assert row.ours.mean == pytest.approx(0.9)
    assert row.ours.low is not None
    assert row.ours.high is not None
    # Student's t: 4.303 times 0.1 over the root of three
    assert row.ours.low == pytest.approx(0.9 - 0.2484, abs=1e-3)
    assert row.ours.high == 1.0
    assert (row.verdict, row.seeds, row.rounds) == ("weaker", 3, 2)
    assert row.undecided


@pytest.mark.parametrize(
    ("ends", "verdict", "undecided"),
    [
        ((0.5, 0.51), "weaker", False),
        ((0.94, 0.949), "weaker", True),
        ((0.998, 0.999), "agrees", False),
        ((0.955, 0.96), "agrees", True),
    ],
)
def test_an_interval_over_the_end_of_the_range_decides_nothing(
    tmp_path: Path, ends: tuple[float, float], verdict: str, undecided: bool
) -> None:
    row = compare(figure(), {"tiny": runs(tmp_path, "tiny", dict(enumerate(ends)))})
    assert (row.verdict, row.undecided) == (verdict, undecided)


@pytest.mark.parametrize(
    ("end", "reject", "metric", "verdict"),
    [
        (0.01, "zero-reward", "attack_success", "differs"),
        (0.01, "drop", "attack_success", "differs"),
        (0.5, "zero-reward", "attack_success", "agrees"),  # worse than at the start, not dead
        (0.01, "zero-reward", "screening.poisoned_stopped", "agrees"),  # a count of rejections
    ],
)
def test_what_a_dead_model_shows_of_an_attack_does_not_agree(
    tmp_path: Path, end: float, reject: str, metric: str, verdict: str
) -> None:
    """No attack shows in a model that unlearned its task, whatever the defense did."""
    of = experiment("tiny", defense=[{"name": "top-k"}], on_reject=reject)
    run = ending_at(write_finished(tmp_path, of, 0, 0.0, accuracy=0.6), end)
    asked = figure(metric=metric, agrees=(0.9, 1.0) if "screening" in metric else (0.0, 0.05))
    row = compare(asked, {"tiny": {0: run}})
    dead = end < 0.3 and "screening" not in metric
    assert (row.verdict, row.collapsed) == (verdict, Collapse(1, 1, end) if dead else None)
    assert row.zero_reward is (dead and reject == "zero-reward")


@pytest.mark.parametrize(("ends", "dead"), [((0.0, 0.5, 0.02), 2), ((0.0, 0.5, 0.5), 0)])
def test_most_seeds_decide_whether_the_task_was_unlearned(
    tmp_path: Path, ends: tuple[float, ...], dead: int
) -> None:
    of = experiment("tiny", defense=[{"name": "top-k"}])
    runs = {
        seed: ending_at(write_finished(tmp_path, of, seed, 0.0, accuracy=0.6), end)
        for seed, end in enumerate(ends)
    }
    row = compare(figure(agrees=(0.0, 0.05)), {"tiny": runs})
    assert row.collapsed == (Collapse(dead, 3, 0.01) if dead else None)
    assert row.verdict == ("differs" if dead else "agrees")
    page = markdown(paper_page([row], [], [], []), "x.png")
    assert ("unlearned its task in 2 of 3 seeds: accuracy there 1.0" in page) is bool(dead)


def ending_at(folder: Path, accuracy: float) -> Run:
    """The run with another accuracy at its end."""
    summary = json.loads((folder / "summary.json").read_text())
    summary["accuracy"]["end"] = accuracy
    (folder / "summary.json").write_text(json.dumps(summary))
    return read_run(folder)


def test_an_undefended_model_may_unlearn_its_task(tmp_path: Path) -> None:
    """That may be what the attack does."""
    run = ending_at(write_finished(tmp_path, experiment("tiny"), 0, 0.97, accuracy=0.6), 0.01)
    row = compare(figure(), {"tiny": {0: run}})
    assert (row.verdict, row.collapsed) == ("agrees", None)


def test_one_seed_has_no_interval(tmp_path: Path) -> None:
    row = compare(figure(), {"tiny": runs(tmp_path, "tiny", {3: 0.96})})
    assert row.ours is not None
    assert (row.verdict, row.ours.low, row.seeds) == ("agrees", None, 1)


def test_nothing_run_is_said_and_nothing_measured_too(tmp_path: Path) -> None:
    assert compare(figure(), {}).verdict == "not run yet"
    assert compare(figure(), {"tiny": {}}).verdict == "not run yet"
    some = {"tiny": runs(tmp_path, "tiny", {0: 0.9})}
    assert compare(figure(metric="metrics.equation/accuracy"), some).verdict == "not measured"
    assert compare(figure(against="control"), some).verdict == "not run yet"


def test_controls_are_paired_by_seed(tmp_path: Path) -> None:
    both = {
        "tiny": runs(tmp_path, "tiny", {0: 0.9, 1: 0.8, 7: 0.1}),
        "control": runs(tmp_path, "control", {0: 0.5, 1: 0.6, 9: 0.0}),
    }
    row = compare(figure(against="control", agrees=(0.25, 0.35)), both)
    assert row.ours is not None
    assert row.ours.mean == pytest.approx((0.4 + 0.2) / 2)
    assert (row.verdict, row.seeds) == ("agrees", 2)
    apart = {"tiny": both["tiny"], "control": {9: both["control"][9]}}
    assert compare(figure(against="control"), apart).verdict == "not run yet"


def test_ratio_of_lengths(tmp_path: Path) -> None:
    both = {
        "tiny": runs(tmp_path, "tiny", {0: 0.9}, tokens=90.0),
        "control": runs(tmp_path, "control", {0: 0.9}, tokens=45.0),
    }
    row = compare(
        figure(metric="completion_tokens", against="control", agrees=(1.8, float("inf")))
        .model_copy(update={"as_": "ratio"}),
        both,
    )  # fmt: skip
    assert row.ours is not None
    assert (row.ours.mean, row.verdict) == (2.0, "agrees")
    zero = {"tiny": both["tiny"], "control": runs(tmp_path / "0", "control", {0: 0.9}, tokens=0.0)}
    ratio = figure(metric="completion_tokens", against="control").model_copy(
        update={"as_": "ratio"}
    )
    assert compare(ratio, zero).verdict == "not measured"


def test_two_ratios_are_each_taken_to_their_own_control(tmp_path: Path) -> None:
    lengths = {"tiny": 90.0, "other": 60.0, "clean-tiny": 45.0, "clean-other": 40.0}
    all_runs = {
        name: runs(tmp_path, name, {0: 0.9}, tokens=tokens) for name, tokens in lengths.items()
    }
    row = compare(
        figure(
            metric="completion_tokens", against="other", agrees=(1.0, 2.0),
            over=("clean-tiny", "clean-other"), **{"as": "ratio"},
        ),
        all_runs,
    )  # fmt: skip
    assert row.ours is not None
    assert row.ours.mean == pytest.approx((90 / 45) / (60 / 40))
    del all_runs["clean-other"]
    assert compare(row.figure, all_runs).verdict == "not run yet"


def test_half_and_most_are_the_first_round_of_a_mean_of_five() -> None:
    curve = [[n, value] for n, value in enumerate([0, 0, 0, 1, 1, 1, 0, 1, 1, 1, 1])]
    assert curve_point(curve, "half") == 5
    assert curve_point(curve, "most") == 7
    assert curve_point(curve[:7], "most") == 7  # never: one more than it has
    later = [[n, None] for n in range(10)] + [[10 + n, 1.0] for n in range(6)]
    assert curve_point(later, "half") == 14


def test_a_run_that_never_reaches_it_gives_a_lower_bound(tmp_path: Path) -> None:
    asked = {"at": "most", "unit": "rounds", "agrees": None}
    row = compare(figure(**asked), {"tiny": runs(tmp_path, "tiny", {0: 0.1})})
    assert row.ours is not None
    assert (row.ours.mean, row.censored) == (3.0, "≥")
    assert figure_text(row) == "≥ round 3"


@pytest.mark.parametrize(
    ("ours", "control", "bound", "shown"),
    [
        (0.9, 0.1, "≤", "≤ -1 rounds"),
        (0.1, 0.9, "≥", "≥ +1 rounds"),
        (0.1, 0.1, "?", "? +0 rounds"),
    ],
)
def test_a_control_that_never_reaches_it_makes_the_difference_an_upper_bound(
    tmp_path: Path, ours: float, control: float, bound: str, shown: str
) -> None:
    asked = {"at": "half", "unit": "rounds", "agrees": (-5, 5), "against": "clean"}
    finished = {
        name: runs(tmp_path, name, dict.fromkeys(range(2), end), rounds=6)
        for name, end in (("tiny", ours), ("clean", control))
    }
    row = compare(figure(**asked), finished)
    assert row.ours is not None
    assert (row.censored, row.ours.low, row.undecided) == (bound, None, True)
    assert figure_text(row) == shown


def test_a_share_of_none_in_every_seed_is_no_certainty(tmp_path: Path) -> None:
    row = compare(figure(), {"tiny": runs(tmp_path, "tiny", {0: 0.0, 1: 0.0})})
    assert row.ours is not None
    assert (row.ours.low, row.ours.high) == (0.0, wilson(0, 2 * 64)[1])


def test_a_measure_on_prompts_of_its_own_counts_each_prompt_once(tmp_path: Path) -> None:
    """MATH draws a thousand completions of 44 questions: these are not a thousand questions."""
    some = runs(tmp_path, "tiny", {0: 1.0, 1: 1.0}, measured_prompts={"text": 44})
    row = compare(figure(), {"tiny": some})
    assert row.ours is not None
    assert (row.ours.low, row.ours.high) == (wilson(88, 88)[0], 1.0)


def test_a_drop_is_to_the_last_point_and_can_be_a_rise(tmp_path: Path) -> None:
    assert curve_point([[0, 0.5], [1, 0.25], [2, None]], "drop") is None
    row = compare(figure(at="drop"), {"tiny": runs(tmp_path, "tiny", {0: 0.5, 1: 0.9})})
    assert row.ours is not None
    assert row.ours.low is not None
    assert row.ours.low < row.ours.mean < 0  # a mean of five points lies below a rising end


def test_a_bound_beyond_the_range_is_decided(tmp_path: Path) -> None:
    asked = {"at": "most", "unit": "rounds"}
    some = {"tiny": runs(tmp_path, "tiny", {0: 0.1, 1: 0.1}, rounds=6)}
    assert not compare(figure(**asked, agrees=(0, 5)), some).undecided
    assert compare(figure(**asked, agrees=(0, 9)), some).undecided


def test_a_bound_is_undecided_while_seeds_disagree_and_decided_where_nothing_can_change_it(
    tmp_path: Path,
) -> None:
    asked = {"at": "half", "unit": "rounds"}
    some = {"tiny": runs(tmp_path, "tiny", {0: 0.9, 1: 0.9, 2: 0.1}, rounds=6)}
    assert compare(figure(**asked), some).censored == "≥"
    assert compare(figure(**asked, agrees=(0, 5)), some).undecided
    never = {"tiny": runs(tmp_path, "never", {0: 0.1, 1: 0.1}, rounds=6)}
    row = compare(figure(**asked, agrees=(1, math.inf)), never)
    assert (row.verdict, row.undecided) == ("agrees", False)


def test_a_rate_of_screened_completions_has_the_interval_of_the_table(tmp_path: Path) -> None:
    some = runs(tmp_path, "tiny", {0: 0.9, 1: 0.9})
    rate = experiment_row(Group("tiny", tuple(some.values()))).poisoned_stopped
    assert rate is not None
    ours = compare(figure(metric="screening.poisoned_stopped"), {"tiny": some}).ours
    assert ours is not None
    assert (ours.mean, ours.low, ours.high) == (rate.share, rate.low, rate.high)
    assert rate.low < rate.share < rate.high


def test_a_difference_of_shares_is_at_most_all(tmp_path: Path) -> None:
    finished = {
        "tiny": runs(tmp_path, "tiny", {0: 0.1, 1: 0.9}),
        "clean": runs(tmp_path, "clean", {0: 0.5, 1: 0.1}),
    }
    row = compare(figure(against="clean"), finished)
    assert row.ours is not None
    assert (row.ours.low, row.ours.high) == (-1.0, 1.0)


def test_accepted_is_the_complement_of_stopped(tmp_path: Path) -> None:
    some = {"tiny": runs(tmp_path, "tiny", {0: 0.9})}
    stopped = compare(figure(metric="screening.poisoned_stopped"), some).ours
    accepted = compare(figure(metric="screening.poisoned_stopped", complement=True), some).ours
    assert stopped is not None
    assert accepted is not None
    assert stopped.mean == pytest.approx(47 / 48)
    assert accepted.mean == pytest.approx(1 / 48)


def test_peak_is_a_mean_of_five_points_and_drop_goes_from_there_to_the_end() -> None:
    curve = [[n, value] for n, value in enumerate([0, 0, 1, 1, 1, 1, 1, 0, 0, 0.5])]
    assert curve_point(curve, "peak") == 1
    assert curve_point(curve, "drop") == 0.5
    assert curve_point(curve, "start") == 0
    assert curve_point([[0, 0.0], [1, 1.0], [2, 0.0]], "peak") == pytest.approx(1 / 3)
    assert curve_point([[0, None], [1, 0.25], [2, None]], "end") is None
    assert curve_point([[0, None]], "end") is None


def test_a_models_card_gives_share_and_interval() -> None:
    row = compare(figure(experiment="", card="gsm-nano", metric="format", agrees=(0.1, 0.5)), {})
    assert row.ours is not None
    assert row.ours.low is not None
    assert row.ours.high is not None
    assert row.ours.low < row.ours.mean < row.ours.high
    assert (row.verdict, row.seeds) == ("agrees", 0)
    missing = figure(experiment="", card="no-such-model", metric="format")
    assert compare(missing, {}).verdict == "not run yet"
    assert compare(figure(experiment="", card="gsm-nano", metric="x"), {}).verdict == "not measured"
