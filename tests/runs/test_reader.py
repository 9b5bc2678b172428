"""The run-folder reader: finds runs, survives a crash, names what is damaged."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.report.run_folders import round_line, write_run

from dgrpo.errors import DgrpoError
from dgrpo.runs.reader import find_runs


def test_a_seed_an_experiment_and_their_parent_are_all_found(tmp_path: Path) -> None:
    seeds = [write_run(tmp_path, "a", seed=seed) for seed in (0, 2, 10)]
    write_run(tmp_path, "b")
    assert [run.seed for run in find_runs([seeds[1]])] == [2]
    assert [run.seed for run in find_runs([seeds[0].parent])] == [0, 2, 10]
    assert [(r.name, r.seed) for r in find_runs([tmp_path])] == [
        ("a", 0),
        ("a", 2),
        ("a", 10),
        ("b", 0),
    ]


def test_a_run_given_twice_is_read_once(tmp_path: Path) -> None:
    seed = write_run(tmp_path)
    assert len(find_runs([seed, seed.parent, tmp_path])) == 1


def test_a_round_is_read_as_typed_records(tmp_path: Path) -> None:
    run = find_runs([write_run(tmp_path, rounds=3)])[0]
    first, *_, last = run.rounds
    assert (first.round, first.reward, last.round) == (0, None, 3)
    assert last.screening.poisoned_stopped == 47
    assert last.screening.by_defense["top-k"].honest_rejected == 1
    assert last.examples[0].text == "<answer>4</answer>"
    assert run.settings["nodes"] == 4
    assert run.summary is not None


def test_an_unfinished_run_has_no_summary(tmp_path: Path) -> None:
    assert find_runs([write_run(tmp_path, finished=False)])[0].summary is None


def test_a_run_that_has_just_started_has_no_rounds(tmp_path: Path) -> None:
    folder = write_run(tmp_path, finished=False)
    (folder / "rounds.jsonl").unlink()
    assert find_runs([folder])[0].rounds == ()


@pytest.mark.parametrize("cut", [1, 40, 700])
def test_a_line_cut_off_by_a_crash_is_ignored(tmp_path: Path, cut: int) -> None:
    folder = write_run(tmp_path, rounds=4, finished=False)
    file = folder / "rounds.jsonl"
    file.write_bytes(file.read_bytes()[:-cut])
    assert [line.round for line in find_runs([folder])[0].rounds] == [0, 1, 2, 3]


def test_a_damaged_line_is_named(tmp_path: Path) -> None:
    folder = write_run(tmp_path)
    file = folder / "rounds.jsonl"
    lines = file.read_text().splitlines(keepends=True)
    file.write_text(lines[0] + lines[1][:30] + "\n" + lines[2])
    with pytest.raises(DgrpoError, match=r"rounds\.jsonl, line 2 is damaged") as caught:
        find_runs([folder])
    assert "run that seed again" in caught.value.remedy


def test_a_wrong_value_is_named_with_its_field(tmp_path: Path) -> None:
    folder = write_run(tmp_path, lines=[round_line(0, 0.0, 0.2) | {"accuracy": "high"}])
    with pytest.raises(DgrpoError, match=r"line 1 is damaged: accuracy = 'high'"):
        find_runs([folder])


@pytest.mark.parametrize("name", ["experiment.json", "summary.json"])
@pytest.mark.parametrize("content", [b"{", b"[]", b"\xff\xfe", b""])
def test_a_damaged_file_is_named(tmp_path: Path, name: str, content: bytes) -> None:
    folder = write_run(tmp_path)
    (folder / name).write_bytes(content)
    with pytest.raises(DgrpoError, match=name):
        find_runs([folder])


def test_rounds_out_of_order_are_refused(tmp_path: Path) -> None:
    folder = write_run(tmp_path, lines=[round_line(k, 0.0, 0.2) for k in (0, 1, 1)])
    with pytest.raises(DgrpoError, match="round 1 comes after round 1"):
        find_runs([folder])


def test_a_newer_format_is_refused_with_the_way_out(tmp_path: Path) -> None:
    folder = write_run(tmp_path)
    header = json.loads((folder / "experiment.json").read_text())
    (folder / "experiment.json").write_text(json.dumps({**header, "schema": 2}))
    with pytest.raises(DgrpoError, match="schema 2, newer than 1"):
        find_runs([folder])


def test_a_key_that_a_later_writer_adds_is_passed_over(tmp_path: Path) -> None:
    folder = write_run(tmp_path, lines=[round_line(0, None, 0.2, novelty={"x": 1})])
    assert find_runs([folder])[0].rounds[0].attack_success == {"text": None}


def test_a_lone_surrogate_in_a_peers_text_does_not_damage_the_run(tmp_path: Path) -> None:
    example = {"question": "?", "text": "\ud800", "reward": 0.0}
    folder = write_run(tmp_path, lines=[round_line(0, 0.0, 0.2, examples=[example])])
    assert find_runs([folder])[0].rounds[0].examples[0].text == "\ud800"


@pytest.mark.parametrize("made", [True, False])
def test_a_path_without_runs_is_named(tmp_path: Path, made: bool) -> None:
    path = tmp_path / "empty"
    if made:
        path.mkdir()
    with pytest.raises(DgrpoError, match="empty") as caught:
        find_runs([path])
    assert "experiment.json" in caught.value.remedy
