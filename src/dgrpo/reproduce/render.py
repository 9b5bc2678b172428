"""The comparison as Markdown and as one self-contained HTML file.

The HTML page fetches nothing and runs only the scripts that its policy names.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from dgrpo.escaping import visible
from dgrpo.report.page import content_policy, inline_json, vega_script
from dgrpo.report.tables import NOTHING
from dgrpo.reproduce.curves import FOLDER, Drawn
from dgrpo.reproduce.page import CURVES, PaperPage, Table
from dgrpo.reproduce.share_charts import panels, share_chart


def markdown(page: PaperPage, picture: str, folder: str = FOLDER) -> str:
    """The page as Markdown. picture: link to the charts of poisoned share; folder: of the others.

    They are written by whoever writes the page.
    """
    parts = ["# The paper's figures and ours"]
    if page.warning:
        parts.append(f"> **{page.warning}**")
    parts += page.introduction
    parts += [_markdown_table(table) for table in page.comparisons]
    parts += ["## Over rounds", CURVES] if page.curves else []
    for figure in page.curves:
        title = visible(figure.curves.title)
        parts += [f"### {title}", f"![{title}]({folder}/{figure.file})"]
        parts += [not_drawn(figure)] if figure.missing else []
    parts += [_markdown_table(page.pivot), _markdown_table(page.defended)]
    parts += [_markdown_table(page.theory)]
    parts += [f"![Poisoned share: theory and measured points]({picture})"]
    parts += [_markdown_table(page.progress)]
    return "\n\n".join(parts) + "\n"


def not_drawn(figure: Drawn) -> str:
    """Which lines a figure lacks."""
    return f"Not run yet: {', '.join(map(visible, figure.missing))}."


def _markdown_table(table: Table) -> str:
    lines = [f"## {table.title}", ""]
    if table.note:
        lines += [table.note, ""]
    lines.append(_markdown_row(table.headings))
    lines.append("|" + "---|" * len(table.headings))
    lines += [_markdown_row(row) for row in table.rows] or [
        _markdown_row((NOTHING,) * len(table.headings))
    ]
    return "\n".join(lines)


def _markdown_row(row: Sequence[str]) -> str:
    shown = (visible(cell).replace("\n", " ").replace("|", "\\|") for cell in row)
    return "| " + " | ".join(shown) + " |"


def html(page: PaperPage) -> str:
    """The page as one HTML file that needs nothing else."""
    report, own = files("dgrpo.report"), files("dgrpo.reproduce")
    scripts = [vega_script(), (report / "page.js").read_text("utf-8")]
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    environment.filters["visible"] = visible
    template = environment.from_string((own / "paper.html.jinja").read_text("utf-8"))
    shown = [panel for panel in panels(page.measured) if panel.curves or panel.points]
    charts = [chart for figure in page.curves for chart in figure.charts()]
    charts += [share_chart(panel).to_dict() for panel in shown]
    return template.render(
        page=page,
        policy=content_policy(scripts),
        style=Markup((report / "page.css").read_text("utf-8")),
        scripts=[Markup(script) for script in scripts],
        charts=inline_json(charts),
        panels=shown,
        about_curves=CURVES,
        not_drawn=not_drawn,
    )
