"""The figures over rounds: what `[[curves]]` of `paper.toml` asks for, from finished runs.

Lines, bands and colours are the report's. Leaves out: what the numbers at the end say of the paper
(`compare`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dgrpo.report.charts import ACCURACY, LENGTH, REWARD, SUCCESS, Panel, drawing, page_chart
from dgrpo.report.groups import Group, attack_success
from dgrpo.reproduce.paper import Curves
from dgrpo.runs.reader import Run

FOLDER = "curves"
"""Where the drawings lie, beside the page."""
PANELS = {
    "success": SUCCESS,
    "length": LENGTH,
    "accuracy": ACCURACY,
    "reward": REWARD,
    "probe": Panel(
        "Accuracy where it matters",
        "Mean reward on the held-out questions that the attack is about",
        lambda group: attack_success(f"{next(iter(group.measures), None)}/accuracy"),
        rate=True,
    ),
}
"""What a chart of `Curves.charts` shows."""


@dataclass(frozen=True, slots=True)
class Drawn:
    """A figure and the runs that its lines are drawn from."""

    curves: Curves
    groups: tuple[Group, ...]
    """One for each line of which a run is finished, with the number of its seeds in its label."""
    missing: tuple[str, ...]
    """Lines of which nothing was run yet."""

    @property
    def panels(self) -> tuple[Panel, ...]:
        """Its charts, from left to right."""
        return tuple(PANELS[name] for name in self.curves.charts)

    @property
    def file(self) -> str:
        """Name of its drawing."""
        return f"{self.curves.id}.svg"

    def drawing(self) -> bytes:
        """An SVG of the charts side by side."""
        return drawing(self.groups, self.panels)

    def charts(self) -> list[dict[str, Any]]:
        """The charts for a page."""
        return [page_chart(panel, self.groups) for panel in self.panels]


def drawn(asked: Sequence[Curves], runs: Mapping[str, Mapping[int, Run]]) -> tuple[Drawn, ...]:
    """Every figure of which a line can be drawn. runs: by experiment name, then by seed."""
    figures = (
        Drawn(
            curves,
            tuple(
                Group(f"{line} (n = {len(runs[name])})", tuple(runs[name].values()))
                for line, name in curves.lines.items()
                if runs.get(name)
            ),
            tuple(line for line, name in curves.lines.items() if not runs.get(name)),
        )
        for curves in asked
    )
    return tuple(figure for figure in figures if figure.groups)
