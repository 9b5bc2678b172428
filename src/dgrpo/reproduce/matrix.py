"""Which runs the experiment files ask for, which are finished, and what is missing.

A run is finished if its *resolved* experiment, validated by today's code, has the digest of the
file's, it has as many rounds and enough held-out samples at its end, it measured what the file
measures, and its models' weights are those that their names stand for today. All runs of an
experiment have one pool of prompts. So a knob that was added later with an unchanged default keeps
old runs valid, and two files that describe the same experiment share their runs. A longer run
serves only a file that asks for it: it was measured at length at its own end, and figures of other
ends are not to be averaged with it.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import Any

from dgrpo.errors import DgrpoError, did_you_mean
from dgrpo.experiment import Experiment, experiment_from, load_experiment
from dgrpo.plugins import recorded
from dgrpo.policy.model import digest_of
from dgrpo.reproduce.paper import Matrix
from dgrpo.runs.reader import Run, read_run

HEADERS = ("experiment.json", "seed-*/experiment.json", "*/seed-*/experiment.json")
"""Where run folders lie: the folder given is a seed's, an experiment's, or one of results."""


@dataclass(frozen=True)
class Entry:
    """An experiment file and the seeds that it gets."""

    experiment: Experiment
    headline: bool
    seeds: tuple[int, ...]

    @property
    def name(self) -> str:
        """The experiment's name."""
        return self.experiment.name


@dataclass(frozen=True)
class Task:
    """One run that is missing."""

    experiment: Experiment
    seed: int
    headline: bool

    @property
    def title(self) -> str:
        """How people are shown it."""
        return f"{self.experiment.name} seed {self.seed}"

    @property
    def key(self) -> tuple[object, ...]:
        """What the run computes and measures: equal keys are one run."""
        return (self.seed, *_computed(self.experiment))

    def runs_for(self, entry: Entry) -> bool:
        """Whether it is one of an entry's runs."""
        return _computed(self.experiment) == _computed(entry.experiment)


@dataclass(frozen=True)
class Found:
    """A run on disk that today's code understands."""

    run: Run
    experiment: Experiment
    """Its recorded experiment, validated by today's code."""


@dataclass(frozen=True)
class Broken:
    """An experiment file that cannot be run."""

    file: Path
    problem: str


def load_entries(
    folder: Path, names: Sequence[str], seeds: int, matrix: Matrix, *, quick: bool = False
) -> tuple[list[Entry], list[Broken]]:
    """The experiment files of `folder` that `names` (names or glob patterns) select; all if none.

    quick: headline files only, one seed, few rounds and little evaluation. A file that cannot be
    run is set apart, so that the others go on. Raises DgrpoError for a name that selects nothing,
    or two files with one name.
    """
    files = sorted(folder.glob("*.toml"), key=lambda file: file.stem)
    if not files:
        raise DgrpoError(
            f"no experiment files in {folder}",
            remedy="run it where experiments/ is, or give --experiments FOLDER",
        )
    experiments, broken = [], []
    for file in files:
        try:
            experiments.append(load_experiment(file))
        except DgrpoError as error:
            broken.append(Broken(file, str(error)))
    for name, count in Counter(experiment.name for experiment in experiments).items():
        if count > 1:
            raise DgrpoError(f"two files in {folder} have name = {name!r}", remedy="rename one")
    known = [one.name for one in experiments] + [one.file.stem for one in broken]
    for pattern in names:
        if not any(fnmatchcase(name, pattern) for name in known):
            raise DgrpoError(
                f"no experiment in {folder} is called {pattern!r}",
                remedy=did_you_mean(pattern, known),
            )
    entries = []
    for experiment in experiments:
        headline = matrix.is_headline(experiment.name)
        if not _selected(experiment.name, names) or (quick and not headline):
            continue
        if quick:
            entries.append(Entry(shortened(experiment, matrix.quick_rounds), True, (0,)))
        else:
            count = seeds if headline else min(seeds, matrix.ablation_seeds)
            entries.append(Entry(experiment, headline, tuple(range(count))))
    out_of_order = [
        one
        for one in broken
        if _selected(one.file.stem, names) and (not quick or matrix.is_headline(one.file.stem))
    ]
    if not entries and not out_of_order:
        raise DgrpoError(
            "--quick plays headline experiments only, and none is named",
            remedy="name one of: " + ", ".join(n for n in known if matrix.is_headline(n)),
        )
    return entries, out_of_order


def _selected(name: str, patterns: Sequence[str]) -> bool:
    return not patterns or any(fnmatchcase(name, pattern) for pattern in patterns)


def shortened(experiment: Experiment, rounds: int) -> Experiment:
    """The same experiment with few rounds and little evaluation; its digest stays."""
    evaluation = experiment.evaluation.model_copy(update={"samples": 16, "final_samples": 64})
    return experiment.model_copy(
        update={"rounds": min(rounds, experiment.rounds), "evaluation": evaluation}
    )


