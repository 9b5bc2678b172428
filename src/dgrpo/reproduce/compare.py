"""Our figure for each of the paper's, with its interval over seeds, and the verdict.

The verdict goes by the mean over seeds; where the interval crosses an end of the range that agrees,
that is said too. Where a defended model unlearned its task, what it shows of an attack is called
`differs`: a dead model shows none. Leaves out: how it is written down (`page`).
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.resources import files
from typing import Any, Literal

from dgrpo.measurement.intervals import (
    SHARE,
    Interval,
    mean_over_seeds,
    pooled,
    share_over_seeds,
)
from dgrpo.report.groups import measured_on, receivers
from dgrpo.report.tables import Rate
from dgrpo.reproduce.paper import Figure, Point
from dgrpo.runs.fields import LARGE
from dgrpo.runs.reader import DefenseCounts, Run, Screening

Verdict = Literal[
    "agrees", "weaker", "stronger", "differs", "beyond the paper", "not run yet", "not measured"
]

COLLAPSED = 0.5
"""A model has unlearned its task if its accuracy ends below this share of the base model's."""
_PEAK_WINDOW = 5
"""Points in a row whose mean is a peak: one point of 64 completions is too noisy to be one."""
_OPPOSITE: dict[str, Verdict] = {"stronger": "weaker", "weaker": "stronger", "differs": "differs"}


Censored = Literal["", "≥", "≤", "?"]
"""A lower bound, an upper one, or neither; empty where every seed got there."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """One row of the comparison."""

    figure: Figure
    verdict: Verdict
    ours: Interval | None = None
    seeds: int = 0
    """Seeds behind `ours`; 0 where it comes from a model's card."""
    rounds: int | None = None
    """Updates after which `ours` was measured, the fewest where seeds differ."""
    undecided: bool = False
    """Whether the interval, or what lies beyond a bound, holds values that agree and others."""
    collapsed: Collapse | None = None
    """Defended runs that unlearned their task, where most did; else None."""
    zero_reward: bool = False
    """Whether that run gives what it rejects reward 0."""
    censored: Censored = ""
    """What the mean is where a seed never reached what `half` or `most` asks for."""


@dataclass(frozen=True, slots=True)
class Collapse:
    """Runs of which next to nothing is left of the accuracy at their start."""

    seeds: int
    of: int
    """All finished seeds of the experiment that the figure looks at."""
    accuracy: float
    """Their mean accuracy at the end."""


def compare(figure: Figure, runs: Mapping[str, Mapping[int, Run]]) -> Comparison:
    """Set our runs beside one figure. runs: by experiment name, then by seed."""
    if figure.card:
        return _from_card(figure)
    if any(not runs.get(name) for name in figure.names):
        return Comparison(figure, "not run yet")
    shared = set.intersection(*(set(runs[name]) for name in figure.names))
    if not shared:
        return Comparison(figure, "not run yet")
    ours = {seed: _of_seed(figure, runs, seed) for seed in sorted(shared)}
    known = {seed: value for seed, value in ours.items() if value is not None}
    if not known:
        return Comparison(figure, "not measured")
    mine = [runs[figure.experiment][seed] for seed in known]
    interval = _interval(figure, list(known.values()), mine)
    rounds = min(runs[name][seed].rounds[-1].round for name in figure.names for seed in known)
    judged = _judged(figure, interval, len(known), rounds)
    if censored := _censored(figure, runs, list(known)):
        judged = _bounded(judged, censored)
    collapsed = _collapsed(mine)
    if collapsed is None or figure.metric.startswith("screening."):
        return judged
    verdict = judged.verdict if figure.agrees is None else "differs"
    zero = mine[0].settings.get("on_reject") == "zero-reward"
    return replace(judged, verdict=verdict, collapsed=collapsed, zero_reward=zero)


