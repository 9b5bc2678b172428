"""Progress over the matrix: a live table on a terminal, a line per event elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from dgrpo.escaping import visible
from dgrpo.progress import percent
from dgrpo.report.tables import NOTHING
from dgrpo.reproduce.estimate import Estimate, Rounds, duration
from dgrpo.reproduce.matrix import Task
from dgrpo.reproduce.worker import Line

_RESUMED = 0.05
"""Seconds: lines of an interrupted run come faster than any round is played."""
_EVERY = 10
"""Rounds between two lines about a run where there is no terminal."""


class MatrixDisplay:
    """Follows the scheduler. A `Listener` of `scheduler.play_all`."""

    def __init__(
        self,
        console: Console,
        tasks: Sequence[Task],
        estimate: Estimate,
        workers: int,
        played: Rounds = lambda _: 0,
    ) -> None:
        """`played`: the rounds from which an interrupted run goes on."""
        self.console = console
        self.estimate = estimate
        self.workers = workers
        self._all = list(tasks)
        self._done = {id(task): played(task) for task in tasks}
        """Rounds by task, in the order of `id`."""
        self._lines: dict[int, Line] = {}
        self._heard: dict[int, float] = {}
        self._active: list[Task] = []
        self._ended: set[int] = set()
        self.failed = 0

    def started(self, task: Task) -> None:
        """See `Listener`."""
        self._active.append(task)
        self._heard[id(task)] = time.monotonic()

    def measured(self, task: Task, line: Line) -> None:
        """See `Listener`."""
        now, before = time.monotonic(), self._heard[id(task)]
        self._heard[id(task)] = now
        played = now - before > _RESUMED
        if played and id(task) in self._lines and line.round > 1:
            self.estimate.add(task.experiment, now - before)
        self._done[id(task)] = line.round
        self._lines[id(task)] = line
        if not self.console.is_terminal and played and line.round % _EVERY == 0:
            self._say(f"{task.title}  {_plain(line, task)}  {self.summary()}")

    def ended(self, task: Task, problem: str) -> None:
        """See `Listener`."""
        self._active.remove(task)
        self._ended.add(id(task))
        self.failed += bool(problem)
        if problem or not self.console.is_terminal:
            told = f"failed: {problem}" if problem else "finished"
            self._say(f"{task.title}  {told}  {self.summary()}")

    def summary(self) -> str:
        """Runs finished and failed, and the time left."""
        failed = f", {self.failed} failed" if self.failed else ""
        finished = len(self._ended) - self.failed
        return f"{finished} of {len(self._all)} runs finished{failed}; left: {self.time_left()}"

    def time_left(self) -> str:
        """Estimate over all runs that are not at their end."""
        going = [task for task in self._all if id(task) not in self._ended]
        return duration(self.estimate.left(going, self.workers, self._played))

    def _played(self, task: Task) -> int:
        return self._done[id(task)]

    def __rich__(self) -> Group:
        """Runs that are being played, the summary, a bar over all rounds."""
        table = Table(expand=False)
        for column in ("run", "round", "accuracy", "attack success"):
            table.add_column(column, justify="left" if column == "run" else "right")
        for task in self._active:
            line = self._lines.get(id(task))
            table.add_row(
                Text(visible(task.title)),
                f"{line.round if line else NOTHING} of {task.experiment.rounds}",
                percent(line.accuracy if line else None),
                percent(line.success if line else None),
            )
        total = sum(task.experiment.rounds for task in self._all)
        done = sum(
            task.experiment.rounds if id(task) in self._ended else self._played(task)
            for task in self._all
        )
        return Group(table, Text(self.summary()), ProgressBar(total=max(1, total), completed=done))

    def _say(self, text: str) -> None:
        self.console.print(Text(visible(text)), soft_wrap=True)


@contextmanager
def watch_matrix(
    console: Console, tasks: Sequence[Task], estimate: Estimate, workers: int, played: Rounds
) -> Iterator[MatrixDisplay]:
    """A live display on a terminal, plain lines elsewhere."""
    display = MatrixDisplay(console, tasks, estimate, workers, played)
    if not console.is_terminal:
        yield display
        return
    with Live(display, console=console, refresh_per_second=2):
        yield display


def _plain(line: Line, task: Task) -> str:
    return (
        f"round {line.round} of {task.experiment.rounds}  accuracy {percent(line.accuracy)}  "
        f"attack {percent(line.success)}"
    )
