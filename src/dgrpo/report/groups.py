"""Group runs by experiment and average them over seeds.

All tables and charts take their curves from here, so that "start" and "end" mean one thing. It
leaves out comparisons between experiments.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from dgrpo.measurement.intervals import Interval, mean_over_seeds
from dgrpo.runs.reader import RoundLine, Run

Metric = Callable[[RoundLine], float | None]
"""Reads one number off a line; None or a non-finite number means that nothing was measured."""

_DIGEST_SHOWN = 8
"""As many characters as the run folder's name carries."""


@dataclass(frozen=True, slots=True)
class Point:
    """The mean over seeds after `round` updates."""

    round: int
    value: Interval
    seeds: int


@dataclass(frozen=True, slots=True)
class Group:
    """The runs of one experiment, seed by seed."""

    label: str
    """The experiment's name, with its digest where another experiment has the same name."""
    runs: tuple[Run, ...]

    @property
    def measures(self) -> tuple[str, ...]:
        """What attack success was measured by, in the order the experiment lists it."""
        names = (name for run in self.runs for line in run.rounds for name in line.attack_success)
        return tuple(dict.fromkeys(names))

    @property
    def receivers(self) -> int:
        """Honest nodes, each of which counts every completion."""
        settings = self.runs[0].settings
        return max(1, int(settings.get("nodes", 1)) - int(settings.get("malicious", 0)))

    @property
    def started(self) -> tuple[Run, ...]:
        """The runs that have measured anything."""
        return tuple(run for run in self.runs if run.rounds)

    @property
    def rounds(self) -> int | None:
        """The last round that every started seed has reached; the group ends there."""
        return min((run.rounds[-1].round for run in self.started), default=None)

    @property
    def unfinished(self) -> int:
        """How many runs have no summary, or are cut because another seed is not as far."""
        return sum(
            run.summary is None or not run.rounds or run.rounds[-1].round != self.rounds
            for run in self.runs
        )

    def lines(self) -> list[list[RoundLine]]:
        """Each started seed's lines, up to the last round that all of them have reached."""
        end = self.rounds
        return [
            [line for line in run.rounds if end is not None and line.round <= end]
            for run in self.started
        ]

    def curve(self, metric: Metric, *, share: bool = False) -> list[Point]:
        """The mean over seeds at each round where anything was measured, with its interval.

        share: the metric is a share, and so are its bounds.
        """
        values: dict[int, list[float]] = {}
        for lines in self.lines():
            for line in lines:
                value = metric(line)
                if value is not None and math.isfinite(value):
                    values.setdefault(line.round, []).append(value)
        return [
            Point(number, mean_over_seeds(values[number], share=share), len(values[number]))
            for number in sorted(values)
        ]


def attack_success(measure: str | None) -> Metric:
    """The metric that reads one attack's success; nothing where `measure` is None."""
    return lambda line: None if measure is None else line.attack_success.get(measure)


def training_reward(group: Group) -> Metric:
    """The metric that reads the mean reward of honest completions, rejected ones too.

    Nothing where it was recorded as a rejection had left it: in older runs with zero reward, which
    did not count different texts either.
    """
    zeroed = any(run.settings.get("on_reject") == "zero-reward" for run in group.runs)

    def read(line: RoundLine) -> float | None:
        unknown = zeroed and not line.screening.different
        return None if unknown else line.reward_by_label.get("honest")

    return read


def group_runs(runs: Sequence[Run]) -> list[Group]:
    """Runs with equal name and digest together, in the order of their first run."""
    groups: dict[tuple[str, str], list[Run]] = {}
    for run in runs:
        groups.setdefault((run.name, run.digest), []).append(run)
    shared = Counter(name for name, _ in groups)
    return [
        Group(
            label=f"{name} ({digest[:_DIGEST_SHOWN]})" if shared[name] > 1 else name,
            runs=tuple(sorted(members, key=lambda run: run.seed)),
        )
        for (name, digest), members in groups.items()
    ]
