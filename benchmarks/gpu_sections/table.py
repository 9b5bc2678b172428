"""The results as Markdown: tables to read, with what was left out and what failed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any


def markdown(whole: dict[str, Any]) -> str:
    """The page of one call."""
    machine = whole["machine"]
    versions = ", ".join(f"{name} {v}" for name, v in machine["versions"].items() if v)
    memory = f", {machine['memory_mb'] / 1024:.0f} GiB" if "memory_mb" in machine else ""
    lines = [
        f"# {machine['card']}, {machine['date']}",
        "",
        f"Made by `make gpu` in {whole['seconds']:.0f} s{memory}, {machine['cpus']} CPUs; "
        f"Python {machine['python']}, {versions}.",
    ]
    if whole["dry"]:
        lines += ["", "**A dry run at tiny sizes: these figures say nothing.**"]
    for name, section in whole["sections"].items():
        lines += ["", f"## {name}", "", *TABLES[name](section["measured"])]
        lines += [f"- left out: {what}: {why}" for what, why in section["skipped"].items()]
        lines += [f"- **failed**: {what}: {why}" for what, why in section["failed"].items()]
    if whole["unfinished"]:
        lines += ["", f"Not yet run: {', '.join(whole['unfinished'])}."]
    return "\n".join(lines).rstrip() + "\n"


def suite(measured: dict[str, Any]) -> Iterator[str]:
    """Counts, and why tests were skipped."""
    for name, one in measured.items():
        counts = [f"{len(one[kind])} {kind}" for kind in ("passed", "failed", "skipped")]
        yield f"{name}: {', '.join(counts)}"
        yield ""
        yield from (f"- skipped: {test}: {why}" for test, why in one["skipped"].items())


def draws(measured: dict[str, Any]) -> Iterator[str]:
    """How many numbers or draws differ between the devices."""
    yield from header("what", "compared", "different")
    for name, one in measured.items():
        whole = f" of {one['of']} completions" if "of" in one else ""
        yield row(name, f"{one['compared']:,}", f"{one['different']:,}{whole}")
    yield ""


def rounds(measured: dict[str, Any]) -> Iterator[str]:
    """Seconds, memory and phases."""
    for name, one in measured.items():
        phases = ", ".join(f"{phase} {seconds:.2f}" for phase, seconds in one["phases"].items())
        yield f"- {name}: **{one['seconds']:.2f} s** a round, median of {one['rounds']} ({phases}),"
        yield f"  {one['completions']} completions of {one['tokens']:,} tokens together,"
        yield f"  peak memory {one['peak_mb'] / 1024:.1f} GiB"
        if "screening_share" in one:
            outside = one["honest_outside"]
            yield f"- screening is {100 * one['screening_share']:.1f} % of the round;"
            yield f"  {outside['outside']} of {outside['completions']} honest completions hold a"
            yield "  token outside the receiver's 50 likeliest"


def numerics(measured: dict[str, Any]) -> Iterator[str]:
    """A row per sender and receiver."""
    samplings = ("k = 20", "k = 50", "top-p 0.95")
    yield "Outside: honest tokens (and completions) outside the receiver's own set. Margins: the"
    yield "largest finite one with a hard and with a soft edge, and how many are infinite."
    sides = [f"{sampling} outside" for sampling in samplings]
    edges = [f"{sampling} margins, hard / soft" for sampling in samplings[:2]]
    before = ""
    for name, one in measured.items():
        sender, _, receiver = name.partition(", seen in ")
        if sender != before:
            yield from ("", f"### {sender}", "")
            yield from header(
                "seen in", "tokens", "log p apart: median / 99.9 % / most", *sides, *edges
            )
            before = sender
        apart = one["logprob_apart"]
        yield row(
            receiver,
            f"{one['tokens']:,}",
            f"{apart['0.5']:.1e} / {apart['0.999']:.1e} / {apart['largest']:.1e}",
            *(outside(one.get(sampling, {})) for sampling in samplings),
            *(margins(one.get(sampling, {})) for sampling in samplings[:2]),
        )
    yield ""


def outside(one: dict[str, Any]) -> str:
    """Tokens of tokens (completions of completions)."""
    if not one:
        return "–"
    tokens = f"{one['outside']:,} of {one['tokens']:,}"
    return f"{tokens} ({one['completions_outside']} of {one['completions']})"


def margins(one: dict[str, Any]) -> str:
    """Hard / soft; infinite ones beside."""
    if "hard_margins" not in one:
        return "–"
    parts = []
    for kind in ("hard_margins", "soft_margins"):
        beyond = f" + {one[kind]['infinite']}×∞" if one[kind]["infinite"] else ""
        parts.append(f"{one[kind]['largest_finite']:.2g}{beyond}")
    return " / ".join(parts)


def header(*names: str) -> list[str]:
    """The two lines that begin a table."""
    return [row(*names), "|" + "---|" * len(names)]


def row(*cells: str) -> str:
    """A line of a table."""
    return "| " + " | ".join(cells) + " |"


TABLES = {
    "suite": suite,
    "draws": draws,
    "round-dgrpo": rounds,
    "round-trl": rounds,
    "numerics": numerics,
}
