"""Promises of a run folder: what is interrupted goes on to the same lines; nothing is lost."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import polars
import pytest
from tests.reproduce.finished_runs import experiment, write_file

from dgrpo.errors import DgrpoError
from dgrpo.experiment import Experiment
from dgrpo.policy.model import digest_of
from dgrpo.runs import running
from dgrpo.runs.files import read_json, writing
from dgrpo.runs.folder import RunFolder
from dgrpo.runs.reader import find_runs
from dgrpo.runs.running import run_experiment
from dgrpo.sandbox import shared_sandbox

MORE = """
[[defense]]
name = "top-k"
"""
KEPT = {"checkpoint_every": 2, "completions": "all"}


def tiny(rounds: int = 5, **settings: Any) -> Experiment:
    defended = {"defense": [{"name": "top-k"}], **settings}
    return experiment("tiny", rounds, recording=KEPT, **defended)


def run(experiment: Experiment, out: Path, seed: int = 0) -> dict[str, Any]:
    return run_experiment(experiment, seed, out, lambda line: None).summary


def lines(out: Path) -> list[dict[str, Any]]:
    """rounds.jsonl without the seconds."""
    text = (out / "seed-0" / "rounds.jsonl").read_text()
    return [
        {k: v for k, v in json.loads(one).items() if k != "seconds"} for one in text.splitlines()
    ]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nothing interrupted."""
    out = tmp_path_factory.mktemp("whole") / "tiny"
    run(tiny(), out)
    return out


def test_a_run_of_r_rounds_has_r_plus_one_points(whole: Path) -> None:
    summary = json.loads((whole / "seed-0" / "summary.json").read_text())
    assert [point[0] for point in summary["accuracy"]["by_round"]] == [0, 1, 2, 3, 4, 5]
    assert summary["attack_success"]["by_round"] == summary["metrics"]["text"]["by_round"]
    assert summary["held_out_samples"] == {"start": 8, "each": 4, "end": 8}


def test_every_completion_is_counted_once_per_honest_receiver(whole: Path) -> None:
    summary = json.loads((whole / "seed-0" / "summary.json").read_text())
    assert summary["screening"]["poisoned"] == 5 * 4 * 1 * 3
    assert summary["screening"]["honest"] == 5 * 4 * 3 * 3
    rows = polars.read_parquet(whole / "seed-0" / "completions")
    assert rows.height == 5 * 4 * 4 * 3
    assert rows.filter(polars.col("label") == "poisoned").height == 5 * 4 * 3


@pytest.mark.parametrize("after", [1, 3, 4])
def test_killed_in_any_round_it_finishes_with_the_same_lines(
    whole: Path, tmp_path: Path, after: int
) -> None:
    file = write_file(tmp_path, "tiny", 5, MORE)
    out = tmp_path / "out"
    command = [
        sys.executable, "-c", "from dgrpo.cli import main; main()",
        "run", str(file), "--out", str(out), "--threads", "1",
        "--recording.completions", KEPT["completions"],
    ]  # fmt: skip
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONUNBUFFERED": "1"}
    )
    assert process.stdout is not None
    for line in process.stdout:
        if f"round {after} " in line:
            process.send_signal(signal.SIGKILL)
            break
    process.wait(timeout=60)
    process.stdout.close()
    assert not (out / "seed-0" / "summary.json").exists()
    again = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert again.returncode == 0, again.stderr
    assert lines(out) == lines(whole)
    ours = polars.read_parquet(out / "seed-0" / "completions").sort("round", "receiver", "sender")
    theirs = polars.read_parquet(whole / "seed-0" / "completions")
    assert ours.height == theirs.height


def test_a_half_written_last_line_is_cut_off(whole: Path, tmp_path: Path) -> None:
    out = tmp_path / "copy"
    shutil.copytree(whole, out)
    (out / "seed-0" / "summary.json").unlink()
    with (out / "seed-0" / "rounds.jsonl").open("ab") as file:
        file.write('{"round": 6, "examples": ["£'.encode()[:-1])  # within a character
    run(tiny(), out)
    assert lines(out) == lines(whole)


