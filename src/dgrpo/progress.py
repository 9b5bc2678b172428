"""The live display of running experiments; plain lines where there is no terminal."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn
from rich.table import Table

from dgrpo.experiment import Experiment
from dgrpo.runs.running import Watcher

PHASES = ("generate", "exchange", "verify", "reward", "update", "evaluate")


class RunsWatcher:
    """Follows several runs that are played one after another."""

    def __init__(self, console: Console, runs: Sequence[tuple[Experiment, int]]) -> None:
        self.console = console
        self._lines: dict[str, dict[str, Any]] = {}
        self._rounds_left = {_title(e, seed): e.rounds for e, seed in runs}
        self._spent: list[float] = []
        self._last = time.monotonic()
        self.progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            console=console,
        )
        self._tasks: dict[str, TaskID] = {
            title: self.progress.add_task(title, total=rounds)
            for title, rounds in self._rounds_left.items()
        }

    def of(self, experiment: Experiment, seed: int) -> Watcher:
        """The function that `run_experiment` calls with every line of this run."""
        title = _title(experiment, seed)

        def watch(line: dict[str, Any]) -> None:
            now = time.monotonic()
            fresh = now - self._last > 0.05  # lines of a resumed run come all at once
            if fresh and line["round"] > 0:
                self._spent = [*self._spent[-19:], now - self._last]
            self._last = now
            self._lines[title] = line
            self._rounds_left[title] = experiment.rounds - line["round"]
            self.progress.update(self._tasks[title], completed=line["round"])
            if not self.console.is_terminal and fresh:
                self.console.print(f"{title}  {plain(line)}  {self.time_left()}", soft_wrap=True)

        return watch

    def time_left(self) -> str:
        """Estimate over all runs, from the median of the last rounds."""
        if not self._spent:
            return "time left: not known yet"
        median = sorted(self._spent)[len(self._spent) // 2]
        seconds = round(median * sum(self._rounds_left.values()))
        return f"about {seconds // 60}:{seconds % 60:02d} left"

    def __rich__(self) -> Group:
        """Bars, and the latest figures of every run that has begun."""
        table = Table(expand=False)
        for column in ("run", "round", "accuracy", "attack success", "rejected", *PHASES):
            table.add_column(column, justify="left" if column == "run" else "right")
        for title, line in self._lines.items():
            seconds = line["seconds"]
            table.add_row(
                title,
                str(line["round"]),
                percent(line["accuracy"]),
                attack_success(line),
                rejected(line),
                *(f"{seconds[p]:.2f} s" if p in seconds else "–" for p in PHASES),
            )
        return Group(table, self.progress, self.time_left())


@contextmanager
def watch_runs(console: Console, runs: Sequence[tuple[Experiment, int]]) -> Iterator[RunsWatcher]:
    """A live display on a terminal, plain lines elsewhere."""
    watcher = RunsWatcher(console, runs)
    if not console.is_terminal:
        yield watcher
        return
    with Live(watcher, console=console, refresh_per_second=4):
        yield watcher


def plain(line: dict[str, Any]) -> str:
    """One line of text for one line of rounds.jsonl."""
    total = line["seconds"].get("total")
    took = f"  {total:.1f} s" if total is not None else ""
    return (
        f"round {line['round']}  accuracy {percent(line['accuracy'])}  "
        f"attack {attack_success(line)}  rejected {rejected(line)}{took}"
    )


def attack_success(line: dict[str, Any]) -> str:
    """The first measure, or a dash."""
    return percent(next(iter(line["attack_success"].values()), None))


def rejected(line: dict[str, Any]) -> str:
    """Rejected of received, over honest receivers."""
    counts = line["screening"]
    stopped = counts["poisoned_stopped"] + counts["decoy_stopped"] + counts["honest_rejected"]
    undecided = sum(sum(own.get("undecided", {}).values()) for own in counts["by_defense"].values())
    suffix = f", {undecided} not judged" if undecided else ""
    return f"{stopped} of {counts['poisoned'] + counts['decoy'] + counts['honest']}{suffix}"


def percent(share: float | None) -> str:
    """A share as a percentage; a dash for None."""
    return "–" if share is None else f"{100 * share:.1f} %"


def _title(experiment: Experiment, seed: int) -> str:
    return f"{experiment.name} seed {seed}"
