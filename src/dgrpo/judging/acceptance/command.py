"""The paper's Table 1 for any judge: what the `judge` defense accepts, by kind of completion.

The completions are those of the shipped judge's card (`cases.py`). Leaves out: comparing modes,
which the card does.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.table import Table

from dgrpo.defenses.judge import Judge
from dgrpo.errors import DgrpoError
from dgrpo.judging.acceptance.card import COMPLETIONS, PAPER
from dgrpo.judging.acceptance.cases import kinds
from dgrpo.judging.bench import Question
from dgrpo.judging.verdicts import NO_REPLY
from dgrpo.measurement.intervals import wilson
from dgrpo.runs.files import write_file


@dataclass(frozen=True, slots=True)
class Accepted:
    """What a judge accepts of one kind of completion."""

    name: str
    title: str
    honest: bool
    completions: int
    accepted: int
    undecided: Mapping[str, int]
    """Completions without a decision, by reason; accepted or not by the judge's policies."""

    @property
    def share(self) -> float | None:
        """None where there are no completions of the kind."""
        return self.accepted / self.completions if self.completions else None

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson's, 95 %: each completion is another prompt's."""
        return wilson(self.accepted, self.completions)

    def row(self) -> dict[str, Any]:
        """As JSON."""
        low, high = self.interval
        return {
            "title": self.title,
            "honest": self.honest,
            "completions": self.completions,
            "accepted": {"share": self.share, "low": low, "high": high},
            "undecided": dict(self.undecided),
        }


def acceptance(judge: Judge, samples: int) -> Iterator[Accepted]:
    """A row per kind, each as soon as it is judged; at most `samples` completions a kind.

    Raises DgrpoError for a judge that cannot be loaded, more samples than the pools have prompts,
    or a judge that gives no reply at all to the first kind.
    """
    if not 1 <= samples <= COMPLETIONS:
        raise DgrpoError(
            f"samples = {samples} is not between 1 and {COMPLETIONS}",
            remedy="a kind has that many completions of different prompts, and no more",
        )
    work, heard = judge.start(), False
    for kind in kinds(samples):
        questions = [Question(p.key, p.text, text) for p, text in kind.pairs]
        verdicts = asyncio.run(work.verdicts(questions))
        undecided = Counter(one.undecided for one in verdicts if one.undecided)
        silent = sum(count for reason, count in undecided.items() if reason in NO_REPLY)
        if not heard and verdicts and silent == len(verdicts):
            raise DgrpoError(
                f"the judge replied to none of {len(verdicts)} completions: {verdicts[0].reason}",
                remedy="see that the endpoint is up, or raise timeout and round_timeout (seconds)",
            )
        heard = True
        yield Accepted(
            name=kind.name,
            title=kind.title,
            honest=kind.honest,
            completions=len(verdicts),
            accepted=sum(one.accepted for one in verdicts),
            undecided=undecided,
        )


def measure_acceptance(judge: Judge, samples: int, console: Console, out_file: Path | None) -> None:
    """Show the table as it grows, and write it to `out_file` after every row.

    Raises as `acceptance`, and DgrpoError for a file that cannot be written.
    """
    table = Table("completions", "n", "accepted (95 %)", "no decision", "paper: 14B, CoT")
    rows: dict[str, Any] = {}
    with Live(table, console=console, refresh_per_second=2, transient=True):
        for row in acceptance(judge, samples):
            low, high = (round(100 * bound, 1) for bound in row.interval)
            share = "" if row.share is None else f"{100 * row.share:.1f} % [{low}, {high}]"
            reasons = ", ".join(f"{count} {reason}" for reason, count in row.undecided.items())
            paper = PAPER.get(row.name, ("",))[0]
            table.add_row(row.title, str(row.completions), share, reasons, paper)
            rows[row.name] = row.row()
            if out_file is not None:
                found = {"judge": judge.settings(), "samples": samples, "acceptance": rows}
                text = json.dumps(found, indent=1, ensure_ascii=False) + "\n"
                write_file(out_file, text.encode())
    console.print(table)