def test_a_finished_run_is_not_played_again(whole: Path) -> None:
    before = (whole / "seed-0" / "rounds.jsonl").stat().st_mtime_ns
    run(tiny(), whole)
    assert (whole / "seed-0" / "rounds.jsonl").stat().st_mtime_ns == before


def test_a_finished_run_can_be_extended(whole: Path, tmp_path: Path) -> None:
    out = tmp_path / "copy"
    shutil.copytree(whole, out)
    summary = run(tiny(rounds=7), out)
    assert summary["rounds"] == 7
    assert [line["round"] for line in lines(out)] == list(range(8))
    assert lines(out)[:6] == lines(whole)


def test_another_experiment_in_the_folder_is_refused_with_the_field(whole: Path) -> None:
    with pytest.raises(DgrpoError, match=r"experiment\.group_size is 4 there and 8 here"):
        run(tiny(group_size=8), whole)
    with pytest.raises(DgrpoError, match="another --out"):
        run(tiny(attack={"name": "text", "phrase": "Ahoy,"}), whole)


def test_a_finished_run_is_never_relabelled(whole: Path, tmp_path: Path) -> None:
    """What it says it was played with stays, and another measure or judge is not its own."""
    out = tmp_path / "tiny"
    shutil.copytree(whole, out)
    file = out / "seed-0" / "experiment.json"
    held = read_json(file) | {"libraries": {"torch": "of that time"}}
    file.write_text(json.dumps(held))
    run(tiny(), out)
    assert read_json(file) == held
    other = tiny(measure=[{"name": "text", "phrase": "Another phrase"}])
    with pytest.raises(DgrpoError, match=r"experiment\.measure"):
        run(other, out)
    file.write_text(json.dumps(held | {"defense_model_digests": {"judge-nano": "0123"}}))
    with pytest.raises(DgrpoError, match="defense_model_digests"):
        run(tiny(), out)


@pytest.mark.parametrize(
    ("field", "recorded"),
    [
        ("pool_digest", "0" * 16),
        ("solutions_digest", "0" * 16),
        ("measure_sources", {"mine.py:Mine": "0" * 16}),
    ],
)
def test_a_changed_pool_solution_or_measure_is_refused(
    whole: Path, tmp_path: Path, field: str, recorded: object
) -> None:
    out = tmp_path / "copy"
    shutil.copytree(whole, out)
    file = out / "seed-0" / "experiment.json"
    described = json.loads(file.read_text())
    assert field in described
    file.write_text(json.dumps({**described, field: recorded}))
    with pytest.raises(DgrpoError, match=field):
        run(tiny(), out)


def test_a_damaged_checkpoint_is_named_and_nothing_is_deleted(whole: Path, tmp_path: Path) -> None:
    out = tmp_path / "copy"
    shutil.copytree(whole, out)
    (out / "seed-0" / "summary.json").unlink()
    state = out / "seed-0" / "checkpoint" / "state.pt"
    state.write_bytes(state.read_bytes()[:1000])
    with pytest.raises(DgrpoError, match=r"state\.pt is damaged") as caught:
        run(tiny(), out)
    assert "delete" in str(caught.value)
    assert lines(out) == lines(whole)


def test_a_crash_between_the_two_renames_loses_no_checkpoint(whole: Path, tmp_path: Path) -> None:
    out = tmp_path / "copy"
    shutil.copytree(whole, out)
    (out / "seed-0" / "checkpoint").rename(out / "seed-0" / "checkpoint.old")
    assert RunFolder(out / "seed-0").resume()[0] == 5


