"""Numbers on the command line: what they look like is played, or the option is refused."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from tests.cli.test_cli import dgrpo

from dgrpo import cli
from dgrpo.errors import DgrpoError

FILE = """
name = "small"
rounds = 1
nodes = 2
prompts_per_round = 2
group_size = 4

[task]
name = "gsm-symbolic"
train = 16
held_out = 4

[sampling]
max_tokens = 96

[evaluation]
samples = 4
final_samples = 4
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "small.toml"
    path.write_text(FILE, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("words", "seeds"),
    [
        (["0", "1"], [0, 1]),
        (["0,1"], [0, 1]),
        (["0,", "1"], [0, 1]),
        (["0-4"], [0, 1, 2, 3, 4]),
        (["7", "0-1,3"], [7, 0, 1, 3]),
        (["2", "2", "1-2"], [2, 1]),
    ],
)
def test_seeds_mean_what_they_look_like(words: list[str], seeds: list[int]) -> None:
    _, bound, _ = cli.app.parse_args(["run", "x.toml", "--seeds", *words], exit_on_error=False)
    assert bound.arguments["seeds"] == seeds


@pytest.mark.parametrize(
    "words", [["1.5"], ["-1"], ["4-0"], ["0..4"], ["one"], ["1e3"], ["²"], ["0-99999"], [","]]
)
def test_what_is_no_seed_is_refused(words: list[str]) -> None:
    with pytest.raises(DgrpoError, match="--seeds") as caught:
        cli.app.parse_args(["run", "x.toml", "--seeds", *words], exit_on_error=False)
    assert "--seeds 0-2" in caught.value.remedy


def test_seeds_without_a_value_are_refused_before_anything_is_made(
    file: Path, tmp_path: Path
) -> None:
    for words in (["--seeds"], ["--seeds", "--rounds", "1"]):
        result = dgrpo("run", file, "--out", tmp_path / "out", *words)
        assert result.returncode == 2
        assert "--seeds has no value" in result.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "words",
    [
        ("run", "FILE", "--rounds", "1.5"),
        ("run", "FILE", "--threads", "1.5"),
        ("judge", "--samples", "1.5"),
        ("reproduce", "--seeds", "1.5"),
        ("reproduce", "--workers", "0.9"),
    ],
)
def test_a_fraction_is_never_rounded(file: Path, words: tuple[str, ...]) -> None:
    option, value = words[-2:]
    given = [str(file) if word == "FILE" else word for word in words]
    with pytest.raises(DgrpoError, match=f"{option} = '{value}' is not a whole number"):
        cli.app.parse_args(given, exit_on_error=False)


def played(result: subprocess.CompletedProcess[str]) -> subprocess.CompletedProcess[str]:
    assert result.returncode == 0, result.stderr
    return result


def test_a_list_of_seeds_is_played(file: Path, tmp_path: Path) -> None:
    played(dgrpo("run", file, "--out", tmp_path / "out", "--seeds", "0,2", "--threads", "1"))
    assert sorted(one.name for one in (tmp_path / "out").iterdir()) == ["seed-0", "seed-2"]
