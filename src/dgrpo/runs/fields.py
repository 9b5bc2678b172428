"""What a reader relies on in experiment.json and summary.json, and the values of fields.

Bounds are wide: they refuse what cannot have been measured, and what would overflow or take for
ever to show. Keys that are not named here are passed over; no reader may compute with them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, Field

MOST_NAMES = 256
"""Measures and defenses of a run: a page has a row, and a report a curve, for each."""
WHOLE = 2**53
"""The largest count that every reader of JSON takes exactly."""
LARGE = 1e15
"""Figures that are averaged or divided are smaller, so that no sum of them overflows."""

Count = Annotated[int, Field(strict=True, ge=0, le=WHOLE)]
Number = Annotated[float, Field(strict=True, ge=-LARGE, le=LARGE)]
Amount = Annotated[float, Field(strict=True, ge=0, le=LARGE)]
Measured = Number | None
"""None where nothing was measured."""
Finite = Annotated[float, Field(strict=True, allow_inf_nan=False)]
Text = Annotated[str, Field(strict=True)]
Name = Annotated[str, Field(strict=True, max_length=500)]


def _few(table: dict[str, Any]) -> dict[str, Any]:
    if len(table) > MOST_NAMES:
        raise ValueError(f"{len(table):,} names, and at most {MOST_NAMES} are read")
    return table


_Value = TypeVar("_Value")
Named = Annotated[dict[Name, _Value], AfterValidator(_few)]
"""Values by the name of a measure, a defense, a label or a phase."""


@dataclass(frozen=True)
class Settings:
    """The resolved experiment."""

    name: Name
    nodes: Annotated[int, Field(strict=True, ge=1, le=WHOLE)] = 1
    malicious: Count = 0
    rounds: Count | None = None
    claim: Text = ""
    on_reject: Name = "drop"


@dataclass(frozen=True)
class Header:
    """experiment.json. What older runs lack has a default."""

    schema: Count
    experiment: Settings
    digest: Name
    seed: Annotated[int, Field(strict=True, ge=-WHOLE, le=WHOLE)]
    model_digests: list[Name] = field(default_factory=list)
    defense_model_digests: dict[Name, Name] = field(default_factory=dict)
    pool_digest: Name = ""
    source_digests: list[Name] = field(default_factory=list)


@dataclass(frozen=True)
class Series:
    """A quantity over the rounds."""

    start: Measured = None
    end: Measured = None
    by_round: list[tuple[Count, Measured]] = field(default_factory=list)


@dataclass(frozen=True)
class Summary:
    """summary.json."""

    rounds: Count | None = None
    attack_success: Series | None = None
    accuracy: Series = Series()
    answer_anywhere: Series = Series()
    completion_tokens: Series = Series()
    reward: Series = Series()
    metrics: Named[Series] = field(default_factory=dict)
    held_out_samples: Named[Count] = field(default_factory=dict)
    screening: Named[Number | Named[Number | Named[Number | Named[Count] | None] | None] | None] = (
        field(default_factory=dict)
    )
    violations: Named[Count] = field(default_factory=dict)
    seconds: Named[Amount] = field(default_factory=dict)
