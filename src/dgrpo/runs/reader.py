"""Read run folders: the one reader behind reports, charts, tests and scripts.

It reads `experiment.json`, `rounds.jsonl` and `summary.json`, from one seed's folder or from many,
and checks them against the public format. It leaves out the Parquet shards in `completions/`
(read those with polars) and the checkpoint (see resuming).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import Field, TypeAdapter, ValidationError

from dgrpo.errors import DgrpoError
from dgrpo.escaping import one_line
from dgrpo.runs.fields import (
    MOST_NAMES,
    Amount,
    Count,
    Finite,
    Header,
    Measured,
    Name,
    Named,
    Summary,
    Text,
)
from dgrpo.runs.files import JSON_LIMIT, MIB, RESTORE, json_object, read_bytes, refuse_link

SCHEMA = 1
"""The newest run-folder format that this reader knows."""
ROUNDS_LIMIT = 512 * MIB
"""Bytes of rounds.jsonl: 100,000 rounds of the shipped experiments have 440 MB."""
LINE_LIMIT = 16 * MIB
"""Bytes of one line: shipped experiments have 4 kB; a thousand long examples fit."""
HEADER_LIMIT = 8 * MIB
"""Bytes of experiment.json: 3 kB, more where libraries for programs are written out in it."""

_READ = TypeVar("_READ")


@dataclass(frozen=True, slots=True)
class DefenseCounts:
    """What one defense did in one round, counted per honest receiver and completion."""

    poisoned_stopped: Count = 0
    decoy_stopped: Count = 0
    honest_rejected: Count = 0
    unknown_rejected: Count = 0
    """Of senders whose labels nobody here knows, as on a network."""
    undecided: Named[Count] = field(default_factory=dict)
    """Completions it could not judge, by what kept it; its policy accepted or rejected them."""


@dataclass(frozen=True, slots=True)
class Screening:
    """What all defenses together did in one round, counted per honest receiver and completion."""

    poisoned: Count = 0
    poisoned_stopped: Count = 0
    decoy: Count = 0
    decoy_stopped: Count = 0
    honest: Count = 0
    honest_rejected: Count = 0
    honest_right: Count = 0
    """Honest ones of full reward; 0 in older runs."""
    honest_right_rejected: Count = 0
    unknown: Count = 0
    """Completions of senders whose labels nobody here knows, as on a network."""
    unknown_rejected: Count = 0
    different: Named[Count] = field(default_factory=dict)
    """The same counts of different texts per prompt, for one receiver; empty in older runs."""
    poisoned_texts: tuple[Name, ...] = ()
    """A digest of each different poisoned text, to count them over rounds; none in older runs."""
    by_defense: Named[DefenseCounts] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Raises ValueError where more was stopped than there was."""
        for name, one in (("", self), *self.by_defense.items()):
            for stopped, of in _PARTS if not name else _PARTS[:3]:
                count, whole = getattr(one, stopped), getattr(self, of)
                if count > whole:
                    by = f" by {one_line(name, 120)}" if name else ""
                    raise ValueError(f"{stopped} = {count}{by} of {of} = {whole}")


_PARTS = (
    ("poisoned_stopped", "poisoned"),
    ("decoy_stopped", "decoy"),
    ("honest_rejected", "honest"),
    ("honest_right", "honest"),
    ("honest_right_rejected", "honest_right"),
)
"""Counts, and what they are a part of; a defense has the first three."""


@dataclass(frozen=True, slots=True)
class Example:
    """One held-out completion of an honest node, kept for people to read. The text is hostile."""

    question: Text
    text: Text
    reward: Measured
    poisoned: bool | None = None
    """Whether any of the run's measures finds its attack in it; None where it is not said."""


@dataclass(frozen=True, slots=True)
class RoundLine:
    """A line of `rounds.jsonl`: the state after `round` updates, 0 ≤ round ≤ R."""

    round: Count
    reward: Measured = None
    """Mean training reward; None before the first update."""
    reward_by_label: Named[Measured] = field(default_factory=dict)
    advantage_by_label: Named[Measured] = field(default_factory=dict)
    """Mean advantage by the sender's label, idle groups included; None where all were left out."""
    accuracy: Measured = None
    """Mean held-out reward, 0 to 1 unless a task of one's own gives others."""
    answer_anywhere: Measured = None
    completion_tokens: Annotated[Measured, Field(ge=0)] = None
    held_out_samples: Count = 0
    attack_success: Named[Measured] = field(default_factory=dict)
    """Share of held-out completions by measure; None where no completion was applicable."""
    measured_prompts: Named[Count] = field(default_factory=dict)
    """Different prompts behind measures that are drawn on prompts of their own."""
    attack_success_training: Named[Measured] = field(default_factory=dict)
    screening: Screening = field(default_factory=Screening)
    violations: Named[Count] = field(default_factory=dict)
    idle_groups: Amount = 0
    loss: Finite | None = None
    gradient_norm: Finite | None = None
    seconds: Named[Amount] = field(default_factory=dict)
    """Wall seconds by phase, and their `total`."""
    examples: tuple[Example, ...] = ()


