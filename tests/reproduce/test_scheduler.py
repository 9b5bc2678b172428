"""Runs in worker processes: a failure stops no other, Ctrl-C stops all, nothing is repeated."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from tests.reproduce.finished_runs import experiment, write_file

from dgrpo.experiment import Experiment
from dgrpo.reproduce import scheduler
from dgrpo.reproduce.display import MatrixDisplay
from dgrpo.reproduce.estimate import Estimate
from dgrpo.reproduce.matrix import Task, find_finished, runs_of
from dgrpo.reproduce.scheduler import Outcome, play_all, run_folder
from dgrpo.reproduce.worker import Line
from dgrpo.runs.folder import RunFolder

ROOT = Path(__file__).parents[2]

ATTACKS = '''
import os, signal
from typing import ClassVar
from dgrpo.attacks.base import StatelessAttack

class Raises(StatelessAttack):
    """Fails with a text that a peer could have sent."""
    name: ClassVar[str] = "raises"
    async def poison(self, own, turn):
        raise ValueError("\\x1b[31mhostile\\u202e [bold]markup[/]")

class Dies(StatelessAttack):
    """Takes its whole process with it, as the kernel does when memory is short."""
    name: ClassVar[str] = "dies"
    async def poison(self, own, turn):
        os.kill(os.getpid(), signal.SIGKILL)
'''


def play(tasks: list[Task], out: Path, **options: float) -> tuple[Outcome, str]:
    told = io.StringIO()
    console = Console(file=told, width=200, force_terminal=False)
    display = MatrixDisplay(console, tasks, Estimate(), 2)
    return play_all(tasks, out, 2, display, **options), told.getvalue()


def test_failed_runs_are_told_and_the_others_finish(tmp_path: Path) -> None:
    file = tmp_path / "broken_attacks.py"
    file.write_text(ATTACKS)
    tasks = [
        Task(experiment(name, attack={"name": f"{file}:{kind}"}, measure=[]), 0, True)
        for name, kind in (("raising", "Raises"), ("dying", "Dies"))
    ]
    tasks.append(Task(experiment("healthy"), 0, True))
    outcome, told = play(tasks, tmp_path / "out")
    assert outcome.finished == [tasks[2]]
    problems = {failure.task.experiment.name: failure for failure in outcome.failed}
    assert set(problems) == {"raising", "dying"}
    assert "hostile" in problems["raising"].problem
    assert "SIGKILL" in problems["dying"].problem
    assert "Traceback" in problems["raising"].log.read_text()
    assert "1 of 3 runs finished, 2 failed" in told
    assert "\x1b" not in told
    assert "\u202e" not in told
    assert "[bold]markup[/]" in told  # shown, not obeyed
    found, left_out = find_finished([tmp_path / "out"])
    assert left_out == []
    assert list(runs_of(experiment(), found)) == [0]
    assert not (
        tmp_path / "out" / "logs" / f"{run_folder(Path(), tasks[2]).name}-seed-0.log"
    ).exists()

    lines = run_folder(tmp_path / "out", tasks[2]) / "seed-0" / "rounds.jsonl"
    before = lines.stat().st_mtime_ns
    wider = experiment("healthy", measure=["text", "equation"])
    again, _ = play([Task(wider, 0, True)], tmp_path / "out")
    assert "does not measure equation: move it away" in again.failed[0].problem
    longer = experiment("healthy", evaluation={"samples": 4, "final_samples": 9})
    fewer, _ = play([Task(longer, 0, True)], tmp_path / "out")
    assert "with 8 held-out samples, and evaluation.final_samples = 9" in fewer.failed[0].problem
    shorter, _ = play([Task(experiment("healthy", rounds=1), 0, True)], tmp_path / "out")
    assert "went on to round 2, and 1 are asked for: move it away" in shorter.failed[0].problem
    assert lines.stat().st_mtime_ns == before


def test_a_log_that_cannot_be_written_is_a_failure_that_says_so(tmp_path: Path) -> None:
    (tmp_path / "logs").write_text("in the way")
    outcome, _ = play([Task(experiment(), 0, True)], tmp_path)
    assert "cannot be written" in outcome.failed[0].problem
    assert outcome.finished == []


@pytest.mark.parametrize(("refused", "failed"), [({1}, []), ({0}, [0])])
def test_a_process_that_cannot_be_started_stops_no_other(
    refused: set[int], failed: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beside a busy one it waits for room; alone it fails."""
    start, calls = scheduler._start, count()

    def sometimes(task: Task, out: Path, threads: int) -> Any:
        if next(calls) in refused:
            raise BlockingIOError(11, "Resource temporarily unavailable")
        return start(task, out, threads)

    monkeypatch.setattr(scheduler, "_start", sometimes)
    tasks = [Task(experiment(), seed, True) for seed in range(2)]
    outcome, _ = play(tasks, tmp_path)
    assert [failure.task.seed for failure in outcome.failed] == failed
    assert all("temporarily unavailable" in failure.problem for failure in outcome.failed)
    assert sorted(t.seed for t in outcome.finished) == [s for s in (0, 1) if s not in failed]


def test_no_run_is_started_when_time_is_up(tmp_path: Path) -> None:
    tasks = [Task(experiment(), seed, True) for seed in range(3)]
    outcome, _ = play(tasks, tmp_path, seconds=-1.0)
    assert outcome.not_started == tasks
    assert outcome.finished == []
    assert list(tmp_path.iterdir()) == []


