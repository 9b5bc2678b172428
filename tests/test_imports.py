"""What is light to import, and what the package offers by name."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import dgrpo

ROOT = Path(__file__).parents[1]
HEAVY = ("torch", "transformers", "polars", "altair", "httpx2", "reasoning_gym")


def loaded_by(code: str) -> set[str]:
    """Which of the heavy packages a fresh interpreter has loaded after `code`."""
    told = f"import sys\n{code}\nprint(*[m for m in {HEAVY} if m in sys.modules], file=sys.stderr)"
    done = subprocess.run(
        [sys.executable, "-c", told], capture_output=True, text=True, check=True, cwd=ROOT
    )
    return set(done.stderr.split())


@pytest.mark.parametrize(
    "arguments",
    [["--help"], ["run", "--help"], ["list"], ["show", "judge"], ["show", "experiment"]],
    ids=" ".join,
)
def test_commands_that_compute_nothing_load_nothing_heavy(arguments: list[str]) -> None:
    call = f"from dgrpo.cli import app\ntry:\n    app({arguments})\nexcept SystemExit: pass"
    assert loaded_by(call) == set()


def test_an_experiment_file_is_checked_without_torch() -> None:
    code = """
from pathlib import Path
from dgrpo import load_experiment
for file in sorted(Path("experiments").glob("*.toml")):
    load_experiment(file).digest
"""
    assert loaded_by(code) == set()


def test_every_public_name_is_there() -> None:
    assert sorted(dgrpo.__all__) == sorted(dgrpo._HOME) == dir(dgrpo)
    for name in dgrpo.__all__:
        assert getattr(dgrpo, name).__name__ == name
    with pytest.raises(AttributeError, match="'Gaurd'"):
        dgrpo.Gaurd  # noqa: B018
