"""What the scripts of this folder share: the finished runs, by experiment file and seed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from dgrpo.report.groups import Group
from dgrpo.report.tables import Rate
from dgrpo.reproduce.matrix import find_finished, load_entries, runs_of
from dgrpo.reproduce.paper import load_paper
from dgrpo.runs.reader import Run

ROOT = Path(__file__).parents[2]

Runs = Mapping[str, Mapping[int, Run]]


def finished_runs() -> Runs:
    """Of every experiment file those that serve it; prints which folders were left out."""
    entries, _ = load_entries(ROOT / "experiments", (), 5, load_paper().matrix)
    found, left_out = find_finished([ROOT / "docs/results/runs"])
    print(*left_out, sep="\n", end="")
    return {entry.name: runs_of(entry.experiment, found) for entry in entries}


def counts(rate: Rate, group: Group) -> str:
    """What was stopped, of how many, as one receiver counts them."""
    stopped, received = (round(n / group.receivers) for n in (rate.successes, rate.trials))
    return f"{stopped:,} of {received:,}"
