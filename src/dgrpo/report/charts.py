"""Three charts over rounds: attack success, accuracy, completion length.

A line per experiment, named at its end on the page and in one legend on the picture; a band where
several seeds give a 95 % interval. Nothing here knows whether the reader's screen is light or
dark: the page sets those colours.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import altair as alt
import vl_convert

from dgrpo.escaping import one_line
from dgrpo.report.groups import (
    COMPLETION_TOKENS,
    HELD_OUT_ACCURACY,
    Group,
    Metric,
    Point,
    attack_success,
    training_reward,
)

PALETTE = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8a8a8a")
"""Okabe and Ito's colour-blind-safe hues, less two that vanish on white or black, and a grey."""
DASHES = ([1, 0], [7, 3], [2, 2], [8, 3, 2, 3])
"""Line styles: the next one each time the palette begins again."""

BAND_FROM = 3
"""Seeds from which a band is drawn: of two, Student's t makes one of 12.7 standard errors, which
hides all else. The pointer is told the interval of two as well."""
_LABEL_HEIGHT = 15
"""Pixels that a line of 12-pixel text needs."""
_FEW_ROUNDS = 12
"""Rounds up to which points are shown on the lines."""
_LABEL_LIMIT = 230
"""Pixels; longer labels end in an ellipsis."""


@dataclass(frozen=True, slots=True)
class Panel:
    """What one chart shows."""

    title: str
    caption: str
    metric: Callable[[Group], Metric]
    rate: bool
    """Whether the quantity is a share, drawn from 0 % to 100 %."""


SUCCESS = Panel(
    "Attack success",
    "Share of held-out completions that carry the attack",
    lambda group: attack_success(next(iter(group.measures), None)),
    rate=True,
)
ACCURACY = Panel(
    "Accuracy",
    "Mean reward on held-out prompts",
    lambda _: HELD_OUT_ACCURACY,
    rate=True,
)
LENGTH = Panel(
    "Completion length",
    "Mean tokens in held-out completions",
    lambda _: COMPLETION_TOKENS,
    rate=False,
)
REWARD = Panel(
    "Training reward",
    "Mean reward of honest nodes' completions",
    training_reward,
    rate=True,
)
PANELS = (SUCCESS, ACCURACY, LENGTH)
"""What a report shows."""


def page_chart(panel: Panel, groups: Sequence[Group]) -> dict[str, Any]:
    """A Vega-Lite specification as wide as its container, each line named at its end."""
    points = _points(panel, groups)
    names = [one_line(group.label) for group in groups]
    height = max(230, _LABEL_HEIGHT * (len(names) + 1))
    top = _top(panel, points)
    chart = alt.layer(
        *_lines(panel, points, names, top, legend=None), *_end_labels(points, names, top, height)
    ).properties(
        width="container",
        height=height,
        padding={"left": 5, "top": 8, "bottom": 5, "right": 5},
        autosize=alt.AutoSizeParams(type="fit-x", contains="padding"),
        description=f"{panel.title}. {panel.caption}, over rounds, for {', '.join(names)}.",
    )
    spec: dict[str, Any] = chart.to_dict()
    return spec


def picture(groups: Sequence[Group], scale: float = 2) -> bytes:
    """A PNG of the report's panels side by side."""
    png: bytes = vl_convert.vegalite_to_png(side_by_side(groups, PANELS), scale=scale)
    return png


def drawing(groups: Sequence[Group], panels: Sequence[Panel]) -> bytes:
    """An SVG of `panels` side by side: a tenth of a picture's size, and sharp at any."""
    svg: str = vl_convert.vegalite_to_svg(side_by_side(groups, panels))
    return svg.encode()


def side_by_side(groups: Sequence[Group], panels: Sequence[Panel]) -> dict[str, Any]:
    """A Vega-Lite specification of `panels` in a row on white, with one legend under them."""
    names = [one_line(group.label) for group in groups]
    legend = alt.Legend(
        title=None,
        orient="bottom",
        columns=3,
        labelLimit=320,
        symbolType="stroke",
        symbolOpacity=1,
        symbolSize=500,
        symbolStrokeWidth=3,
    )
    charts = []
    for panel in panels:
        points = _points(panel, groups)
        title = alt.TitleParams(panel.title, subtitle=panel.caption)
        lines = _lines(panel, points, names, _top(panel, points), legend)
        charts.append(alt.layer(*lines).properties(width=290, height=230, title=title))
    chart = (
        alt.hconcat(*charts, spacing=28)
        .configure(background="#ffffff", padding=14, font="Liberation Sans, Arial, sans-serif")
        .configure_axis(labelFontSize=12, titleFontSize=12, titleFontWeight="normal")
        .configure_axisY(titlePadding=8)
        .configure_legend(labelFontSize=13, columnPadding=24, rowPadding=6)
        .configure_title(anchor="start", fontSize=15, subtitleFontSize=11, subtitleColor="#555555")
        .configure_view(stroke=None)
    )
    spec: dict[str, Any] = chart.to_dict()
    return spec


