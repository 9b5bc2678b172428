"""Group runs by experiment and average them over seeds.

All tables and charts take their curves from here, so that "start" and "end" mean one thing. It
leaves out comparisons between experiments.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from dgrpo.errors import DgrpoError
from dgrpo.measurement.intervals import (
    AMOUNT,
    SHARE,
    Bounds,
    Interval,
    mean_over_seeds,
    share_over_seeds,
)
from dgrpo.plugins import recorded
from dgrpo.runs.reader import RoundLine, Run, Screening

_DIGEST_SHOWN = 8
"""As many characters as the run folder's name carries."""


@dataclass(frozen=True, slots=True)
class Metric:
    """One number of a line, and what is known of it."""

    read: Callable[[RoundLine], float | None]
    """None or a non-finite number means that nothing was measured."""
    within: Bounds
    """Least and greatest value that it can have."""
    samples: Callable[[RoundLine], int] = lambda line: line.held_out_samples
    """Of a share: how many independent things it counts."""


HELD_OUT_ACCURACY = Metric(lambda line: line.accuracy, SHARE)
COMPLETION_TOKENS = Metric(lambda line: line.completion_tokens, AMOUNT)


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
        return receivers(self.runs[0])

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

    def screened(self) -> list[list[Screening]]:
        """What each seed's rounds counted of received completions."""
        return [[line.screening for line in lines] for lines in self.lines()]

    def curve(self, metric: Metric) -> list[Point]:
        """The mean over seeds at each round where anything was measured, with its interval."""
        values: dict[int, list[float]] = {}
        counted: Counter[int] = Counter()
        for lines in self.lines():
            for line in lines:
                value = metric.read(line)
                if value is not None and math.isfinite(value):
                    values.setdefault(line.round, []).append(value)
                    counted[line.round] += metric.samples(line)

        def mean(number: int) -> Interval:
            if metric.within == SHARE:
                return share_over_seeds(values[number], counted[number])
            return mean_over_seeds(values[number], within=metric.within)

        return [Point(number, mean(number), len(values[number])) for number in sorted(values)]


def receivers(run: Run) -> int:
    """Honest nodes of a run, each of which counts every completion."""
    return max(1, int(run.settings.get("nodes", 1)) - int(run.settings.get("malicious", 0)))


def attack_success(measure: str | None) -> Metric:
    """The metric that reads one attack's success; nothing where `measure` is None."""
    return Metric(
        lambda line: None if measure is None else line.attack_success.get(measure),
        SHARE,
        lambda line: measured_on(line, measure or ""),
    )


def measured_on(line: RoundLine, measure: str) -> int:
    """Independent samples behind a measure: of prompts of its own each counts once."""
    return line.measured_prompts.get(measure.partition("/")[0], line.held_out_samples)


def training_reward(group: Group) -> Metric:
    """The metric that reads the mean reward of honest completions, rejected ones too.

    Nothing where it was recorded as a rejection had left it: in older runs with zero reward, which
    did not count different texts either.
    """
    zeroed = any(run.settings.get("on_reject") == "zero-reward" for run in group.runs)

    def read(line: RoundLine) -> float | None:
        unknown = zeroed and not line.screening.different
        return None if unknown else line.reward_by_label.get("honest")

    return Metric(read, SHARE, lambda line: line.screening.honest // group.receivers)


def group_runs(runs: Sequence[Run]) -> list[Group]:
    """Runs with equal name and digest together, in the order of their first run.

    Runs of one name whose digests differ only because a setting was added later are together too.
    Of a seed's runs, copies in several folders, the finished one of most rounds counts.
    """
    by_name: dict[str, list[Run]] = {}
    for run in runs:
        by_name.setdefault(run.name, []).append(run)
    digests = {name: _digests(members) for name, members in by_name.items()}
    groups: dict[tuple[str, str], list[Run]] = {}
    for run in runs:
        groups.setdefault((run.name, digests[run.name][run.digest]), []).append(run)
    shared = Counter(name for name, _ in groups)
    return [
        Group(
            label=f"{name} ({members[-1].digest[:_DIGEST_SHOWN]})" if shared[name] > 1 else name,
            runs=_one_per_seed(members),
        )
        for (name, _), members in groups.items()
    ]


def _one_per_seed(runs: Sequence[Run]) -> tuple[Run, ...]:
    """By seed; a copy is no second seed."""
    best: dict[int, Run] = {}
    for run in sorted(runs, key=lambda r: (r.summary is not None, len(r.rounds)), reverse=True):
        best.setdefault(run.seed, run)
    return tuple(best[seed] for seed in sorted(best))


def _digests(runs: Sequence[Run]) -> dict[str, str]:
    """The digest to go by for each one that runs of a name recorded.

    Today's, unless that would bring two runs of one seed together.
    """
    recorded = {run.digest: run.digest for run in runs}
    if len(recorded) == 1:
        return recorded
    today = {
        digest: _digest_today(next(r for r in runs if r.digest == digest)) for digest in recorded
    }
    before = {(run.digest, run.seed) for run in runs}
    return (
        today if len({(today[run.digest], run.seed) for run in runs}) == len(before) else recorded
    )


def _digest_today(run: Run) -> str:
    """The digest of the run's settings with today's defaults for what they do not say.

    The recorded one where today's code refuses them, or would have to open a file for them.
    """
    from dgrpo.experiment import experiment_from  # with torch, which other reports do not need

    try:
        with recorded():
            return experiment_from(run.settings).digest
    except DgrpoError:
        return run.digest
