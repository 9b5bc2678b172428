"""One round as one node sees it: groups, their advantages, and verdicts that fit."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy
import pytest
import torch

from dgrpo import answers
from dgrpo.answers import one_each
from dgrpo.errors import DgrpoError
from dgrpo.experiment import experiment_from
from dgrpo.node import Node
from dgrpo.records import Completion, Prompt, Received, Sent, Verdict
from dgrpo.round import advantages_by_group
from dgrpo.swarm import Swarm
from dgrpo.tasks.base import LoadedTask
from dgrpo.tasks.gsm_symbolic import GsmSymbolic

TASK = GsmSymbolic(train=8, held_out=4).load()
ONE, OTHER = (Prompt(key, "How many?\n", "4", "2 + 2 = 4") for key in ("one", "other"))


def node(topology: str, **learner: Any) -> Node:
    experiment = experiment_from(
        {
            "name": "tiny",
            "topology": topology,
            "nodes": 2,
            "prompts_per_round": 2,
            "group_size": 4,
            "task": {"name": "gsm-symbolic", "train": 8, "held_out": 4},
            "learner": learner,
        }
    )
    return Swarm(experiment, seed=0, task=TASK).nodes[0]


def received(*of: tuple[Prompt, str]) -> list[Received]:
    """Completions by prompt and sender."""
    return [Received(sender, prompt, i, "4", (7, 0)) for i, (prompt, sender) in enumerate(of)]


MIXED = received((ONE, "a"), (OTHER, "a"), (ONE, "b"), (ONE, "a"), (OTHER, "b"), (ONE, "b"))
"""Of two senders: four completions of one prompt and two of another, in no order."""
ALL = [True] * 6


@pytest.mark.parametrize(
    ("topology", "rewards", "in_group", "advantages", "idle"),
    [
        # the prompts' groups: [1, 0, 1, 0] and [1, 0]
        ("horizontal", [1, 1, 0, 1, 0, 0], ALL, [0.5, 0.5, -0.5, 0.5, -0.5, -0.5], 0),
        # zero reward: the fourth, right but rejected, stays in its group: [1, 0, 0, 0]
        ("horizontal", [1, 1, 0, 0, 0, 0], ALL, [0.75, 0.5, -0.25, -0.25, -0.5, -0.25], 0),
        # drop: without the fourth and the sixth [1, 0] is left of the first group
        (
            "horizontal",
            [1, 1, 0, 1, 0, 0],
            [True, True, True, False, True, False],
            [0.5, 0.5, -0.5, None, -0.5, None],
            0,
        ),
        # drop: one completion alone teaches nothing, and a group of which none is left neither
        (
            "horizontal",
            [1, 1, 0, 1, 0, 0],
            [False, True, False, False, False, False],
            [None, 0.0, None, None, None, None],
            2,
        ),
        # two senders of one prompt are two groups: [1, 0] and [1, 1]; of the other [1] and [0]
        ("vertical", [1, 1, 1, 0, 0, 1], ALL, [0.5, 0.0, 0.0, -0.5, 0.0, 0.0], 3),
    ],
)
def test_advantages_are_those_of_the_group_that_a_completion_stays_in(
    topology: str,
    rewards: list[float],
    in_group: list[bool],
    advantages: list[float | None],
    idle: int,
) -> None:
    unscaled = node(topology, advantage_scaling="none")
    assert advantages_by_group(unscaled, MIXED, rewards, in_group) == (advantages, idle)


def test_advantages_are_scaled_as_the_learner_says() -> None:
    # [1, 0]: 0.5 over a sample deviation of √½
    ours, _ = advantages_by_group(node("horizontal"), MIXED[:3:2], [1.0, 0.0], [True, True])
    assert ours == pytest.approx([0.7070, -0.7070], abs=1e-4)


@pytest.mark.parametrize("given", [5, 7])
def test_a_defense_without_one_verdict_per_completion_is_named(given: int) -> None:
    verdicts = [Verdict(True, 0.0)] * given
    with pytest.raises(DgrpoError, match=f"defense mine gave {given} verdicts on 6") as caught:
        one_each("mine", verdicts, MIXED)
    assert "one each, in order" in caught.value.remedy
    assert one_each("mine", verdicts[:1], MIXED[:1]) == verdicts[:1]


def test_rewards_are_asked_for_with_the_sender_of_each_completion(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Tasks that execute programs bound each sender's time."""
    experiment = experiment_from(
        {
            "name": "tiny",
            "topology": "horizontal",
            "nodes": 2,
            "prompts_per_round": 2,
            "group_size": 4,
            "task": {"name": "gsm-symbolic", "train": 8, "held_out": 4},
            "sampling": {"max_tokens": 4},
            "evaluation": {"samples": 2, "final_samples": 2},
            "defense": {"name": "reward-outlier"},
        }
    )
    asked: list[list[str]] = []

    def by_sender(self: LoadedTask, pairs: list[Any], senders: list[str]) -> list[float]:
        asked.append(list(senders))
        return self.rewards(pairs)

    monkeypatch.setattr(LoadedTask, "rewards_by_sender", by_sender)
    records = Swarm(experiment, seed=0, task=TASK).play(0)
    sent = [[one.received.sender for one in record.judged] for record in records]
    assert len(set(sent[0])) == 2
    assert sorted(asked) == sorted(sent)  # once: the defense is handed what was computed


@pytest.mark.parametrize(
    ("given", "called"),
    [
        ([True] * 6, "True is not a verdict"),
        ([Verdict("yes", 0.0)] * 6, "is not a verdict"),  # type: ignore[arg-type]
        ([Verdict(True, None)] * 6, "is not a verdict"),  # type: ignore[arg-type]
        ([Verdict(True, 0.0, reason=5)] * 6, "is not a verdict"),  # type: ignore[arg-type]
        (None, "gave NoneType, not a list"),
        (numpy.ones(6, dtype=bool), "gave ndarray, not a list"),
    ],
)
def test_what_is_no_verdict_is_named(given: object, called: str) -> None:
    with pytest.raises(DgrpoError, match=f"defense mine.*{called}") as caught:
        one_each("mine", given, MIXED)
    assert "Verdict(accepted=True or False" in caught.value.remedy


def test_verdicts_with_numbers_of_numpy_and_torch_are_taken() -> None:
    numbers = numpy.float32(0.5), torch.tensor(0.5)
    given = [Verdict(number > 0.25, number) for number in numbers]  # type: ignore[arg-type]
    taken = one_each("mine", given, MIXED[:2])
    assert taken == [Verdict(True, 0.5)] * 2
    assert {type(one.accepted) for one in taken} == {bool}


def test_a_screen_that_is_no_coroutine_is_named() -> None:
    given = [Verdict(True, 0.0)] * 6
    with pytest.raises(DgrpoError, match="defense mine: its screen is not `async def`") as caught:
        asyncio.run(answers.verdicts("mine", given, MIXED))
    assert "async def screen" in caught.value.remedy

    async def screen() -> list[Verdict]:
        return given

    assert asyncio.run(answers.verdicts("mine", screen(), MIXED)) == given


@pytest.mark.parametrize("given", [None, [Completion("key", 0, "4")], ["4"]])
def test_an_attack_that_sends_anything_but_sent_completions_is_named(given: object) -> None:
    with pytest.raises(DgrpoError, match=r"attack mine: its poison gave .* not a Sent"):
        answers.sent_by("mine", given)
    sent = Sent(Completion("key", 0, "4"), "honest")
    assert answers.sent_by("mine", [sent]) == [sent]
