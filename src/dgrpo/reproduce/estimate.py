"""How long missing runs will take: seconds per round, from rounds that were played."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from statistics import median
from typing import Any

from dgrpo.experiment import Experiment
from dgrpo.plugins import plugin_name
from dgrpo.reproduce.matrix import Found, Task


def _parts(experiment: Experiment) -> tuple[Any, ...]:
    """What mostly decides how long a round takes."""
    return (
        experiment.longest,
        tuple(plugin_name(type(attack)) for attack in experiment.attack),
        tuple(plugin_name(type(defense.check)) for defense in experiment.defense),
        plugin_name(type(experiment.task)),
        tuple(model.name for model in experiment.model),
    )


def _completions(experiment: Experiment) -> int:
    """Completions of a round: two experiments of one kind differ in time as in these."""
    return experiment.prompts_per_round * experiment.group_size


LIKENESSES: tuple[Callable[[Experiment], object], ...] = (
    lambda experiment: experiment.digest,
    _parts,
    lambda experiment: tuple(model.name for model in experiment.model),
    lambda _: None,
)
"""From the same experiment to any: the first that knows a run decides."""


Rounds = Callable[[Task], int]
"""How many rounds of a missing run have been played, for an interrupted one goes on."""


class Estimate:
    """Seconds per round of an experiment, from the runs that are most like it."""

    def __init__(self, found: Iterable[Found] = ()) -> None:
        self._known: list[dict[object, list[float]]] = [defaultdict(list) for _ in LIKENESSES]
        for one in found:
            summary = one.run.summary or {}
            total = summary.get("seconds", {}).get("total")
            if total:
                self.add(one.experiment, total / max(1, summary["rounds"]))

    def add(self, experiment: Experiment, seconds: float) -> None:
        """Take in one measurement of the seconds that a round takes."""
        for known, like in zip(self._known, LIKENESSES, strict=True):
            known[like(experiment)].append(seconds / _completions(experiment))

    def per_round(self, experiment: Experiment) -> float | None:
        """Median seconds per round; None where no run is known at all."""
        for known, like in zip(self._known, LIKENESSES, strict=True):
            if like(experiment) in known:
                return median(known[like(experiment)]) * _completions(experiment)
        return None

    def left(self, tasks: Sequence[Task], workers: int, played: Rounds) -> float | None:
        """Seconds until `workers` have played `tasks`; None where one of them is like no known run.

        The longest of them cannot be shared, so it takes at least as long as that.
        """
        each = []
        for task in tasks:
            seconds = self.per_round(task.experiment)
            if seconds is None:
                return None
            each.append(seconds * max(0, task.experiment.rounds - played(task)))
        return max(sum(each) / workers, max(each, default=0.0))


def duration(seconds: float | None) -> str:
    """For people: `about 3 h 20 min`.

    >>> duration(12000), duration(90), duration(None)
    ('about 3 h 20 min', 'about 2 min', 'not known yet')
    """
    if seconds is None:
        return "not known yet"
    minutes = round(seconds / 60) if seconds > 90 else -(-seconds // 60)
    hours, minutes = divmod(int(minutes), 60)
    return f"about {hours} h {minutes} min" if hours else f"about {minutes} min"