def spread(values: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Places for labels at least `gap` apart, in the order of `values` and near them.

    They stay between `low` and `high` as long as there is room for all.
    """
    order = sorted(range(len(values)), key=lambda index: values[index])
    places = [0.0] * len(values)
    floor = low
    for index in order:
        places[index] = max(values[index], floor)
        floor = places[index] + gap
    ceiling = high
    for index in reversed(order):
        places[index] = min(places[index], ceiling)
        ceiling = places[index] - gap
    return places


def _points(panel: Panel, groups: Sequence[Group]) -> list[dict[str, Any]]:
    return [
        {
            "experiment": one_line(group.label),
            "round": point.round,
            "mean": point.value.mean,
            "low": _or_mean(point, point.value.low),
            "high": _or_mean(point, point.value.high),
            "seeds": point.seeds,
            "samples": point.samples,
        }
        for group in groups
        for point in group.curve(panel.metric(group))
    ]


def _or_mean(point: Point, bound: float | None) -> float | None:
    """A band goes on, as a line, through a point at which all of its seeds are equal."""
    return point.value.mean if bound is None and point.seeds >= BAND_FROM else bound


def _top(panel: Panel, points: list[dict[str, Any]]) -> float:
    """Where the y axis ends: 100 %, or the round number above the highest line and band."""
    ends = [p["high"] if p["seeds"] >= BAND_FROM else p["mean"] for p in points]
    highest = max(ends, default=1.0)
    if panel.rate or highest < 1:  # a length in tokens: less is as good as nothing
        return 1.0
    step = 10.0 ** math.floor(math.log10(highest))
    return step * next(
        top for top in (1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10) if top * step >= highest
    )


def _lines(
    panel: Panel,
    points: list[dict[str, Any]],
    names: list[str],
    top: float,
    legend: alt.Legend | None,
) -> list[alt.Chart]:
    """Band, line and the points that answer the pointer (on the page: there is no legend)."""
    last = max((point["round"] for point in points), default=1)
    form = ".0%" if panel.rate else "~s"
    precise = ".1%" if panel.rate else ".1f"
    base = alt.Chart(alt.InlineData(values=points)).encode(
        x=alt.X(
            "round:Q",
            title="Round",
            scale=alt.Scale(domain=[0, last or 1], nice=False),
            axis=alt.Axis(grid=False, tickMinStep=1, tickCount=6, format="d"),
        ),
        color=_color(names, legend),
    )
    y = alt.Y(
        "mean:Q",
        title=None,
        scale=alt.Scale(domain=[0, top], nice=False),
        axis=alt.Axis(format=form, tickCount=5),
    )
    dash = alt.StrokeDash(
        "experiment:N", scale=alt.Scale(domain=names, range=_styles(names)), legend=legend
    )
    tooltip = [
        alt.Tooltip("experiment:N", title="Experiment"),
        alt.Tooltip("round:Q", title="Round"),
        alt.Tooltip("mean:Q", title=panel.title, format=precise),
        alt.Tooltip("low:Q", title="95 % from", format=precise),
        alt.Tooltip("high:Q", title="to", format=precise),
        alt.Tooltip("seeds:Q", title="Seeds"),
        alt.Tooltip("samples:Q", title="Samples"),
    ]
    layers = [
        base.transform_filter(alt.datum.seeds >= BAND_FROM)
        .mark_area(opacity=0.16, aria=False)
        .encode(y=alt.Y("low:Q"), y2="high:Q"),
        base.mark_line(strokeWidth=2.2, strokeJoin="round", aria=False).encode(
            y=y, strokeDash=dash
        ),
    ]
    few = last <= _FEW_ROUNDS
    if few or legend is None:  # a picture has no pointer to answer
        layers.append(
            base.mark_point(filled=True, size=45, opacity=1 if few else 0, aria=False).encode(
                y=y, tooltip=tooltip
            )
        )
    return layers


def _end_labels(
    points: list[dict[str, Any]], names: list[str], top: float, height: int
) -> list[alt.Chart]:
    """Each line's name beside its end, moved up or down where two would overlap."""
    ends = {point["experiment"]: point for point in points}
    edge = max((point["round"] for point in points), default=1)
    gap = top * _LABEL_HEIGHT / height
    places = spread([end["mean"] for end in ends.values()], gap, 0.0, top)
    labels = [
        {"experiment": name, "round": edge, "end": end["round"], "mean": end["mean"], "place": at}
        for (name, end), at in zip(ends.items(), places, strict=True)
    ]
    base = alt.Chart(alt.InlineData(values=labels)).encode(
        x="round:Q", y="place:Q", color=_color(names, None)
    )
    reaching = [label for label in labels if label["end"] == edge]
    leaders = alt.Chart(alt.InlineData(values=reaching)).encode(
        x="round:Q", y="mean:Q", y2="place:Q", color=_color(names, None)
    )
    return [
        leaders.encode(x2="round:Q").mark_rule(x2Offset=12, opacity=0.7, aria=False),
        base.mark_point(filled=True, size=55, xOffset=14, opacity=1, aria=False),
        alt.Chart(alt.InlineData(values=labels))
        .mark_text(align="left", dx=22, fontSize=12, limit=_LABEL_LIMIT, aria=False)
        .encode(x="round:Q", y="place:Q", text="experiment:N"),
    ]


def _color(names: list[str], legend: alt.Legend | None) -> alt.Color:
    colors = [PALETTE[index % len(PALETTE)] for index in range(len(names))]
    return alt.Color("experiment:N", scale=alt.Scale(domain=names, range=colors), legend=legend)


def _styles(names: list[str]) -> list[list[int]]:
    return [DASHES[index // len(PALETTE) % len(DASHES)] for index in range(len(names))]
