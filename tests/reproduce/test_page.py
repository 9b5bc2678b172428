"""The comparison page: whole in one file, honest about what was not run."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from tests.report.tags import Tags
from tests.reproduce.finished_runs import experiment, write_file, write_finished

from dgrpo.experiment import Experiment
from dgrpo.reproduce.compare import compare
from dgrpo.reproduce.defended import HEADINGS, cells, defended_row, defended_rows
from dgrpo.reproduce.matrix import Entry
from dgrpo.reproduce.page import QUICK, PaperPage, paper_page
from dgrpo.reproduce.paper import Figure, load_paper
from dgrpo.reproduce.poisoned_share import measured
from dgrpo.reproduce.render import html, markdown
from dgrpo.reproduce.share_charts import panels, share_picture
from dgrpo.runs.reader import Run, read_run

HOSTILE = "</script><img src=x onerror=alert(1)> | \u202e [red]"
LOGIT = [{"name": "top-k", "label": HOSTILE}]
ADVANTAGES = {"advantage_by_label": {"honest": -0.4, "poisoned": 1.2}}


def runs_of(folder: Path, of: Experiment, seeds: int = 2, **changes: object) -> dict[int, Run]:
    return {s: read_run(write_finished(folder, of, s, 0.9, **changes)) for s in range(seeds)}


def entry(of: Experiment) -> Entry:
    return Entry(of, True, tuple(range(5)))


def page(folder: Path, **options: bool) -> PaperPage:
    attacked, defended = experiment("attacked"), experiment("defended", defense=LOGIT)
    missing = experiment("missing", topology="vertical")
    runs = {
        "attacked": runs_of(folder, attacked, **ADVANTAGES),
        "defended": runs_of(folder, defended),
    }
    figures = [
        Figure(
            id=name, section="Attacks", where="TEXT", says=f"Claim {name}.", paper="≈100 %",
            experiment=name, metric="attack_success", agrees=(0.95, 1.0), why={side: why},
        )
        for name, side, why in (
            ("attacked", "weaker", HOSTILE),
            ("defended", "stronger", "never shown"),
            ("missing", "weaker", "never shown"),
        )
    ]  # fmt: skip
    experiments = [attacked, defended, missing]
    return paper_page(
        [compare(figure, runs) for figure in figures],
        defended_rows([entry(one) for one in experiments], runs),
        measured(experiments, runs),
        [(entry(one), len(runs.get(one.name, {}))) for one in experiments],
        **options,
    )


def test_the_page_points_at_nothing_outside_itself(tmp_path: Path) -> None:
    text = html(page(tmp_path))
    tags = Tags(text).found
    for _, attributes in tags:
        for attribute in ("src", "href", "action", "data"):
            assert (attributes.get(attribute) or "data:").startswith(("data:", "#"))
    policy = next(a["content"] or "" for _, a in tags if "http-equiv" in a)
    assert policy.startswith("default-src 'none'")
    assert len(re.findall(r"'sha256-[\w+/=]+'", policy)) == 2
    assert [tag for tag, _ in tags].count("script") == 3
    assert "img" not in [tag for tag, _ in tags]
    assert "\u202e" not in text


def test_what_was_not_run_is_said_and_not_explained(tmp_path: Path) -> None:
    text = markdown(page(tmp_path), "poisoned-share.png")
    row = next(line for line in text.split("\n") if "Claim missing." in line)
    assert "| not run yet |" in row
    assert "never shown" not in text
    assert "4 of 15 runs are finished" in text
    assert "are not run yet in 1" in text
    assert "| missing | headline | 2 | 0 of 5 |" in text


def test_a_difference_is_explained_or_said_to_be_unexplained(tmp_path: Path) -> None:
    text = markdown(page(tmp_path), "poisoned-share.png")
    explained = next(line for line in text.split("\n") if "Claim attacked." in line)
    assert "| weaker |" in explained
    assert "90.0" in explained
    assert "2 × 2 rounds" in explained
    assert "onerror" in explained
    unexplained = next(line for line in text.split("\n") if "Claim defended." in line)
    assert "Not explained yet." in unexplained
    assert "never shown" not in text


def test_lengths_that_agree_to_the_digit_are_said_to_have_no_interval(tmp_path: Path) -> None:
    attacked = experiment("attacked")
    asked = Figure(
        id="length", section="Attacks", where="DoS", says="Longer.", paper="more than doubles",
        experiment="attacked", metric="completion_tokens", unit="tokens", agrees=(1e3, 1e4),
    )  # fmt: skip
    row = compare(asked, {"attacked": runs_of(tmp_path, attacked)})
    text = markdown(paper_page([row], [], [], []), "poisoned-share.png")
    assert "| weaker (no interval) |" in text


def test_a_cell_cannot_break_its_row(tmp_path: Path) -> None:
    for line in markdown(page(tmp_path), "poisoned-share.png").split("\n"):
        if line.startswith("|") and "Claim attacked." in line:
            assert len(re.findall(r"(?<!\\)\|", line)) == 9
    assert "\u202e" not in markdown(page(tmp_path / "again"), "x.png")


def test_a_smoke_run_says_first_that_it_proves_nothing(tmp_path: Path) -> None:
    quick = page(tmp_path, quick=True)
    assert "proves nothing" in QUICK
    assert QUICK in markdown(quick, "x.png").split("\n\n")[1]
    assert QUICK in html(quick).split("<h2>")[0]
    assert "| weaker |" not in markdown(quick, "x.png")
    assert QUICK not in markdown(page(tmp_path / "whole"), "x.png")


def test_tables_show_zero_reward_beside_drop_and_the_cost(tmp_path: Path) -> None:
    drop = experiment("drop", defense=[{"name": "top-k"}])
    zero = experiment("zero", defense=[{"name": "top-k"}], on_reject="zero-reward")
    bare = experiment("bare")
    silent = experiment("silent", attack={"name": "silent"})
    timed = {"seconds": {"generate": 2.0, "verify": 1.0, "total": 5.0}}
    runs = {one.name: runs_of(tmp_path, one, **timed) for one in (drop, zero, bare)}
    rows = defended_rows([entry(one) for one in (zero, silent, drop, bare)], runs)
    assert [row.name for row in rows] == ["bare", "drop", "zero", "silent"]
    shown = [dict(zip(HEADINGS, cells(row), strict=True)) for row in rows]
    assert shown[1]["On reject"] == "drop"
    assert shown[2]["On reject"] == "zero-reward"
    # three of four nodes drew from the batch: TEXT needs no samples of its own horizontally
    assert shown[1]["Screening s per own generating s"].startswith("1.50")
    assert shown[1]["Poisoned stopped"].startswith("97.9")
    assert shown[0]["Poisoned stopped"] == "–"  # nothing screens there
    assert shown[1]["Seeds"] == "2 of 5"
    assert shown[1]["Training reward"].startswith("30")  # of honest completions
    assert shown[2]["Training reward"] == "–"  # recorded after a rejection had zeroed it
    assert [row.in_pivot for row in rows] == [True, True, True, False]
    assert shown[3]["Attack success"] == "not run yet"


def test_measured_points_stand_beside_the_theory(tmp_path: Path) -> None:
    attacked = experiment("attacked")
    two = experiment("two", nodes=2)
    runs = {
        "attacked": runs_of(tmp_path, attacked, reward_by_label={"honest": 0.5}, **ADVANTAGES),
        "two": runs_of(tmp_path, two, reward_by_label={"honest": 0.5}),
    }
    defended = experiment("defended", defense=[{"name": "top-k"}])
    voting = experiment("voting", attack={"name": "text", "oracle": "majority-vote"})
    others = {"defended": runs["attacked"], "voting": runs["attacked"]}
    found = measured([attacked, two, defended, voting], {**runs, **others})
    assert [one.name for one in found] == ["attacked", "two"]
    first = found[0]
    assert (first.share, first.malicious_share, first.honest_right) == (0.25, 0.25, 0.5)
    # one poisoned of 4, three that are right half the time: (1·1.5 + 3·0.866 + 3·0.5 + 0) / 8
    assert abs(first.predicted - (1.5 + 3 * 0.8660 + 3 * 0.5) / 8) < 1e-3
    assert first.advantage is not None
    assert first.advantage.mean == 1.2
    assert found[1].advantage is None
    assert found[1].share == 0.5
    drawn = panels(found)
    assert [point[2:4] for point in drawn[1].points] == [(0.25, 0.3)]
    assert {point[1] for point in drawn[3].points} == {"attacked", "two"}
    assert drawn[2].points == ()
    assert share_picture(found, scale=1).startswith(b"\x89PNG")
    assert share_picture([], scale=1).startswith(b"\x89PNG")


def test_a_longer_run_is_no_point_of_a_line_by_share(tmp_path: Path) -> None:
    those = [experiment("attacked"), experiment("two", nodes=2), experiment("long", rounds=3)]
    found = measured(those, {one.name: runs_of(tmp_path, one) for one in those})
    assert len(found) == 3
    assert {point[1] for point in panels(found)[3].points} == {"attacked", "two"}


def test_theory_goes_by_the_experiments_scaling(tmp_path: Path) -> None:
    plain = experiment("plain", learner={"advantage_scaling": "none"})
    batch = experiment("batch", learner={"advantage_scaling": "batch"})
    runs = {one.name: runs_of(tmp_path, one, **ADVANTAGES) for one in (plain, batch)}
    (found,) = measured([plain, batch], runs)  # a batch's deviation is no group's matter
    right = runs["plain"][0].rounds[-1].reward_by_label["honest"]
    assert found.predicted == pytest.approx(0.75 * (1 - right), abs=1e-6)


def test_the_shipped_comparison_renders_without_a_single_run(tmp_path: Path) -> None:
    rows = [compare(figure, {}) for figure in load_paper().figure]
    empty = paper_page(rows, [], [], [])
    assert "0 of 0 runs are finished" in markdown(empty, "x.png")
    assert html(empty).startswith("<!DOCTYPE html>")


def test_a_control_is_named_as_one(tmp_path: Path) -> None:
    assert write_file(tmp_path, "x").exists()
    honest = experiment("clean", attack={"name": "honest"})
    assert defended_row(entry(honest), []).attack == "none"
    silent = experiment("silent", attack={"name": "silent"})
    assert defended_row(entry(silent), []).attack == "none (a node is silent)"
