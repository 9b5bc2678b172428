"""Whatever a stranger's files say, the real command prints no control character of theirs."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from tests.cli.test_cli import SMALL, dgrpo
from tests.report.run_folders import round_line, write_run
from tests.test_escaping import ESCAPE, harmless

ON_DISK = "\x1b]0;pwned\x07\x1b[2J\u202e\x9b31m"
"""What a file's name can hold."""
IN_TOML = json.dumps(ON_DISK)


def said(result: subprocess.CompletedProcess[str]) -> str:
    text = result.stdout + result.stderr
    assert text
    assert harmless(text)
    return text


def test_escapes_in_a_run_folders_keys_stay_words(tmp_path: Path) -> None:
    line = round_line(0, 0.0, 0.2, attack_success={ESCAPE: "no"})
    write_run(tmp_path, lines=[line])
    result = dgrpo("report", tmp_path, "--out", tmp_path / "page.html")
    assert "\\u001b[2J" in said(result)
    assert result.returncode == 2


def test_escapes_in_names_reach_neither_the_table_nor_the_page(tmp_path: Path) -> None:
    name = ESCAPE.replace("\ud800", "")  # half a character is no name
    lines = [
        round_line(
            k,
            0.0,
            0.2,
            attack_success={name: 0.5},
            screening={"honest": 1, "by_defense": {name: {"undecided": {name: 1}}}},
        )
        for k in (0, 1)
    ]
    write_run(tmp_path, lines=lines, called=name, claim=ESCAPE)
    page = tmp_path / "page.html"
    result = dgrpo("report", tmp_path, "--out", page, "--png", tmp_path / "page.png")
    assert "pwned" in said(result)
    assert result.returncode == 0
    written = page.read_text(encoding="utf-8")
    head = written[: written.index('<script type="application/json"')]  # what follows is Vega's
    assert harmless(head.replace("\r", ""))
    assert "pwned" in head


def test_escapes_in_paths_stay_words(tmp_path: Path) -> None:
    folder = tmp_path / ON_DISK
    assert "\\u001b[2J" in said(dgrpo("report", folder, "--out", tmp_path / "page.html"))
    assert "\\u001b[2J" in said(dgrpo("run", folder / "x.toml"))
    assert "\\u001b[2J" in said(dgrpo("show", f"{folder}/x.py:Class"))
    assert "pwned" in said(dgrpo("run", "x.toml", f"--{ON_DISK}"))
    assert "pwned" in said(dgrpo("report", f"--{ON_DISK}"))
    assert "pwned" in said(dgrpo(ON_DISK))
    write_run(folder)
    page = folder / "page.html"
    assert "pwned" in said(dgrpo("report", folder, "--out", page))
    assert page.exists()


@pytest.mark.parametrize(
    "text",
    [
        f"name = {IN_TOML}",
        f'name = "x"\n{IN_TOML} = 1',
        f'name = "x"\n[attack]\nname = {IN_TOML}',
        f'name = "x"\n[model]\nname = {IN_TOML}',
        f'name = "x"\n[task]\nname = "gsm8k"\ntrain_file = {IN_TOML}',
        f'name = "x"\n[[defense]]\nname = "judge"\nmodel = {IN_TOML}',
        "a = \x1b[2J",
        f'name = "x"\n{"k" * 300_000} = 1',
        f'name = "x"\nrounds = "{"v" * 300_000}"',
        "a = " + "[" * 100_000,
    ],
    ids=["name", "key", "attack", "model", "data", "judge", "not toml", "long key", "long value",
         "deep"],
)  # fmt: skip
def test_an_experiment_file_puts_nothing_on_the_screen(tmp_path: Path, text: str) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(text)
    result = dgrpo("run", file, "--out", tmp_path / "out")
    assert result.returncode == 2
    assert len(said(result)) < 10_000
    assert "Traceback" not in result.stderr


def test_what_a_plug_in_says_is_escaped(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(
        "from dgrpo.attacks.base import StatelessAttack\n"
        "class Mine(StatelessAttack):\n"
        f"    {ON_DISK!r}\n"
        "    name = 'mine'\n"
        f"    knob: str = {ON_DISK!r}\n"
        f"    {ON_DISK!r}\n"
        "    async def poison(self, own, turn):\n"
        f"        raise ValueError({ON_DISK!r})\n"
    )
    assert "pwned" in said(dgrpo("show", f"{file}:Mine"))
    result = dgrpo(
        "run", "experiments/text-horizontal.toml", *SMALL, "--out", tmp_path / "out",
        "--attack", f'{{name = "{file}:Mine"}}', "--measure", "[]",
    )  # fmt: skip
    assert "ValueError: \\u001b]0;pwned" in said(result)
    broken = tmp_path / "broken.py"
    broken.write_text(f"import warnings\nwarnings.warn({ON_DISK!r})\nraise OSError({ON_DISK!r})\n")
    result = dgrpo("show", f"{broken}:Mine")
    assert said(result).count("pwned") >= 2
    assert result.returncode == 2
