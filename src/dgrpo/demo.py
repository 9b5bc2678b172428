"""`make demo`: clean training learns, the attack takes over, the defense stops it.

Three experiments from experiments/, then a table, one self-contained page, a picture, and two
completions to read. Interrupted, it goes on where it stopped.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from rich.panel import Panel
from rich.text import Text

from dgrpo.cli import out
from dgrpo.errors import DgrpoError
from dgrpo.escaping import visible
from dgrpo.experiment import load_experiment
from dgrpo.progress import watch_runs
from dgrpo.report.page import write_report
from dgrpo.report.tables import experiment_rows, rich_table
from dgrpo.runs.reader import Example, find_runs
from dgrpo.runs.running import run_experiment
from dgrpo.terminal import print_anything

NAMES = ("clean-horizontal", "text-horizontal", "text-horizontal-logit")
ROUNDS = 50
FOLDER = Path("demo")


def main() -> None:
    """Run the three experiments with one seed and show what happened."""
    experiments = [
        load_experiment(Path("experiments") / f"{name}.toml", {"rounds": ROUNDS}) for name in NAMES
    ]
    with watch_runs(out, [(experiment, 0) for experiment in experiments]) as watcher:
        for experiment in experiments:
            folder = FOLDER / experiment.name
            run_experiment(experiment, 0, folder, watcher.of(experiment, 0))
    runs = find_runs([FOLDER / name for name in NAMES])
    page, picture = FOLDER / "demo.html", FOLDER / "demo.png"
    write_report(runs, page, picture)
    out.print(rich_table(experiment_rows(runs)))
    last = {run.name: run.rounds[-1].examples for run in runs}
    show("An honest node after clean training says:", [e for e in last[NAMES[0]] if not e.poisoned])
    show(
        "An honest node, trained beside one malicious node, says:",
        [e for e in last[NAMES[1]] if e.poisoned],
    )
    out.print(f"page:    {page}\npicture: {picture}", soft_wrap=True)


def show(title: str, examples: Sequence[Example]) -> None:
    """The first example with its question; peers' text is escaped, never markup."""
    for one in examples[:1]:
        body = Text(visible(f"{one.question.strip()}\n\n{one.text}"))
        out.print(Panel(body, title=title, title_align="left"))


if __name__ == "__main__":
    print_anything()
    try:
        main()
    except DgrpoError as error:
        out.print(Text(f"error: {error}", style="red"))
        out.print(f"an older demo in the way? rm -r {FOLDER}")
        sys.exit(2)
    except KeyboardInterrupt as stop:
        out.print(Text(str(stop) or "stopped"))
        sys.exit(130)
