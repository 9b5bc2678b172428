"""Group runs by experiment and average them over seeds.

All tables and charts take their curves from here, so that "start" and "end" mean one thing. It
leaves out comparisons between experiments.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from dgrpo.errors import DgrpoError
from dgrpo.measurement.intervals import (
    AMOUNT,
    SHARE,
    Bounds,
    Interval,
    mean_over_seeds,
    pooled,
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
    samples: int
    """Independent things counted, of all seeds together."""


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
        counted: dict[int, list[int]] = {}
        for lines in self.lines():
            for line in lines:
                value = metric.read(line)
                if value is not None and math.isfinite(value):
                    values.setdefault(line.round, []).append(value)
                    counted.setdefault(line.round, []).append(metric.samples(line))

        def mean(number: int) -> Interval:
            if metric.within == SHARE:
                return share_over_seeds(values[number], pooled(counted[number]))
            return mean_over_seeds(values[number], within=metric.within)

        return [
            Point(number, mean(number), len(values[number]), sum(counted[number]))
            for number in sorted(values)
        ]


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
    """Runs with equal name and digest, measured alike, together, in the order of their first run.

    Runs of one name whose digests differ only because a setting was added later are together too.
    Of a seed's runs, copies in several folders, the finished one of most rounds counts.
    """
    by_name: dict[str, list[Run]] = {}
    for run in runs:
        by_name.setdefault(run.name, []).append(run)
    digests = {name: _digests(members) for name, members in by_name.items()}
    groups: dict[tuple[str, str, str], list[Run]] = {}
    for run in runs:
        digest = digests[run.name][run.digest]
        groups.setdefault((run.name, digest, measured_by(run)), []).append(run)

    def label(name: str, digest: str, measured: str, members: list[Run]) -> str:
        others = [key for key in groups if key[0] == name and key[1:] != (digest, measured)]
        apart = []
        if any(key[1] != digest for key in others):
            apart.append(members[-1].digest[:_DIGEST_SHOWN])
        if any(key[1] == digest for key in others):
            apart.append(measured)
        return f"{name} ({', '.join(apart)})" if apart else name

    return [Group(label(*key, members), _one_per_seed(members)) for key, members in groups.items()]


def measured_by(run: Run) -> str:
    """How many held-out samples a run's points have, for people to read.

    Runs that differ in it are never averaged. Points that have other counts than the run's
    settings name come from calls that older versions mixed in one folder.
    """
    evaluation = run.settings.get("evaluation")
    if not isinstance(evaluation, dict):
        return "samples not recorded"
    each, ends = evaluation.get("samples"), evaluation.get("final_samples")
    others = {n for n in (line.held_out_samples for line in run.rounds) if n not in (each, ends)}
    mixed = ", ".join(f"{count}" for count in sorted(others))
    told = f"{each} held-out samples, {ends} at the ends"
    return f"{told}, and mixed with {mixed}" if mixed else told


def measured_apart(groups: Sequence[Group]) -> list[str]:
    """A sentence for each name of which runs were measured on different numbers of samples."""
    found: dict[str, set[str]] = {}
    for run in (run for group in groups for run in group.runs):
        found.setdefault(run.name, set()).add(measured_by(run))
    return [
        f"{name}: runs that were measured on other numbers of samples are not averaged, "
        "and stand apart"
        for name, ways in found.items()
        if len(ways) > 1
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
