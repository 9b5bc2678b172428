"""Charts of poisoned share: theory as curves, what runs recorded as points with intervals.

The push in a vertical group (paper B.1) and in a horizontal one (B.2); attack success against the
poisoned share of a group, and against the share of malicious nodes.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import altair as alt
import vl_convert

from dgrpo.measurement.theory import exact_push, horizontal_push, vertical_push
from dgrpo.report.charts import PALETTE
from dgrpo.reproduce.poisoned_share import Measured

RIGHT = (0.2, 0.5, 0.8)
"""Shares of right honest completions for which B.2 is drawn."""
_SHARES = tuple(n / 200 for n in range(1, 201))


@dataclass(frozen=True, slots=True)
class SharePanel:
    """One chart: curves by name, points with intervals, and what the axes are."""

    title: str
    caption: str
    x: str
    y: str
    percent: bool
    curves: tuple[tuple[str, tuple[tuple[float, float], ...]], ...]
    """(name, points); drawn as lines."""
    points: tuple[tuple[str, str, float, float, float | None, float | None], ...]
    """(series, experiment, x, y, low, high); drawn as marks with an interval."""


def panels(found: Sequence[Measured]) -> list[SharePanel]:
    """The four panels; the last two hold only what has been run."""
    vertical, horizontal = (
        [one for one in found if one.topology == topology]
        for topology in ("vertical", "horizontal")
    )
    return [
        SharePanel(
            "Push in a vertical group",
            "Poison beside decoys of reward 0 (paper B.1)",
            "Poisoned share p of the group", "p × advantage", False,
            (
                ("scaled", ((0.0, 0.0), *((p, vertical_push(p).total) for p in _SHARES))),
                ("unscaled", ((0.0, 0.0), *((p, vertical_push(p, "none").total) for p in _SHARES))),
                (
                    "scaled, exact for G = 12",
                    tuple((k / 12, exact_push(k, 12).total) for k in range(1, 13)),
                ),
            ),
            _pushes(vertical),
        ),
        SharePanel(
            "Push in a horizontal group",
            "Poison beside honest completions, right with probability a (paper B.2)",
            "Poisoned share p of the group", "p × advantage", False,
            (
                *(
                    (f"a = {a}", ((0.0, 0.0), *((p, horizontal_push(p, a).total) for p in _SHARES)))
                    for a in RIGHT
                ),
                (
                    "a = 0.5, unscaled",
                    ((0.0, 0.0), *((p, horizontal_push(p, 0.5, "none").total) for p in _SHARES)),
                ),
            ),
            _pushes(horizontal),
        ),
        SharePanel(
            "Attack success, by poisoned share of a group",
            "Vertical; at the end, with 95 % interval over seeds",
            "Poisoned share p of the group", "Attack success", True, (),
            _sweep(vertical, "share"),
        ),
        SharePanel(
            "Attack success, by share of malicious nodes",
            "At the end, with 95 % interval over seeds; the smallest shares: larger rounds",
            "Share of malicious nodes", "Attack success", True, (),
            _sweep(found, "malicious_share"),
        ),
    ]  # fmt: skip


def _pushes(found: Sequence[Measured]) -> tuple[Any, ...]:
    return tuple(
        (
            "measured",
            f"{one.name}, a = {one.honest_right:.2f}",
            one.share,
            *(
                None if value is None else one.share * value
                for value in (one.advantage.mean, one.advantage.low, one.advantage.high)
            ),
        )
        for one in found
        if one.advantage is not None
    )


def _sweep(found: Sequence[Measured], axis: str) -> tuple[Any, ...]:
    """Experiments of which at least two differ in nothing but this share."""
    other = "malicious_share" if axis == "share" else "share"
    families: dict[tuple[str, object], list[Measured]] = defaultdict(list)
    for one in found:
        fixed = round(getattr(one, other), 2) if one.topology == "vertical" else None
        families[one.series, fixed].append(one)
    return tuple(
        (_family(members), one.name, getattr(one, axis), one.success.mean, one.success.low,
         one.success.high)
        for members in families.values()
        if len({round(getattr(one, axis), 3) for one in members}) > 1
        for one in members
        if one.success is not None
    )  # fmt: skip


def _family(members: Sequence[Measured]) -> str:
    """The shortest name: `text-horizontal` of it and its shares."""
    return min((one.name for one in members), key=len)


def share_chart(panel: SharePanel, width: int | str = "container") -> Any:
    """The panel as an Altair chart, with a legend below; colours as in the report's charts."""
    names = [name for name, _ in panel.curves]
    names += [series for series in dict.fromkeys(p[0] for p in panel.points) if series not in names]
    colors = alt.Color(
        "series:N",
        scale=alt.Scale(domain=names, range=[PALETTE[i % len(PALETTE)] for i in range(len(names))]),
        legend=alt.Legend(title=None, orient="bottom", columns=3, labelLimit=260, symbolOpacity=1),
    )
    form = "%" if panel.percent else ".2f"
    x = alt.X(
        "x:Q",
        title=panel.x,
        scale=alt.Scale(domain=[0, 1] if panel.curves else alt.Undefined, zero=True),
        axis=alt.Axis(format="%", grid=False, tickCount=6),
    )
    y = alt.Y(
        "y:Q",
        title=panel.y,
        scale=alt.Scale(domain=[0, 1 if panel.percent else 0.6], clamp=True),
        axis=alt.Axis(format=form, tickCount=5),
    )
    curve = [
        {"series": name, "x": at, "y": value}
        for name, points in panel.curves
        for at, value in points
    ]
    marks = [
        {"series": series, "experiment": label, "x": at, "y": mean, "low": low, "high": high}
        for series, label, at, mean, low, high in panel.points
    ]
    tooltip = [
        alt.Tooltip("experiment:N", title="Experiment"),
        alt.Tooltip("x:Q", title=panel.x, format=".1%"),
        alt.Tooltip("y:Q", title=panel.y, format=".1%" if panel.percent else ".3f"),
        alt.Tooltip("low:Q", title="95 % from", format=form),
        alt.Tooltip("high:Q", title="to", format=form),
    ]
    points = alt.Chart(alt.InlineData(values=marks))
    layers = [
        alt.Chart(alt.InlineData(values=curve))
        .mark_line(strokeWidth=2, aria=False)
        .encode(x=x, y=y, color=colors),
        points.mark_rule(strokeWidth=1.5, aria=False).encode(
            x=x, y=alt.Y("low:Q"), y2="high:Q", color=colors
        ),
        points.mark_point(filled=True, size=70, opacity=1, aria=False).encode(
            x=x, y=y, color=colors, tooltip=tooltip
        ),
    ]
    if panel.percent:
        layers[0] = points.mark_line(strokeWidth=1.5, opacity=0.6, aria=False).encode(
            x=x, y=y, color=colors
        )
    return alt.layer(*layers).properties(
        width=width, height=240, description=f"{panel.title}. {panel.caption}."
    )


def share_picture(found: Sequence[Measured], scale: float = 1.5) -> bytes:
    """A PNG of the panels, two in a row, on white; panels without anything to show are left out."""
    charts = [
        share_chart(panel, 380).properties(
            title=alt.TitleParams(panel.title, subtitle=panel.caption)
        )
        for panel in panels(found)
        if panel.curves or panel.points
    ]
    whole = (
        alt.concat(*charts, columns=2, spacing=34)
        .resolve_scale(color="independent")
        .configure(background="#ffffff", padding=14, font="Liberation Sans, Arial, sans-serif")
        .configure_axis(labelFontSize=12, titleFontSize=12, titleFontWeight="normal")
        .configure_legend(labelFontSize=12)
        .configure_title(anchor="start", fontSize=15, subtitleFontSize=11, subtitleColor="#555555")
        .configure_view(stroke=None)
    )
    png: bytes = vl_convert.vegalite_to_png(whole.to_dict(), scale=scale)
    return png