def find_finished(folders: Iterable[Path]) -> tuple[list[Found], list[str]]:
    """Finished runs under `folders`, and a line for each folder that had to be left out.

    A folder is left out where a file is damaged, or holds settings that today's code refuses, or
    names a file that no loaded experiment does: what lies there may come from others, opens nothing
    and executes nothing.
    """
    found: list[Found] = []
    left_out: list[str] = []
    validated: dict[str, Experiment] = {}
    for folder in folders:
        headers = sorted({header for pattern in HEADERS for header in folder.glob(pattern)})
        for header in headers:
            if not (header.parent / "summary.json").exists():
                continue
            try:
                run = read_run(header.parent, within=folder)
                text = json.dumps(run.settings, sort_keys=True)
                if text not in validated:
                    with recorded():
                        validated[text] = experiment_from(run.settings)
            except DgrpoError as error:
                left_out.append(f"{header.parent}: {error.problem}")
                continue
            if _is_whole(run):
                found.append(Found(run, validated[text]))
            else:
                left_out.append(f"{header.parent}: summary.json and rounds.jsonl do not agree")
    return found, left_out


def shortfall(found: Found, experiment: Experiment) -> str:
    """What a finished run lacks to be a run of `experiment`, as long and measured as it asks.

    Empty where it is one. Not looked at: its pool of prompts (`fitting`).
    """
    summary = found.run.summary
    assert summary is not None
    if found.experiment.digest != experiment.digest:
        return "is a run of another experiment"
    if summary["rounds"] != experiment.rounds:
        return f"went on to round {summary['rounds']}, and {experiment.rounds} are asked for"
    unmeasured = [m.name for m in experiment.measure if m.name not in summary.get("metrics", {})]
    if unmeasured:
        return f"is finished but does not measure {', '.join(unmeasured)}"
    if not _measures(experiment) <= _measures(found.experiment):
        return "is finished but was measured with other settings (measure)"
    samples = summary.get("held_out_samples", {}).get("end", 0)
    if samples < experiment.evaluation.final_samples:
        return (
            f"is finished with {samples} held-out samples, and evaluation.final_samples = "
            f"{experiment.evaluation.final_samples}"
        )
    theirs, ours = (one.evaluation.samples for one in (found.experiment, experiment))
    if theirs != ours:
        return (
            f"is finished with {theirs} held-out samples a round, and evaluation.samples = {ours}"
        )
    if not _same_models(found.run.experiment, experiment):
        return "was played with other weights under the same model name"
    return ""


def fitting(experiment: Experiment, found: Sequence[Found]) -> list[Found]:
    """Finished runs of `experiment`, all on one pool of prompts.

    Where they were played on different ones, those on today's count.
    """
    those = [one for one in found if not shortfall(one, experiment)]
    pools = {one.run.experiment.get("pool_digest") for one in those}
    if len(pools) < 2:
        return those
    pool = experiment.task.load().digest
    return [one for one in those if one.run.experiment.get("pool_digest") == pool]


def _same_models(header: Mapping[str, Any], experiment: Experiment) -> bool:
    """Whether a run was played with the weights that the experiment's model names stand for now.

    Models that cannot be looked at here, and those of which nothing was recorded, are trusted.
    """
    names = [model.name for model in experiment.model]
    judges = {name for defense in experiment.defense for name in defense.check.models()}
    known = [
        *zip(names, header.get("model_digests", ()), strict=False),
        *header.get("defense_model_digests", {}).items(),
    ]
    return all(
        _digest_now(name) in (None, digest)
        for name, digest in known
        if name in judges or name in names  # a run's own names may lead anywhere
    )


@cache
def _digest_now(name: str) -> str | None:
    try:
        return digest_of(name)
    except DgrpoError:
        return None


def runs_of(experiment: Experiment, found: Sequence[Found]) -> dict[int, Run]:
    """Finished runs of `experiment` by seed; the first folder that has a seed counts."""
    runs: dict[int, Run] = {}
    for one in fitting(experiment, found):
        runs.setdefault(one.run.seed, one.run)
    return dict(sorted(runs.items()))


def missing(entries: Sequence[Entry], found: Sequence[Found]) -> list[Task]:
    """What has to be run: headline before ablations, seed 0 of all before seed 1 of any.

    Two entries that ask for the same run give one task, with the name of the first.
    """
    wanted: dict[tuple[object, ...], Task] = {}
    for entry in entries:
        runs = runs_of(entry.experiment, found)
        for seed in entry.seeds:
            if seed in runs:
                continue
            task = Task(entry.experiment, seed, entry.headline)
            held = wanted.setdefault(task.key, task)
            wanted[task.key] = replace(held, headline=held.headline or task.headline)
    return sorted(wanted.values(), key=lambda task: (not task.headline, task.seed))


def _computed(experiment: Experiment) -> tuple[object, ...]:
    return experiment.digest, experiment.rounds, frozenset(_measures(experiment))


def _measures(experiment: Experiment) -> set[str]:
    """Every measure with its knobs."""
    return {json.dumps(measure.settings(), sort_keys=True) for measure in experiment.measure}


def _is_whole(run: Run) -> bool:
    summary: dict[str, Any] = run.summary or {}
    return bool(run.rounds) and summary.get("rounds") == run.rounds[-1].round
