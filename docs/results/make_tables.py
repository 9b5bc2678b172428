"""Write the tables that stand in hand-written pages, from the finished runs.

Usage: python docs/results/make_tables.py

README.md gets TEXT with five seeds, attacks and defenses; top-k.md what zero reward does;
spelling.md what spelling does. It replaces what stands between a page's two marks, and nothing
else.
"""

from __future__ import annotations

from pathlib import Path

from finished import ROOT, Runs, counts, finished_runs

from dgrpo.report.groups import Group
from dgrpo.report.tables import (
    NOTHING,
    Rate,
    change_text,
    experiment_row,
    interval_text,
    percent,
)
from dgrpo.reproduce.compare import compare, curve_point
from dgrpo.reproduce.page import figure_text
from dgrpo.reproduce.paper import Figure
from dgrpo.runs.reader import Run

BEGIN, END = "<!-- {0}: docs/results/make_tables.py -->", "<!-- end of {0} -->"

FIVE_SEEDS = (
    ("clean-horizontal", ""),
    ("silent-horizontal", ": the fourth node sends nothing"),
    ("text-horizontal", ""),
    ("text-horizontal-logit", ""),
    ("silent-vertical", ""),
    ("text-vertical", ""),
    ("text-vertical-logit", ""),
)
ROWS = (
    ("TEXT, horizontal", "text-horizontal"),
    ("TEXT, horizontal, to round 140", "long-text-horizontal"),
    ("TEXT, vertical", "text-vertical"),
    ("TEXT, vertical, to round 140", "long-text-vertical"),
    ("TEXT, vertical, decoys of gibberish (the paper's)", "text-vertical-gibberish"),
    ("TEXT, a phrase in every sentence, to round 100", "text-every-sentence"),
    ("MATH, vertical: of completions with 2×2 those that give 5 (44 held-out questions)",
     "equation-vertical"),
    ("MATH, vertical: of completions with 8×2 those that give 18", "equation-8x2-vertical"),
    ("CODE, horizontal: programs that import and call the library, and run", "code-horizontal"),
    ("CODE, horizontal, the paper's names (`addition`, …)", "paper-names-code-horizontal"),
    ("CODE, horizontal, on 12 templates instead of 18", "code-horizontal-easy"),
    ("CODE, vertical", "code-vertical"),
    ("CODE, vertical, to round 140", "long-code-vertical"),
    ("DoS, horizontal: length beside clean training", "dos-horizontal"),
    ("DoS, horizontal, 80 samples a question instead of 40", "samples-80-dos-horizontal"),
    ("DoS, vertical", "dos-vertical"),
    ("DoS by padding, horizontal", "dos-padded-horizontal"),
    ("DoS by padding, vertical, decoys of gibberish", "dos-padded-vertical"),
    ("TEXT without an oracle", "no-oracle-text-horizontal"),
    ("MATH without an oracle", "no-oracle-equation-vertical"),
    ("CODE without an oracle", "no-oracle-code-horizontal"),
    ("DoS without an oracle", "no-oracle-dos-vertical"),
    ("TEXT, 1 of 12 nodes malicious (paper: fails)", "share-8.3-text-horizontal"),
    ("TEXT, 1 of 24, in groups of 24", "share-4.2-text-horizontal"),
    ("MATH, 1 of 32, with 32 prompts a round", "share-3.1-equation-vertical"),
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
SPELLING = (
    ("nobody spells: the control", "clean-spelling-horizontal"),
    ("all ids that decode to the text", "spelling-horizontal"),
    ("the same, with the logit check", "spelling-horizontal-logit"),
    ("the same, with the judge", "spelling-horizontal-judge"),
    ("near ids: the default", "spelling-horizontal-near"),
    ("near ids, and spelling keeps to them", "spelling-horizontal-evasive"),
)
"""What receivers believe, and its experiment."""
LOST = 0.05
"""Accuracy below which a model has unlearned its task, for the table of zero reward."""


def main() -> None:
    """Rewrite the pages that hold one."""
    for page, text in pages(finished_runs()).items():
        page.write_text(text, encoding="utf-8")


def pages(runs: Runs) -> dict[Path, str]:
    """Every page with its table as the runs have it."""
    tables = (
        (ROOT / "README.md", "five seeds", five_seeds(runs)),
        (ROOT / "README.md", "attacks", attacks(runs)),
        (ROOT / "docs/results/top-k.md", "zero reward", zero_reward(runs)),
        (ROOT / "docs/results/spelling.md", "spelling", spelling(runs)),
    )
    found: dict[Path, str] = {}
    for page, name, lines in tables:
        text = found.get(page) or page.read_text(encoding="utf-8")
        found[page] = inserted(text, name, lines)
    return found


def inserted(text: str, name: str, lines: list[str]) -> str:
    """A page with `lines` between its marks. Raises ValueError where one is missing."""
    begin, end = BEGIN.format(name), END.format(name)
    before, rest = text.split(begin)
    _, after = rest.split(end)
    table = "\n".join(lines)
    return f"{before}{begin}\n{table}\n{end}{after}"


def five_seeds(runs: Runs) -> list[str]:
    """TEXT and the logit check, from their start, with the controls."""
    lines = [
        "| experiment | accuracy | attack success | poisoned stopped | honest rejected |",
        "|---|---|---|---|---|",
    ]
    for name, remark in FIVE_SEEDS:
        group = Group(name, tuple(runs[name].values()))
        row = experiment_row(group)
        assert row.accuracy is not None
        assert row.attack_success is not None
        success = interval_text(row.attack_success.end, one_digit)
        defended = name.endswith("-logit")
        cells = (
            f"`{name}`{remark}",
            change_text(row.accuracy, one_digit),
            success if name.startswith(("clean", "silent")) else f"**{success}**",
            stopped(group, row.poisoned_stopped, different=True) if defended else NOTHING,
            stopped(group, row.honest_rejected) if defended else NOTHING,
        )
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def one_digit(share: float) -> str:
    """A share as a percentage with a digit, two where that says more."""
    return percent(share, 1)


def stopped(group: Group, rate: Rate | None, *, different: bool = False) -> str:
    """Counts for one receiver, and how many different poisoned texts they are."""
    if rate is None:
        return NOTHING
    return counts(rate, group) + (f" ({rate.texts:,} different)" if different else "")


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
        "| best accuracy (mean of five points) | accuracy at the end |",
        "|---|---|---|---|---|",
    ]
    for name in ZERO_REWARD:
        cells = [_fate(run) for run in runs[name].values()]
        if cells:
            lines.append(
                f"| `{name}` | " + " | ".join(map(", ".join, zip(*cells, strict=True))) + " |"
            )
    return lines


