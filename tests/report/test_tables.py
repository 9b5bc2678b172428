"""The table: one row per experiment, averaged over seeds, harmless on a terminal."""

from __future__ import annotations

import io
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from tests.report.run_folders import HOSTILE, round_line, write_run

from dgrpo.experiment import experiment_from
from dgrpo.measurement.intervals import mean_over_seeds, wilson
from dgrpo.report.groups import group_runs, measured_apart
from dgrpo.report.tables import (
    COLUMNS,
    NOTHING,
    ExperimentRow,
    Rate,
    experiment_rows,
    independent,
    percent,
    rich_table,
)
from dgrpo.runs.reader import Screening, find_runs


def rows(folder: Path) -> list[ExperimentRow]:
    return experiment_rows(find_runs([folder]))


def terminal(found: list[ExperimentRow]) -> str:
    console = Console(width=250, record=True, file=io.StringIO())
    console.print(rich_table(found))
    return console.export_text()


def test_seeds_of_one_experiment_make_one_row_with_an_interval(tmp_path: Path) -> None:
    for seed, accuracy in enumerate((0.5, 0.6, 0.7)):
        lines = [round_line(0, 0.0, 0.2), round_line(1, 0.5, accuracy)]
        write_run(tmp_path, seed=seed, lines=lines)
    (row,) = rows(tmp_path)
    assert (row.seeds, row.rounds, row.measure, row.unfinished) == ((0, 1, 2), 1, "text", 0)
    assert row.accuracy is not None
    assert row.accuracy.start.mean == pytest.approx(0.2)
    assert row.accuracy.end.mean == pytest.approx(0.6)
    assert row.accuracy.end.low is not None
    assert row.accuracy.end.high is not None
    # Student's t: 4.303 times 0.1 over the root of three
    assert row.accuracy.end.low == pytest.approx(0.6 - 0.2484, abs=1e-3)
    assert row.accuracy.end.high == pytest.approx(0.6 + 0.2484, abs=1e-3)


def test_one_seed_has_no_interval(tmp_path: Path) -> None:
    write_run(tmp_path)
    (row,) = rows(tmp_path)
    assert row.accuracy is not None
    assert row.accuracy.end.low is None
    assert "[" not in COLUMNS["Accuracy"](row)


def test_screened_completions_are_summed_over_rounds_and_seeds(tmp_path: Path) -> None:
    for seed in (0, 1):
        write_run(tmp_path, seed=seed, rounds=5)
    (row,) = rows(tmp_path)
    assert row.poisoned_stopped is not None
    assert row.honest_rejected is not None
    assert (row.poisoned_stopped.successes, row.poisoned_stopped.trials) == (470, 480)
    assert (row.honest_rejected.successes, row.honest_rejected.trials) == (10, 1440)
    assert row.poisoned_stopped.low < 470 / 480 < row.poisoned_stopped.high


def test_evaluating_the_base_model_is_no_round(tmp_path: Path) -> None:
    write_run(tmp_path)
    (row,) = rows(tmp_path)
    assert row.seconds is not None
    assert row.seconds.mean == pytest.approx(1.5)


def test_a_copy_of_a_run_is_no_second_seed(tmp_path: Path) -> None:
    for seed in (0, 1):
        write_run(tmp_path / "runs", seed=seed)
    shutil.copytree(tmp_path / "runs", tmp_path / "copies")
    (next((tmp_path / "runs").glob("*/seed-0")) / "summary.json").unlink()
    (group,) = group_runs(find_runs([tmp_path / "runs", tmp_path / "copies"]))
    assert [run.seed for run in group.runs] == [0, 1]
    assert all(run.summary for run in group.runs)  # of two the finished one


def test_experiments_that_share_a_name_are_told_apart_by_digest(tmp_path: Path) -> None:
    write_run(tmp_path, "same", digest="aaaaaaaabbbb")
    write_run(tmp_path, "same", digest="ccccccccdddd")
    write_run(tmp_path, "other")
    assert [row.label for row in rows(tmp_path)] == ["other", "same (aaaaaaaa)", "same (cccccccc)"]


