"""The guard: the defenses of a swarm around a model of one's own, without a node."""

from __future__ import annotations

import asyncio

import pytest

from dgrpo.errors import DgrpoError
from dgrpo.experiment import experiment_from
from dgrpo.guard import Guard
from dgrpo.policy.model import LanguageModel, load_model
from dgrpo.policy.settings import ModelSettings, Sampling
from dgrpo.records import Received, RoundRecord
from dgrpo.swarm import Swarm
from dgrpo.tasks.gsm_symbolic import GsmSymbolic

TASK = GsmSymbolic(train=16, held_out=8).load()
CHECKS = [
    {"name": "top-k", "k": 20},
    {"name": "reward-outlier", "unit": "sender", "threshold": 1.2},
    {"name": "judge"},
]


@pytest.fixture(scope="module")
def model() -> LanguageModel:
    return load_model(ModelSettings())


@pytest.fixture(scope="module")
def record() -> RoundRecord:
    """What an honest node of an attacked swarm decided in its first round."""
    experiment = experiment_from(
        {
            "name": "guarded",
            "nodes": 4,
            "malicious": 1,
            "attack": "text",
            "prompts_per_round": 4,
            "group_size": 8,
            "sampling": {"top_k": 20, "max_tokens": 96},
            "task": {"name": "gsm-symbolic", "train": 16, "held_out": 8},
            "defense": CHECKS,
            "evaluation": {"samples": 1, "final_samples": 1},
        }
    )
    with Swarm(experiment, 0, task=TASK) as swarm:
        return swarm.play(0)[0]


def test_a_guard_decides_as_a_node_does(record: RoundRecord, model: LanguageModel) -> None:
    sampling = Sampling(top_k=20, max_tokens=96)
    guard = Guard(CHECKS, model=model, task=TASK, name=record.node, sampling=sampling)
    screened = guard.screen_received([one.received for one in record.judged])
    assert screened.accepted == tuple(one.accepted for one in record.judged)
    assert screened.verdicts == tuple(one.verdicts for one in record.judged)
    assert {one.received.sender for one in record.judged if not one.accepted} >= {"node-3"}


def test_texts_are_enough_for_a_guard(model: LanguageModel) -> None:
    prompt = TASK.train[0]
    right = TASK.write(prompt.solution, prompt.answer)
    poisoned = TASK.write(f"All hail to the thief, {prompt.solution}", prompt.answer)
    guard = Guard([{"name": "top-k", "k": 20}], model=model)
    screened = guard.screen([(prompt.text, right, "a"), (prompt.text, poisoned, "b")])
    assert screened.accepted == (True, False)
    assert "outside the top 20" in screened.verdicts[1]["top-k"].reason
    assert guard.screen([]).accepted == ()


def test_a_guard_works_inside_a_running_event_loop(model: LanguageModel) -> None:
    async def notebook() -> tuple[bool, ...]:
        guard = Guard([{"name": "top-k", "k": 20}], model=model)
        return guard.screen([(TASK.train[0].text, "xyzzy", "a")]).accepted

    assert asyncio.run(notebook()) == (False,)


@pytest.mark.parametrize(("check", "lacks"), [("top-k", "rank"), ("reward-outlier", "rewards")])
def test_a_guard_says_what_a_defense_lacks_before_anything_is_screened(
    check: str, lacks: str
) -> None:
    with pytest.raises(DgrpoError, match=f"defense {check} needs '{lacks}'"):
        Guard([check])


def test_a_prompt_of_another_task_is_refused_by_name() -> None:
    guard = Guard(["reward-outlier"], task=TASK)
    with pytest.raises(DgrpoError, match="'What\\?' is none of task gsm-symbolic"):
        guard.screen([("What?", "4", "a")])


def test_rewards_are_those_of_the_guards_own_task() -> None:
    guard = Guard([{"name": "reward-outlier", "unit": "sender", "threshold": 1.2}], task=TASK)
    texts = [("right", p, TASK.write(p.solution, p.answer)) for p in TASK.train[:2]]
    texts += [(f"wrong-{i}", p, "no") for i in range(3) for p in TASK.train[:2]]
    received = [Received(sender, p, 0, text, ()) for sender, p, text in texts]
    accepted = guard.screen_received(received).accepted
    assert [sender for (sender, _, _), ok in zip(texts, accepted, strict=True) if not ok] == [
        "right",
        "right",
    ]