def _interval(figure: Figure, values: Sequence[float], mine: Sequence[Run]) -> Interval:
    """Over seeds. Of a share that is 0 or 1 in all of them, by what was counted."""
    if figure.within != SHARE:
        return mean_over_seeds(values, within=figure.within)
    if figure.metric.startswith("screening."):
        return _screened(figure, mine) or share_over_seeds(values, 0)
    measure = figure.metric.removeprefix("metrics.")
    if figure.metric == "attack_success":  # the first measure that the file lists
        measure = next(iter(mine[0].rounds[-1].attack_success), "")
    # points between the ends have equal samples: any five count what a peak's do
    place = {"start": slice(1), "peak": slice(1, 1 + _PEAK_WINDOW)}.get(figure.at, slice(-1, None))
    counted = [sum(measured_on(line, measure) for line in run.rounds[place]) for run in mine]
    return share_over_seeds(values, pooled(counted))


def _screened(figure: Figure, mine: Sequence[Run]) -> Interval | None:
    """A rate of screened completions as the report has it; None where nothing was screened."""
    *place, counted = figure.metric.split(".")[1:]

    def stopped(one: Screening) -> int:
        of: Any = one.by_defense.get(place[-1], DefenseCounts()) if place else one
        return int(getattr(of, counted))

    by_seed = [[line.screening for line in run.rounds] for run in mine]
    label = counted.rpartition("_")[0]
    rate = Rate.of(by_seed, label, receivers(mine[0]), stopped)
    if rate is None:
        return None
    if figure.complement:
        return Interval(1 - rate.share, 1 - rate.high, 1 - rate.low)
    return Interval(rate.share, rate.low, rate.high)


def _bounded(row: Comparison, censored: Censored) -> Comparison:
    """The row of a mean that is a bound: decided only where nothing beyond it could change it."""
    ours = row.ours
    assert ours is not None
    low, high = row.figure.agrees or (-math.inf, math.inf)
    least = ours.mean if ours.low is None else ours.low
    most = ours.mean if ours.high is None else ours.high
    decided = (censored == "≥" and (least > high or (least >= low and high == math.inf))) or (
        censored == "≤" and (most < low or (most <= high and low == -math.inf))
    )
    alone = Interval(ours.mean, None, None)
    return replace(row, ours=alone, censored=censored, undecided=not decided)


def curve_point(points: Sequence[Sequence[float | None]], at: Point) -> float | None:
    """One number off a curve of (round, value) pairs; None where nothing was measured.

    >>> curve_point([[0, 0.0], [1, 0.5], [2, 0.25]], "end")
    0.25
    """
    if at == "end":  # not the last of those measured: an earlier point has fewer samples
        return points[-1][1] if points else None
    known = [(float(n), float(value)) for n, value in points if n is not None and value is not None]
    if not known:
        return None
    values = [value for _, value in known]
    if at == "start":
        return values[0]
    if at in ("half", "most"):
        place = reached(values, _SHARES[at])
        return known[-1][0] + 1 if place is None else known[place][0]
    width = min(_PEAK_WINDOW, len(values))
    peak = max(math.fsum(values[i : i + width]) / width for i in range(len(values) - width + 1))
    end = points[-1][1]
    return peak if at == "peak" else None if end is None else peak - end


_SHARES: dict[Point, float] = {"half": 0.5, "most": 0.8}


def reached(values: Sequence[float], share: float) -> int | None:
    """Place at which the mean of the last `_PEAK_WINDOW` values is first `share`; None: nowhere."""
    for end in range(_PEAK_WINDOW, len(values) + 1):
        if math.fsum(values[end - _PEAK_WINDOW : end]) / _PEAK_WINDOW >= share:
            return end - 1
    return None


def _censored(
    figure: Figure, runs: Mapping[str, Mapping[int, Run]], seeds: Sequence[int]
) -> Censored:
    """What a mean over `seeds` is, of which some never reached what is asked for.

    Such a run counts one round more than it has, which is too few: ours is a lower bound then, and
    what is taken from it makes it an upper one.
    """
    if figure.at not in _SHARES:
        return ""

    def never(name: str) -> bool:
        curves = [_at_path(runs[name][seed].summary or {}, figure.metric) for seed in seeds]
        points = [[p[1] for p in curve["by_round"] if p[1] is not None] for curve in curves]
        return any(reached(values, _SHARES[figure.at]) is None for values in points)

    ours, *others = (never(name) for name in figure.names)
    if ours and any(others):
        return "?"
    return "≥" if ours else "≤" if any(others) else ""