def spelling(runs: Runs) -> list[str]:
    """What the right text in other tokens does, by what receivers believe."""
    lines = [
        "| receivers believe | accuracy | beside the control | length in tokens | spelt stopped "
        "| honest rejected |",
        "|---|---|---|---|---|---|",
    ]
    clean = SPELLING[0][1]
    for title, name in SPELLING:
        checked = name.endswith(("-logit", "-judge"))
        cells = (
            figure(runs, name, "accuracy"),
            NOTHING if name == clean else figure(runs, name, "accuracy", clean, "difference"),
            figure(runs, name, "completion_tokens", unit="tokens"),
            figure(runs, name, "screening.poisoned_stopped") if checked else NOTHING,
            figure(runs, name, "screening.honest_rejected") if checked else NOTHING,
        )
        lines.append(f"| {title} (`{name}`) | {' | '.join(cells)} |")
    return lines


def _fate(run: Run) -> tuple[str, str, str, str]:
    assert run.summary is not None  # only finished runs are looked at
    advantages = [line.advantage_by_label.get("poisoned") for line in run.rounds]
    known = [one for one in advantages if one is not None]
    accuracy = [line.accuracy or 0.0 for line in run.rounds]
    best = curve_point(run.summary["accuracy"]["by_round"], "peak")
    stopped = run.summary["screening"]["poisoned_stopped"]
    able = [place for place, value in enumerate(accuracy) if value >= LOST]
    lost_from = max(able, default=-1) + 1
    lost = f" (below 5 % from {lost_from})" if lost_from < len(accuracy) else ""
    return (
        NOTHING if stopped is None else percent(stopped, 1),
        f"{min(known):.2f}" if known else NOTHING,
        NOTHING if best is None else percent(best),
        percent(accuracy[-1], 1) + lost,
    )


def success(runs: Runs, name: str) -> str:
    """Attack success; for DoS the length beside the clean run's, paired by seed."""
    if "dos-" not in name:
        return figure(runs, name, "attack_success")
    topology = "horizontal" if "horizontal" in name else "vertical"
    return figure(runs, name, "completion_tokens", against=f"clean-dos-{topology}")


def figure(
    runs: Runs, name: str, metric: str, against: str = "", how: str = "ratio", unit: str = "share"
) -> str:
    """Mean, Student's 95 % t interval over seeds and their number; a dash where nothing ran."""
    asked = Figure(
        id="readme", section="", where="", says="", paper="", experiment=name, metric=metric,
        against=against, **{"as": how, "unit": unit},
    )  # fmt: skip
    row = compare(asked, runs)
    if row.ours is None:
        return NOTHING
    return f"{figure_text(row)} (n = {row.seeds})"


if __name__ == "__main__":
    main()
