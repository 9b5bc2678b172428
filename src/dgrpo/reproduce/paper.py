"""The schema of `paper.toml`: what the paper says, and which of our figures stands beside it."""

from __future__ import annotations

import math
import tomllib
from collections import Counter
from fnmatch import fnmatchcase
from importlib.resources import files
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from dgrpo.errors import DgrpoError
from dgrpo.measurement.intervals import AMOUNT, DIFFERENCE, SHARE, UNBOUNDED, Bounds

_FROZEN = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

Point = Literal["start", "end", "peak", "drop", "half", "most"]
"""Where on a curve: before the first update, after the last, the highest mean of five points in a
row, or that peak minus the end. `half` and `most`: the first round at which the mean of the last
five points is at least 0.5 or 0.8; a run that never gets there counts one round more than it
has."""


class Matrix(BaseModel):
    """How many seeds an experiment file gets."""

    model_config = _FROZEN

    headline: tuple[str, ...]
    """Names (or glob patterns) of experiments that get all seeds and belong to `--quick`."""
    not_headline: tuple[str, ...] = ()
    """Names or patterns that are ablations although `headline` matches them."""
    ablation_seeds: int = Field(3, ge=1)
    """Seeds of every other experiment."""
    quick_rounds: int = Field(5, ge=1)
    """Rounds of a headline run in `--quick`."""
    quick_minutes: float = Field(18.0, gt=0)
    """Minutes after which `--quick` starts no further run."""

    def is_headline(self, name: str) -> bool:
        """Whether the experiment called `name` gets all seeds."""
        return _matches(name, self.headline) and not _matches(name, self.not_headline)


class Figure(BaseModel):
    """One claim of the paper, and how ours is read off finished runs."""

    model_config = _FROZEN

    id: str = Field(pattern=r"^[a-z0-9][a-z0-9-]*$")
    """Names the row."""
    section: str
    """Heading under which the row stands; rows of one section follow one another."""
    where: str
    """Where the paper says it: its name for the figure, its section or table."""
    says: str
    """The claim in our words, one line."""
    paper: str
    """The paper's number as it gives it, e.g. `≈100 %`."""
    experiment: str = ""
    """Name of the experiment file whose runs give our figure."""
    card: str = ""
    """Instead of `experiment`: a shipped model whose card gives our figure, with its interval."""
    metric: str
    """Dotted path into summary.json: a curve (`attack_success`, `completion_tokens`, `accuracy`,
    `metrics.equation/not-right`) or a number (`screening.poisoned_stopped`). With `card`: path
    to a `{"share": …, "low": …, "high": …}` of card.json."""
    at: Point = "end"
    """Which point of a curve; a number has no points."""
    complement: bool = False
    """Whether 1 minus the metric is meant: the accepted share, from the stopped one."""
    against: str = ""
    """Another experiment file to compare with, seed by seed where both have the seed."""
    as_: Literal["ratio", "difference"] = Field("difference", alias="as")
    """With `against`: ours divided by theirs, or ours minus theirs."""
    over: tuple[str, str] | tuple[()] = ()
    """With `against` as a ratio: the controls by which ours and theirs are divided first."""
    unit: Literal["share", "tokens", "rounds", "number"] = "share"
    """How the figure is written; ratios are written as ratios."""
    agrees: tuple[float, float] | None = None
    """Lowest and highest mean that agrees with the paper (`inf` and `-inf` are allowed); without
    it the row goes beyond the paper and gets no verdict."""
    higher: Literal["stronger", "weaker", "differs"] = "stronger"
    """What a mean above `agrees` is called; below it is the opposite. The subject is the attack,
    or the defense where `where` names one."""
    why: dict[Literal["weaker", "stronger", "differs"], str] = {}
    """One sentence for each side on which ours was found; shown only there."""

    @model_validator(mode="after")
    def _consistent(self) -> Figure:
        low, high = self.agrees or (0.0, 1.0)
        if math.isnan(low) or math.isnan(high) or low > high:
            raise ValueError(f"agrees = [{low}, {high}] is not a range")
        if bool(self.experiment) == bool(self.card):
            raise ValueError("give either experiment or card")
        if self.against and (self.card or self.against == self.experiment):
            raise ValueError(f"against = {self.against!r} is no other experiment")
        if self.over and not (self.against and self.as_ == "ratio"):
            raise ValueError("over needs against, as a ratio")
        return self

    @property
    def within(self) -> Bounds:
        """Least and greatest value that it can have."""
        if self.against and self.as_ == "ratio":
            return AMOUNT
        if self.unit == "share":
            return DIFFERENCE if self.against or self.at == "drop" else SHARE
        return UNBOUNDED if self.against or self.unit == "number" else AMOUNT

    @property
    def names(self) -> tuple[str, ...]:
        """The experiments that it needs."""
        return tuple(name for name in (self.experiment, self.against, *self.over) if name)


class Curves(BaseModel):
    """One figure over rounds: a line per experiment in each of its charts."""

    model_config = _FROZEN

    id: str = Field(pattern=r"^[a-z0-9][a-z0-9-]*$")
    """Names the figure and its picture."""
    title: str
    """Its heading, with the paper's name for the figure."""
    lines: dict[str, str] = Field(min_length=1)
    """Experiment by what its line is called, in the legend's order."""
    charts: tuple[Literal["success", "length", "accuracy", "reward", "probe"], ...] = (
        "success",
        "accuracy",
        "reward",
    )
    """Attack success, completion tokens, held-out accuracy, training reward, or accuracy on the
    held-out questions that the attack is about (MATH)."""


class Paper(BaseModel):
    """All of `paper.toml`."""

    model_config = _FROZEN

    matrix: Matrix
    figure: tuple[Figure, ...]
    curves: tuple[Curves, ...] = ()

    @model_validator(mode="after")
    def _no_two_alike(self) -> Paper:
        for tables in (self.figure, self.curves):
            counts = Counter(table.id for table in tables)
            twice = [name for name, count in counts.items() if count > 1]
            if twice:
                raise ValueError(f"two figures are called {twice[0]!r}")
        return self


def load_paper(path: Path | None = None) -> Paper:
    """The shipped `paper.toml`, or another file of its form.

    Raises DgrpoError naming the field.
    """
    source = path or files("dgrpo.reproduce") / "paper.toml"
    try:
        return Paper(**tomllib.loads(source.read_text(encoding="utf-8")))
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise DgrpoError(f"{source} cannot be read: {error}") from None
    except ValidationError as error:
        raise DgrpoError.from_validation(
            error, str(source), [*Figure.model_fields, *Curves.model_fields]
        ) from None


def _matches(name: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)
