"""Which runs count as finished, and which are asked for."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.reproduce.finished_runs import experiment, write_file, write_finished

from dgrpo.errors import DgrpoError
from dgrpo.policy.model import digest_of
from dgrpo.reproduce.matrix import Entry, find_finished, load_entries, missing, runs_of
from dgrpo.reproduce.paper import Matrix

MATRIX = Matrix(headline=("main*",), not_headline=("main-small",), ablation_seeds=2, quick_rounds=1)


def seeds_of(folder: Path, of=None) -> list[int]:
    found, _ = find_finished([folder])
    return list(runs_of(of or experiment(), found))


def test_headline_files_get_all_seeds_and_others_fewer(tmp_path: Path) -> None:
    for name in ("main", "main-small", "other"):
        write_file(tmp_path, name)
    entries, broken = load_entries(tmp_path, (), 5, MATRIX)
    assert {entry.name: len(entry.seeds) for entry in entries} == {
        "main": 5, "main-small": 2, "other": 2,
    }  # fmt: skip
    assert broken == []
    assert [e.seeds for e in load_entries(tmp_path, (), 1, MATRIX)[0]] == [(0,)] * 3


def test_names_and_patterns_select(tmp_path: Path) -> None:
    for name in ("main", "main-small", "other"):
        write_file(tmp_path, name)
    entries, _ = load_entries(tmp_path, ("main*",), 5, MATRIX)
    assert [entry.name for entry in entries] == ["main", "main-small"]
    with pytest.raises(DgrpoError, match="did you mean 'other'"):
        load_entries(tmp_path, ("oter",), 5, MATRIX)
    with pytest.raises(DgrpoError, match="--experiments"):
        load_entries(tmp_path / "nowhere", (), 5, MATRIX)


def test_quick_plays_one_short_seed_of_headline_files(tmp_path: Path) -> None:
    write_file(tmp_path, "main", rounds=50)
    write_file(tmp_path, "other")
    ((entry,), _) = load_entries(tmp_path, (), 5, MATRIX, quick=True)
    assert (entry.name, entry.seeds, entry.experiment.rounds) == ("main", (0,), 1)
    assert entry.experiment.evaluation.final_samples < 1000
    assert entry.experiment.digest == experiment("main").digest
    with pytest.raises(DgrpoError, match="name one of: main"):
        load_entries(tmp_path, ("other",), 5, MATRIX, quick=True)


def test_a_broken_file_is_set_apart_with_its_problem(tmp_path: Path) -> None:
    write_file(tmp_path, "main")
    (tmp_path / "bad.toml").write_text('name = "bad"\nroundz = 3\n')
    entries, (broken,) = load_entries(tmp_path, (), 5, MATRIX)
    assert [entry.name for entry in entries] == ["main"]
    assert broken.file.name == "bad.toml"
    assert "did you mean 'rounds'" in broken.problem


def test_two_files_with_one_name_are_refused(tmp_path: Path) -> None:
    write_file(tmp_path, "main").rename(tmp_path / "copy.toml")
    write_file(tmp_path, "main")
    with pytest.raises(DgrpoError, match="'main'"):
        load_entries(tmp_path, (), 5, MATRIX)


def test_a_knob_added_later_with_its_default_keeps_old_runs_valid(tmp_path: Path) -> None:
    old = experiment().resolved()
    del old["attack"][0]["decoys"]
    del old["measure"][0]["decoys"]
    del old["learner"]["warmup_rounds"]
    write_finished(tmp_path, experiment(), resolved=old, digest="an older digest")
    assert seeds_of(tmp_path) == [0]


@pytest.mark.parametrize(
    "change", [{"group_size": 8}, {"attack": {"name": "text", "phrase": "Ahoy,"}, "measure": []}]
)
def test_another_experiment_of_that_name_does_not_count(tmp_path: Path, change: dict) -> None:
    write_finished(tmp_path, experiment(**change))
    assert seeds_of(tmp_path) == []


def test_a_run_with_other_weights_under_the_same_name_does_not_count(tmp_path: Path) -> None:
    judged = experiment(defense=[{"name": "judge"}])
    model, judge = digest_of("gsm-nano"), digest_of("judge-nano")
    for seed, (trained, judging) in enumerate([(model, judge), ("0", judge), (model, "0")]):
        header = {"model_digests": [trained], "defense_model_digests": {"judge-nano": judging}}
        write_finished(tmp_path, judged, seed, header=header)
    write_finished(tmp_path, judged, 3)  # from before this was recorded
    assert seeds_of(tmp_path, judged) == [0, 3]


def test_runs_on_other_prompts_are_not_averaged_with_those_on_todays(tmp_path: Path) -> None:
    """Where all have one pool it is trusted: to draw every pool for a list would take too long."""
    today = experiment().task.load().digest
    write_finished(tmp_path, experiment(), 0, header={"pool_digest": "an older pool"})
    assert seeds_of(tmp_path) == [0]
    write_finished(tmp_path, experiment(), 1, header={"pool_digest": today})
    assert seeds_of(tmp_path) == [1]


def test_name_and_claim_do_not_matter(tmp_path: Path) -> None:
    write_finished(tmp_path, experiment("another", claim="same"))
    assert seeds_of(tmp_path) == [0]


def test_a_run_serves_a_file_that_asks_for_as_many_rounds_and_no_other(tmp_path: Path) -> None:
    write_finished(tmp_path, experiment(rounds=4), seed=0)
    write_finished(tmp_path, experiment(rounds=4), seed=1, rounds=3)
    assert seeds_of(tmp_path, experiment(rounds=4)) == [0]
    assert seeds_of(tmp_path, experiment(rounds=3)) == [1]


def test_a_run_with_fewer_held_out_samples_at_its_end_is_not_finished(tmp_path: Path) -> None:
    write_finished(tmp_path, experiment(), 0, held_out_samples=8)
    write_finished(tmp_path, experiment(), 1, held_out_samples=7)
    assert experiment().evaluation.final_samples == 8
    assert seeds_of(tmp_path) == [0]


def test_a_run_with_other_samples_between_its_ends_is_no_run_of_the_matrix(tmp_path: Path) -> None:
    smoke = experiment(evaluation={"samples": 2, "final_samples": 8})
    write_finished(tmp_path, smoke, 0)
    write_finished(tmp_path, experiment(), 1)
    assert smoke.digest == experiment().digest
    assert seeds_of(tmp_path) == [1]


def test_a_run_that_did_not_measure_what_is_asked_is_not_finished(tmp_path: Path) -> None:
    honest = {"attack": {"name": "honest"}}
    asked = experiment(**honest)
    write_finished(tmp_path, experiment(**honest, measure=[]), seed=0)
    other = experiment(**honest, measure=[{"name": "text", "phrase": "Ahoy,"}])
    write_finished(tmp_path, other, seed=1)
    assert seeds_of(tmp_path, asked) == []
    assert seeds_of(tmp_path, other) == [1]


def test_a_description_that_promises_more_than_was_measured_does_not_count(tmp_path: Path) -> None:
    honest = {"attack": {"name": "honest"}}
    asked = experiment(**honest)
    write_finished(tmp_path, experiment(**honest, measure=[]), resolved=asked.resolved())
    assert seeds_of(tmp_path, asked) == []


def test_an_unfinished_run_is_missing(tmp_path: Path) -> None:
    (write_finished(tmp_path, experiment()) / "summary.json").unlink()
    assert seeds_of(tmp_path) == []


def test_damaged_and_outdated_folders_are_left_out_with_a_reason(tmp_path: Path) -> None:
    good = write_finished(tmp_path, experiment(), seed=0)
    bad = write_finished(tmp_path, experiment(), seed=1)
    (bad / "rounds.jsonl").write_text("{")
    strange = write_finished(tmp_path, experiment(), seed=2)
    header = json.loads((strange / "experiment.json").read_text())
    header["experiment"]["attack"][0]["no_such_knob"] = 1
    (strange / "experiment.json").write_text(json.dumps(header))
    found, left_out = find_finished([tmp_path])
    assert [one.run.folder for one in found] == [good]
    assert any("seed-1" in line and "agree" in line for line in left_out)
    assert any("seed-2" in line and "no_such_knob" in line for line in left_out)


PLUGIN = """
from pathlib import Path
from dgrpo.attacks.text import Text

