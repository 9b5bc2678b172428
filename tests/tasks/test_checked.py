"""Rewards of a task of one's own: numbers of any library are taken, anything else is explained."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from fractions import Fraction
from typing import Any, ClassVar

import numpy
import pytest
import torch

from dgrpo.errors import DgrpoError
from dgrpo.experiment import experiment_from
from dgrpo.measurement.held_out import score_held_out
from dgrpo.records import Prompt
from dgrpo.start import check_start
from dgrpo.swarm import Swarm
from dgrpo.tasks.base import LoadedTask, Task, make_prompt

COWS = make_prompt("mine", "How many\x1b[31m cows?", "4", "2+2=4")
HENS = make_prompt("mine", "How many hens?", "7", "3+4=7")
PAIRS = [(COWS, "four"), (HENS, "seven")]


class Unprintable:
    """A value whose author has not finished it."""

    def __repr__(self) -> str:
        raise ValueError("no repr")


class PerPair(LoadedTask):
    """A task that overrides `reward` alone, as most do."""

    gives: ClassVar[Any] = 1.0

    def reward(self, prompt: Prompt, text: str) -> float:
        return self.gives(prompt, text) if callable(self.gives) else self.gives


class Together(LoadedTask):
    """A task that overrides `rewards` and `answers_anywhere`."""

    gives: ClassVar[Any] = None

    def rewards(self, pairs: Sequence[tuple[Prompt, str]]) -> list[float]:
        return self.gives(pairs) if callable(self.gives) else self.gives

    def answers_anywhere(self, pairs: Sequence[tuple[Prompt, str]]) -> list[bool]:
        return self.rewards(pairs)  # type: ignore[return-value]


def task_of(kind: type[LoadedTask], gives: object) -> LoadedTask:
    """A task of this kind, whose method gives that."""
    made = type(
        kind.__name__, (kind,), {"gives": staticmethod(gives) if callable(gives) else gives}
    )
    return made("mine", (COWS,), (HENS,))


@pytest.mark.parametrize(
    ("given", "value"),
    [
        (1, 1.0),
        (True, 1.0),
        (-0.25, -0.25),
        (Fraction(1, 2), 0.5),
        (Decimal("0.5"), 0.5),
        (numpy.float32(0.5), 0.5),
        (numpy.float16(0.5), 0.5),
        (numpy.int64(3), 3.0),
        (numpy.bool_(True), 1.0),
        (numpy.array(0.5), 0.5),
        (torch.tensor(0.5), 0.5),
        (torch.tensor(0.5, dtype=torch.bfloat16), 0.5),
        (torch.tensor(0.5, requires_grad=True), 0.5),
        (torch.tensor(True), 1.0),
    ],
    ids=repr,
)
def test_a_number_of_any_library_is_a_reward(given: object, value: float) -> None:
    for rewards in (
        task_of(PerPair, given).rewards(PAIRS),
        task_of(Together, [given, given]).rewards(PAIRS),
    ):
        assert rewards == [value, value]
        assert [type(one) for one in rewards] == [float, float]


@pytest.mark.parametrize(
    "given",
    [
        *(
            None,
            math.nan,
            math.inf,
            -math.inf,
            1e308,
            -1e10,
            10**400,
            Decimal("nan"),
            Decimal("1e999"),
        ),
        *("1", b"1", [1.0], (1.0,), {}, 1j, Ellipsis),
        *(numpy.float32("nan"), numpy.array([1.0]), numpy.str_("1"), numpy.complex64(1)),
        *(torch.tensor(math.nan), torch.tensor([1.0]), Unprintable(), lambda: 1.0),
    ],
    ids=lambda given: type(given).__name__,
)
def test_what_is_no_usable_number_is_named_with_task_and_prompt(given: object) -> None:
    for task, method in (
        (task_of(PerPair, lambda *_: given), "reward"),
        (task_of(Together, lambda _: [1.0, given]), "rewards"),
    ):
        with pytest.raises(DgrpoError) as caught:
            task.rewards(PAIRS)
        said = str(caught.value)
        assert f"task mine: its `{method}` gave " in said
        prompt, text = PAIRS[0] if method == "reward" else PAIRS[1]
        assert prompt.key in said
        assert repr(prompt.question) in said
        assert repr(text) in said
        assert "\x1b" not in said
        assert caught.value.remedy


def test_a_long_text_and_a_long_value_are_shortened() -> None:
    long = make_prompt("mine", "Why? " * 5_000, "4", "")
    with pytest.raises(DgrpoError) as caught:
        task_of(PerPair, "reward " * 5_000).rewards([(long, "because " * 5_000)])
    assert len(str(caught.value)) < 600


@pytest.mark.parametrize(
    "container",
    [list, tuple, iter, numpy.array, torch.tensor, lambda values: (one for one in values)],
    ids=["list", "tuple", "iterator", "array", "tensor", "generator"],
)
def test_rewards_may_come_in_any_sequence(container: Callable[[list[float]], Any]) -> None:
    task = task_of(Together, lambda pairs: container([0.5] * len(pairs)))
    assert task.rewards(PAIRS) == [0.5, 0.5]
    assert task.answers_anywhere(PAIRS) == [True, True]
    assert [type(one) for one in task.answers_anywhere(PAIRS)] == [bool, bool]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ([1.0], "gave 1 values for 2 completions"),
        ([], "gave 0 values for 2 completions"),
        ([1.0] * 3, "gave more than 2 values for 2 completions"),
        (itertools.repeat(1.0), "gave more than 2 values for 2 completions"),
        (None, "gave None for 2 completions"),
        (1.0, "gave 1.0 for 2 completions"),
        ("10", "gave '10' for 2 completions"),
        ({0: 1.0, 1: 0.0}, "gave {0: 1.0, 1: 0.0} for 2 completions"),
        ({0.0, 1.0}, "for 2 completions"),
        (torch.ones(2, 1), "gave tensor("),
        (torch.tensor(1.0), "raised TypeError"),
    ],
    ids=lambda given: str(given)[:20],
)
def test_what_is_no_number_per_completion_is_refused(given: object, said: str) -> None:
    task = task_of(Together, given)
    for method in (task.rewards, task.answers_anywhere):
        with pytest.raises(DgrpoError) as caught:
            method(PAIRS)
        assert said in caught.value.problem
        assert "task mine: its `" in caught.value.problem


def test_a_reward_that_raises_is_named_with_its_line() -> None:
    def fails(prompt: Prompt, text: str) -> float:
        return float(text.split("####")[1])

    with pytest.raises(DgrpoError) as caught:
        task_of(PerPair, fails).rewards(PAIRS)
    assert "its `reward` raised IndexError 'list index out of range' (test_checked.py, line" in (
        caught.value.problem
    )
    assert "'four' of prompt" in caught.value.problem
    assert isinstance(caught.value.__cause__, IndexError)
    for late in (fails, lambda *_: next(_raising())):
        with pytest.raises(DgrpoError, match=r"raised \w+Error .* for 2 completions"):
            task_of(Together, lambda pairs, late=late: (late(*p) for p in pairs)).rewards(PAIRS)


def _raising() -> Iterator[float]:
    yield float("half")


def test_a_fault_that_dgrpo_explains_itself_is_left_as_it_is() -> None:
    fault = DgrpoError("the sandbox fails")

    def fails(*_: object) -> float:
        raise fault

    for kind in (PerPair, Together):
        with pytest.raises(DgrpoError) as caught:
            task_of(kind, fails).rewards(PAIRS)
        assert caught.value is fault


def test_rewards_that_a_class_inherits_from_elsewhere_are_checked_too() -> None:
    class Mixed:
        def rewards(self, pairs: Sequence[tuple[Prompt, str]]) -> list[float]:
            return [math.nan] * len(pairs)

    class Mine(Mixed, LoadedTask):  # type: ignore[misc]
        pass

    class Later(Mine):
        def rewards(self, pairs: Sequence[tuple[Prompt, str]]) -> list[float]:
            return [0.0, *super().rewards(pairs)[1:]]

    for kind in (Mine, Later):
        with pytest.raises(DgrpoError, match="gave nan"):
            kind("mine", (COWS,), (HENS,)).rewards(PAIRS)


def test_rewards_by_sender_are_checked_too() -> None:
    class BySender(LoadedTask):
        def rewards_by_sender(
            self, pairs: Sequence[tuple[Prompt, str]], senders: Sequence[str]
        ) -> list[float]:
            return [math.nan if one == "b" else numpy.float32(1) for one in senders]  # type: ignore[misc]

    task = BySender("mine", (COWS,), (HENS,))
    assert task.rewards_by_sender(PAIRS, ["a", "a"]) == [1.0, 1.0]
    with pytest.raises(DgrpoError, match="its `rewards_by_sender` gave nan for the completion"):
        task.rewards_by_sender(PAIRS, ["a", "b"])


def test_no_figure_is_measured_on_a_reward_that_is_none() -> None:
    task = task_of(Together, lambda pairs: [math.nan] * len(pairs))
    with pytest.raises(DgrpoError, match="gave nan"):
        score_held_out(task, [COWS], [("four", (1, 2))], {}, 0)


class OnlyWhenDrawn(LoadedTask):
    """Right for everything that is tried at the start, and not for what models write."""

    def reward(self, prompt: Prompt, text: str) -> float:
        return math.nan if len(text) > 60 else 1.0


def test_a_round_ends_at_the_first_reward_that_is_no_number() -> None:
    prompts = [make_prompt("mine", f"What is {i} plus {i}?", str(2 * i), "") for i in range(6)]
    experiment = experiment_from(
        {
            "name": "small",
            "prompts_per_round": 2,
            "group_size": 8,
            "nodes": 2,
            "sampling": {"max_tokens": 64},
        }
    )
    task = OnlyWhenDrawn("mine", tuple(prompts[:4]), tuple(prompts[4:]))
    swarm = Swarm(experiment, 0, task=task)
    with pytest.raises(DgrpoError, match="task mine: its `reward` gave nan for the completion"):
        swarm.play(0)


@pytest.mark.parametrize("kind", [PerPair, Together])
def test_rewards_are_tried_before_a_model_is_loaded(kind: type[LoadedTask]) -> None:
    experiment = experiment_from({"name": "small", "prompts_per_round": 1, "nodes": 1})
    check_start(experiment, LoadedTask("mine", (COWS,), (HENS,)))
    with pytest.raises(DgrpoError, match=r"task mine: its `rewards?` gave None"):
        check_start(experiment, task_of(kind, None))


def test_pools_that_are_no_loaded_task_are_explained() -> None:
    class Mine(Task):
        name: ClassVar[str] = "mine"

        def pools(self) -> LoadedTask:
            return [COWS, HENS]  # type: ignore[return-value]

    with pytest.raises(DgrpoError, match=r"task mine: its `pools` gave .*, and no LoadedTask"):
        Mine().load()
