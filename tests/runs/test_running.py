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
from dgrpo.runs.running import check_folders, run_experiment
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


def test_a_longer_run_is_not_passed_off_as_the_shorter_one_asked_for(
    whole: Path, tmp_path: Path
) -> None:
    """It is told with its figures at that round, and stays as it is."""
    out = tmp_path / "copy"
    shutil.copytree(whole, out)
    before = (out / "seed-0" / "experiment.json").read_bytes()
    with pytest.raises(DgrpoError) as caught:
        run(tiny(rounds=2), out)
    point = lines(out)[2]
    assert "finished at round 5, and rounds = 2 is asked for" in caught.value.problem
    assert f"at round 2 it had accuracy {point['accuracy']:.1%}" in caught.value.problem
    assert "attack success (text)" in caught.value.problem
    assert "on 4 held-out samples" in caught.value.problem
    assert "another --out" in caught.value.remedy
    assert (out / "seed-0" / "experiment.json").read_bytes() == before


SMOKE = {"samples": 2, "final_samples": 4}


@pytest.mark.parametrize("rounds", [3, 6])
def test_a_smoke_test_is_not_mixed_with_the_full_run(tmp_path: Path, rounds: int) -> None:
    """Finished or to be extended: what lies there is told, and what to do."""
    out = tmp_path / "run"
    run(tiny(rounds=3, evaluation=SMOKE), out)
    before = {f: f.read_bytes() for f in out.rglob("*") if f.is_file()}
    with pytest.raises(DgrpoError) as caught:
        run(tiny(rounds=rounds), out)
    assert "4 held-out samples (round 0), 2 (rounds 1 to 2), 4 (round 3)" in caught.value.problem
    assert "evaluation.samples is 2 there and 4 here" in caught.value.problem
    assert "evaluation.final_samples is 4 there and 8 here" in caught.value.problem
    assert "--evaluation.samples 2 --evaluation.final_samples 4 goes on" in caught.value.remedy
    assert "another --out, or delete" in caught.value.remedy
    assert {f: f.read_bytes() for f in out.rglob("*") if f.is_file()} == before
    if rounds > 3:  # and as the message says:
        assert run(tiny(rounds=rounds, evaluation=SMOKE), out)["rounds"] == rounds


def test_an_interrupted_smoke_test_is_not_gone_on_with_otherwise(tmp_path: Path) -> None:
    out = tmp_path / "run"
    run(tiny(rounds=3, evaluation=SMOKE), out)
    (out / "seed-0" / "summary.json").unlink()
    with pytest.raises(DgrpoError, match=r"2 \(rounds 1 to 2\)"):
        run(tiny(rounds=5), out)
    shutil.rmtree(out / "seed-0" / "checkpoint")  # without one its points would not be kept
    run(tiny(rounds=2), out)
    assert [line["held_out_samples"] for line in lines(out)] == [8, 4, 8]
    assert read_json(out / "seed-0" / "experiment.json")["experiment"]["evaluation"] == {
        "samples": 4,
        "final_samples": 8,
        "examples": 2,
    }


def test_a_folder_that_older_calls_mixed_is_refused(whole: Path, tmp_path: Path) -> None:
    """Its experiment.json names settings that its points do not have."""
    out = tmp_path / "copy"
    shutil.copytree(whole, out)
    file = out / "seed-0" / "rounds.jsonl"
    old = [json.loads(line) for line in file.read_text().splitlines()]
    file.write_text(
        "".join(
            json.dumps({**o, "held_out_samples": 2} if o["round"] == 3 else o) + "\n" for o in old
        )
    )
    with pytest.raises(DgrpoError, match=r"2 \(round 3\).*does not name.*mixed"):
        run(tiny(), out)


def test_points_of_a_start_or_an_earlier_end_are_no_mixture(whole: Path, tmp_path: Path) -> None:
    """Older versions measured the start as every point; an extended run has two long points."""
    out = tmp_path / "copy"
    shutil.copytree(whole, out)
    file = out / "seed-0" / "rounds.jsonl"
    file.write_text(file.read_text().replace('"held_out_samples": 8', '"held_out_samples": 4', 1))
    run(tiny(), out)
    run(tiny(rounds=6), out)
    run(tiny(rounds=7), out)
    assert [line["held_out_samples"] for line in lines(out)] == [4, 4, 4, 4, 4, 8, 8, 8]


def test_recording_settings_that_change_are_told_with_their_rounds(
    whole: Path, tmp_path: Path
) -> None:
    out = tmp_path / "copy"
    shutil.copytree(whole, out)
    before = read_json(out / "seed-0" / "experiment.json")
    other = experiment("tiny", 6, defense=[{"name": "top-k"}], recording={"completions": "none"})
    run(other, out)
    now = read_json(out / "seed-0" / "experiment.json")
    assert now["experiment"]["recording"]["completions"] == "none"
    assert now["earlier_settings"] == [
        {
            "up_to_round": 5,
            **{name: before["experiment"][name] for name in ("evaluation", "recording")},
        }
    ]
    assert "earlier_settings" not in before


def test_a_call_for_more_that_did_nothing_leaves_the_run_as_it_was(
    whole: Path, tmp_path: Path
) -> None:
    out = tmp_path / "copy"
    shutil.copytree(whole, out)
    file = out / "seed-0" / "experiment.json"
    held = read_json(file)
    file.write_text(json.dumps({**held, "experiment": {**held["experiment"], "rounds": 7}}))
    run(tiny(), out)
    assert read_json(file) == held


def test_all_seeds_are_checked_before_the_first_is_played(tmp_path: Path) -> None:
    run(tiny(rounds=2, evaluation=SMOKE), tmp_path, seed=1)
    with pytest.raises(DgrpoError, match="seed-1 holds points"):
        check_folders(tiny(rounds=2), [0, 1], tmp_path)
    check_folders(tiny(rounds=2), [0, 2], tmp_path)
    check_folders(tiny(rounds=3, evaluation=SMOKE), [0, 1], tmp_path)
    assert not (tmp_path / "seed-0").exists()


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
