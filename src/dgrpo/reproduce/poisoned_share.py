"""What undefended runs say about their poisoned share, beside the theory's prediction.

Leaves out defended runs (a defense changes who is in a group) and those with a KL term, which
pulls beside the push. `share_charts` draws it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from dgrpo.experiment import Experiment
from dgrpo.measurement.intervals import Interval, mean_over_seeds, pooled, share_over_seeds
from dgrpo.measurement.theory import exact_push
from dgrpo.plugins import plugin_name
from dgrpo.report.groups import measured_on
from dgrpo.reproduce.compare import curve_point
from dgrpo.reproduce.defended import CONTROLS
from dgrpo.runs.reader import Run


@dataclass(frozen=True, slots=True)
class Measured:
    """What the undefended runs of one experiment say about their poisoned share."""

    name: str
    topology: str
    round_size: str
    """Prompts of a round and completions for each: how much a round sees."""
    share: float
    """Poisoned share of a group that holds poison."""
    malicious_share: float
    """Share of nodes that are malicious."""
    honest_right: float
    """Mean reward of the others in such a group, over the run: honest ones, or decoys (0)."""
    predicted: float
    """Advantage of a poisoned completion: theory at each round's reward, averaged over rounds."""
    advantage: Interval | None
    """The same as recorded, over seeds; None where runs do not record it."""
    success: Interval | None
    """Attack success at the end, over seeds."""
    series: str
    """Equal for experiments that differ in nothing but a share."""
    seeds: int


def measured(
    experiments: Sequence[Experiment], runs: Mapping[str, Mapping[int, Run]]
) -> list[Measured]:
    """One entry per undefended experiment with finished runs whose attacker has an oracle.

    The theory is that of poison which is always right: a vote is not.
    """
    found = []
    for experiment in experiments:
        attacks = {plugin_name(type(attack)) for attack in experiment.attack}
        mine = list(runs.get(experiment.name, {}).values())
        if not mine or not attacks or attacks & set(CONTROLS):
            continue
        if experiment.defense or experiment.learner.beta:
            continue
        if any(getattr(attack, "oracle", "dataset") != "dataset" for attack in experiment.attack):
            continue
        one = _measured(experiment, mine)
        if one is not None:
            found.append(one)
    return sorted(found, key=lambda one: (one.topology, one.share, one.malicious_share, one.name))


def _measured(experiment: Experiment, runs: Sequence[Run]) -> Measured | None:
    vertical = experiment.topology == "vertical"
    others = "decoy" if vertical else "honest"
    poisoned = _poisoned_of_group(experiment)
    scaling = experiment.learner.advantage_scaling
    rights, predictions, advantages, successes = [], [], [], []
    measure = experiment.measure[0].name if experiment.measure else ""
    counted: list[int] = []
    for run in runs:
        played = [line for line in run.rounds if line.screening.poisoned]
        if not played:
            continue
        right = [line.reward_by_label.get(others) or 0.0 for line in played]
        rights.append(fmean(right))
        if scaling != "batch":  # theory knows one group at a time
            predictions.append(
                fmean(
                    exact_push(poisoned, experiment.group_size, a, scaling).advantage for a in right
                )
            )
        recorded = [line.advantage_by_label.get("poisoned") for line in played]
        known = [one for one in recorded if one is not None]
        if known:
            advantages.append(fmean(known))
        success = (run.summary or {}).get("attack_success") or {}
        end = curve_point(success.get("by_round", []), "end")
        if end is not None:
            successes.append(end)
            counted.append(measured_on(run.rounds[-1], measure))
    if not predictions:
        return None
    return Measured(
        name=experiment.name,
        topology=experiment.topology,
        round_size=f"{experiment.prompts_per_round} × {experiment.group_size}",
        share=poisoned / experiment.group_size,
        malicious_share=experiment.malicious / experiment.nodes,
        honest_right=fmean(rights),
        predicted=fmean(predictions),
        advantage=mean_over_seeds(advantages) if advantages else None,
        success=share_over_seeds(successes, pooled(counted)) if successes else None,
        series=_series(experiment),
        seeds=len(rights),
    )


def _poisoned_of_group(experiment: Experiment) -> int:
    """Completions of a group that are poison, where there is any for its prompt."""
    if experiment.topology == "horizontal":
        return experiment.group_size * experiment.malicious // experiment.nodes
    share: float = getattr(experiment.attack[0], "poisoned_share", 0.5)
    return round(share * experiment.group_size)


def _series(experiment: Experiment) -> str:
    """Everything but the shares and the sizes that a share forces; rounds too."""
    rest = {**experiment.identity(), "rounds": experiment.rounds}
    for size in ("nodes", "malicious", "prompts_per_round", "group_size"):
        rest.pop(size)
    rest["attack"] = [{**a, "poisoned_share": None} for a in rest["attack"]]
    return json.dumps(rest, sort_keys=True)
