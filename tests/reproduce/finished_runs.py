"""Experiment files and finished run folders to compare, without playing a run."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.report.run_folders import round_line

from dgrpo.experiment import Experiment, experiment_from
from dgrpo.runs.lines import summarise

TOML = """
name = "{name}"
rounds = {rounds}
prompts_per_round = 4
group_size = 4
nodes = 4
malicious = 1
measure = ["text"]

[task]
name = "gsm-symbolic"
train = 32
held_out = 8

[sampling]
max_tokens = 80

[evaluation]
samples = 4
final_samples = 8

[recording]
checkpoint_every = 2

[attack]
name = "text"
"""


def write_file(folder: Path, name: str, rounds: int = 2, extra: str = "") -> Path:
    """An experiment file."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{name}.toml"
    file.write_text(TOML.format(name=name, rounds=rounds) + extra, encoding="utf-8")
    return file


def experiment(name: str = "tiny", rounds: int = 2, **changes: Any) -> Experiment:
    """The same as an `Experiment`."""
    return experiment_from({**tomllib.loads(TOML.format(name=name, rounds=rounds)), **changes})


def write_finished(
    folder: Path,
    of: Experiment,
    seed: int = 0,
    success: float | None = 0.9,
    *,
    accuracy: float = 0.6,
    tokens: float = 50.0,
    rounds: int | None = None,
    resolved: dict[str, Any] | None = None,
    digest: str = "",
    header: Mapping[str, Any] | None = None,
    **line_changes: Any,
) -> Path:
    """One finished seed. resolved, digest: what experiment.json is to say instead; header: what
    else it says."""
    place = folder / of.name / f"seed-{seed}"
    place.mkdir(parents=True)
    last = of.rounds if rounds is None else rounds
    lines = []
    for number in range(last + 1):
        share = number / last
        line = round_line(number, None if success is None else success * share, accuracy)
        line["attack_success"] = {m.name: line["attack_success"]["text"] for m in of.measure}
        line["completion_tokens"] = tokens if number == last else 40.0
        after = line_changes if number else {}
        lines.append({**line, "answer_anywhere": accuracy, **after})
    described = {
        "schema": 1,
        "experiment": resolved or {**of.resolved(), "rounds": last},
        "digest": digest or of.digest,
        "seed": seed,
        **(header or {}),
    }
    (place / "experiment.json").write_text(json.dumps(described), encoding="utf-8")
    (place / "rounds.jsonl").write_text(
        "".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8"
    )
    summary = summarise(of, of.digest, seed, lines)
    (place / "summary.json").write_text(json.dumps(summary), encoding="utf-8")
    return place
