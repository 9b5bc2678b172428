"""Ctrl-C and SIGTERM: the round is saved, the second one stops at once, and what is said is so."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from tests.reproduce.finished_runs import experiment, write_file

from dgrpo.runs.folder import updates_done
from dgrpo.runs.interruption import Interrupted, stopping_late
from dgrpo.runs.running import run_experiment

SLOW = '''
"""Screens nothing, and takes its time in the third round."""

import os
import time
from pathlib import Path
from typing import Any, ClassVar

from dgrpo.defenses import Defense, Receiver, RunningDefense
from dgrpo.records import Verdict

ASLEEP = Path(__file__).with_name("asleep")


class Slow(Defense):
    """Slow."""

    name: ClassVar[str] = "slow"

    def start(self, node):
        return AtWork()


class AtWork(RunningDefense):
    def __init__(self):
        self.rounds = 0

    async def screen(self, batch, node):
        self.rounds += 1
        if self.rounds == 3 and node.name == "node-0":
            ASLEEP.touch()
            for _ in range(int(os.environ["SECONDS_ASLEEP"]) * 10):
                time.sleep(0.1)
        return [Verdict(True, 0.0) for _ in batch.received]

    def state_dict(self):
        return {"rounds": self.rounds}

    def load_state_dict(self, state):
        self.rounds = state["rounds"]
'''


class Command:
    """`dgrpo run` in a process of its own, that sleeps in its third round."""

    def __init__(self, folder: Path, seconds: int, *words: str) -> None:
        plugin = folder / "slow.py"
        plugin.write_text(SLOW)
        more = f'\n[[defense]]\nname = "{plugin}:Slow"\n'
        self.out, self.asleep = folder / "out", folder / "asleep"
        self.words = [
            sys.executable, "-m", "dgrpo", "run", str(write_file(folder, "tiny", 5, more)),
            "--out", str(self.out), "--threads", "1", *words,
        ]  # fmt: skip
        self.asleep.unlink(missing_ok=True)
        self.process = subprocess.Popen(
            self.words,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "SECONDS_ASLEEP": str(seconds)},
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )

    def signal_in_third_round(self, number: signal.Signals) -> None:
        """Once it sleeps there."""
        while not self.asleep.exists():
            assert self.process.poll() is None
            time.sleep(0.05)
        self.process.send_signal(number)

    def line(self) -> str:
        assert self.process.stderr is not None
        return self.process.stderr.readline()

    def ended(self) -> tuple[int, str]:
        """Its exit code, and what it said last."""
        _, said = self.process.communicate(timeout=120)
        return self.process.returncode, said

    def lines(self) -> list[dict[str, object]]:
        """rounds.jsonl without the seconds."""
        text = (self.out / "seed-0" / "rounds.jsonl").read_text()
        every = [json.loads(line) for line in text.splitlines()]
        return [{k: v for k, v in one.items() if k != "seconds"} for one in every]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, object]]:
    """The lines of the run that nothing interrupts."""
    command = Command(tmp_path_factory.mktemp("whole"), 0)
    assert command.ended()[0] == 0
    return command.lines()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_the_round_is_saved_and_the_same_command_goes_on_from_there(
    tmp_path: Path, whole: list[dict[str, object]], number: signal.Signals, code: int
) -> None:
    """Round 3 is no multiple of recording.checkpoint_every."""
    command = Command(tmp_path, 1)
    command.signal_in_third_round(number)
    said = command.line()
    assert "round 3 of 5 is finished first" in said
    assert "goes on from round 2" in said  # if it is stopped at once
    returned, told = command.ended()
    assert returned == code
    assert "stopped after round 3 of 5" in told
    assert "goes on from round 3" in told
    assert "Traceback" not in told, told
    assert updates_done(command.out / "seed-0") == 3
    again = Command(tmp_path, 0)
    assert again.ended()[0] == 0
    assert not again.asleep.exists()  # round 3 was not played again
    assert again.lines() == whole


def test_the_second_ctrl_c_stops_at_once(tmp_path: Path) -> None:
    command = Command(tmp_path, 100)
    command.signal_in_third_round(signal.SIGINT)
    assert "finished first" in command.line()
    time.sleep(0.7)  # or else it is the first one, passed on twice
    command.process.send_signal(signal.SIGINT)
    returned, told = command.ended()
    assert returned == 130
    assert "stopped at once" in told
    assert "goes on from round 2" in told
    assert "Traceback" not in told, told
    assert updates_done(command.out / "seed-0") == 2


def test_stopped_before_anything_is_saved_it_says_so(tmp_path: Path) -> None:
    command = Command(tmp_path, 100, "--recording.checkpoint_every", "10")
    command.signal_in_third_round(signal.SIGINT)
    assert "begins anew" in command.line()
    time.sleep(0.7)
    command.process.send_signal(signal.SIGINT)
    assert "the same command begins anew" in command.ended()[1]
    assert not (command.out / "seed-0" / "checkpoint").exists()


def test_one_press_that_comes_twice_is_one(tmp_path: Path) -> None:
    """A shell sends it to the whole group, and a launcher passes it on."""
    command = Command(tmp_path, 1)
    command.signal_in_third_round(signal.SIGINT)
    command.process.send_signal(signal.SIGINT)
    assert "stopped after round 3 of 5" in command.ended()[1]


def test_a_run_that_is_stopped_in_its_last_round_is_finished_and_no_seed_follows(
    tmp_path: Path,
) -> None:
    command = Command(tmp_path, 1, "--rounds", "3", "--seeds", "0,1")
    command.signal_in_third_round(signal.SIGINT)
    returned, told = command.ended()
    assert returned == 130
    assert "stopped once" in told
    assert (command.out / "seed-0" / "summary.json").exists()
    assert not (command.out / "seed-1").exists()


def test_a_signal_that_the_process_ignores_stays_ignored() -> None:
    """As in a shell's background, which hears no Ctrl-C."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with stopping_late(lambda: None) as stop:
            signal.raise_signal(signal.SIGINT)
            assert stop.by is None
            signal.raise_signal(signal.SIGTERM)
            assert stop.by == signal.SIGTERM
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_run_in_another_thread_is_played_without_handlers(tmp_path: Path) -> None:
    """Signals come to the main thread alone; only that one can take them."""
    failed: list[BaseException] = []

    def play() -> None:
        try:
            run_experiment(experiment("tiny", 1), 0, tmp_path, lambda line: None)
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=play)
    thread.start()
    thread.join()
    assert not failed
    assert (tmp_path / "seed-0" / "summary.json").exists()


def test_what_stopped_a_run_can_be_caught_as_ctrl_c() -> None:
    assert issubclass(Interrupted, KeyboardInterrupt)
    assert Interrupted("saved", signal.SIGTERM).exit_code == 143
