"""`dgrpo reproduce` around the runs: status, pages and exit codes, with runs that are finished."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console
from tests.reproduce.finished_runs import experiment, write_file, write_finished

from dgrpo.errors import DgrpoError
from dgrpo.reproduce.command import Settings, reproduce
from dgrpo.reproduce.matrix import Task
from dgrpo.reproduce.scheduler import run_folder


def call(folder: Path, *, quick: bool = False, **what: bool) -> tuple[int, str]:
    told = io.StringIO()
    settings = Settings((), 1, quick, folder / "out", 1, folder / "experiments", folder / "results")
    flags = {"status": False, "collecting": False, **what}
    code = reproduce(settings, Console(file=told, width=160), **flags)
    return code, told.getvalue()


def test_status_counts_committed_and_local_runs_and_runs_nothing(tmp_path: Path) -> None:
    for name in ("one", "two", "three"):
        phrase = f'phrase = "{name}"\n'
        write_file(tmp_path / "experiments", name, extra=phrase)
    for name, place in (("one", "results/runs"), ("two", "out")):
        of = experiment(name, attack={"name": "text", "phrase": name})
        timed = {"seconds": {"generate": 1.0, "total": 90.0}}
        write_finished(tmp_path / place, of, **timed)
    code, told = call(tmp_path, status=True)
    assert code == 0
    assert "2 of 3 runs finished; left: about 3 min on 1 workers" in told
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == ["two"]


def test_files_that_share_a_run_count_it_once(tmp_path: Path) -> None:
    for name in ("one", "same"):
        write_file(tmp_path / "experiments", name)
    assert "0 of 1 runs finished" in call(tmp_path, status=True)[1]


def test_an_interrupted_run_has_only_its_last_rounds_left(tmp_path: Path) -> None:
    write_file(tmp_path / "experiments", "one", rounds=10)
    of = experiment("one", rounds=10)
    timed = {"seconds": {"generate": 1.0, "total": 600.0}}
    write_finished(tmp_path / "out", experiment("one", rounds=2), seed=9, **timed)
    _, told = call(tmp_path, status=True)
    assert "left: about 1 h 41 min" in told
    checkpoint = run_folder(tmp_path / "out", Task(of, 0, False)) / "seed-0" / "checkpoint"
    checkpoint.mkdir(parents=True)
    (checkpoint / "checkpoint.json").write_text('{"updates": 7}')
    _, told = call(tmp_path, status=True)
    assert "left: about 30 min" in told
    (checkpoint / "checkpoint.json").write_text("{")
    assert "left: about 1 h 41 min" in call(tmp_path, status=True)[1]


def test_a_finished_matrix_only_writes_its_pages(tmp_path: Path) -> None:
    write_file(tmp_path / "experiments", "one")
    write_finished(tmp_path / "results" / "runs", experiment("one"))
    code, told = call(tmp_path)
    assert code == 0
    assert "1 of 1 runs finished" in told
    assert (tmp_path / "results" / "poisoned-share.png").exists()
    assert "| one |" in (tmp_path / "results" / "paper.md").read_text()
    assert (tmp_path / "out" / "paper.html").read_text().startswith("<!DOCTYPE html>")


def test_a_broken_file_is_told_harmlessly_and_gives_exit_code_1(tmp_path: Path) -> None:
    write_file(tmp_path / "experiments", "one")
    (tmp_path / "experiments" / "bad.toml").write_text(
        'name = "bad"\n[attack]\nname = "\\u202e[bold]\\u001b[31m"\n', encoding="utf-8"
    )
    write_finished(tmp_path / "results" / "runs", experiment("one"))
    code, told = call(tmp_path, collecting=True)
    assert code == 1
    assert "bad.toml" in told
    assert "[bold]" in told
    assert not set("\u202e\x1b") & set(told)


@pytest.mark.parametrize("other", ["quick", "status"])
def test_smoke_runs_are_never_collected(tmp_path: Path, other: str) -> None:
    write_file(tmp_path / "experiments", "text-horizontal", rounds=50)
    with pytest.raises(DgrpoError, match=f"--collect and --{other} exclude one another"):
        call(tmp_path, collecting=True, **{other: True})


def test_committed_runs_do_not_count_for_a_smoke_run_and_its_page_lies_elsewhere(
    tmp_path: Path,
) -> None:
    write_file(tmp_path / "experiments", "text-horizontal", rounds=50)
    of = experiment("text-horizontal", rounds=50)
    write_finished(tmp_path / "results" / "runs", of)
    _, told = call(tmp_path, quick=True, status=True)
    assert "0 of 1 runs finished" in told
    write_finished(tmp_path / "out" / "quick", of, rounds=4)
    code, told = call(tmp_path, quick=True)
    assert code == 0
    assert "proves nothing" in (tmp_path / "out" / "quick" / "paper.md").read_text()
    assert not (tmp_path / "results" / "paper.md").exists()
    _, told = call(tmp_path, status=True)
    assert "1 of 1 runs finished" in told
