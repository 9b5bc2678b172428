"""The command line as a user types it: help, suggestions, messages without stack traces."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from dgrpo.cli import dotted_overrides, judge
from dgrpo.errors import DgrpoError

ROOT = Path(__file__).parents[2]
GSM8K_TEST = ROOT.parent / "shared" / "data" / "gsm8k-test.jsonl"

SMALL = [
    "--rounds", "3", "--threads", "1", "--prompts-per-round", "4", "--group-size", "4",
    "--evaluation.samples", "4", "--evaluation.final-samples", "4",
]  # fmt: skip


def dgrpo(*words: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "dgrpo", *map(str, words)],
        capture_output=True,
        text=True,
        timeout=300,
        cwd=ROOT,
        check=False,
        env={**os.environ, "COLUMNS": "100"},
    )


def test_help_names_every_command_and_option() -> None:
    text = dgrpo("--help").stdout
    for command in ("run", "export", "report", "reproduce", "list", "show", "judge", "pretrain"):
        assert command in text
    text = dgrpo("run", "--help").stdout
    for option in ("--out", "--seeds", "--rounds", "--threads", "dotted"):
        assert option in text


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (("run", "nowhere.toml"), ("nowhere.toml", "experiments/")),
        (("show", "tex"), ("tex", "did you mean 'text'")),
        (("list", "attack"), ("attack", "attacks")),
        (("pretrain", "gsm-nan"), ("gsm-nan", "gsm-nano")),
        (("judge", "--modl", "x"), ("judge.modl", "did you mean 'model'")),
        (("judge", "--model", "/no/such/model"), ("judge: model.name", "/no/such/model")),
        (("run", "experiments/text-horizontal.toml", "--attack.frase", "x"), ("frase", "phrase")),
        (("run", "experiments/text-horizontal.toml", "--atack.phrase", "x"), ("atack", "attack")),
        (("run", "experiments/text-horizontal.toml", "--group-size", "10"), ("10", "8 or 12")),
        (("run", "experiments/text-horizontal.toml", "--attack.name", "txt"), ("txt", "text")),
        (
            ("run", "experiments/text-horizontal.toml", "--model.name", "/no/such/model"),
            ("model.name", "/no/such/model", "Hugging Face"),
        ),
        (("run", "experiments/text-horizontal.toml", "--rounds", "0"), ("rounds", "0")),
        (("report", "nowhere", "--out", "x.html"), ("nowhere",)),
        (("report", "--out", "x.html"), ("no run folder",)),
    ],
)
def test_bad_input_names_field_value_and_remedy_without_a_stack_trace(
    words: tuple[str, ...], parts: tuple[str, ...]
) -> None:
    result = dgrpo(*words)
    said = result.stderr + result.stdout
    assert result.returncode != 0
    assert "Traceback" not in said
    for part in parts:
        assert part in said


def test_a_dotted_option_reaches_a_table_of_the_judges(monkeypatch: pytest.MonkeyPatch) -> None:
    measured: list[Any] = []
    monkeypatch.setattr(
        "dgrpo.judging.acceptance.command.measure_acceptance",
        lambda judge, *rest: measured.append(judge),
    )
    there = ("--model", "m", "--endpoint", "http://h/v1")
    judge(*there, "--endpoint-fields.seed", "false", "--endpoint-fields.top_k", "10")
    assert measured[0].endpoint_fields == {"seed": False, "top_k": 10}


def test_a_dotted_option_reaches_the_plug_in_and_the_run_is_reported(tmp_path: Path) -> None:
    out = tmp_path / "run"
    result = dgrpo(
        "run", "experiments/text-horizontal.toml", *SMALL,
        "--attack.phrase", "Ahoy there,", "--measure", '[{name = "text", phrase = "Ahoy there,"}]',
        "--seeds", "0", "1", "--out", out,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert "round 3" in result.stdout
    assert "Ahoy there," in (out / "seed-1" / "experiment.json").read_text()
    page, picture = tmp_path / "page.html", tmp_path / "page.png"
    result = dgrpo("report", out, "--out", page, "--png", picture)
    assert result.returncode == 0, result.stderr
    assert "text-horizontal" in page.read_text()
    assert picture.read_bytes().startswith(b"\x89PNG")


@pytest.mark.skipif(not GSM8K_TEST.exists(), reason="GSM8K is not here: ../shared/data")
def test_gsm8k_runs_three_rounds_through_the_same_path(tmp_path: Path) -> None:
    result = dgrpo(
        "run", "experiments/text-horizontal.toml", *SMALL, "--task",
        f'{{name = "gsm8k", train_file = "{GSM8K_TEST}", held_out = 64, longest_question = 120}}',
        "--sampling.max-tokens", "192", "--out", tmp_path / "gsm8k",
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "gsm8k" / "seed-0" / "summary.json").exists()


@pytest.mark.skipif(not GSM8K_TEST.exists(), reason="GSM8K is not here: ../shared/data")
@pytest.mark.parametrize("name", ["paper-text-horizontal-logit", "paper-equation-vertical"])
def test_an_experiment_at_the_papers_scale_plays_on_real_questions(
    name: str, tmp_path: Path
) -> None:
    """The files as they are, but for the model, the sizes and where GSM8K lies."""
    result = dgrpo(
        "run", f"experiments/paper-scale/{name}.toml", "--rounds", "2", "--seeds", "0",
        "--model.name", "gsm-nano", "--model.device", "cpu", "--sampling.max-tokens", "192",
        "--prompts-per-round", "4", "--task.longest-question", "180",
        "--task.train-file", GSM8K_TEST, "--task.held-out", "128",
        "--evaluation.samples", "4", "--evaluation.final-samples", "4", "--out", tmp_path,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    screening = json.loads((tmp_path / "seed-0" / "summary.json").read_text())["screening"]
    assert screening["poisoned"] > 0
    assert (screening["poisoned_stopped"] > 0) == name.endswith("logit")


def test_overrides_are_read_as_toml_and_otherwise_as_text() -> None:
    assert dotted_overrides(("--a.b", "3", "--c=true", "--d", "All hail, ")) == {
        "a.b": 3,
        "c": True,
        "d": "All hail, ",
    }
    with pytest.raises(DgrpoError, match="has no value"):
        dotted_overrides(("--a.b",))
    with pytest.raises(DgrpoError, match="belong"):
        dotted_overrides(("stray",))
