"""The charts: every experiment a line, a band where seeds allow one, labels that do not collide."""

from __future__ import annotations

import struct
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.report.run_folders import round_line, write_run

from dgrpo.report.charts import PANELS, drawing, page_chart, picture, spread
from dgrpo.report.groups import Group, group_runs
from dgrpo.runs.reader import find_runs


def groups(folder: Path) -> list[Group]:
    return group_runs(find_runs([folder]))


def points(spec: dict[str, Any]) -> list[dict[str, Any]]:
    """The values that the lines are drawn from."""
    drawn = next(layer for layer in spec["layer"] if layer["mark"]["type"] == "line")
    values: list[dict[str, Any]] = spec["datasets"][drawn["data"]["name"]]
    return values


def test_every_experiment_is_a_line_over_all_rounds(tmp_path: Path) -> None:
    write_run(tmp_path, "one", rounds=4)
    write_run(tmp_path, "two", rounds=4)
    for panel in PANELS:
        drawn = points(page_chart(panel, groups(tmp_path)))
        assert {(point["experiment"], point["round"]) for point in drawn} == {
            (name, number) for name in ("one", "two") for number in range(5)
        }


@pytest.mark.parametrize("seeds", [1, 2, 3])
def test_the_pointer_is_told_an_interval_from_two_seeds_and_a_band_is_drawn_from_three(
    tmp_path: Path, seeds: int
) -> None:
    for seed in range(seeds):
        write_run(tmp_path, seed=seed, rounds=2)
    drawn = points(page_chart(PANELS[1], groups(tmp_path)))
    assert all((point["low"] is not None) == (seeds >= 2) for point in drawn)
    svg = drawing(groups(tmp_path), PANELS[1:2]).decode()
    assert ('<g class="mark-area' in svg) == (seeds >= 3)


def test_a_band_goes_on_through_a_point_at_which_all_seeds_are_equal(tmp_path: Path) -> None:
    for seed in range(3):
        lines = [round_line(n, 0.5, 0.25 + 0.1 * n * seed) for n in range(3)]
        write_run(tmp_path, seed=seed, lines=lines, rounds=2)
    for panel in PANELS:
        for point in points(page_chart(panel, groups(tmp_path))):
            assert point["low"] <= point["mean"] <= point["high"]
    assert picture(groups(tmp_path)).startswith(b"\x89PNG")


def test_rates_are_drawn_from_nothing_to_all(tmp_path: Path) -> None:
    write_run(tmp_path)
    for panel in (panel for panel in PANELS if panel.rate):
        line = page_chart(panel, groups(tmp_path))["layer"][1]["encoding"]["y"]
        assert line["scale"]["domain"] == [0, 1]
        assert line["axis"]["format"].endswith("%")


@given(
    st.lists(st.floats(0, 1), min_size=1, max_size=16),
)
def test_labels_keep_their_distance_order_and_bounds(values: list[float]) -> None:
    gap = 1 / 16
    places = spread(values, gap, 0.0, 1.0)
    ordered = sorted(places)
    assert all(b - a >= gap - 1e-9 for a, b in pairwise(ordered))
    assert ordered[0] >= -1e-9
    assert ordered[-1] <= 1 + 1e-9
    by_value = sorted(range(len(values)), key=lambda index: values[index])
    assert [places[index] for index in by_value] == ordered


def test_labels_with_room_stay_where_they_are() -> None:
    assert spread([0.9, 0.1, 0.5], 0.1, 0.0, 1.0) == [0.9, 0.1, 0.5]


def test_the_picture_is_a_png_of_three_panels_side_by_side(tmp_path: Path) -> None:
    write_run(tmp_path, "one")
    png = picture(groups(tmp_path), scale=1)
    width, height = struct.unpack(">II", png[16:24])
    assert png.startswith(b"\x89PNG")
    assert width > 2 * height


def test_runs_without_any_measurement_can_be_drawn(tmp_path: Path) -> None:
    write_run(tmp_path, "started", lines=[], finished=False)
    write_run(tmp_path, "base", lines=[round_line(0, None, 0.0, completion_tokens=0.0)])
    assert picture(groups(tmp_path), scale=1)
    assert len(points(page_chart(PANELS[0], groups(tmp_path)))) == 0
