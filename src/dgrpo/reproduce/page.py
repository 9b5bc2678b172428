"""What the comparison says: its words and tables, whatever the format.

Everything on it is a number or comes from experiment files and `paper.toml`; nothing that a peer
wrote is on it. `render` writes it as Markdown and as HTML.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from dgrpo.report.tables import NOTHING, interval_text, number, percent
from dgrpo.reproduce.compare import Comparison, Verdict
from dgrpo.reproduce.curves import Drawn
from dgrpo.reproduce.defended import HEADINGS, DefendedRow, cells
from dgrpo.reproduce.matrix import Entry
from dgrpo.reproduce.poisoned_share import Measured

QUICK = (
    "A smoke run: few rounds, one seed, little evaluation. It shows that every part runs. "
    "It proves nothing about the paper, and no number on this page may be quoted."
)
CURVES = (
    "Means over n seeds, with 95 % bands, as the intervals above, from three seeds on. Between the "
    "ends a seed's point is of 64 held-out completions, of the same 64 prompts in every round and "
    "with every seed: the step to the last point, of 1,024, is also one to other prompts, which "
    "may be easier or harder by many points, and no step of the training (MATH's success: of its "
    "own questions, all of them at every point). Drop and zero reward: what becomes of rejected "
    "completions."
)
EVERY = (
    "After the last round, mean over seeds with a 95 % interval as above; training reward: of "
    "honest completions in that round, rejected ones too (older runs with zero reward did not "
    "record it). n: where fewer seeds than the row's have a figure. Stopped and rejected: share of "
    "completions over all rounds and seeds; in brackets the wider, on either side, of two 95 % "
    "intervals: Wilson's over different texts, since attackers send copies and receivers with "
    "equal weights decide alike (of runs that did not record them, over all that one receiver "
    "judged), and Student's over seeds. Honest: neither poison nor decoy, whoever sent it. Right "
    "honest: those of full reward, where a run counts them apart; to reject a wrong one costs "
    "little. Screening: seconds that a node spends on verifying everyone's completions per second "
    "of generating its own (with four nodes a quarter of them: there 4 means as long as generating "
    "them all took); the logit check's forward pass is counted whole, though the update uses it "
    "again (benchmarks/README.md: a round grows by 6 %, and by 16 % with a KL term, which screens "
    "nothing). On reject: `zero-reward` is the paper's, `drop` leaves the completion out of its "
    "group."
)
"""What the table of every experiment shows."""
POINTS = "\N{NO-BREAK SPACE}points"
"""Unit of a difference of shares: percentage points."""


@dataclass(frozen=True, slots=True)
class Table:
    """A table under a heading."""

    title: str
    note: str
    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True)
class PaperPage:
    """Everything that is to be written, whatever the format."""

    warning: str
    introduction: tuple[str, ...]
    comparisons: tuple[Table, ...]
    pivot: Table
    defended: Table
    theory: Table
    progress: Table
    curves: tuple[Drawn, ...]
    measured: tuple[Measured, ...]


def paper_page(
    comparisons: Sequence[Comparison],
    defended: Sequence[DefendedRow],
    measured: Sequence[Measured],
    progress: Sequence[tuple[Entry, int]],
    curves: Sequence[Drawn] = (),
    *,
    quick: bool = False,
) -> PaperPage:
    """Put the page together. progress: entries with the number of their finished seeds."""
    sections = list(dict.fromkeys(one.figure.section for one in comparisons))
    return PaperPage(
        warning=QUICK if quick else "",
        introduction=_introduction(comparisons, progress, quick),
        comparisons=tuple(
            _section(title, [one for one in comparisons if one.figure.section == title], quick)
            for title in sections
        ),
        pivot=_pivot([row for row in defended if row.in_pivot]),
        defended=Table(
            "Every experiment",
            EVERY,
            HEADINGS,
            tuple(cells(row) for row in defended),
        ),
        theory=_theory(measured),
        progress=_progress(progress),
        curves=tuple(curves),
        measured=tuple(measured),
    )


def _introduction(
    comparisons: Sequence[Comparison], progress: Sequence[tuple[Entry, int]], quick: bool
) -> tuple[str, ...]:
    told = _tally([one for one in comparisons if not (quick and one.seeds)])
    done = sum(min(finished, len(entry.seeds)) for entry, finished in progress)
    wanted = sum(len(entry.seeds) for entry, _ in progress)
    return (
        "Made by `dgrpo reproduce` from the experiment files and `src/dgrpo/reproduce/paper.toml`. "
        'The paper: "Hail to the Thief", arXiv 2511.09780; its models have 1.5 to 14 B parameters, '
        "ours less than 2 M, so agreement means that the effect is there, not that the number is "
        "the same.",
        f"{done} of {wanted} runs are finished. {told}",
        "Ours: mean over n seeds after the last round, with Student's 95 % t interval over seeds "
        "(none for n = 1, nor of a length or a difference where all seeds give one number); of a "
        "share the wider, on either side, of that and Wilson's over the completions of all seeds "
        "(MATH: over its own questions, counted once per seed); of what a defense stops or "
        "rejects, that of the table of every experiment. All seeds share one base model "
        "and one pool of prompts, so intervals cover training and sampling. A figure "
        "agrees if the mean lies in the range under `agrees`; a verdict is `undecided` as long as "
        "its interval reaches over an end of that range. Where a run never reached what is asked "
        "for, `≥`, `≤` or `?` before ours says that it is a bound, or not even that. The ranges "
        "are ours, and were not all fixed before the first runs were seen; a reason under `why` "
        "is our reading unless it names the run that tests it. `weaker` and "
        "`stronger` speak of the attack, in the sections on defenses of the defense. Compared with "
        "a control, values are paired by seed. Where most defended models unlearned their task, "
        "the verdict is `differs`: a dead model shows no attack.",
    )


COMPARED_OFTEN = (
    "(A figure may be compared more than once: also with `drop`, after twice the rounds, with 8×2, "
    "or on the judge's card.)"
)
_TOLD: dict[Verdict, str] = {
    "agrees": "ours agree in",
    "weaker": "are weaker in",
    "stronger": "are stronger in",
    "differs": "differ in",
    "not measured": "are not measured in",
    "not run yet": "are not run yet in",
}


def _tally(rows: Sequence[Comparison]) -> str:
    """How many rows have which verdict, and how many go beyond the paper."""
    of_paper = [row for row in rows if row.verdict != "beyond the paper"]
    by_verdict = {v: [row for row in of_paper if row.verdict == v] for v in _TOLD}
    told = ", ".join(
        f"{_TOLD[verdict]} {len(those)}{_doubts(those)}"
        for verdict, those in by_verdict.items()
        if those
    )
    beyond = len(rows) - len(of_paper)
    sentences = []
    if told:
        sentences += [f"Of {len(of_paper)} comparisons with the paper {told}.", COMPARED_OFTEN]
    if beyond:
        sentences += [f"{beyond} rows go beyond it."]
    return " ".join(sentences)


def _doubts(rows: Sequence[Comparison]) -> str:
    """How many of a verdict's rows rest on one seed, and how many are undecided."""
    doubts = [doubt for row in rows if (doubt := _doubt(row))]
    words = {"one seed": "of one seed", "no interval": "with no interval"}
    told = [f"{count} {words.get(doubt, doubt)}" for doubt, count in Counter(doubts).items()]
    return f" ({', '.join(told)})" if told else ""


