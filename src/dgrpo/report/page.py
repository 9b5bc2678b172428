"""The report as one self-contained page, and the same charts as a picture.

The page fetches nothing and runs only the two scripts that its content-security policy names by
their hash, without `eval`. What peers wrote is escaped by the template, and nothing of it reaches
a script except as JSON text that cannot close its element.
"""

from __future__ import annotations

import base64
import hashlib
import json
import shlex
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import altair as alt
import vl_convert
from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from dgrpo.errors import DgrpoError
from dgrpo.escaping import visible
from dgrpo.report.charts import PANELS, page_chart, picture
from dgrpo.report.groups import Group, attack_success, group_runs
from dgrpo.report.settings import settings_text
from dgrpo.report.tables import (
    COLUMNS,
    Rate,
    Stopped,
    change,
    change_text,
    experiment_row,
    percent,
    rate_text,
)
from dgrpo.runs.files import write_file
from dgrpo.runs.reader import Example, Run, Screening


@dataclass(frozen=True, slots=True)
class Sample:
    """A completion to read, with what kind it is."""

    kind: str
    example: Example


@dataclass(frozen=True, slots=True)
class Details:
    """What the page folds away under one experiment."""

    label: str
    claim: str
    command: str
    settings: str
    folders: tuple[str, ...]
    measures: tuple[tuple[str, str], ...]
    """(measure, start → end)"""
    defenses: tuple[tuple[str, str, str, str], ...]
    """(defense, poisoned stopped, honest rejected)"""
    samples: tuple[Sample, ...]


def write_report(runs: Sequence[Run], out: Path, png: Path | None = None) -> None:
    """Write the page to `out` and, where `png` is given, the charts as a picture.

    Raises DgrpoError where there are no runs or a file cannot be written.
    """
    if not runs:
        raise DgrpoError("a report needs at least one run", remedy="dgrpo run, then report")
    groups = group_runs(runs)
    write_file(out, render_page(groups).encode())
    if png is not None:
        write_file(png, picture(groups))


def render_page(groups: Sequence[Group]) -> str:
    """The whole page as text."""
    parts = files("dgrpo.report")
    scripts = [vega_script(), (parts / "page.js").read_text("utf-8")]
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    environment.filters["visible"] = visible
    template = environment.from_string((parts / "page.html.jinja").read_text("utf-8"))
    rows = [experiment_row(group) for group in groups]
    return template.render(
        policy=content_policy(scripts),
        style=Markup((parts / "page.css").read_text("utf-8")),
        scripts=[Markup(script) for script in scripts],
        charts=inline_json([page_chart(panel, groups) for panel in PANELS]),
        panels=PANELS,
        headings=list(COLUMNS),
        rows=[[cell(row) for cell in COLUMNS.values()] for row in rows],
        experiments=[_details(group) for group in groups],
        runs=sum(len(group.runs) for group in groups),
    )


def inline_json(value: Any) -> Markup:
    """JSON that is safe inside a `<script>` element: it holds no `<`, `>`, `&` or U+2028/9."""
    text = json.dumps(value, allow_nan=False)
    for char in "<>&":
        text = text.replace(char, f"\\u{ord(char):04x}")
    return Markup(text)


def _details(group: Group) -> Details:
    first = group.runs[0]
    seeds = " ".join(str(run.seed) for run in group.runs)
    return Details(
        label=group.label,
        claim=str(first.settings.get("claim", "")),
        command=f"dgrpo run {shlex.quote(f'{first.name}.toml')} --seeds {seeds}"
        + (f" --rounds {group.rounds}" if group.rounds else ""),
        settings=settings_text(first.settings),
        folders=tuple(f"{run.folder.parent.name}/{run.folder.name}" for run in group.runs),
        measures=tuple(
            (name, change_text(change(group, attack_success(name)), percent))
            for name in group.measures
        ),
        defenses=_defenses(group),
        samples=_samples(group),
    )


def _defenses(group: Group) -> tuple[tuple[str, str, str, str], ...]:
    by_seed = group.screened()
    screened = [one for lines in by_seed for one in lines]
    poisoned = sum(counts.poisoned for counts in screened)
    honest = sum(counts.honest for counts in screened)
    all_ = poisoned + honest + sum(counts.decoy for counts in screened)
    names = dict.fromkeys(name for counts in screened for name in counts.by_defense)
    found = []
    for name in names:
        each = [counts.by_defense[name] for counts in screened if name in counts.by_defense]
        stopped, rejected = (
            Rate.of(by_seed, label, group.receivers, _counted(name, count))
            for label, count in (("poisoned", "poisoned_stopped"), ("honest", "honest_rejected"))
        )
        undecided = sum((Counter(one.undecided) for one in each), Counter[str]())
        found.append((name, rate_text(stopped), rate_text(rejected), _undecided(undecided, all_)))
    return tuple(found)


def _counted(defense: str, count: str) -> Stopped:
    """Reads one count of one defense off a round."""

    def read(screened: Screening) -> int:
        own = screened.by_defense.get(defense)
        return int(getattr(own, count)) if own else 0

    return read


def _undecided(kinds: Counter[str], completions: int) -> str:
    """What a defense could not judge: its share of everything, and by kind."""
    if not kinds:
        return "none"
    each = ", ".join(f"{kind} {count}" for kind, count in kinds.most_common())
    return f"{percent(kinds.total() / completions, 1)} ({each})"


def _samples(group: Group) -> tuple[Sample, ...]:
    """One clean and one poisoned completion of the last round; two of any kind where unmarked."""
    examples = [example for lines in group.lines() for example in lines[-1].examples]
    kinds = {"Clean": False, "Poisoned": True}
    marked = [
        Sample(kind, next(example for example in examples if example.poisoned is poisoned))
        for kind, poisoned in kinds.items()
        if any(example.poisoned is poisoned for example in examples)
    ]
    return tuple(marked or [Sample("Sample", example) for example in examples[:2]])


@cache
def vega_script() -> str:
    """Vega, Vega-Lite and vega-embed as one script; bundled without the network."""
    version = ".".join(alt.SCHEMA_VERSION.removeprefix("v").split(".")[:2])
    bundle: str = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;", version)
    return bundle.replace("</script", "<\\/script").replace("<!--", "<\\!--")


def content_policy(scripts: list[str]) -> str:
    """Only these scripts run; styles are inline because Vega sets them on what it draws."""
    hashes = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in scripts]
    allowed = " ".join(f"'sha256-{digest}'" for digest in hashes)
    return (
        f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )
