"""The figures over rounds: about experiments that exist, drawn from what is finished."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from tests.reproduce.finished_runs import experiment, write_finished

from dgrpo.errors import DgrpoError
from dgrpo.reproduce.curves import PANELS, Drawn, drawn
from dgrpo.reproduce.matrix import load_entries
from dgrpo.reproduce.page import paper_page
from dgrpo.reproduce.paper import Curves, load_paper
from dgrpo.reproduce.render import html, markdown
from dgrpo.runs.reader import Run, read_run

ROOT = Path(__file__).parents[2]


@pytest.fixture
def runs(tmp_path: Path) -> dict[str, dict[int, Run]]:
    """Three seeds of an attack, two of its control, none of its defense."""
    attacked, clean = experiment("attacked"), experiment("clean", attack={"name": "honest"})
    return {
        "attacked": {s: read_run(write_finished(tmp_path, attacked, s, 0.9)) for s in range(3)},
        "clean": {s: read_run(write_finished(tmp_path, clean, s, 0.0)) for s in range(2)},
        "defended": {},
    }


def figure(runs: dict[str, dict[int, Run]], **changes: object) -> Drawn:
    lines = {"no attack": "clean", "attack": "attacked", "a <b>check</b>": "defended"}
    asked = Curves(**{"id": "one", "title": "TEXT <i>here</i>", "lines": lines, **changes})
    nothing = Curves(id="two", title="Nothing yet", lines={"a check": "defended"})
    (one,) = drawn([nothing, asked], runs)
    return one


def test_every_line_names_an_experiment_and_every_headline_attack_is_drawn() -> None:
    paper = load_paper()
    entries, _ = load_entries(ROOT / "experiments", (), 5, paper.matrix)
    named = {name for curves in paper.curves for name in curves.lines.values()}
    assert named <= {entry.name for entry in entries}
    variants = {"code-horizontal-easy", "silent-horizontal", "silent-vertical"}
    assert {entry.name for entry in entries if entry.headline} - named == variants


def test_a_line_says_its_seeds_and_the_figure_what_it_lacks(
    runs: dict[str, dict[int, Run]],
) -> None:
    one = figure(runs)
    assert [group.label for group in one.groups] == ["no attack (n = 2)", "attack (n = 3)"]
    assert one.missing == ("a <b>check</b>",)
    svg = one.drawing().decode()
    assert svg.startswith("<svg")
    for text in ("attack (n = 3)", "Attack success", "Accuracy", "Training reward"):
        assert text in svg


@pytest.mark.parametrize("chart", PANELS)
def test_every_kind_of_chart_is_drawn(runs: dict[str, dict[int, Run]], chart: str) -> None:
    assert PANELS[chart].title in figure(runs, charts=[chart]).drawing().decode()


def test_both_pages_show_it_and_every_place_has_its_chart(runs: dict[str, dict[int, Run]]) -> None:
    page = paper_page([], [], [], [], [figure(runs)])
    text = markdown(page, "x.png", "drawings")
    assert "](drawings/one.svg)" in text
    assert "Not run yet: a <b>check</b>." in text
    web = html(page)
    (specs,) = re.findall(r'<script type="application/json" id="charts">(.*?)</script>', web, re.S)
    assert len(json.loads(specs)) == web.count('<div class="chart">')
    assert "<b>check" not in web
    assert "<i>here" not in web


def test_two_figures_of_one_name_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "paper.toml"
    same = '[[curves]]\nid = "a"\ntitle = "t"\nlines = {x = "y"}\n'
    file.write_text("figure = []\n" + same + same + "[matrix]\nheadline = []\n")
    with pytest.raises(DgrpoError, match="two figures are called 'a'"):
        load_paper(file)
    file.write_text("figure = []\n" + same.replace("lines", "line") + "[matrix]\nheadline = []\n")
    with pytest.raises(DgrpoError, match="did you mean 'lines'"):
        load_paper(file)
