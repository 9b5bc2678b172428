"""The benchmarks run, measure both sides and write what they print. Nothing is said about time."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
SMALL = ("--prompts", "2", "--group", "2", "--max-tokens", "6", "--threads", "1")


def run(script: str, out: Path, *options: str) -> tuple[str, Any]:
    """(what it printed, what it wrote)."""
    done = subprocess.run(
        [sys.executable, str(ROOT / "benchmarks" / script), "--json", str(out), *SMALL, *options],
        capture_output=True,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout, json.loads(out.read_text())


def test_round_vs_trl_measures_equal_work_on_both_sides(tmp_path: Path) -> None:
    pytest.importorskip("trl", reason="TRL is the other side")
    pytest.importorskip("datasets", reason="TRL's trainer wants a datasets.Dataset")
    printed, written = run("round_vs_trl.py", tmp_path / "out.json", "--rounds=1", "--repeats=1")
    assert "seconds per round" in printed
    for side, name in (("dgrpo", "dgrpo"), ("trl", "TRL")):
        (one,) = written["measured"][side]
        assert one["side"] == side
        assert 0 < one["loaded_mb"] <= one["peak_mb"]
        # untrained at six tokens nothing ends early: 2 prompts × 2 completions × 6 tokens
        assert one["tokens"] == 24
        assert set(one["phases"]) >= {"generate"}
        assert f"  {name}" in printed
    ratio = written["summary"]["seconds"]
    assert math.isclose(ratio["ratio"], ratio["dgrpo"] / ratio["trl"])


def test_micro_batch_that_cuts_a_group_is_refused(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "benchmarks/round_vs_trl.py"), *SMALL, "--micro-batch", "3"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert "--micro-batch must hold whole groups" in done.stderr


def test_seeded_sampling_measures_every_ratio(tmp_path: Path) -> None:
    printed, written = run("seeded_sampling.py", tmp_path / "out.json", "--rounds=2", "--repeats=2")
    assert set(written) == {
        "keyed / multinomial",
        "scoring / generating",
        "top-k, forward kept / no defense",
        "top-k, second forward / no defense",
        "KL term / no defense",
    }
    for name, ratios in written.items():
        assert name in printed
        assert len(ratios) == 2
        assert all(ratio > 0 for ratio in ratios)


def test_decoding_measures_every_shape_and_bucket(tmp_path: Path) -> None:
    printed, written = run("decoding.py", tmp_path / "out.json", "--repeats=2")
    assert [name.partition(",")[0] for name in written].count("shared / repeated") == 3
    assert len(written) == 7
    for name, ratios in written.items():
        assert name in printed
        assert len(ratios) == 2
        assert all(ratio > 0 for ratio in ratios)


@pytest.mark.parametrize("model", ["gsm-nano", "code-nano"])
def test_seen_questions_compares_both_kinds(model: str) -> None:
    small = ("--questions", "4", "--samples", "1", "--documents", "8000")
    done = subprocess.run(
        [sys.executable, str(ROOT / "benchmarks/seen_questions.py"), "--model", model, *small],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    for what in ("reward", "anywhere", "logprob"):
        (line,) = [line for line in done.stdout.splitlines() if line.startswith(what)]
        seen, fresh, gap = (float(line.split()[i]) for i in (2, 4, 6))
        assert math.isclose(seen - fresh, gap, abs_tol=0.0011)


@pytest.mark.skipif(sys.platform != "linux", reason="the worker runs on Linux")
def test_sandbox_measures_every_side_and_its_ratio(tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    done = subprocess.run(
        [
            *(sys.executable, str(ROOT / "benchmarks/sandbox.py"), "--json", str(out)),
            *("--programs", "6", "--workers", "1", "--repeats", "2"),
        ],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    written = json.loads(out.read_text())
    assert {"warm worker without walls", "worker, filter and limits only"} <= set(written)
    for name, rates in written.items():
        assert f"{name}: " in done.stdout
        assert len(rates) == 2
        assert all(rate > 0 for rate in rates)