def _doubt(row: Comparison) -> str:
    if row.verdict in ("beyond the paper", "not run yet", "not measured"):
        return ""
    if row.seeds == 1:
        return "one seed"
    if row.ours is not None and row.ours.low is None and not row.censored:
        return "no interval"
    return "undecided" if row.undecided else ""


ZERO_REWARD = (
    "With zero reward the rejected completions are trained against, and with them the right "
    "reasoning that they copy (docs/results/top-k.md)."
)

COMPARED = (
    "Claim", "Paper's figure", "Paper", "Ours", "Seeds × rounds", "Agrees", "Verdict", "Why",
)  # fmt: skip


def _section(title: str, rows: Sequence[Comparison], quick: bool) -> Table:
    return Table(title, "", COMPARED, tuple(_compared(row, quick) for row in rows))


def _compared(row: Comparison, quick: bool) -> tuple[str, ...]:
    figure = row.figure
    against = f" ({figure.as_} to {figure.against})" if figure.against else ""
    if figure.over:
        against = f" ({figure.as_} to {figure.against}, each by its clean run)"
    doubt = _doubt(row)
    verdict = row.verdict + (f" ({doubt})" if doubt else "")
    why = ""
    if row.verdict in ("weaker", "stronger", "differs"):
        why = figure.why.get(row.verdict, "Not explained yet.")
    if row.collapsed is not None:
        lost = row.collapsed
        some = f" in {lost.seeds} of {lost.of} seeds" if lost.seeds < lost.of else ""
        there = "there " if some else ""
        why = f"The model unlearned its task{some}: accuracy {there}{percent(lost.accuracy, 1)}."
        why += f" {ZERO_REWARD}" if row.zero_reward else ""
    if quick and row.seeds:
        verdict, why = "none: a smoke run", ""
    return (
        figure.says,
        figure.where,
        figure.paper,
        figure_text(row) + (against if row.ours else ""),
        _sample(row),
        _range(row),
        verdict,
        why,
    )