def test_seeds_measured_on_other_numbers_of_samples_are_not_averaged(tmp_path: Path) -> None:
    """A smoke test's seed of 4 samples beside a full seed, of one digest."""
    for seed, samples in ((0, 4), (1, 64), (2, 64)):
        lines = [round_line(k, 0.0, 0.25, held_out_samples=samples) for k in range(3)]
        evaluation = {"samples": samples, "final_samples": samples, "examples": 2}
        write_run(tmp_path, "one", seed=seed, lines=lines, evaluation=evaluation)
    first, second = found = rows(tmp_path)
    assert (first.seeds, second.seeds) == ((0,), (1, 2))
    assert first.label == "one (4 held-out samples, 4 at the ends)"
    assert (first.samples, second.samples) == ((4, 4), (128, 128))
    assert COLUMNS["Held-out samples"](second) == "128 → 128"
    shown = " ".join(terminal(found).split())
    assert "4 held-out" in shown  # also where nothing stands beside it
    (note,) = measured_apart(group_runs(find_runs([tmp_path])))
    assert note.startswith("one: runs that were measured on other numbers")
    assert measured_apart(group_runs(find_runs([tmp_path])[1:])) == []


def test_a_run_that_older_calls_mixed_stands_apart(tmp_path: Path) -> None:
    evaluation = {"samples": 64, "final_samples": 1024, "examples": 2}
    for seed, counts in ((0, (1024, 64, 1024)), (1, (64, 64, 1024)), (2, (4, 4, 1024))):
        lines = [round_line(k, 0.0, 0.2, held_out_samples=n) for k, n in enumerate(counts)]
        write_run(tmp_path, "one", seed=seed, lines=lines, evaluation=evaluation)
    assert [row.seeds for row in rows(tmp_path)] == [(0, 1), (2,)]  # of the older start: together
    assert "mixed with 4" in rows(tmp_path)[1].label


def test_few_samples_of_one_seed_do_not_borrow_those_of_another(tmp_path: Path) -> None:
    """One of two seeds ends sooner: its point has 1,024 samples, the other seed's there has 8."""
    for seed, samples in ((0, 1024), (1, 8)):
        lines = [round_line(k, 0.0, 0.5, held_out_samples=samples) for k in (0, 1)]
        write_run(tmp_path, seed=seed, lines=lines)
    (row,) = rows(tmp_path)
    assert row.accuracy is not None
    assert row.accuracy.end.low == pytest.approx(wilson(15.5, 31)[0])  # not of 1,032
    assert row.samples == (1032, 1032)


def test_seeds_are_compared_at_the_last_round_that_all_have_reached(tmp_path: Path) -> None:
    write_run(tmp_path, seed=0, lines=[round_line(k, 0.0, 0.2 + k / 10) for k in range(5)])
    short = [round_line(k, 0.0, 0.2 + k / 10) for k in range(3)]
    write_run(tmp_path, seed=1, lines=short, finished=False)
    (row,) = rows(tmp_path)
    assert row.rounds == 2
    assert row.accuracy is not None
    assert row.accuracy.end.mean == pytest.approx(0.4)
    assert "unfinished" in COLUMNS["Rounds"](row)


def test_nothing_measured_is_shown_as_nothing(tmp_path: Path) -> None:
    nothing: dict[str, Any] = {"attack_success": {}, "screening": {}, "seconds": {}}
    write_run(tmp_path, "clean", lines=[round_line(0, None, 0.2, **nothing)])
    write_run(tmp_path, "started", lines=[], finished=False)
    clean, started = rows(tmp_path)
    assert (clean.attack_success, clean.poisoned_stopped, clean.seconds) == (None, None, None)
    assert clean.accuracy is not None
    assert started.accuracy is None
    assert NOTHING in terminal([clean, started])


def test_points_without_a_number_are_left_out(tmp_path: Path) -> None:
    lines = [round_line(0, None, float("nan")), round_line(1, 0.5, 0.3), round_line(2, None, 0.4)]
    write_run(tmp_path, lines=lines)
    (row,) = rows(tmp_path)
    assert row.attack_success is None  # an earlier point, of fewer samples, is not the end
    assert row.accuracy is not None
    assert (row.accuracy.start.mean, row.accuracy.end.mean) == (0.3, 0.4)


def test_a_hostile_name_cannot_steer_the_terminal(tmp_path: Path) -> None:
    write_run(tmp_path, called=HOSTILE)
    shown = terminal(rows(tmp_path))
    assert "\x1b[31m" not in shown
    assert "\u202e" not in shown
    assert "[red]" in shown


@pytest.mark.parametrize(
    ("share", "shown"),
    [(0.0, "0 %"), (1.0, "100 %"), (0.654, "65 %"), (0.998, "99.8 %"), (0.0003, "0.03 %")],
)
def test_a_share_near_its_end_keeps_its_digits(share: float, shown: str) -> None:
    assert percent(share).replace("\N{NO-BREAK SPACE}", " ") == shown


