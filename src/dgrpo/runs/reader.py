"""Read run folders: the one reader behind reports, charts, tests and scripts.

It reads `experiment.json`, `rounds.jsonl` and `summary.json`, from one seed's folder or from many,
and checks them against the public format. It leaves out the Parquet shards in `completions/`
(read those with polars) and the checkpoint (see resuming).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from dgrpo.errors import DgrpoError

SCHEMA = 1
"""The newest run-folder format that this reader knows."""

_READ = TypeVar("_READ")


@dataclass(frozen=True, slots=True)
class DefenseCounts:
    """What one defense did in one round, counted per honest receiver and completion."""

    poisoned_stopped: int = 0
    decoy_stopped: int = 0
    honest_rejected: int = 0
    undecided: dict[str, int] = field(default_factory=dict)
    """Completions it could not judge, by what kept it; its policy accepted or rejected them."""


@dataclass(frozen=True, slots=True)
class Screening:
    """What all defenses together did in one round, counted per honest receiver and completion."""

    poisoned: int = 0
    poisoned_stopped: int = 0
    decoy: int = 0
    decoy_stopped: int = 0
    honest: int = 0
    honest_rejected: int = 0
    honest_right: int = 0
    """Honest ones of full reward; 0 in older runs."""
    honest_right_rejected: int = 0
    different: dict[str, int] = field(default_factory=dict)
    """The same counts of different texts per prompt, for one receiver; empty in older runs."""
    poisoned_texts: tuple[str, ...] = ()
    """A digest of each different poisoned text, to count them over rounds; none in older runs."""
    by_defense: dict[str, DefenseCounts] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Example:
    """One held-out completion of an honest node, kept for people to read. The text is hostile."""

    question: str
    text: str
    reward: float
    poisoned: bool | None = None
    """Whether any of the run's measures finds its attack in it; None where it is not said."""


@dataclass(frozen=True, slots=True)
class RoundLine:
    """A line of `rounds.jsonl`: the state after `round` updates, 0 ≤ round ≤ R."""

    round: int
    reward: float | None = None
    """Mean training reward; None before the first update."""
    reward_by_label: dict[str, float | None] = field(default_factory=dict)
    advantage_by_label: dict[str, float | None] = field(default_factory=dict)
    """Mean advantage by the sender's label, idle groups included; None where all were left out."""
    accuracy: float | None = None
    """Mean held-out reward, 0 to 1."""
    answer_anywhere: float | None = None
    completion_tokens: float | None = None
    held_out_samples: int = 0
    attack_success: dict[str, float | None] = field(default_factory=dict)
    """Share of held-out completions by measure; None where no completion was applicable."""
    measured_prompts: dict[str, int] = field(default_factory=dict)
    """Different prompts behind measures that are drawn on prompts of their own."""
    attack_success_training: dict[str, float | None] = field(default_factory=dict)
    screening: Screening = field(default_factory=Screening)
    violations: dict[str, int] = field(default_factory=dict)
    idle_groups: float = 0
    loss: float | None = None
    gradient_norm: float | None = None
    seconds: dict[str, float] = field(default_factory=dict)
    """Wall seconds by phase, and their `total`."""
    examples: tuple[Example, ...] = ()


@dataclass(frozen=True, slots=True)
class Run:
    """One seed of one experiment, as far as it has come."""

    folder: Path
    experiment: dict[str, Any]
    """The whole of `experiment.json`; `settings` is the resolved experiment inside it."""
    rounds: tuple[RoundLine, ...]
    """In order; empty for a run that has only just started."""
    summary: dict[str, Any] | None
    """The whole of `summary.json`; None while the run is unfinished."""

    @property
    def settings(self) -> dict[str, Any]:
        """The resolved experiment."""
        settings: dict[str, Any] = self.experiment["experiment"]
        return settings

    @property
    def name(self) -> str:
        """The experiment's name."""
        return str(self.settings["name"])

    @property
    def digest(self) -> str:
        """The experiment's digest: equal digests may be averaged over seeds."""
        return str(self.experiment["digest"])

    @property
    def seed(self) -> int:
        """The seed that every draw of this run derives from."""
        return int(self.experiment["seed"])


