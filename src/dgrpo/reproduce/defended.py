"""Attack × defense: what each experiment with an attack reached, and what its defenses did.

Rows of one attack stand together, undefended first, zero reward beside drop. Numbers come from
`report.tables`, so that this table and the report say the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dgrpo.measurement.intervals import Interval, bootstrap_mean
from dgrpo.plugins import plugin_name
from dgrpo.report.groups import Group
from dgrpo.report.tables import (
    NOTHING,
    ExperimentRow,
    change,
    experiment_row,
    interval_text,
    number,
    percent,
    rate_text,
)
from dgrpo.reproduce.matrix import Entry
from dgrpo.runs.reader import Run

CONTROLS = ("honest", "silent")
"""Attacks that attack nothing."""


@dataclass(frozen=True, slots=True)
class DefendedRow:
    """One experiment: its attack, its defense, and what came of it."""

    name: str
    attack: str
    """The attack's name, or `none` for a control (with `silent` if a node was)."""
    topology: str
    defense: str
    """Labels of its defenses, or `none`."""
    on_reject: str
    """Empty without a defense: nothing is rejected."""
    seeds: int
    wanted: int
    """Seeds that the matrix asks for."""
    headline: bool
    figures: ExperimentRow | None
    """None where no run is finished."""
    reward: Interval | None
    """Mean training reward of the last round."""
    cost: Interval | None
    """Seconds of screening per second of generating."""

    @property
    def in_pivot(self) -> bool:
        """Whether it is an attack of the attack × defense table, no control and no variant."""
        return not self.attack.startswith("none") and (self.headline or bool(self.on_reject))


def defended_row(entry: Entry, runs: Sequence[Run]) -> DefendedRow:
    """The row of one experiment, from its finished runs."""
    experiment = entry.experiment
    group = Group(entry.name, tuple(runs)) if runs else None
    rewards = change(group, lambda line: line.reward) if group else None
    attacks = sorted({plugin_name(type(attack)) for attack in experiment.attack})
    real = [name for name in attacks if name not in CONTROLS]
    silent = "none (a node is silent)" if "silent" in attacks else "none"
    return DefendedRow(
        name=experiment.name,
        attack=" + ".join(real) or silent,
        topology=experiment.topology,
        defense=" + ".join(d.label for d in experiment.defense) or "none",
        on_reject=experiment.on_reject if experiment.defense else "",
        seeds=len(runs),
        wanted=len(entry.seeds),
        headline=entry.headline,
        figures=experiment_row(group) if group else None,
        reward=rewards.end if rewards else None,
        cost=screening_cost(runs) if experiment.defense else None,
    )


def defended_rows(
    entries: Sequence[Entry], runs: Mapping[str, Mapping[int, Run]]
) -> list[DefendedRow]:
    """All rows, in the table's order. runs: by experiment name, then by seed."""
    rows = [defended_row(entry, list(runs.get(entry.name, {}).values())) for entry in entries]
    return sorted(
        rows,
        key=lambda row: (
            row.attack.startswith("none"), row.attack, row.topology,
            row.defense != "none", row.defense, row.on_reject, row.name,
        ),
    )  # fmt: skip


def screening_cost(runs: Sequence[Run]) -> Interval | None:
    """Seconds of verifying per second of generating, over seeds; None where nothing was timed.

    A defense that scores completions with the node's model shares that forward pass with nothing:
    the learner's own is made besides.
    """
    ratios = []
    for run in runs:
        seconds = (run.summary or {}).get("seconds", {})
        if seconds.get("generate"):
            ratios.append(seconds.get("verify", 0.0) / seconds["generate"])
    return bootstrap_mean(ratios) if ratios else None


HEADINGS = (
    "Experiment", "Attack", "Topology", "Defense", "On reject", "Seeds", "Attack success",
    "Accuracy", "Training reward", "Completion tokens", "Poisoned stopped", "Honest rejected",
    "Screening s per generating s",
)  # fmt: skip


def cells(row: DefendedRow) -> tuple[str, ...]:
    """What the table says of a row, under `HEADINGS`."""
    found = row.figures
    ends = (
        ("not run yet", *(NOTHING,) * 5)
        if found is None
        else (
            interval_text(found.attack_success.end, percent) if found.attack_success else NOTHING,
            interval_text(found.accuracy.end, percent) if found.accuracy else NOTHING,
            interval_text(row.reward, percent) if row.reward else NOTHING,
            interval_text(found.completion_tokens.end, number)
            if found.completion_tokens
            else NOTHING,
            rate_text(found.poisoned_stopped) if row.on_reject else NOTHING,
            rate_text(found.honest_rejected) if row.on_reject else NOTHING,
        )
    )
    return (
        row.name, row.attack, row.topology, row.defense, row.on_reject or NOTHING,
        f"{row.seeds} of {row.wanted}", *ends,
        interval_text(row.cost, lambda ratio: f"{ratio:.2f}") if row.cost else NOTHING,
    )  # fmt: skip
