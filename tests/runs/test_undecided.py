"""What a defense could not judge is counted in every line, in the summary and on the page."""

from __future__ import annotations

import json
from pathlib import Path
from typing import ClassVar

import pytest

from dgrpo.defenses.base import Receiver, StatelessDefense
from dgrpo.experiment import Experiment, NamedDefense, experiment_from
from dgrpo.progress import plain
from dgrpo.records import Batch, Verdict
from dgrpo.report.page import write_report
from dgrpo.runs.reader import find_runs
from dgrpo.runs.running import run_experiment


class Silent(StatelessDefense):
    """A defense that never gets an answer and accepts what it could not judge."""

    name: ClassVar[str] = "silent-judge"

    async def screen(self, batch: Batch, node: Receiver) -> list[Verdict]:
        """Every second completion is judged."""
        count = len(batch.received)
        return [Verdict(True, 0.0, "", "timeout" if i % 2 else "") for i in range(count)]


@pytest.fixture(scope="module")
def experiment() -> Experiment:
    plain_run = experiment_from(
        {
            "name": "undecided",
            "rounds": 2,
            "nodes": 2,
            "prompts_per_round": 2,
            "group_size": 4,
            "task": {"name": "gsm-symbolic", "train": 8, "held_out": 4},
            "evaluation": {"samples": 2, "final_samples": 2},
            "defense": ["top-k"],
        }
    )
    silent = NamedDefense(label="silent-judge", check=Silent())
    return plain_run.model_copy(update={"defense": (*plain_run.defense, silent)})


def test_accepting_what_could_not_be_judged_is_shown_everywhere(
    experiment: Experiment, tmp_path: Path
) -> None:
    summary = run_experiment(experiment, 0, tmp_path / "run", lambda line: None).summary
    run = find_runs([tmp_path / "run"])[0]
    for line in run.rounds[1:]:
        assert line.screening.by_defense["silent-judge"].undecided == {"timeout": 8}
        assert line.screening.by_defense["top-k"].undecided == {}
        assert line.screening.honest_rejected == 0
    assert summary["screening"]["by_defense"]["silent-judge"]["undecided"] == {"timeout": 16}
    assert "undecided" not in summary["screening"]["by_defense"]["top-k"]
    raw = (tmp_path / "run/seed-0/rounds.jsonl").read_text().splitlines()
    assert plain(json.loads(raw[-1])).count("8 not judged") == 1
    write_report([run], tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    assert "50.0\N{NO-BREAK SPACE}% (timeout 16)" in page
