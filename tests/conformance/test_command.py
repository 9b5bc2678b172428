"""The suite as third parties run it: `python -m dgrpo.conformance`, and pytest by itself."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.conformance.named import MAILBOXES

from dgrpo.conformance.tried import VARIABLE

BROKEN = '''
"""Plug-ins that each break a promise."""

from __future__ import annotations

import asyncio
from typing import Any, ClassVar

from dgrpo.attacks import Attack, RunningAttack, StatelessAttack
from dgrpo.exchange import Exchange
from dgrpo.exchange.memory import Seat, Table
from dgrpo.learning.policies import Policy
from dgrpo.learning.policies.local import Local
from dgrpo.tasks.gsm8k import Gsm8k


class Impatient(StatelessAttack):
    """Stops at the first completion it is to change."""

    name: ClassVar[str] = "impatient"

    async def poison(self, own, turn):
        raise RuntimeError("no patience [bold]at all[/]")

    def succeeded(self, prompt, text):
        return None


class Amnesiac(Attack):
    """Sends its own samples, the other way round after the first time."""

    name: ClassVar[str] = "amnesiac"

    def start(self):
        return Tired()

    def succeeded(self, prompt, text):
        return None


class Tired(RunningAttack):
    def __init__(self):
        self.times = 0

    def needs_own_samples(self, topology):
        return True

    async def poison(self, own, turn):
        self.times += 1
        return own if self.times == 1 else own[::-1]


class Deaf(Exchange):
    """Everyone hears the others, and not itself."""

    name: ClassVar[str] = "deaf"

    def connect(self, roster):
        return Forgetful(len(roster))


class Forgetful(Table):
    def at(self, index):
        return Ear(self, index)


class Ear(Seat):
    async def all_gather(self, round_index, message):
        got = await super().all_gather(round_index, message)
        return [one for one in got if one.sender != message.sender]


class Twin(Local):
    """A policy whose copies are all the same model."""

    name: ClassVar[str] = "twin"

    def load(self, settings):
        learner = super().load(settings)
        learner.clone = lambda: learner
        return learner


class Elsewhere(Gsm8k):
    """GSM8K whose example names no file."""

    name: ClassVar[str] = "Elsewhere"

    @classmethod
    def example_settings(cls, folder):
        return {"train_file": str(folder / "gone.jsonl")}
'''
WHOLE = '''
"""A task with a knob that has no default."""

from pathlib import Path
from typing import Any, ClassVar

from dgrpo.tasks import LoadedTask, Task
from dgrpo.tasks.base import make_prompt


class Lines(Task):
    """Sums, one a line of a file that must be named."""

    name: ClassVar[str] = "lines"

    sums: Path
    """Lines of two numbers."""

    @classmethod
    def example_settings(cls, folder: Path) -> dict[str, Any]:
        file = folder / "sums.txt"
        file.write_text("".join(f"{i} {i + 1}\\n" for i in range(20)))
        return {"sums": str(file)}

    def pools(self) -> LoadedTask:
        pairs = [tuple(map(int, line.split())) for line in self.sums.read_text().splitlines()]
        prompts = [
            make_prompt(self.name, f"What is {a}+{b}?", str(a + b), f"{a}+{b}={a + b}")
            for a, b in pairs
        ]
        return LoadedTask(self.name, tuple(prompts[:10]), tuple(prompts[10:]))
'''


def run(
    arguments: list[str], folder: Path, variables: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Python with `arguments` in `folder`."""
    return subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        cwd=folder,
        env={**os.environ, "PYTHONIOENCODING": "utf-8", "COLUMNS": "80", **(variables or {})},
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A third party's folder, with pytest settings of its own that the command must not read."""
    folder = tmp_path_factory.mktemp("theirs")
    (folder / "broken.py").write_text(BROKEN)
    (folder / "whole.py").write_text(WHOLE)
    (folder / "pytest.ini").write_text("[pytest]\naddopts = --no-such-option\n")
    return folder


@pytest.fixture(scope="module")
def told(folder: Path) -> dict[str, str]:
    """What the command prints of each broken plug-in."""
    names = [f"broken.py:{cls}" for cls in ("Impatient", "Amnesiac", "Deaf", "Twin", "Elsewhere")]
    finished = run(["-m", "dgrpo.conformance", *names], folder)
    assert finished.returncode == 1, finished.stdout + finished.stderr
    parts = finished.stdout.split("\n\n")
    return {name: next(p for p in parts if p.strip().startswith(f"{name} (")) for name in names}


