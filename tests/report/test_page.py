"""The page: whole in one file, readable without a network, and deaf to what peers wrote."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

import pytest
from tests.report.run_folders import HOSTILE, round_line, settings, write_run
from tests.report.tags import Tags

from dgrpo.errors import DgrpoError
from dgrpo.experiment import experiment_from, load_experiment
from dgrpo.report.groups import group_runs
from dgrpo.report.page import inline_json, render_page, write_report
from dgrpo.report.settings import settings_text
from dgrpo.runs.reader import find_runs


def render(folder: Path) -> str:
    return render_page(group_runs(find_runs([folder])))


def test_the_page_points_at_nothing_outside_itself(tmp_path: Path) -> None:
    write_run(tmp_path)
    for _, attributes in Tags(render(tmp_path)).found:
        for attribute in ("src", "href", "action", "data"):
            assert (attributes.get(attribute) or "data:").startswith(("data:", "#"))


def test_only_the_two_scripts_of_the_page_may_run(tmp_path: Path) -> None:
    write_run(tmp_path)
    tags = Tags(render(tmp_path))
    policy = next(meta["content"] or "" for meta in tags.named("meta") if "http-equiv" in meta)
    scripts = next(part for part in policy.split("; ") if part.startswith("script-src"))
    assert policy.startswith("default-src 'none'")
    assert len(re.findall(r"'sha256-[\w+/=]+'", scripts)) == 2
    assert "unsafe" not in scripts


def test_the_same_runs_make_the_same_page(tmp_path: Path) -> None:
    write_run(tmp_path, rounds=2)
    assert render(tmp_path) == render(tmp_path)


def test_hostile_text_adds_no_tag(tmp_path: Path) -> None:
    tame, wild = tmp_path / "tame", tmp_path / "wild"
    calm = [{"question": "?", "text": "4", "reward": 1.0}] * 2
    write_run(tame, lines=[round_line(1, 0.5, 0.3, examples=calm)])
    sharp = [{"question": HOSTILE, "text": HOSTILE, "reward": 1.0}] * 2
    write_run(wild, lines=[round_line(1, 0.5, 0.3, examples=sharp)], called=HOSTILE, claim=HOSTILE)
    tags = [[tag for tag, _ in Tags(render(folder)).found] for folder in (tame, wild)]
    assert tags[0] == tags[1]


def test_inlined_json_cannot_close_its_element() -> None:
    shown = str(inline_json({"label": HOSTILE}))
    assert not set("<>&\u2028\u2029") & set(shown)
    assert json.loads(shown) == {"label": HOSTILE}


def test_a_poisoned_and_a_clean_sample_are_shown_where_they_are_marked(tmp_path: Path) -> None:
    examples = [
        {"question": "?", "text": f"text {index}", "reward": 0.0, "poisoned": poisoned}
        for index, poisoned in enumerate((True, True, False))
    ]
    write_run(tmp_path, lines=[round_line(0, 0.5, 0.3, examples=examples)])
    page = render(tmp_path)
    assert re.findall(r"<h4>(\w+)", page) == ["Clean", "Poisoned"]
    assert "text 2</pre>" in page
    assert "text 0</pre>" in page
    assert "text 1</pre>" not in page


def test_the_command_repeats_the_seeds_that_were_read(tmp_path: Path) -> None:
    for seed in (0, 3):
        write_run(tmp_path, seed=seed)
    assert "dgrpo run text-horizontal.toml --seeds 0 3 --rounds" in render(tmp_path)


def test_the_settings_are_a_file_for_the_command(tmp_path: Path) -> None:
    """Of an experiment with overrides no file may exist."""
    wanted = experiment_from({"name": "mine", "learner": {"learning_rate": 5e-4}, "rounds": 3})
    file = tmp_path / "mine.toml"
    file.write_text(settings_text(wanted.resolved()), encoding="utf-8")
    assert load_experiment(file) == wanted


def test_settings_are_shown_as_toml_that_reads_back() -> None:
    shown = settings(
        "nested", attack=[{"name": "a", "inner": {"x": [1, 2.5]}}, {"name": "b"}], defense=[]
    )
    read = tomllib.loads(settings_text(shown))
    assert read["attack"] == shown["attack"]
    assert read["defense"] == []
    assert read["sampling"] == {"temperature": 1.0}
    assert "# top_k = null" in settings_text(shown)


def test_a_run_that_has_just_started_can_be_reported(tmp_path: Path) -> None:
    write_run(tmp_path, lines=[], finished=False)
    page = render(tmp_path)
    assert "(unfinished)" in page
    assert "--rounds None" not in page


def test_page_and_picture_are_written_where_asked(tmp_path: Path) -> None:
    write_run(tmp_path / "runs", rounds=2)
    page, png = tmp_path / "new" / "report.html", tmp_path / "new" / "report.png"
    write_report(find_runs([tmp_path / "runs"]), page, png)
    assert page.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    assert png.read_bytes().startswith(b"\x89PNG")


def test_a_report_of_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DgrpoError, match="at least one run"):
        write_report([], tmp_path / "report.html")


def test_a_page_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    write_run(tmp_path, rounds=1)
    (tmp_path / "file").write_text("")
    with pytest.raises(DgrpoError, match=r"cannot write .*report\.html"):
        write_report(find_runs([tmp_path]), tmp_path / "file" / "report.html")