def command(folder: Path, *words: str) -> list[str]:
    return [
        sys.executable, "-c", "from dgrpo.cli import main; main()", "reproduce", *words,
        "--experiments", str(folder / "experiments"), "--out", str(folder / "out"),
        "--results", str(folder / "results"), "--workers", "1", "--seeds", "1",
    ]  # fmt: skip


def gone(group: int) -> bool:
    """Whether every process of a group ends; Python's resource tracker takes a moment to."""
    for _ in range(300):
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.1)
    return False


@pytest.fixture
def hears_ctrl_c() -> Iterator[None]:
    """What is started inside hears Ctrl-C, even where the suite runs in a shell's background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("hears_ctrl_c")
@pytest.mark.skipif(os.name != "posix", reason="sends signals to a process group")
@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_runs_are_resumed_and_finished_ones_never_repeated(
    tmp_path: Path, stop: signal.Signals
) -> None:
    endless = 10_000
    write_file(tmp_path / "experiments", "long", rounds=endless)
    process = subprocess.Popen(
        command(tmp_path), cwd=ROOT, start_new_session=True, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    checkpoint = "long-*/seed-0/checkpoint/checkpoint.json"
    while process.poll() is None and not list((tmp_path / "out").glob(checkpoint)):
        time.sleep(0.1)
    assert process.poll() is None, process.communicate()
    if stop == signal.SIGINT:
        os.killpg(process.pid, stop)  # as a terminal does: to every process
    else:
        process.send_signal(stop)  # as `kill` does
    try:
        _, said = process.communicate(timeout=60)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        raise
    assert process.returncode == 130
    assert "Traceback" not in said
    assert gone(process.pid)  # no worker is left behind

    (place,) = (tmp_path / "out").glob("long-*/seed-0")
    done = json.loads((place / "checkpoint" / "checkpoint.json").read_text())["updates"]
    kept = (place / "rounds.jsonl").read_text().split("\n")[: done + 1]
    write_file(tmp_path / "experiments", "long", rounds=done + 1)
    again = subprocess.run(command(tmp_path), cwd=ROOT, capture_output=True, text=True, check=False)
    assert again.returncode == 0, again.stderr
    assert "1 of 1 runs finished" in again.stdout
    lines = (place / "rounds.jsonl").read_text().split("\n")
    assert lines[: done + 1] == kept  # seconds and all: nothing was played again
    assert len(lines) == done + 3
    assert "long" in (tmp_path / "out" / "paper.md").read_text()

    before = (place / "rounds.jsonl").stat().st_mtime_ns
    third = subprocess.run(
        command(tmp_path, "--collect"), cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert third.returncode == 0, third.stderr
    assert (place / "rounds.jsonl").stat().st_mtime_ns == before
    copied = tmp_path / "results" / "runs" / "long" / "seed-0"
    assert sorted(file.name for file in copied.iterdir()) == [
        "experiment.json", "rounds.jsonl", "summary.json",
    ]  # fmt: skip


def test_two_commands_do_not_play_one_run_at_once(tmp_path: Path) -> None:
    pytest.importorskip("fcntl")
    task = Task(experiment("shared"), 0, True)
    with RunFolder(run_folder(tmp_path, task) / "seed-0").held():
        outcome, _ = play([task], tmp_path)
    assert "another process is playing this run" in outcome.failed[0].problem


class Clock:
    """Stands where `time` does in the display."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now


def test_time_left_comes_from_the_rounds_that_were_played(monkeypatch: pytest.MonkeyPatch) -> None:
    from dgrpo.reproduce import display as module

    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    of: Experiment = experiment(rounds=100)
    tasks = [Task(of, seed, True) for seed in range(2)]
    display = MatrixDisplay(Console(file=io.StringIO()), tasks, Estimate(), 2)
    assert display.time_left() == "not known yet"
    display.started(tasks[0])
    for number in range(41):  # the first 30 were played before the interruption
        clock.now += 0.001 if number <= 30 else 6.0
        display.measured(tasks[0], Line(number, 0.5, None))
    # 60 rounds are left of one run and 100 of the other, at 6 s: the longest counts
    assert display.time_left() == "about 10 min"
    display.ended(tasks[0], "")
    assert display.summary() == "1 of 2 runs finished; left: about 10 min"
    known = display.estimate
    later = MatrixDisplay(Console(file=io.StringIO()), tasks, known, 2, lambda task: 80)
    assert later.time_left() == "about 2 min"  # interrupted runs go on from their checkpoint


def test_the_terminal_shows_what_is_played_and_what_is_left() -> None:
    told = io.StringIO()
    console = Console(file=told, force_terminal=True, width=100, color_system=None)
    tasks = [Task(experiment(f"run-{seed}", rounds=100), seed, True) for seed in range(3)]
    display = MatrixDisplay(console, tasks, Estimate(), 2)
    display.started(tasks[0])
    display.started(tasks[1])
    display.measured(tasks[0], Line(30, 0.5, 0.25))
    display.ended(tasks[1], "what a peer wrote: \x1b[31m")
    console.print(display)
    shown = told.getvalue()
    assert "run-0 seed 0" in shown
    assert "30 of 100" in shown
    assert "25.0 %" in shown
    assert "0 of 3 runs finished, 1 failed; left: not known yet" in shown
    assert "\x1b[31m" not in shown
