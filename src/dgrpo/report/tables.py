"""One row per experiment: where accuracy and attack success began and ended, and what was stopped.

The same rows make the terminal's table and the page's. In brackets Student's t interval of a mean
over seeds; of shares the wider, on either side, of that and Wilson's over what was counted: the
held-out completions, or different texts that a defense screened.
"""

from __future__ import annotations

import math
import re
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import attrgetter

from rich import box
from rich.table import Table
from rich.text import Text

from dgrpo.escaping import one_line
from dgrpo.measurement.intervals import (
    AMOUNT,
    SHARE,
    Interval,
    mean_over_seeds,
    wider,
    wilson,
)
from dgrpo.report.groups import (
    COMPLETION_TOKENS,
    HELD_OUT_ACCURACY,
    Group,
    Metric,
    attack_success,
    group_runs,
)
from dgrpo.runs.reader import Run, Screening

NOTHING = "\N{EN DASH}"
"""Stands where nothing was measured."""
_NBSP = "\N{NO-BREAK SPACE}"
"""Keeps a number with its unit and an interval in one piece where a cell is narrow."""


@dataclass(frozen=True, slots=True)
class Change:
    """A quantity before the first update and after the last round, averaged over seeds."""

    start: Interval
    end: Interval


Stopped = Callable[[Screening], int]
"""How many of a round's completions were stopped: by all defenses together, or by one."""


@dataclass(frozen=True, slots=True)
class Rate:
    """A share of counted completions, over all seeds.

    Its interval is the wider, on either side, of two: Wilson's, which takes different texts as
    independent, and Student's over the seeds' shares, since one seed's texts have one history.
    """

    successes: int
    trials: int
    low: float
    high: float
    texts: int
    """How many independent judgements the trials hold (`independent`)."""
    seeds: int
    """Runs that counted them apart."""

    @property
    def share(self) -> float:
        """What was counted, over what could have been."""
        return self.successes / self.trials

    @classmethod
    def of(
        cls, by_seed: Sequence[Sequence[Screening]], label: str, receivers: int, stopped: Stopped
    ) -> Rate | None:
        """What `stopped` counts, of a label's completions; None where there are none."""
        of_seeds = [(sum(map(stopped, s)), sum(getattr(one, label) for one in s)) for s in by_seed]
        successes, trials = (sum(counts[side] for counts in of_seeds) for side in (0, 1))
        if not trials:
            return None
        texts = independent([one for screened in by_seed for one in screened], label, receivers)
        shares = [count / of_seed for count, of_seed in of_seeds if of_seed]
        counted = wilson(successes / trials * texts, texts)
        low, high = wider(counted, mean_over_seeds(shares, within=SHARE))
        return cls(successes, trials, low, high, texts, len(shares))


def independent(screened: Sequence[Screening], label: str, receivers: int) -> int:
    """How many independent judgements the counts of a label hold.

    Counts are per honest receiver, and receivers with equal weights decide alike. Attackers send
    copies of one text, in every round and with every seed, which are judged alike. So a poisoned
    text counts once; other texts count once a round, for they are samples of a model that changes.
    Runs that do not record texts count by round, or else all completions of one receiver.
    """
    named: set[str] = set()
    others: list[float] = []
    for one in screened:
        if label == "poisoned" and one.poisoned_texts:
            named.update(one.poisoned_texts)
        else:
            others.append(one.different.get(label, getattr(one, label) / receivers))
    return len(named) + round(math.fsum(others))


def _rate(group: Group, label: str, stopped: str) -> Rate | None:
    return Rate.of(group.screened(), label, group.receivers, attrgetter(stopped))


@dataclass(frozen=True, slots=True)
class ExperimentRow:
    """What a report says of one experiment; None where nothing was measured."""

    label: str
    seeds: tuple[int, ...]
    rounds: int | None
    """The last round that every seed has reached: where `end` is measured."""
    samples: tuple[int, int]
    """Held-out samples at the start and at the end, of all seeds together."""
    unfinished: int
    """Runs still going on, interrupted, or cut to the rounds of a shorter one."""
    measure: str | None
    """What attack success is measured by: the first that the experiment lists."""
    accuracy: Change | None
    attack_success: Change | None
    completion_tokens: Change | None
    poisoned_stopped: Rate | None
    honest_rejected: Rate | None
    honest_right_rejected: Rate | None
    """Of honest completions those of full reward; None of runs that do not count them apart."""
    seconds: Interval | None
    """Wall seconds per round."""


def experiment_rows(runs: Sequence[Run]) -> list[ExperimentRow]:
    """One row per (name, digest), in the order of their first run."""
    return [experiment_row(group) for group in group_runs(runs)]


def experiment_row(group: Group) -> ExperimentRow:
    """The row of one experiment."""
    measure = next(iter(group.measures), None)
    return ExperimentRow(
        label=group.label,
        seeds=tuple(run.seed for run in group.runs),
        rounds=group.rounds,
        samples=_samples(group),
        unfinished=group.unfinished,
        measure=measure,
        accuracy=change(group, HELD_OUT_ACCURACY),
        attack_success=change(group, attack_success(measure)),
        completion_tokens=change(group, COMPLETION_TOKENS),
        poisoned_stopped=_rate(group, "poisoned", "poisoned_stopped"),
        honest_rejected=_rate(group, "honest", "honest_rejected"),
        honest_right_rejected=_rate(group, "honest_right", "honest_right_rejected"),
        seconds=_seconds_per_round(group),
    )