def verdict_of(figure: Figure, mean: float) -> Verdict:
    """Whether a mean lies in the range that agrees, above or below it."""
    if figure.agrees is None:
        return "beyond the paper"
    low, high = figure.agrees
    if mean > high:
        return figure.higher
    return _OPPOSITE[figure.higher] if mean < low else "agrees"


def _judged(figure: Figure, ours: Interval, seeds: int, rounds: int | None) -> Comparison:
    verdict = verdict_of(figure, ours.mean)
    undecided = False
    if figure.agrees and ours.low is not None and ours.high is not None:
        low, high = figure.agrees
        wholly_in = low <= ours.low and ours.high <= high
        wholly_out = ours.high < low or ours.low > high
        undecided = not (wholly_in or wholly_out)
    return Comparison(figure, verdict, ours, seeds, rounds, undecided)


def _collapsed(runs: Sequence[Run]) -> Collapse | None:
    """What became of defended runs, if most of them unlearned their task."""
    if not runs[0].settings.get("defense"):
        return None
    curves = [(run.summary or {}).get("accuracy", {}) for run in runs]
    ends = [(curve.get("start"), curve.get("end")) for curve in curves]
    lost = [b for a, b in ends if a is not None and b is not None and b < COLLAPSED * a]
    if 2 * len(lost) <= len(runs):
        return None
    return Collapse(len(lost), len(runs), math.fsum(lost) / len(lost))


def _of_seed(figure: Figure, runs: Mapping[str, Mapping[int, Run]], seed: int) -> float | None:
    """Our value for one seed, compared as the figure asks."""
    ours, *others = (_value(runs[name][seed], figure) for name in figure.names)
    if not figure.against:
        return ours
    theirs, *controls = others
    if controls:
        ours, theirs = (
            None if value is None or not control else _ratio(value, control)
            for value, control in zip((ours, theirs), controls, strict=True)
        )
    return _compared(ours, theirs, figure)


def _value(run: Run, figure: Figure) -> float | None:
    found = _at_path(run.summary or {}, figure.metric)
    if isinstance(found, Mapping) and "by_round" in found:
        found = curve_point(found["by_round"], figure.at)
    if not isinstance(found, int | float) or not math.isfinite(found):
        return None
    return 1 - found if figure.complement else float(found)


def _compared(ours: float | None, theirs: float | None, figure: Figure) -> float | None:
    if ours is None or theirs is None or (figure.as_ == "ratio" and theirs == 0):
        return None
    return _ratio(ours, theirs) if figure.as_ == "ratio" else ours - theirs


def _ratio(ours: float, theirs: float) -> float | None:
    """None where it is too large for a number: by a recorded value next to nothing."""
    ratio = ours / theirs
    return ratio if abs(ratio) < LARGE else None


def _at_path(table: Mapping[str, Any], path: str) -> Any:
    """The value at a dotted path; None where there is none."""
    found: Any = table
    for part in path.split("."):
        if not isinstance(found, Mapping) or part not in found:
            return None
        found = found[part]
    return found


def _from_card(figure: Figure) -> Comparison:
    card = files("dgrpo.shipped") / figure.card / "card.json"
    if not card.is_file():
        return Comparison(figure, "not run yet")
    found = _at_path(json.loads(card.read_text("utf-8")), figure.metric)
    if not isinstance(found, Mapping) or found.get("share") is None:
        return Comparison(figure, "not measured")
    share, low, high = (float(found[key]) for key in ("share", "low", "high"))
    ours = (
        Interval(1 - share, 1 - high, 1 - low) if figure.complement else Interval(share, low, high)
    )
    return _judged(figure, ours, 0, None)
