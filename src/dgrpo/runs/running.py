"""Play an experiment into its run folder: new, resumed or already finished."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

import torch

from dgrpo.experiment import Experiment
from dgrpo.plugins import plugin_sources
from dgrpo.policy.model import digest_of
from dgrpo.runs.folder import RunFolder, rounds_of
from dgrpo.runs.lines import (
    Labels,
    base_line,
    completion_rows,
    round_line,
    summarise,
)
from dgrpo.runs.reader import SCHEMA, read_summary
from dgrpo.start import check_start
from dgrpo.swarm import Swarm
from dgrpo.tasks.base import LoadedTask

Watcher = Callable[[dict[str, Any]], None]
"""Called with every line of rounds.jsonl as soon as it is known, resumed lines included."""


@dataclass(frozen=True)
class Finished:
    """A finished run."""

    folder: Path
    summary: dict[str, Any]


def experiment_folder(experiment: Experiment, out: Path | None) -> Path:
    """Where an experiment's seeds go: `out`, or runs/<name>-<digest8>."""
    return out or Path("runs") / f"{experiment.name}-{experiment.digest[:8]}"


def run_experiment(experiment: Experiment, seed: int, out: Path | None, watch: Watcher) -> Finished:
    """Play one seed to its last round, or return it if it is finished.

    Raises DgrpoError for anything the user can mend; what was finished stays on disk.
    """
    folder = RunFolder(experiment_folder(experiment, out) / f"seed-{seed}")
    task = experiment.task.load()
    check_start(experiment, task)
    description = describe(experiment, seed, task)
    with folder.held():
        folder.open(description)
        return _play(experiment, seed, task, folder, watch)


def run(
    experiment: Experiment, seed: int = 0, *, out: Path | None = None, watch: Watcher | None = None
) -> Finished:
    """Play one seed to its last round, or return it if it is finished; see `run_experiment`."""
    return run_experiment(experiment, seed, out, watch or (lambda line: None))


def _play(
    experiment: Experiment, seed: int, task: LoadedTask, folder: RunFolder, watch: Watcher
) -> Finished:
    """Go on from the folder's last checkpoint, if there is one, to the last round."""
    summary_file = folder.path / "summary.json"
    if summary_file.exists():
        summary = read_summary(folder.path)
        if (finished := rounds_of(summary, summary_file)) >= experiment.rounds:
            for line in folder.whole(finished):
                watch(line)
            return Finished(folder.path, summary)
    done, state = folder.resume()
    summary_file.unlink(missing_ok=True)
    swarm = Swarm(experiment, seed, task=task)
    folder.describe_further({"sandbox_layers": list(swarm.task.sandbox_layers)})
    if state is not None:
        folder.restore(swarm, state)
    else:
        scores = [score for score in swarm.evaluate(0) if score is not None]
        folder.append(base_line(scores), [])
    for line in folder.lines():
        watch(line)
    recording = experiment.recording
    for round_index in range(done, experiment.rounds):
        records = swarm.play(round_index)
        honest = [r for r, n in zip(records, swarm.nodes, strict=True) if not n.malicious]
        labels = _labels(swarm)
        line = round_line(honest, labels, swarm.task, experiment.measure)
        kept = recording.completions == "all" or (
            recording.completions == "sampled" and round_index % recording.text_every == 0
        )
        folder.append(line, completion_rows(honest, labels) if kept else [])
        watch(line)
        updates = round_index + 1
        if updates % recording.checkpoint_every == 0 or updates == experiment.rounds:
            folder.checkpoint(updates, swarm.state_dict())
    summary = summarise(experiment, experiment.digest, seed, folder.lines())
    folder.finish(summary)
    return Finished(folder.path, summary)


def describe(experiment: Experiment, seed: int, task: LoadedTask) -> dict[str, Any]:
    """experiment.json: what was run, on what, with what."""
    return {
        "schema": SCHEMA,
        "experiment": experiment.resolved(),
        "digest": experiment.digest,
        "seed": seed,
        "model_digests": [digest_of(settings.name) for settings in experiment.model],
        "defense_model_digests": {
            name: digest_of(name)
            for defense in experiment.defense
            for name in defense.check.models()
        },
        "pool_digest": task.digest,
        "solutions_digest": task.solutions_digest,
        "measure_sources": plugin_sources(experiment.measure),
        "threads": torch.get_num_threads(),
        "libraries": {
            "python": platform.python_version(),
            **{name: _version(name) for name in ("dgrpo", "torch", "transformers")},
        },
        "source_digests": [_source_digest()],
    }


def _labels(swarm: Swarm) -> Labels:
    return {
        (node.name, key, sample): label
        for node in swarm.nodes
        for (key, sample), label in node.labels.items()
    }


@cache
def _source_digest() -> str:
    """16 hex digits over dgrpo's own code: a version number alone does not tell commits apart."""
    package = files("dgrpo")
    digest = hashlib.sha256()
    with as_file(package) as root:
        for file in sorted(root.rglob("*.py")):
            digest.update(f"{file.relative_to(root).as_posix()}\x1f".encode() + file.read_bytes())
    return digest.hexdigest()[:16]


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "unknown"