def test_the_interval_of_a_rate_goes_by_different_texts() -> None:
    """Copies of one text are judged alike: 48 copies of 16 texts are 16 judgements."""
    three_receivers = {"poisoned": 144, "poisoned_stopped": 144}
    copies = Screening(**three_receivers)
    told = Screening(**three_receivers, different={"poisoned": 16, "poisoned_stopped": 16})
    wide, narrow = (rate([[one]]) for one in (told, copies))
    assert wide is not None
    assert narrow is not None
    assert wide.share == narrow.share == 1.0
    assert wide.low == pytest.approx(wilson(16, 16)[0])
    assert narrow.low == pytest.approx(wilson(48, 48)[0])
    assert rate([[told]], "honest") is None


def rate(by_seed: list[list[Screening]], label: str = "poisoned") -> Rate | None:
    return Rate.of(by_seed, label, 3, lambda one: getattr(one, f"{label}_stopped", 0))


def test_seeds_that_differ_make_the_interval_of_a_rate_wider() -> None:
    """A thousand texts of a seed have one history: pooled, they would seem a thousand answers."""
    first, second, third = (
        [Screening(poisoned=3000, poisoned_stopped=3 * stopped, different={"poisoned": 1000})]
        for stopped in (300, 400, 500)
    )
    pooled = rate([first, second, third])
    assert pooled is not None
    assert pooled.share == pytest.approx(0.4)
    expected = mean_over_seeds([0.3, 0.4, 0.5])
    assert (pooled.low, pooled.high) == (expected.low, expected.high)
    alone = rate([second])
    assert alone is not None
    assert (alone.low, alone.high) == wilson(400, 1000)


def test_a_poisoned_text_counts_once_however_many_rounds_and_seeds_send_it() -> None:
    first = Screening(poisoned=12, different={"poisoned": 2}, poisoned_texts=("a", "b"))
    later = Screening(poisoned=12, different={"poisoned": 2}, poisoned_texts=("b", "c"))
    unnamed = Screening(poisoned=12, different={"poisoned": 2})
    assert independent([first, later, first], "poisoned", receivers=3) == 3
    assert independent([first, later, unnamed], "poisoned", receivers=3) == 3 + 2
    honest = Screening(honest=12, different={"honest": 4}, poisoned_texts=("a",))
    assert independent([honest, honest], "honest", receivers=3) == 8


def test_a_resumed_run_of_which_a_part_counts_texts_is_weighed_line_by_line() -> None:
    older = Screening(poisoned=144, poisoned_stopped=144)
    newer = Screening(poisoned=144, poisoned_stopped=144, different={"poisoned": 16})
    assert independent([older] * 3 + [newer], "poisoned", receivers=3) == 3 * 48 + 16


def test_runs_of_before_and_after_a_setting_was_added_are_one_experiment(tmp_path: Path) -> None:
    new = experiment_from({"name": "grown"}).resolved()
    old = {key: value for key, value in new.items() if key != "on_reject"}
    other = experiment_from({"name": "grown", "on_reject": "zero-reward"}).resolved()
    for seed, (digest, said) in enumerate([("aaaa", old), ("bbbb", new), ("cccc", other)]):
        place = write_run(tmp_path, "grown", seed=seed, digest=digest)
        header = json.loads((place / "experiment.json").read_text())
        (place / "experiment.json").write_text(json.dumps({**header, "experiment": said}))
    together, apart = experiment_rows(find_runs([tmp_path]))
    assert (together.seeds, apart.seeds) == ((0, 1), (2,))
    assert (together.label, apart.label) == ("grown (bbbb)", "grown (cccc)")
    again = write_run(tmp_path, "grown", seed=0, digest="bbbb")  # the same seed after the change
    header = json.loads((again / "experiment.json").read_text())
    (again / "experiment.json").write_text(json.dumps({**header, "experiment": new}))
    assert [row.seeds for row in experiment_rows(find_runs([tmp_path]))] == [(0,), (0, 1), (2,)]


def test_a_plug_ins_file_is_not_executed_to_compare_runs(tmp_path: Path) -> None:
    file = tmp_path / "hostile.py"
    file.write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    for seed, digest in enumerate(("aaaa", "bbbb")):
        attack = [{"name": f"{file}:Attack"}]
        write_run(tmp_path, "same", seed=seed, digest=digest, attack=attack)
    assert [row.seeds for row in experiment_rows(find_runs([tmp_path]))] == [(0,), (1,)]
    assert not (tmp_path / "ran").exists()