def test_separators_inside_a_text_do_not_cut_a_line(whole: Path, tmp_path: Path) -> None:
    out = tmp_path / "copy"
    shutil.copytree(whole, out)
    (out / "seed-0" / "summary.json").unlink()
    file = out / "seed-0" / "rounds.jsonl"
    before = file.read_text()
    file.write_text(before.replace("Question:", "Question\u2028\u0085:"))
    folder = RunFolder(out / "seed-0")
    assert folder.resume()[0] == 5
    assert [line["round"] for line in folder.lines()] == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize("twist", ["round 3 twice", "round 3 left out", "no round"])
def test_lines_that_are_not_the_rounds_in_order_are_damage(
    whole: Path, tmp_path: Path, twist: str
) -> None:
    """Two processes that write one folder would leave such lines."""
    out = tmp_path / "copy"
    shutil.copytree(whole, out)
    (out / "seed-0" / "summary.json").unlink()
    file = out / "seed-0" / "rounds.jsonl"
    every = file.read_text().splitlines(keepends=True)
    twisted = {
        "round 3 twice": [*every[:4], every[3], *every[4:]],
        "round 3 left out": [*every[:3], *every[4:], every[5]],
        "no round": [*every[:5], "{}\n"],
    }[twist]
    file.write_text("".join(twisted))
    with pytest.raises(DgrpoError, match="is damaged") as caught:
        run(tiny(), out)
    assert "to start this seed again" in str(caught.value)


def test_a_run_that_another_process_plays_is_left_alone(whole: Path, tmp_path: Path) -> None:
    pytest.importorskip("fcntl")
    out = tmp_path / "copy"
    shutil.copytree(whole, out)
    before = lines(out)
    with RunFolder(out / "seed-0").held():
        with pytest.raises(DgrpoError, match="another process is playing this run") as caught:
            run(tiny(rounds=6), out)
        assert "--out" in str(caught.value)
    assert lines(out) == before
    run(tiny(), out)  # and free again


def test_every_version_of_the_code_that_played_a_run_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for digest, rounds in (("first", 1), ("first", 2), ("second", 3)):
        monkeypatch.setattr(running, "_source_digest", lambda digest=digest: digest)
        run(tiny(rounds=rounds), tmp_path)
    header = json.loads((tmp_path / "seed-0" / "experiment.json").read_text())
    assert header["source_digests"] == ["first", "second"]


def test_fewer_rounds_than_were_played_change_nothing(whole: Path, tmp_path: Path) -> None:
    out = tmp_path / "copy"
    shutil.copytree(whole, out)
    run(tiny(rounds=2), out)
    assert json.loads((out / "seed-0" / "experiment.json").read_text())["experiment"]["rounds"] == 5


def test_fewer_rounds_than_an_interrupted_run_has_are_refused(whole: Path, tmp_path: Path) -> None:
    """It would end, finished, at a round that nobody asked for."""
    out = tmp_path / "copy"
    shutil.copytree(whole, out)
    (out / "seed-0" / "summary.json").unlink()
    with pytest.raises(DgrpoError) as caught:
        run(tiny(rounds=2), out)
    assert f"{out / 'seed-0'} has gone on to round 5 of 5, and rounds = 2" in caught.value.problem
    assert "rounds = 5 or more" in caught.value.remedy
    assert not (out / "seed-0" / "summary.json").exists()
    assert lines(out) == lines(whole)


def test_a_finished_run_whose_lines_are_gone_is_damaged(whole: Path, tmp_path: Path) -> None:
    out = tmp_path / "copy"
    shutil.copytree(whole, out)
    file = out / "seed-0" / "rounds.jsonl"
    file.write_bytes(b"".join(file.read_bytes().splitlines(keepends=True)[:3]))
    with pytest.raises(DgrpoError, match="3 lines of a run finished at round 5"):
        run(tiny(), out)


def test_an_interrupted_run_can_be_cut_short(whole: Path, tmp_path: Path) -> None:
    out = tmp_path / "copy"
    shutil.copytree(whole, out)
    (out / "seed-0" / "summary.json").unlink()
    checkpoint = out / "seed-0" / "checkpoint"
    early = tmp_path / "early"
    run(tiny(rounds=2), early)
    shutil.rmtree(checkpoint)
    shutil.copytree(early / "seed-0" / "checkpoint", checkpoint)
    with pytest.raises(DgrpoError, match="has gone on to round 2 of 5, and rounds = 2"):
        run(tiny(rounds=2), out)  # that point was measured on few samples
    run(tiny(rounds=3), out)
    header = json.loads((out / "seed-0" / "experiment.json").read_text())
    assert header["experiment"]["rounds"] == 3
    assert lines(out)[:3] == lines(whole)[:3]
    assert len(lines(out)) == 4


def test_a_finished_run_without_a_checkpoint_is_never_wiped(whole: Path, tmp_path: Path) -> None:
    """Committed runs have none."""
    out = tmp_path / "copy"
    shutil.copytree(whole, out)
    shutil.rmtree(out / "seed-0" / "checkpoint")
    files = ("experiment.json", "rounds.jsonl", "summary.json")
    before = [(out / "seed-0" / name).read_bytes() for name in files]
    with pytest.raises(DgrpoError) as caught:
        run(tiny(rounds=7), out)
    assert "finished at round 5, without a checkpoint" in caught.value.problem
    assert "another --out" in caught.value.remedy
    assert [(out / "seed-0" / name).read_bytes() for name in files] == before


def test_a_shard_of_left_out_completions_can_be_written(tmp_path: Path) -> None:
    experiment = tiny(rounds=2, defense=[{"name": "top-k", "k": 1}])
    run(experiment, tmp_path / "strict")
    rows = polars.read_parquet(tmp_path / "strict" / "seed-0" / "completions")
    assert rows["advantage"].dtype == polars.Float64


def test_a_full_disk_is_a_message_and_the_finished_rounds_stay(tmp_path: Path) -> None:
    if os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("mounting a small file system needs root")
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=9m", "tmpfs", str(disk)],
        capture_output=True,
        check=False,
    )
    if mount.returncode != 0:
        pytest.skip(f"mounting is not allowed here: {mount.stderr.decode()}")
    try:
        out = disk / "out"
        run(tiny(rounds=2), out)  # one checkpoint fits, the second beside it does not
        with pytest.raises(DgrpoError, match="No space left") as caught:
            run(tiny(rounds=4), out)
        assert "free some space" in str(caught.value)
        assert RunFolder(out / "seed-0").resume()[0] == 2
    finally:
        subprocess.run(["umount", str(disk)], check=False)


def test_a_read_only_folder_is_a_message(tmp_path: Path) -> None:
    with pytest.raises(DgrpoError, match="cannot be written"), writing(tmp_path):
        raise PermissionError(13, "Permission denied")


def test_the_description_names_the_judge_and_what_programs_ran_in(tmp_path: Path) -> None:
    settings = {
        "model": "code-nano",
        "task": {"name": "gsm-python", "train": 32, "held_out": 8},
        "defense": [{"name": "judge", "criticism": False, "decision": "log-odds"}],
    }
    of = tiny(rounds=1, attack=(), malicious=0, measure=(), **settings)
    for _ in range(2):  # finished, and asked for again
        run(of, tmp_path / "run")
        described = read_json(tmp_path / "run" / "seed-0" / "experiment.json")
        assert described["defense_model_digests"] == {"judge-nano": digest_of("judge-nano")}
        assert described["sandbox_layers"] == list(shared_sandbox().layers)


def test_the_reader_reads_what_the_run_wrote(whole: Path) -> None:
    (found,) = find_runs([whole])
    assert found.name == "tiny"
    assert [line.round for line in found.rounds] == [0, 1, 2, 3, 4, 5]
    assert found.rounds[-1].screening.poisoned == 12
