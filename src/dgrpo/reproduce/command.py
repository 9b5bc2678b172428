"""What `dgrpo reproduce` does: find what is missing, play it, write the comparison."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from dgrpo.errors import DgrpoError
from dgrpo.escaping import visible
from dgrpo.reproduce.collect import collect
from dgrpo.reproduce.compare import compare
from dgrpo.reproduce.curves import FOLDER, drawn
from dgrpo.reproduce.defended import defended_rows
from dgrpo.reproduce.display import watch_matrix
from dgrpo.reproduce.estimate import Estimate, duration
from dgrpo.reproduce.matrix import (
    Found,
    Task,
    find_finished,
    load_entries,
    missing,
    runs_of,
)
from dgrpo.reproduce.page import paper_page
from dgrpo.reproduce.paper import Paper, load_paper
from dgrpo.reproduce.poisoned_share import measured
from dgrpo.reproduce.render import html, markdown
from dgrpo.reproduce.scheduler import Failure, Outcome, play_all, run_folder
from dgrpo.reproduce.share_charts import share_picture
from dgrpo.runs.checkpoint import updates_done
from dgrpo.runs.files import refuse_link, write_file

PICTURE = "poisoned-share.png"


@dataclass(frozen=True)
class Settings:
    """The command's options."""

    names: tuple[str, ...]
    seeds: int
    quick: bool
    out: Path
    """Where runs are played."""
    workers: int
    experiments: Path
    """Folder of experiment files."""
    results: Path
    """Folder of committed results; its `runs` count as finished, `paper.md` is written there."""

    @property
    def playing_in(self) -> Path:
        """Where runs are played: a smoke run has a folder of its own."""
        return self.out / "quick" if self.quick else self.out

    @property
    def finished_in(self) -> tuple[Path, ...]:
        """Folders whose runs count as finished; committed ones first."""
        if self.quick:
            return (self.playing_in,)
        return (self.results / "runs", self.out)


class Reproduction:
    """One call of the command: what is asked for, and what is there."""

    def __init__(self, settings: Settings, console: Console) -> None:
        self.settings, self.console = settings, console
        self.paper: Paper = load_paper()
        self.entries, self.broken = load_entries(
            settings.experiments,
            settings.names,
            settings.seeds,
            self.paper.matrix,
            quick=settings.quick,
        )
        self.found: list[Found] = []
        self.look()

    def look(self) -> None:
        """Read which runs are finished."""
        self.found, left_out = find_finished(self.settings.finished_in)
        for line in left_out:
            self._say(f"left out: {line}", style="yellow")

    @property
    def missing(self) -> list[Task]:
        """What has to be run."""
        return missing(self.entries, self.found)

    def play(self) -> Outcome:
        """Play what is missing. Ctrl-C passes through; all of it can be resumed."""
        tasks = self.missing
        workers = max(1, min(self.settings.workers, len(tasks)))
        limit = self.paper.matrix.quick_minutes * 60 if self.settings.quick else None
        with watch_matrix(
            self.console, tasks, Estimate(self.found), workers, self._played
        ) as display:
            outcome = play_all(tasks, self.settings.playing_in, workers, display, seconds=limit)
        self.look()
        return outcome

    def collect(self) -> list[Path]:
        """Copy the small files of finished runs to the committed ones."""
        return collect(self.entries, self.found, self.settings.results / "runs")

    def write(self) -> tuple[Path, Path]:
        """Write the comparison; returns the Markdown and the HTML file.

        It always covers the whole matrix, whatever names were given.
        """
        settings = self.settings
        entries, _ = load_entries(
            settings.experiments, (), settings.seeds, self.paper.matrix, quick=settings.quick
        )
        runs = {entry.name: runs_of(entry.experiment, self.found) for entry in entries}
        theory = measured([entry.experiment for entry in entries], runs)
        page = paper_page(
            [compare(figure, runs) for figure in self.paper.figure],
            defended_rows(entries, runs),
            theory,
            [(entry, len(set(entry.seeds) & set(runs[entry.name]))) for entry in entries],
            drawn(self.paper.curves, runs),
            quick=settings.quick,
        )
        committed = settings.results if settings.results.is_dir() else settings.out
        folder = settings.playing_in if settings.quick else committed
        text, web = folder / "paper.md", settings.playing_in / "paper.html"
        write_file(folder / PICTURE, share_picture(theory))
        for figure in page.curves:
            write_file(refuse_link(folder / FOLDER) / figure.file, figure.drawing())
        write_file(text, markdown(page, PICTURE).encode())
        write_file(web, html(page).encode())
        return text, web

    def status(self) -> Table:
        """Seeds finished and missing, and the time that the missing ones take."""
        estimate = Estimate(self.found)
        tasks = self.missing
        table = Table("experiment", "kind", "rounds", "seeds", "time left on one core")
        for entry in self.entries:
            done = set(runs_of(entry.experiment, self.found)) & set(entry.seeds)
            own = [task for task in tasks if task.runs_for(entry)]
            table.add_row(
                Text(visible(entry.name)),
                "headline" if entry.headline else "ablation",
                str(entry.experiment.rounds),
                f"{len(done)} of {len(entry.seeds)}",
                duration(estimate.left(own, 1, self._played)) if own else "finished",
            )
        return table

    def status_line(self) -> str:
        """The whole matrix in one line."""
        tasks, workers = self.missing, self.settings.workers
        wanted = len(missing(self.entries, ()))
        left = duration(Estimate(self.found).left(tasks, workers, self._played))
        return f"{wanted - len(tasks)} of {wanted} runs finished; left: {left} on {workers} workers"

    def _played(self, task: Task) -> int:
        """Rounds from which an interrupted run will go on."""
        return updates_done(run_folder(self.settings.playing_in, task) / f"seed-{task.seed}")

    def tell_failures(self, failed: Sequence[Failure]) -> None:
        """List failed runs and broken files."""
        for failure in failed:
            self._say(f"failed: {failure.task.title}: {failure.problem}", style="red")
            self._say(f"        log: {failure.log}")
        for one in self.broken:
            self._say(f"left out: {one.file}: {one.problem}", style="red")

    def _say(self, text: str, style: str = "") -> None:
        self.console.print(Text(visible(text), style=style), soft_wrap=True)


def reproduce(settings: Settings, console: Console, *, status: bool, collecting: bool) -> int:
    """The whole command; returns the exit code: 1 where a run failed or a file is broken.

    Raises DgrpoError for options that exclude one another.
    """
    if collecting and (status or settings.quick):
        raise DgrpoError(
            f"--collect and {'--status' if status else '--quick'} exclude one another",
            remedy="--collect copies the runs of the whole matrix; give one of the two",
        )
    work = Reproduction(settings, console)
    if status:
        console.print(work.status())
        work.tell_failures(())
        console.print(work.status_line(), markup=False)
        return 0
    outcome = Outcome()
    if collecting:
        copied = work.collect()
        console.print(f"copied {len(copied)} runs to {settings.results / 'runs'}", markup=False)
        work.look()
    elif work.missing:
        outcome = work.play()
    work.tell_failures(outcome.failed)  # before anything else can go wrong
    text, web = work.write()
    for task in outcome.not_started:
        console.print(f"not started, out of time: {task.title}", markup=False)
    console.print(f"{work.status_line()}\npage: {text}\n      {web}", soft_wrap=True, markup=False)
    return 1 if outcome.failed or work.broken else 0


def cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return max(1, len(os.sched_getaffinity(0)))
    return os.cpu_count() or 1
