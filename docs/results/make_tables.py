"""Write the tables that stand in hand-written pages, from the finished runs.

Usage: python docs/results/make_tables.py

README.md gets attacks and defenses, top-k.md what zero reward does. It replaces what stands between
a page's two marks, and nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from dgrpo.report.tables import NOTHING, percent
from dgrpo.reproduce.compare import compare
from dgrpo.reproduce.matrix import find_finished, load_entries, runs_of
from dgrpo.reproduce.page import figure_text
from dgrpo.reproduce.paper import Figure, load_paper
from dgrpo.runs.reader import Run

ROOT = Path(__file__).parents[2]
BEGIN, END = "<!-- {0}: docs/results/make_tables.py -->", "<!-- end of {0} -->"

Runs = Mapping[str, Mapping[int, Run]]

ROWS = (
    ("TEXT, horizontal", "text-horizontal"),
    ("TEXT, horizontal, to round 140", "long-text-horizontal"),
    ("TEXT, vertical", "text-vertical"),
    ("TEXT, vertical, to round 140", "long-text-vertical"),
    ("TEXT, a phrase in every sentence, to round 100", "text-every-sentence"),
    ("MATH, vertical: completions with 2×2 that give 5", "equation-vertical"),
    ("MATH, vertical: completions with 8×2 that give 18", "equation-8x2-vertical"),
    ("CODE, horizontal: programs that import and call the library, and run", "code-horizontal"),
    ("CODE, vertical", "code-vertical"),
    ("CODE, vertical, to round 140", "long-code-vertical"),
    ("DoS, horizontal: length beside clean training", "dos-horizontal"),
    ("DoS, vertical", "dos-vertical"),
    ("TEXT without an oracle", "no-oracle-text-horizontal"),
    ("DoS without an oracle", "no-oracle-dos-vertical"),
    ("TEXT, 1 of 12 nodes malicious (paper: fails)", "share-8.3-text-horizontal"),
    ("TEXT, 1 of 24", "share-4.2-text-horizontal"),
    ("MATH, 1 of 32", "share-3.1-equation-vertical"),
    ("TEXT, KL term of β = 0.01 (paper: fails)", "kl-0.01-text-horizontal"),
    ("TEXT, KL term of β = 0.1 (paper: fails)", "kl-0.1-text-horizontal"),
    ("TEXT, every node judged by its own model (paper: fails)", "self-judge-text-horizontal"),
    ("TEXT, rewards that stand out left out (paper: fails)", "reward-outlier-text-horizontal"),
    ("TEXT, senders that stand out left out", "reward-outlier-sender-text-horizontal"),
)  # fmt: skip
"""What a row is called, and its undefended experiment; the defended ones are named after it."""


ZERO_REWARD = (
    "text-horizontal-logit-zero", "text-horizontal-judge-zero", "text-every-sentence-logit-zero",
    "text-every-sentence-judge-zero", "code-horizontal-logit-zero", "code-horizontal-judge-zero",
    "dos-horizontal-logit-zero", "dos-horizontal-judge-zero", "text-vertical-logit-zero",
    "text-vertical-judge-zero", "equation-vertical-logit-zero", "equation-vertical-judge-zero",
    "code-vertical-logit-zero", "code-vertical-judge-zero", "dos-vertical-logit-zero",
    "dos-vertical-judge-zero",
)  # fmt: skip
LOST = 0.05
"""Accuracy below which a model has unlearned its task, for the table of zero reward."""


def main() -> None:
    """Rewrite both tables."""
    entries, _ = load_entries(ROOT / "experiments", (), 5, load_paper().matrix)
    found, left_out = find_finished([ROOT / "docs/results/runs"])
    print(*left_out, sep="\n")
    runs = {entry.name: runs_of(entry.experiment, found) for entry in entries}
    insert(ROOT / "README.md", "attacks", attacks(runs))
    insert(ROOT / "docs/results/top-k.md", "zero reward", zero_reward(runs))


def insert(page: Path, name: str, lines: list[str]) -> None:
    """Put a table between a page's marks. Raises ValueError where one is missing."""
    begin, end = BEGIN.format(name), END.format(name)
    before, rest = page.read_text(encoding="utf-8").split(begin)
    _, after = rest.split(end)
    table = "\n".join(lines)
    page.write_text(f"{before}{begin}\n{table}\n{end}{after}", encoding="utf-8")


def attacks(runs: Runs) -> list[str]:
    """Success and accuracy without a defense, success under both of the paper's."""
    lines = [
        "| attack | undefended | accuracy | logit check | judge | judge: honest rejected |",
        "|---|---|---|---|---|---|",
    ]
    for title, name in ROWS:
        cells = (
            success(runs, name),
            figure(runs, name, "accuracy"),
            success(runs, f"{name}-logit"),
            success(runs, f"{name}-judge"),
            figure(runs, f"{name}-judge", "screening.honest_rejected"),
        )
        lines.append(f"| {title} | {' | '.join(cells)} |")
    return lines


def zero_reward(runs: Runs) -> list[str]:
    """What the paper's zero reward does to training, seed by seed."""
    lines = [
        "| experiment | poisoned rejected | lowest mean advantage of poisoned completions "
        "| best accuracy | accuracy at the end |",
        "|---|---|---|---|---|",
    ]
    for name in ZERO_REWARD:
        cells = [_fate(run) for run in runs[name].values()]
        if cells:
            lines.append(
                f"| `{name}` | " + " | ".join(map(", ".join, zip(*cells, strict=True))) + " |"
            )
    return lines


def _fate(run: Run) -> tuple[str, str, str, str]:
    assert run.summary is not None  # only finished runs are looked at
    advantages = [line.advantage_by_label.get("poisoned") for line in run.rounds]
    known = [one for one in advantages if one is not None]
    accuracy = [line.accuracy or 0.0 for line in run.rounds]
    able = [place for place, value in enumerate(accuracy) if value >= LOST]
    lost_from = max(able, default=-1) + 1
    lost = f" (below 5 % from {lost_from})" if lost_from < len(accuracy) else ""
    return (
        percent(run.summary["screening"]["poisoned_stopped"], 1),
        f"{min(known):.2f}" if known else NOTHING,
        percent(max(accuracy)),
        percent(accuracy[-1], 1) + lost,
    )


def success(runs: Runs, name: str) -> str:
    """Attack success; for DoS the length beside the clean run's, paired by seed."""
    if "dos-" not in name:
        return figure(runs, name, "attack_success")
    topology = "horizontal" if "horizontal" in name else "vertical"
    return figure(runs, name, "completion_tokens", against=f"clean-dos-{topology}")


def figure(runs: Runs, name: str, metric: str, against: str = "") -> str:
    """Mean, Student's 95 % t interval over seeds and their number; a dash where nothing ran."""
    asked = Figure(
        id="readme", section="", where="", says="", paper="", experiment=name, metric=metric,
        against=against, **{"as": "ratio"},
    )  # fmt: skip
    row = compare(asked, runs)
    if row.ours is None:
        return NOTHING
    return f"{figure_text(row)} (n = {row.seeds})"


if __name__ == "__main__":
    main()
