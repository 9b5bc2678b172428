"""Write docs/results/text.md from run folders: every figure with its interval, seeds and command.

Usage: python docs/results/make_results.py
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter
from pathlib import Path
from typing import Any

from finished import Runs, counts, finished_runs

from dgrpo.measurement.intervals import DIFFERENCE, Interval, paired_difference
from dgrpo.report.groups import Group
from dgrpo.report.tables import Rate, experiment_row
from dgrpo.reproduce.compare import reached
from dgrpo.runs.reader import Run

HERE = Path(__file__).parent
SHOWN = (
    "clean-horizontal", "clean-vertical", "silent-horizontal", "silent-vertical",
    "text-horizontal", "text-horizontal-logit", "text-horizontal-logit-zero",
    "text-vertical", "text-vertical-logit", "text-vertical-logit-zero",
)  # fmt: skip
"""This page looks closely at these; `dgrpo reproduce` writes paper.md about all experiments."""


def main() -> None:
    """Write the page beside this file."""
    (HERE / "text.md").write_text(page(finished_runs()), encoding="utf-8")


def page(finished: Runs) -> str:
    """The whole page."""
    by_name = {name: list(finished[name].values()) for name in SHOWN if finished.get(name)}
    parts = [INTRODUCTION, endings(by_name), "\n## Differences, paired by seed\n", pairs(by_name)]
    parts += ["\n## When the attack takes over\n", thresholds(by_name)]
    parts += ["\n## The fate of every completion\n", fates(by_name)]
    return "\n".join(parts) + "\n"


def endings(by_name: dict[str, list[Run]]) -> str:
    """First and last point of every experiment."""
    lines = [
        "| experiment | seeds | rounds | accuracy, start → end | attack success, end "
        "| tokens, end |",
        "|---|---|---|---|---|---|",
    ]
    for name, runs in by_name.items():
        row = experiment_row(Group(name, tuple(runs)))
        assert row.accuracy is not None
        assert row.attack_success is not None
        assert row.completion_tokens is not None
        lines.append(
            f"| {name} | {len(runs)} | {last(runs[0])['rounds']} | "
            f"{percent(row.accuracy.start)} → {percent(row.accuracy.end)} | "
            f"{percent(row.attack_success.end)} | {plain(row.completion_tokens.end)} |"
        )
    return "\n".join(lines)


def pairs(by_name: dict[str, list[Run]]) -> str:
    """Accuracy of one experiment minus another's, over the seeds both have."""
    lines = ["| accuracy of | minus | seeds | points |", "|---|---|---|---|"]
    for ours, theirs in (
        ("text-horizontal", "clean-horizontal"),
        ("text-horizontal-logit", "silent-horizontal"),
        ("text-horizontal-logit-zero", "silent-horizontal"),
        ("text-vertical", "clean-vertical"),
        ("text-vertical", "silent-vertical"),
        ("text-vertical-logit", "silent-vertical"),
    ):
        left = {run.seed: end(run, "accuracy") for run in by_name.get(ours, [])}
        right = {run.seed: end(run, "accuracy") for run in by_name.get(theirs, [])}
        shared = sorted(set(left) & set(right))
        if shared:
            difference = paired_difference(
                [left[s] for s in shared], [right[s] for s in shared], within=DIFFERENCE
            )
            lines.append(f"| {ours} | {theirs} | {len(shared)} | {percent(difference)} |")
    return "\n".join(lines)


def thresholds(by_name: dict[str, list[Run]]) -> str:
    """First round at which the mean of five points reaches a share, by seed."""
    lines = ["| experiment | 50 % | 80 % | 90 % |", "|---|---|---|---|"]
    for name in ("text-horizontal", "text-vertical"):
        runs = by_name.get(name, [])
        cells = [
            ", ".join(str(round_reached(run, share) or "never") for run in runs)
            for share in (0.5, 0.8, 0.9)
        ]
        if runs:
            lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines) + (
        "\n\nA number per seed: the first round after which the mean over that and the four rounds"
        " before it (64 held-out completions each) reaches the share."
    )


def fates(by_name: dict[str, list[Run]]) -> str:
    """What the defense did with poisoned, decoy and honest completions."""
    lines = [
        "| experiment | poisoned stopped | decoys stopped | honest rejected |",
        "|---|---|---|---|",
    ]
    for name, runs in by_name.items():
        if "logit" in name:
            cells = [fate(runs, *names) for names in FATES]
            lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines) + (
        "\n\nCounted once per completion: honest receivers hold equal weights and decide alike."
        " In brackets the wider of two 95 % intervals: Wilson's over different texts (an attacker"
        " sends copies: a poisoned text counts once, however many rounds and seeds it is sent in),"
        " and Student's over seeds. Honest completions are drawn from the 20 likeliest tokens, the"
        " same 20 that the check lets pass: with equal weights it rejects none but for rounding."
    )


FATES = (
    ("poisoned", "poisoned_stopped"),
    ("decoy", "decoy_stopped"),
    ("honest", "honest_rejected"),
)


def fate(runs: Sequence[Run], what: str, stopped: str) -> str:
    """A count over all rounds and seeds, divided by the honest receivers, with its interval."""
    group = Group("", tuple(runs))
    rate = Rate.of(group.screened(), what, group.receivers, attrgetter(stopped))
    if rate is None:
        return "–"
    different = f", {rate.texts:,} different" if what == "poisoned" else ""
    return f"{counts(rate, group)}{different} ({100 * rate.low:.2f} to {100 * rate.high:.2f} %)"


def round_reached(run: Run, share: float) -> int | None:
    """First round whose trailing mean of five points is at least `share`."""
    place = reached([line.attack_success.get("text") or 0.0 for line in run.rounds], share)
    return None if place is None else run.rounds[place].round


def last(run: Run) -> dict[str, Any]:
    """The run's summary."""
    assert run.summary is not None
    return run.summary


def end(run: Run, field: str) -> float:
    """A figure of the summary, after the last round."""
    return float(last(run)[field]["end"])


def percent(value: Interval) -> str:
    """As percentages."""
    return written(value, 100, " %")


def plain(value: Interval) -> str:
    """As it is."""
    return written(value, 1, "")


def written(value: Interval, scale: float, unit: str) -> str:
    """Mean, and the interval where there are several seeds."""
    text = f"{scale * value.mean:.1f}{unit}"
    if value.low is None or value.high is None:
        return text
    return f"{text} ({scale * value.low:.1f} to {scale * value.high:.1f})"


INTRODUCTION = """# TEXT and the logit check, at small scale

Made by `python docs/results/make_results.py` from the runs in [runs/](runs/). Each experiment is a
file of [experiments/](../../experiments/README.md), run as `dgrpo run experiments/NAME.toml --seeds
0 1 2 3 4 --threads 1`. The last point has 1,024 held-out completions per seed, each of another
prompt, and so has the first in newer runs. The others have 64, of the same 64 prompts in every
round and with every seed, so that a step to the last point may be one to easier or harder
prompts. Means over seeds with 95 % intervals: on either side the wider of Student's t over seeds
and Wilson's over the completions of all seeds; differences have Student's.

All seeds share one base model and one pool of prompts: the intervals cover training and sampling.
Where all poison is stopped and nothing else, what is left is what the silent control trains on: the
two runs are the same but for rounding, which sets them apart in some round, mostly a late one.
Their difference below is that of two runs of one thing: by seed up to 5 points at the end.
"""


if __name__ == "__main__":
    main()