@dataclass(frozen=True, slots=True)
class Run:
    """One seed of one experiment, as far as it has come."""

    folder: Path
    experiment: dict[str, Any]
    """The whole of `experiment.json`, of which `Header` is checked; `settings` is the resolved
    experiment inside it, of which no more is checked than what `Settings` names."""
    rounds: tuple[RoundLine, ...]
    """In order; empty for a run that has only just started."""
    summary: dict[str, Any] | None
    """The whole of `summary.json`, of which `Summary` is checked; None while unfinished."""

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


_HEADER = TypeAdapter(Header)
_SUMMARY = TypeAdapter(Summary)
_ROUND = TypeAdapter(RoundLine)


def find_runs(paths: list[Path]) -> list[Run]:
    """Every run under `paths`, each once: in the order of `paths`, then by name, then by seed.

    A path is a seed's folder, an experiment's folder (with `seed-*` inside) or a parent of such.
    Raises DgrpoError that names the path where there is no run, or the file that is damaged.
    """
    folders: dict[Path, tuple[Path, Path]] = {}
    for path in paths:
        try:
            found = list(_seed_folders(path))
        except OSError as error:
            raise DgrpoError(f"{path} cannot be read: {error.strerror or error}") from None
        if not found:
            problem = f"no run in {path}" if path.is_dir() else f"{path} is not a folder"
            raise DgrpoError(
                problem,
                remedy="give a run's folder, its experiment's, or the folder that holds them "
                "(where `dgrpo run` wrote experiment.json)",
            )
        for folder in found:
            folders.setdefault(folder.resolve(), (folder, path))
    return [read_run(folder, within=path) for folder, path in folders.values()]


def read_run(folder: Path, within: Path | None = None) -> Run:
    """The run in one seed's folder. Raises DgrpoError that names a missing or damaged file.

    within: the folder that a user named. Raises DgrpoError if a link leads out of it.
    """
    if within is not None and not folder.resolve().is_relative_to(within.resolve()):
        raise DgrpoError(
            f"{folder} lies outside {within}: a symbolic link leads to {folder.resolve()}",
            remedy=f"name {folder.resolve()} itself, or remove the link",
        )
    return Run(
        folder=folder,
        experiment=read_header(folder),
        rounds=_read_rounds(folder / "rounds.jsonl"),
        summary=read_summary(folder) if refuse_link(folder / "summary.json").exists() else None,
    )


def read_header(folder: Path) -> dict[str, Any]:
    """experiment.json of a seed's folder. Raises DgrpoError if it is missing, damaged or newer."""
    file = folder / "experiment.json"
    table = json_object(read_bytes(file, HEADER_LIMIT), str(file))
    header = checked(_HEADER, table, str(file))
    if header.schema > SCHEMA:
        raise DgrpoError(
            f"{file} has schema {header.schema}, newer than {SCHEMA}",
            remedy="read it with the version of dgrpo that wrote it, or a later one",
        )
    return table


def read_summary(folder: Path) -> dict[str, Any]:
    """summary.json of a seed's folder. Raises DgrpoError if it is missing or damaged."""
    file = folder / "summary.json"
    table = json_object(read_bytes(file, JSON_LIMIT), str(file), measured=True)
    checked(_SUMMARY, table, str(file))
    return table


def read_line(raw: bytes, where: str) -> tuple[RoundLine, dict[str, Any]]:
    """A line of rounds.jsonl, checked and as it stands. Raises DgrpoError if it is damaged."""
    if len(raw) > LINE_LIMIT:
        raise DgrpoError(
            f"{where} has {len(raw):,} bytes, and at most {LINE_LIMIT:,} are read", remedy=RESTORE
        )
    table = json_object(raw, where, measured=True)
    return checked(_ROUND, table, where), table


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
    if not refuse_link(file).exists():
        return ()
    *whole, _cut_off = read_bytes(file, ROUNDS_LIMIT).split(b"\n")
    rounds: list[RoundLine] = []
    names: set[str] = set()
    for number, line in enumerate(whole, start=1):
        if not line.strip():
            continue
        where = f"{file}, line {number}"
        point, _ = read_line(line, where)
        if rounds and point.round <= rounds[-1].round:
            raise DgrpoError(
                f"{where}: round {point.round} comes after round {rounds[-1].round}",
                remedy="two runs wrote into one folder: delete it and run that seed again",
            )
        names.update(point.attack_success, point.screening.by_defense)
        if len(names) > MOST_NAMES:
            raise DgrpoError(
                f"{where}: with it the run has more than {MOST_NAMES} measures and defenses",
                remedy=RESTORE,
            )
        rounds.append(point)
    return tuple(rounds)


def checked(kind: TypeAdapter[_READ], table: dict[str, Any], where: str) -> _READ:
    """`table` as a record. Raises DgrpoError that names each field that is wrong."""
    try:
        return kind.validate_python(table)
    except ValidationError as error:
        told = DgrpoError.from_validation(error, "", [])
        raise DgrpoError(f"{where} is damaged: {told.problem}", remedy=RESTORE) from error
