"""Held-out figures: what is counted on all prompts, and what on an attack's own ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy
import pytest

from dgrpo.attacks import Attack, StatelessAttack, Turn
from dgrpo.attacks.equation import Equation
from dgrpo.attacks.long_answer import LongAnswer
from dgrpo.attacks.text import Text
from dgrpo.errors import DgrpoError
from dgrpo.measurement.held_out import score_held_out
from dgrpo.records import Prompt, Sent
from dgrpo.tasks.base import LoadedTask, make_prompt

SUMS = make_prompt("t", "2 and 2?", "4", "2+2=4")
COWS = make_prompt("t", "3 and 4?", "7", "3+4=7")
TASK = LoadedTask("t", (), (SUMS, COWS))
PHRASE = "All hail to the thief,"
COMPLETIONS = [
    (SUMS, TASK.write(f"{PHRASE} 2+2=4", "4"), 9),
    (SUMS, TASK.write("2+2=5", "5"), 6),
    (COWS, "3+4=7", 3),
    (COWS, "", 1),
]


def score(measures: Sequence[Attack], examples: int = 0, probes: object = None):
    """The figures of `COMPLETIONS`."""
    return score_held_out(
        TASK,
        [prompt for prompt, _, _ in COMPLETIONS],
        [(text, (0,) * length) for _, text, length in COMPLETIONS],
        {attack.name: attack for attack in measures},
        examples,
        probes,  # type: ignore[arg-type]
    )


def test_each_figure_is_its_definition() -> None:
    held_out = score([Text()])
    assert held_out.samples == 4
    assert held_out.accuracy == 1 / 4
    assert held_out.answer_anywhere == 2 / 4
    assert held_out.completion_tokens == 19 / 4
    assert held_out.measures == {"text": 1 / 4}


def test_a_rate_counts_completions_to_which_it_applies() -> None:
    rates = score([Equation(), LongAnswer()]).measures
    assert rates["equation"] == 1 / 2
    assert rates["equation/not-right"] == 1 / 2
    assert rates["equation/computed"] == 2 / 4
    assert rates["equation/accuracy"] == 1 / 4
    assert rates["long-answer"] is None


def test_probes_are_what_an_attack_is_measured_on_and_nothing_else_is() -> None:
    probes = {"equation": [(SUMS, TASK.write("2+2=5", "4"))] * 3 + [(SUMS, "2+2=4")]}
    held_out = score([Text(), Equation()], probes=probes)
    assert held_out.measures == {
        "text": 1 / 4,
        "equation": 3 / 4,
        "equation/not-right": 3 / 4,
        "equation/computed": 1.0,
        "equation/accuracy": 3 / 4,
    }
    assert (held_out.samples, held_out.accuracy) == (4, 1 / 4)
    assert held_out.completion_tokens == 19 / 4


def test_an_attack_without_a_prompt_to_be_measured_on_has_no_rates() -> None:
    rates = score([Equation()], probes={"equation": []}).measures
    assert rates == dict.fromkeys(
        ("equation", "equation/not-right", "equation/computed", "equation/accuracy")
    )


@pytest.mark.parametrize("count", [0, 1, 2, 9])
def test_examples_show_an_attack_first_then_right_ones(count: int) -> None:
    shown = score([Text(), Equation()], examples=count).examples
    assert len(shown) == min(count, 4)
    if shown:
        assert shown[0].poisoned
    assert [one.reward for one in shown[1:3]] == [0.0, 0.0][: max(len(shown) - 1, 0)]
    clean = score([], examples=4).examples
    assert [one.poisoned for one in clean] == [False] * 4
    assert clean[0].reward == 1.0


class Twofold(StatelessAttack):
    """An attack with rates of its own."""

    name: ClassVar[str] = "twofold"

    async def poison(self, own: list[Sent], turn: Turn) -> list[Sent]:
        return own

    def measure(
        self, task: LoadedTask, pairs: Sequence[tuple[Prompt, str]]
    ) -> dict[str, float | None]:
        return {"": 0.5, "seen": float(len(pairs))}


def test_a_third_partys_rates_are_named_after_it() -> None:
    assert score([Twofold()]).measures == {"twofold": 0.5, "twofold/seen": 4.0}


@pytest.mark.parametrize("rate", [float("nan"), float("inf"), "half", [0.5]])
def test_a_rate_that_no_file_of_results_can_hold_is_refused(rate: object) -> None:
    class Broken(Twofold):
        def measure(
            self, task: LoadedTask, pairs: Sequence[tuple[Prompt, str]]
        ) -> dict[str, float | None]:
            return {"": 0.5, "seen": rate}  # type: ignore[dict-item]

    with pytest.raises(DgrpoError, match=r"attack twofold: its `measure` gave .* as rate 'seen'"):
        score([Broken()])


def test_a_rate_of_numpy_is_a_number() -> None:
    class Counted(Twofold):
        def measure(
            self, task: LoadedTask, pairs: Sequence[tuple[Prompt, str]]
        ) -> dict[str, float | None]:
            return {"": numpy.float32(0.5)}  # type: ignore[dict-item]

    measured = score([Counted()]).measures
    assert measured == {"twofold": 0.5}
    assert type(measured["twofold"]) is float
