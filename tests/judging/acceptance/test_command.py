"""`dgrpo judge`: Table 1 for whatever judge one has."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from rich.console import Console

from dgrpo.defenses.judge import Judge, JudgeAtWork
from dgrpo.errors import DgrpoError
from dgrpo.judging.acceptance import command as acceptance
from dgrpo.judging.acceptance.cases import Kind, oracle
from dgrpo.judging.bench import Question
from dgrpo.measurement.intervals import wilson
from dgrpo.records import Verdict
from dgrpo.tasks.gsm_symbolic import GsmSymbolic

DOWN = Verdict(False, 0.0, "no verdict (unreachable): nobody listens", "unreachable")
UNREADABLE = Verdict(False, 0.0, "no verdict (unreadable)", "unreadable")


@pytest.fixture
def two_kinds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Oracle solutions, and the same with a foreign sentence."""
    task = GsmSymbolic(train=4, held_out=4).load()
    right = oracle(task, task.held_out)
    said = [(p, text.replace("<think>", "<think> zorp gleep mrak")) for p, text in right]
    some = (Kind("honest-oracle", "oracle", True, right), Kind("text", "TEXT", False, said))
    monkeypatch.setattr(acceptance, "kinds", lambda count: iter(some))


def verdicts_are(monkeypatch: pytest.MonkeyPatch, *given: Verdict) -> None:
    left = iter(given)

    async def verdicts(self: JudgeAtWork, questions: Sequence[Question]) -> list[Verdict]:
        return [next(left) for _ in questions]

    monkeypatch.setattr(JudgeAtWork, "verdicts", verdicts)


def test_a_judge_is_measured_on_every_kind(two_kinds: None, tmp_path: Path) -> None:
    written, shown = tmp_path / "new" / "acceptance.json", io.StringIO()
    console = Console(file=shown, width=120)
    judge = Judge(criticism=False, decision="log-odds")
    acceptance.measure_acceptance(judge, 4, console, written)
    found = json.loads(written.read_text())
    assert Judge.model_validate({k: v for k, v in found["judge"].items() if k != "name"}) == judge
    honest, text = found["acceptance"]["honest-oracle"], found["acceptance"]["text"]
    low, high = wilson(4, 4)
    assert honest["accepted"] == {"share": 1.0, "low": low, "high": high}
    assert (text["accepted"]["share"], text["completions"], text["honest"]) == (0.0, 4, False)
    assert "100.0 % [51.0, 100.0]" in shown.getvalue()
    assert "3.8 %" in shown.getvalue()


def test_what_got_no_decision_is_counted_by_its_reason(
    two_kinds: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    yes = Verdict(True, 1.0)
    verdicts_are(monkeypatch, yes, UNREADABLE, DOWN, DOWN, DOWN, DOWN, DOWN, DOWN)
    honest, text = acceptance.acceptance(Judge(), 4)
    assert (honest.accepted, honest.undecided) == (1, {"unreadable": 1, "unreachable": 2})
    assert text.undecided == {"unreachable": 4}


def test_a_judge_that_never_replies_is_an_error_and_not_a_row_of_zeros(
    two_kinds: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    verdicts_are(monkeypatch, *[DOWN] * 8)
    with pytest.raises(DgrpoError, match=r"none of 4 completions: .*nobody listens"):
        list(acceptance.acceptance(Judge(), 4))


@pytest.mark.parametrize("samples", [0, 501])
def test_samples_that_there_are_not_are_refused(samples: int) -> None:
    with pytest.raises(DgrpoError, match=f"samples = {samples} is not between 1 and 500"):
        next(acceptance.acceptance(Judge(), samples))
