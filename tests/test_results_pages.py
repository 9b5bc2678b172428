"""The pages that quote figures say what the committed runs say."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType

import pytest

from dgrpo.reproduce.paper import load_paper
from dgrpo.runs.reader import Run

RESULTS = Path(__file__).parents[1] / "docs" / "results"


@pytest.fixture(scope="module")
def scripts() -> Iterator[dict[str, ModuleType]]:
    """The scripts beside the pages; they import one another by name."""
    names = ("finished", "make_tables", "make_results")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(RESULTS))
        yield {name: importlib.import_module(name) for name in names}
    for name in names:
        del sys.modules[name]


@pytest.fixture(scope="module")
def runs(scripts: dict[str, ModuleType]) -> Mapping[str, Mapping[int, Run]]:
    """The committed runs, by experiment and seed."""
    found: Mapping[str, Mapping[int, Run]] = scripts["finished"].finished_runs()
    return found


def test_tables_and_pages_are_those_of_the_committed_runs(
    scripts: dict[str, ModuleType], runs: Mapping[str, Mapping[int, Run]]
) -> None:
    written = scripts["make_tables"].pages(runs)
    written[RESULTS / "text.md"] = scripts["make_results"].page(runs)
    assert len(written) == 4
    for page, text in written.items():
        remedy = "python docs/results/make_tables.py; python docs/results/make_results.py"
        assert page.read_text(encoding="utf-8") == text, f"{page.name} is stale: {remedy}"


def test_experiments_that_a_figure_compares_have_one_pool_of_prompts(
    runs: Mapping[str, Mapping[int, Run]],
) -> None:
    for figure in (one for one in load_paper().figure if one.experiment):
        of = [run for name in figure.names for run in runs[name].values()]
        assert len({run.experiment["pool_digest"] for run in of}) == 1, figure.id
