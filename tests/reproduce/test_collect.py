"""Committed results: three small files of each finished run, replaced when they are outdated."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.reproduce.finished_runs import experiment, write_finished

from dgrpo.errors import DgrpoError
from dgrpo.reproduce.collect import SMALL_FILES, collect
from dgrpo.reproduce.matrix import Entry, find_finished

ENTRY = Entry(experiment("tiny", rounds=3), True, (0, 1))


def collected(source: Path, target: Path) -> list[Path]:
    found, _ = find_finished([target, source])
    return collect([ENTRY], found, target)


def test_only_small_files_are_copied_and_only_once(tmp_path: Path) -> None:
    played = write_finished(tmp_path / "runs", ENTRY.experiment)
    (played / "checkpoint").mkdir()
    (played / "checkpoint" / "state.pt").write_bytes(b"large")
    target = tmp_path / "results"
    assert collected(tmp_path / "runs", target) == [target / "tiny" / "seed-0"]
    names = sorted(file.name for file in (target / "tiny" / "seed-0").iterdir())
    assert names == sorted(SMALL_FILES)
    assert collected(tmp_path / "runs", target) == []


def test_a_committed_run_that_serves_no_more_is_replaced(tmp_path: Path) -> None:
    target = tmp_path / "results"
    write_finished(target, experiment("tiny", rounds=2), seed=0)
    write_finished(target, experiment("tiny", rounds=3, group_size=8), seed=1)
    for seed in (0, 1):
        write_finished(tmp_path / "runs", ENTRY.experiment, seed)
    assert len(collected(tmp_path / "runs", target)) == 2
    found, _ = find_finished([target])
    assert {one.run.seed for one in found} == {0, 1}
    assert all(one.experiment.digest == ENTRY.experiment.digest for one in found)


def test_unfinished_runs_stay_where_they_are(tmp_path: Path) -> None:
    (write_finished(tmp_path / "runs", ENTRY.experiment) / "summary.json").unlink()
    assert collected(tmp_path / "runs", tmp_path / "results") == []


def test_a_copy_that_was_cut_off_is_no_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_finished(tmp_path / "runs", ENTRY.experiment)

    def full(self: Path, target: Path) -> Path:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "rename", full)
    with pytest.raises(DgrpoError, match="cannot be written"):
        collected(tmp_path / "runs", tmp_path / "results")
    assert find_finished([tmp_path / "results"]) == ([], [])