@pytest.mark.parametrize(
    ("name", "promise", "wrong"),
    [
        ("Impatient", "it sends exactly the samples it owes", "no patience [bold]at all[/]"),
        ("Impatient", "it can owe nothing or one completion", "topology vertical"),
        ("Impatient", "it sends exactly the samples it owes", "broken.py:23"),
        ("Deaf", "everyone gets everyones message own included", "In two rounds one after"),
        ("Twin", "a clone goes its own way", "assert"),
        ("Elsewhere", "the oracle is rewarded and a wrong answer is not", "gone.jsonl"),
        ("Elsewhere", "its name is lower case words joined by hyphens", "'Elsewhere'"),
    ],
)
def test_a_broken_promise_is_named_with_what_went_wrong(
    told: dict[str, str], name: str, promise: str, wrong: str
) -> None:
    lines = told[f"broken.py:{name}"].split("\n")
    start = lines.index(f"  BROKEN  {promise}")
    below = "\n".join(lines[start + 1 :]).split("\n  kept ")[0].split("\n  BROKEN ")[0]
    assert wrong in below


@pytest.mark.parametrize(
    ("name", "kept", "broken"),
    [
        (
            "Amnesiac",
            18,
            "an attack goes on from a checkpoint as if it had never stopped",
        ),
        ("Twin", 12, "a clone goes its own way"),
    ],
)
def test_what_is_not_broken_is_kept(
    told: dict[str, str], name: str, kept: int, broken: str
) -> None:
    lines = told[f"broken.py:{name}"].split("\n")
    assert [line for line in lines if "BROKEN" in line] == [f"  BROKEN  {broken}"]
    assert sum(line.startswith("  kept    ") for line in lines) == kept


def test_a_plug_in_that_keeps_every_promise_ends_in_0(folder: Path) -> None:
    finished = run(["-m", "dgrpo.conformance", "whole.py:Lines", MAILBOXES], folder)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    assert "BROKEN" not in finished.stdout
    assert "whole.py:Lines: 11 promises kept, 0 broken" in finished.stdout
    assert f"{MAILBOXES}: 10 promises kept, 0 broken" in finished.stdout


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("texd", "did you mean 'text'"),
        ("broken.py:Deft", "did you mean 'Deaf'"),
        ("gone.py:Mine", "names a file that does not exist"),
        ("broken.py:Ear", "no plug-in of any kind"),
    ],
)
def test_a_plug_in_that_is_not_found_is_named(folder: Path, name: str, problem: str) -> None:
    finished = run(["-m", "dgrpo.conformance", name], folder)
    assert finished.returncode == 2
    assert problem in finished.stderr
    assert "Traceback" not in finished.stderr


def test_without_pytest_the_extra_is_named(folder: Path) -> None:
    code = (
        "import runpy, sys; sys.modules['pytest'] = None; "
        "runpy.run_module('dgrpo.conformance', run_name='__main__')"
    )
    finished = run(["-c", code, "memory"], folder)
    assert finished.returncode == 2
    assert "pip install 'dgrpo[conformance]'" in finished.stderr


def test_pytest_tries_what_the_environment_names(folder: Path) -> None:
    options = ["-m", "pytest", "-c", os.devnull, "-p", "no:cacheprovider", "--rootdir", "."]
    suite = [*options, "--pyargs", "dgrpo.conformance"]
    finished = run(suite, folder, {VARIABLE: "broken.py:Deaf, memory"})
    assert finished.returncode == 1
    assert "3 failed, 19 passed" in finished.stdout, finished.stdout
    finished = run(suite, folder, {VARIABLE: ""})
    assert finished.returncode == pytest.ExitCode.NO_TESTS_COLLECTED
    assert f"{VARIABLE}=my_attack.py:Mine" in finished.stdout
    finished = run(suite, folder, {VARIABLE: "texd"})
    assert finished.returncode not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED)
    assert "did you mean 'text'" in finished.stdout + finished.stderr
    assert "Traceback" not in finished.stdout + finished.stderr
