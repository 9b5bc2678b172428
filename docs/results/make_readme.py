"""Write README's table of attacks and defenses from the finished runs.

Usage: python docs/results/make_readme.py

It replaces what stands between the two marks in README.md, and nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from dgrpo.report.tables import NOTHING
from dgrpo.reproduce.compare import compare
from dgrpo.reproduce.matrix import find_finished, load_entries, runs_of
from dgrpo.reproduce.page import figure_text
from dgrpo.reproduce.paper import Figure, load_paper
from dgrpo.runs.reader import Run

ROOT = Path(__file__).parents[2]
BEGIN, END = "<!-- attacks: docs/results/make_readme.py -->", "<!-- end of attacks -->"

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


def main() -> None:
    """Rewrite the table in README.md."""
    entries, _ = load_entries(ROOT / "experiments", (), 5, load_paper().matrix)
    found, left_out = find_finished([ROOT / "docs/results/runs"])
    print(*left_out, sep="\n")
    runs = {entry.name: runs_of(entry.experiment, found) for entry in entries}
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
    file = ROOT / "README.md"
    before, _, rest = file.read_text(encoding="utf-8").partition(BEGIN)
    after = rest.partition(END)[2]
    table = "\n".join(lines)
    file.write_text(f"{before}{BEGIN}\n{table}\n{END}{after}", encoding="utf-8")


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
