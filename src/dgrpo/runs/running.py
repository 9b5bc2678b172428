"""Play an experiment into its run folder: new, resumed or already finished."""

from __future__ import annotations

import hashlib
import platform
import shutil
from collections.abc import Callable, Sequence
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
from dgrpo.runs.checkpoint import updates_done
from dgrpo.runs.export import export_model
from dgrpo.runs.folder import KEPT, RunFolder
from dgrpo.runs.identity import check_run
from dgrpo.runs.interruption import Interrupted, say, stopping_late
from dgrpo.runs.lines import (
    Labels,
    base_line,
    completion_rows,
    round_line,
    summarise,
)
from dgrpo.runs.model_card import Trained
from dgrpo.runs.model_folder import write_model
from dgrpo.runs.reader import SCHEMA, read_run
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


def check_folders(experiment: Experiment, seeds: Sequence[int], out: Path | None) -> None:
    """Raise DgrpoError if what lies in the folder of one of the seeds cannot go on as asked.

    So a list of seeds is refused before the first of them is played.
    """
    base = experiment_folder(experiment, out)
    folders = {seed: RunFolder(base / f"seed-{seed}") for seed in seeds}
    there = {seed: folder for seed, folder in folders.items() if folder.path.exists()}
    if not there:
        return
    description = describe(experiment, 0, experiment.task.load())
    for seed, folder in there.items():
        check_run(folder.held_there(), {**description, "seed": seed})


def run_experiment(
    experiment: Experiment,
    seed: int,
    out: Path | None,
    watch: Watcher,
    *,
    tell: Callable[[str], None] = say,
) -> Finished:
    """Play one seed to its last round, or return it if it is finished.

    Raises DgrpoError for anything the user can mend; what was finished stays on disk. Raises
    Interrupted once the round is saved in which Ctrl-C or SIGTERM came; at a second one at once.

    tell: is told that the run is about to stop.
    """
    folder = RunFolder(experiment_folder(experiment, out) / f"seed-{seed}")
    task = experiment.task.load()
    check_start(experiment, task)
    description = describe(experiment, seed, task)
    with folder.held():
        folder.open(description)
        try:
            return _play(experiment, seed, task, folder, watch, tell)
        except Interrupted:
            raise
        except KeyboardInterrupt:
            raise Interrupted(f"stopped at once in {folder.path}; {goes_on(folder.path)}") from None


def goes_on(path: Path) -> str:
    """Where the same command goes on in a seed's folder, as it is on disk."""
    done = updates_done(path)
    if done:
        return f"the same command goes on from round {done}, which is saved"
    return "the same command begins anew, for nothing is saved yet"


def run(
    experiment: Experiment, seed: int = 0, *, out: Path | None = None, watch: Watcher | None = None
) -> Finished:
    """Play one seed to its last round, or return it if it is finished; see `run_experiment`."""
    return run_experiment(experiment, seed, out, watch or (lambda line: None))


def _play(
    experiment: Experiment,
    seed: int,
    task: LoadedTask,
    folder: RunFolder,
    watch: Watcher,
    tell: Callable[[str], None],
) -> Finished:
    """Go on from the folder's last checkpoint, if there is one, to the last round."""
    summary = folder.summary()
    if summary is not None and summary["rounds"] == experiment.rounds:
        for line in folder.whole(experiment.rounds):
            watch(line)
        if experiment.recording.model and not (folder.path / KEPT).exists():
            export_model(folder.path, folder.path / KEPT)
            folder.describe_further({"experiment": experiment.resolved()})
        return Finished(folder.path, summary)
    done, state = folder.resume()
    folder.unfinish()
    swarm = Swarm(experiment, seed, task=task)
    folder.describe_further({"sandbox_layers": list(swarm.task.sandbox_layers)})
    if state is not None:
        folder.restore(swarm, state)
    else:
        scores = [score for score in swarm.evaluate(0) if score is not None]
        folder.append(base_line(scores), [])
    for line in folder.lines():
        watch(line)
    stopped_by = _play_rounds(experiment, done, swarm, folder, watch, tell)
    if experiment.recording.model:
        _keep_model(swarm, folder.path, experiment.rounds)
    summary = summarise(experiment, experiment.digest, seed, folder.lines())
    folder.finish(summary)
    if stopped_by is not None:
        raise Interrupted(f"stopped once {folder.path} was finished", stopped_by)
    return Finished(folder.path, summary)


def _play_rounds(
    experiment: Experiment,
    done: int,
    swarm: Swarm,
    folder: RunFolder,
    watch: Watcher,
    tell: Callable[[str], None],
) -> int | None:
    """Play from `done` updates to the last round, with a checkpoint every so often.

    Returns the signal that came during the last round. Raises Interrupted if one came before, with
    a checkpoint of the round in which it came.
    """
    recording, updates = experiment.recording, done

    def about_to_stop() -> None:
        tell(
            f"stopping: round {updates + 1} of {experiment.rounds} is finished first, and saved. "
            f"Ctrl-C again stops at once: then {goes_on(folder.path)}"
        )

    with stopping_late(about_to_stop) as stop:
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
            stopped_by = stop.by
            at_end = updates == experiment.rounds
            if updates % recording.checkpoint_every == 0 or at_end or stopped_by is not None:
                folder.checkpoint(updates, swarm.state_dict())
            if stopped_by is not None and not at_end:
                place = f"after round {updates} of {experiment.rounds} in {folder.path}"
                raise Interrupted(f"stopped {place}; {goes_on(folder.path)}", stopped_by)
    return stop.by


def _keep_model(swarm: Swarm, path: Path, rounds: int) -> None:
    """Write the first honest node's model, in place of one that was not finished with its run."""
    replicas = swarm.replicas
    alike = tuple(i for i, replica in enumerate(replicas.of) if replica == replicas.of[0])
    shutil.rmtree(path / KEPT, ignore_errors=True)
    trained = Trained(read_run(path), 0, alike, rounds)
    write_model(path / KEPT, replicas.of_node(0).model, trained)


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