Path({mark!r}).touch()


class Theirs(Text):
    name = "theirs"
"""


@pytest.mark.parametrize("field", ["task", "attack", "measure", "defense"])
def test_a_run_folder_executes_no_file_that_it_names(tmp_path: Path, field: str) -> None:
    mark, file = tmp_path / "executed", tmp_path / "theirs.py"
    file.write_text(PLUGIN.format(mark=str(mark)))
    folder = write_finished(tmp_path, experiment())
    header = json.loads((folder / "experiment.json").read_text())
    for value in (f"{file}:Theirs", {"name": f"{file}:Theirs"}, [{"name": f"{file}:Theirs"}]):
        header["experiment"][field] = value
        (folder / "experiment.json").write_text(json.dumps(header))
        found, left_out = find_finished([tmp_path])
        assert not found
        two = field == "task" and isinstance(value, list)  # an experiment has one task
        refused = "task" if two else "theirs.py:Theirs, which no experiment file here names"
        assert refused in left_out[0]
    assert not mark.exists()


def test_a_plug_ins_file_that_an_experiment_names_serves_its_runs(tmp_path: Path) -> None:
    mark, file = tmp_path / "executed", tmp_path / "ours.py"
    file.write_text(PLUGIN.format(mark=str(mark)))
    name = f"{file}:Theirs"
    mine = experiment(attack={"name": name}, measure=[name])
    folder = write_finished(tmp_path, mine)
    assert [one.run.folder for one in find_finished([tmp_path])[0]] == [folder]
    assert mark.exists()


def test_missing_runs_are_ordered_and_none_is_asked_for_twice(tmp_path: Path) -> None:
    entries = [
        Entry(experiment("ablation", attack={"name": "honest"}), False, (0, 1)),
        Entry(experiment("main"), True, (0, 1)),
        Entry(experiment("same-as-main"), False, (0, 1, 2)),
        Entry(experiment("main-for-longer", rounds=3), False, (0, 1)),
    ]
    write_finished(tmp_path, experiment("main"), seed=1)
    write_finished(tmp_path, experiment("main", rounds=3), seed=0)
    found, _ = find_finished([tmp_path])
    tasks = missing(entries, found)
    assert [(task.experiment.name, task.seed, task.experiment.rounds) for task in tasks] == [
        ("main", 0, 2),
        ("ablation", 0, 2), ("ablation", 1, 2), ("main-for-longer", 1, 3), ("same-as-main", 2, 2),
    ]  # fmt: skip
