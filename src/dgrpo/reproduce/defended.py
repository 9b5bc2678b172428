"""Attack × defense: what each experiment with an attack reached, and what its defenses did.

Rows of one attack stand together, undefended first, zero reward beside drop. Numbers come from
`report.tables`, so that this table and the report say the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dgrpo.experiment import Experiment
from dgrpo.measurement.intervals import AMOUNT, Interval, mean_over_seeds
from dgrpo.plugins import plugin_name
from dgrpo.report.groups import Group, Point, training_reward
from dgrpo.report.tables import (
    NOTHING,
    ExperimentRow,
    Rate,
    experiment_row,
    interval_text,
    number,
    percent,
    rate_text,
)
from dgrpo.reproduce.matrix import Entry
from dgrpo.runs.reader import Run

_LEAST_SECONDS = 1e-6
"""Less was not measured: a clock does not tell it from nothing."""
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
    """Labels of its defenses and a KL term, or `none`."""
    on_reject: str
    """Empty without a defense: nothing is rejected."""
    seeds: int
    wanted: int
    """Seeds that the matrix asks for, or as many as there are."""
    headline: bool
    figures: ExperimentRow | None
    """None where no run is finished."""
    reward: Point | None
    """Mean reward of training completions without poison in the last round, rejected ones too."""
    cost: Interval | None
    """Seconds of screening everyone's completions per second of generating a node's own."""

    @property
    def in_pivot(self) -> bool:
        """Whether it is an attack of the attack × defense table, no control and no variant."""
        return not self.attack.startswith("none") and (self.headline or self.defense != "none")


def defended_row(entry: Entry, runs: Sequence[Run]) -> DefendedRow:
    """The row of one experiment, from its finished runs."""
    experiment = entry.experiment
    group = Group(entry.name, tuple(runs)) if runs else None
    rewards = group.curve(training_reward(group)) if group else []
    attacks = sorted({plugin_name(type(attack)) for attack in experiment.attack})
    real = [name for name in attacks if name not in CONTROLS]
    silent = "none (a node is silent)" if "silent" in attacks else "none"
    return DefendedRow(
        name=experiment.name,
        attack=" + ".join(real) or silent,
        topology=experiment.topology,
        defense=" + ".join(_defenses(experiment)) or "none",
        on_reject=experiment.on_reject if experiment.defense else "",
        seeds=len(runs),
        wanted=max(len(entry.seeds), len(runs)),
        headline=entry.headline,
        figures=experiment_row(group) if group else None,
        reward=rewards[-1] if group and rewards and rewards[-1].round == group.rounds else None,
        cost=screening_cost(experiment, runs) if experiment.defense else None,
    )


def _defenses(experiment: Experiment) -> list[str]:
    """What stands against an attack: a KL term to the base model rejects nothing, but holds it."""
    beta = experiment.learner.beta
    return [d.label for d in experiment.defense] + ([f"KL, β = {beta:g}"] if beta else [])


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


def screening_cost(experiment: Experiment, runs: Sequence[Run]) -> Interval | None:
    """What a node spends on verifying, by what it spends on generating, over seeds.

    The simulation generates for all nodes in one batch and verifies once for nodes of equal
    weights; a node on a network generates its own share and verifies everything. So the batch's
    seconds are divided by the nodes that drew from it. A small batch is less efficient, so a node's
    true ratio is somewhat lower. The logit check's forward pass is counted whole, although the
    update uses it again (`keep_forward`): benchmarks/README.md has what it adds to a round. None
    where nothing was timed.
    """
    mounted = [experiment.attack_of(node) for node in range(experiment.nodes)]
    drawing = sum(attack.start().needs_own_samples(experiment.topology) for attack in mounted)
    ratios = []
    for run in runs:
        seconds = (run.summary or {}).get("seconds", {})
        if seconds.get("generate", 0.0) > _LEAST_SECONDS:
            ratios.append(drawing * seconds.get("verify", 0.0) / seconds["generate"])
    return mean_over_seeds(ratios, within=AMOUNT) if ratios else None


def _reward(row: DefendedRow) -> str:
    if row.reward is None:
        return NOTHING
    few = f" (n = {row.reward.seeds})" if row.reward.seeds < row.seeds else ""
    return interval_text(row.reward.value, percent) + few


def _of_seeds(rate: Rate | None, seeds: int) -> str:
    few = f" (n = {rate.seeds})" if rate and rate.seeds < seeds else ""
    return rate_text(rate) + few


HEADINGS = (
    "Experiment", "Attack", "Topology", "Defense", "On reject", "Seeds", "Attack success",
    "Accuracy", "Training reward", "Completion tokens", "Poisoned stopped", "Honest rejected",
    "Right honest rejected",
    "Screening s per own generating s",
)  # fmt: skip


def cells(row: DefendedRow) -> tuple[str, ...]:
    """What the table says of a row, under `HEADINGS`."""
    found = row.figures
    ends = (
        ("not run yet", *(NOTHING,) * 6)
        if found is None
        else (
            interval_text(found.attack_success.end, percent) if found.attack_success else NOTHING,
            interval_text(found.accuracy.end, percent) if found.accuracy else NOTHING,
            _reward(row),
            interval_text(found.completion_tokens.end, number)
            if found.completion_tokens
            else NOTHING,
            _of_seeds(found.poisoned_stopped, row.seeds) if row.on_reject else NOTHING,
            _of_seeds(found.honest_rejected, row.seeds) if row.on_reject else NOTHING,
            _of_seeds(found.honest_right_rejected, row.seeds) if row.on_reject else NOTHING,
        )
    )
    return (
        row.name, row.attack, row.topology, row.defense, row.on_reject or NOTHING,
        f"{row.seeds} of {row.wanted}", *ends,
        interval_text(row.cost, lambda ratio: f"{ratio:.2f}") if row.cost else NOTHING,
    )  # fmt: skip