def figure_text(row: Comparison) -> str:
    """Our mean in its unit, the bounds without it; a dash where nothing was measured."""
    if row.ours is None:
        return NOTHING
    bound = f"{row.censored} " if row.censored else ""
    mean, _, bounds = interval_text(row.ours, lambda value: write(row, value)).partition(" [")
    return bound + mean + (f" [{bounds.replace(POINTS, '')}" if bounds else "")


def write(row: Comparison, value: float) -> str:
    """A value in the figure's unit; differences of shares are in percentage points."""
    figure = row.figure
    if figure.against and figure.as_ == "ratio":
        return f"{value:.2f}×"
    if figure.unit == "rounds":
        if not figure.against:
            return f"round {value:.0f}"
        return f"{value:+.1f}".removesuffix(".0") + " rounds"
    if figure.unit != "share":
        return number(value)
    if figure.against:
        return f"{100 * value:+.1f}{POINTS}"
    return percent(value, 1)


def _sample(row: Comparison) -> str:
    if row.ours is None:
        return NOTHING
    return f"{row.seeds} × {row.rounds} rounds" if row.seeds else "card"


def _range(row: Comparison) -> str:
    if row.figure.agrees is None:
        return NOTHING
    low, high = row.figure.agrees
    if high == float("inf"):
        return f"≥ {write(row, low)}"
    if low == float("-inf"):
        return f"≤ {write(row, high)}"
    return f"{write(row, low)} to {write(row, high)}"


def _pivot(rows: Sequence[DefendedRow]) -> Table:
    """Attack success with each defense, one line per attack and topology."""
    columns = list(dict.fromkeys((row.defense, row.on_reject) for row in rows))
    columns.sort(key=lambda column: (column[0] != "none", column))
    lines = []
    for attack, topology in dict.fromkeys((row.attack, row.topology) for row in rows):
        line = [f"{attack}, {topology}"]
        for column in columns:
            those = [
                row
                for row in rows
                if (row.attack, row.topology, row.defense, row.on_reject)
                == (attack, topology, *column)
            ]
            line.append("; ".join(_outcome(row, len(those) > 1) for row in those) or NOTHING)
        lines.append(tuple(line))
    return Table(
        "Attack × defense",
        "Attack success after the last round, mean over seeds (n); for long-answer, which has no "
        "rate, mean completion length in tokens. Where several experiments share a cell, each is "
        "named. Ablations without a defense are left to the table below.",
        ("Attack", *(f"{d}, {r}" if r else d for d, r in columns)),
        tuple(lines),
    )


def _outcome(row: DefendedRow, named: bool) -> str:
    name = f"{row.name}: " if named else ""
    found = row.figures
    if found is None:
        return f"{name}not run yet"
    if found.attack_success is not None:
        value = percent(found.attack_success.end.mean)
    elif found.completion_tokens is not None:
        value = f"{number(found.completion_tokens.end.mean)} tokens"
    else:
        value = NOTHING
    return f"{name}{value} (n = {row.seeds})"


def _theory(found: Sequence[Measured]) -> Table:
    def written(value: float) -> str:
        return f"{value:.2f}"

    return Table(
        "Poisoned share: theory and measurement",
        "Undefended runs, without a KL term. Share: of a group that holds poison. Right: mean "
        "reward of the group's other completions over the run (vertically decoys). Advantage of a "
        "poisoned completion: theory is the exact expectation for groups of G at each round's "
        "rate, all prompts equally hard; measured is what receivers computed. Prompts of unequal "
        "difficulty raise it, most where the share is small: poison gains most where nobody else "
        "is right. Push: share × advantage.",
        ("Experiment", "Topology", "Prompts × group", "n", "Share", "Right", "Advantage, theory",
         "Advantage, measured", "Push, theory", "Attack success"),
        tuple(
            (
                one.name, one.topology, one.round_size, str(one.seeds), percent(one.share, 1),
                percent(one.honest_right), written(one.predicted),
                interval_text(one.advantage, written) if one.advantage else "not recorded",
                written(one.share * one.predicted),
                interval_text(one.success, percent) if one.success else NOTHING,
            )
            for one in found
        ),
    )  # fmt: skip


def _progress(progress: Sequence[tuple[Entry, int]]) -> Table:
    return Table(
        "What has been run",
        "Seeds of each experiment file; headline rows get more seeds than ablations.",
        ("Experiment", "Kind", "Rounds", "Seeds finished"),
        tuple(
            (
                entry.name,
                "headline" if entry.headline else "ablation",
                str(entry.experiment.rounds),
                f"{finished} of {len(entry.seeds)}",
            )
            for entry, finished in progress
        ),
    )