@dataclass(frozen=True)
class _Settings:
    name: str


@dataclass(frozen=True)
class _Header:
    """The keys of `experiment.json` that a reader cannot do without."""

    schema: int
    experiment: _Settings
    digest: str
    seed: int


_HEADER = TypeAdapter(_Header)
_ROUND = TypeAdapter(RoundLine)


def find_runs(paths: list[Path]) -> list[Run]:
    """Every run under `paths`, each once: in the order of `paths`, then by name, then by seed.

    A path is a seed's folder, an experiment's folder (with `seed-*` inside) or a parent of such.
    Raises DgrpoError that names the path where there is no run, or the file that is damaged.
    """
    folders: dict[Path, Path] = {}
    for path in paths:
        found = list(_seed_folders(path))
        if not found:
            problem = f"no run in {path}" if path.is_dir() else f"{path} is not a folder"
            raise DgrpoError(
                problem,
                remedy="give a run's folder, its experiment's, or the folder that holds them "
                "(where `dgrpo run` wrote experiment.json)",
            )
        for folder in found:
            folders.setdefault(folder.resolve(), folder)
    return [read_run(folder) for folder in folders.values()]


def read_run(folder: Path) -> Run:
    """The run in one seed's folder. Raises DgrpoError that names a missing or damaged file."""
    header = folder / "experiment.json"
    experiment = _parse(header.read_bytes(), str(header), _json_object)
    _parse(header.read_bytes(), str(header), lambda _: _HEADER.validate_python(experiment))
    if experiment["schema"] > SCHEMA:
        raise DgrpoError(
            f"{header} has schema {experiment['schema']}, newer than {SCHEMA}",
            remedy="read it with the version of dgrpo that wrote it, or a later one",
        )
    summary = folder / "summary.json"
    return Run(
        folder=folder,
        experiment=experiment,
        rounds=_read_rounds(folder / "rounds.jsonl"),
        summary=_parse(summary.read_bytes(), str(summary), _json_object)
        if summary.exists()
        else None,
    )


def _seed_folders(path: Path) -> Iterator[Path]:
    if (path / "experiment.json").is_file():
        yield path
        return
    headers = [*path.glob("seed-*/experiment.json"), *path.glob("*/seed-*/experiment.json")]
    yield from sorted((header.parent for header in headers), key=_by_name_and_seed)


def _by_name_and_seed(folder: Path) -> tuple[Path, int, str]:
    number = folder.name.removeprefix("seed-")
    return folder.parent, int(number) if number.isdecimal() else -1, folder.name


def _read_rounds(file: Path) -> tuple[RoundLine, ...]:
    """All whole lines; what follows the last newline is a write that a crash cut off."""
    if not file.exists():
        return ()
    *whole, _cut_off = file.read_bytes().split(b"\n")
    rounds: list[RoundLine] = []
    for number, line in enumerate(whole, start=1):
        if not line.strip():
            continue
        where = f"{file}, line {number}"
        point = _parse(line, where, lambda raw: _ROUND.validate_python(json.loads(raw)))
        if rounds and point.round <= rounds[-1].round:
            raise DgrpoError(
                f"{where}: round {point.round} comes after round {rounds[-1].round}",
                remedy="two runs wrote into one folder: delete it and run that seed again",
            )
        rounds.append(point)
    return tuple(rounds)


def _json_object(raw: bytes) -> dict[str, Any]:
    value = json.loads(raw)
    if not isinstance(value, dict):
        raise ValueError("not a JSON object")
    return value


def _parse(raw: bytes, where: str, read: Callable[[bytes], _READ]) -> _READ:
    """`read(raw)`, with every way in which a file can be damaged told in one form."""
    remedy = "restore the file from a copy, or delete the run's folder and run that seed again"
    try:
        return read(raw)
    except ValidationError as error:
        told = DgrpoError.from_validation(error, where, [])
        raise DgrpoError(f"{where} is damaged: {told.problem}", remedy=remedy) from error
    except ValueError as error:
        raise DgrpoError(f"{where} is damaged: {error}", remedy=remedy) from error