def _samples(group: Group) -> tuple[int, int]:
    points = group.curve(HELD_OUT_ACCURACY)
    return (points[0].samples, points[-1].samples) if points else (0, 0)


def change(group: Group, metric: Metric) -> Change | None:
    """First measured point of `metric`, and that of the last round; None where one is missing."""
    points = group.curve(metric)
    if not points or points[-1].round != group.rounds:
        return None
    return Change(points[0].value, points[-1].value)


def _seconds_per_round(group: Group) -> Interval | None:
    """Round 0 only evaluates, so it is left out."""
    means = []
    for lines in group.lines():
        totals = [line.seconds["total"] for line in lines if line.round and "total" in line.seconds]
        if totals:
            means.append(sum(totals) / len(totals))
    return mean_over_seeds(means, within=AMOUNT) if means else None


def percent(share: float, digits: int = 0) -> str:
    """A share as a percentage; one near 0 % or 100 % gets digits before it is rounded to that."""
    if share in (0, 1):
        return f"{100 * share:.0f}{_NBSP}%"
    while digits < 2 and round(100 * share, digits) in (0, 100):
        digits += 1
    return f"{100 * share:.{digits}f}{_NBSP}%"


def number(value: float) -> str:
    """A length or a duration in three significant digits."""
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def interval_text(value: Interval, write: Callable[[float], str]) -> str:
    """The mean, and the bounds in brackets where there are any."""
    if value.low is None or value.high is None:
        return write(value.mean)
    return f"{write(value.mean)} {_bounds(value.low, value.high, write)}"


def change_text(value: Change | None, write: Callable[[float], str]) -> str:
    """From start to end, the end with its interval."""
    if value is None:
        return NOTHING
    return f"{write(value.start.mean)}{_NBSP}→{_NBSP}{interval_text(value.end, write)}"


def rate_text(rate: Rate | None) -> str:
    """The share with its interval; the counts are left to the page's details."""
    if rate is None:
        return NOTHING
    return f"{percent(rate.share, 1)} {_bounds(rate.low, rate.high, lambda x: percent(x, 1))}"


def _bounds(low: float, high: float, write: Callable[[float], str]) -> str:
    return ("[" + write(low) + "," + _NBSP + write(high) + "]").replace(f"{_NBSP}%", "")


def _seeds(row: ExperimentRow) -> str:
    return ", ".join(map(str, row.seeds))


def _rounds(row: ExperimentRow) -> str:
    shown = NOTHING if row.rounds is None else str(row.rounds)
    if not row.unfinished:
        return shown
    which = "" if len(row.seeds) == 1 else f"{row.unfinished} of {len(row.seeds)}{_NBSP}"
    return f"{shown} ({which}unfinished)"


def _success(row: ExperimentRow) -> str:
    if row.attack_success is None:
        return NOTHING
    return f"{change_text(row.attack_success, percent)} ({one_line(row.measure or '')})"


_SECONDS = "Seconds per round"
_SAMPLES = "Held-out samples"
COLUMNS: dict[str, Callable[[ExperimentRow], str]] = {
    "Experiment": lambda row: one_line(row.label),
    "Seeds": _seeds,
    "Rounds": _rounds,
    _SAMPLES: lambda row: " → ".join(f"{count:,}" for count in row.samples),
    "Accuracy": lambda row: change_text(row.accuracy, percent),
    "Attack success": _success,
    "Completion tokens": lambda row: change_text(row.completion_tokens, number),
    "Poisoned stopped": lambda row: rate_text(row.poisoned_stopped),
    "Honest rejected": lambda row: rate_text(row.honest_rejected),
    _SECONDS: lambda row: NOTHING if row.seconds is None else interval_text(row.seconds, number),
}
"""Heading → what a cell says, for the terminal and the page."""


PAGE_ONLY = ("Seeds", "Rounds", _SAMPLES, "Completion tokens")
"""Columns left to the page, so that the terminal's table fits 80 characters."""
_FEW_SAMPLES = 1000
"""Held-out samples at the end below which the terminal says how many there are."""
_NAME_WIDTH = 16
"""Characters of an experiment's name on a line of that table."""


def rich_table(rows: Sequence[ExperimentRow]) -> Table:
    """The rows as a table for the terminal; no text in it is taken for markup."""
    table = Table(
        caption="start → end; in brackets: 95 % interval",
        caption_justify="left",
        box=box.SIMPLE,
        pad_edge=False,
        collapse_padding=True,
    )
    columns = {h: cell for h, cell in COLUMNS.items() if h not in PAGE_ONLY}
    columns[_SECONDS] = lambda row: NOTHING if row.seconds is None else number(row.seconds.mean)
    for heading in columns:
        table.add_column(
            heading,
            justify="left" if heading == "Experiment" else "right",
            min_width=max(map(len, heading.split())),
            max_width=len("per round") if heading == _SECONDS else None,
            no_wrap=heading == "Experiment",
            overflow="fold",
        )
    for row in rows:
        name, *cells = (cell(row) for cell in columns.values())
        lines = textwrap.wrap(name, _NAME_WIDTH)  # they end at its hyphens
        if row.samples[1] < _FEW_SAMPLES:
            lines += [f"{row.samples[1]} held-out", "samples"]
        table.add_row(Text("\n".join(lines)), *(Text(_stacked(cell)) for cell in cells))
    return table


def _stacked(cell: str) -> str:
    """A cell's interval, and the name of its measure, on lines of their own."""
    return re.sub(r" \((.*)\)$", r"\n\1", cell.replace(" [", "\n["))
