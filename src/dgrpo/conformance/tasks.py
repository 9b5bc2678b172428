"""What every task promises."""

from __future__ import annotations

from pathlib import Path
from random import Random

from dgrpo.conformance.hostile import HOSTILE
from dgrpo.conformance.tried import settings_of
from dgrpo.plugins import build, find
from dgrpo.tasks import LoadedTask, Task


def test_equal_settings_give_equal_pools(name: str, task: LoadedTask, tmp_path: Path) -> None:
    """Nodes compare a digest of the pools before they exchange anything."""
    again = build("tasks", settings_of("tasks", name, tmp_path), "task")
    assert isinstance(again, Task)
    assert again.load() == task
    assert again.load().digest == task.digest


def test_pools_are_filled_and_apart(name: str, task: LoadedTask) -> None:
    """At least 8 prompts in each pool, whose keys are all different."""
    keys = [p.key for p in (*task.train, *task.held_out)]
    assert task.name == find("tasks", name).name
    assert min(len(task.train), len(task.held_out)) >= 8
    assert len(set(keys)) == len(keys)
    assert set(task.by_key) == {p.key for p in task.train}


def test_the_oracle_is_rewarded_and_a_wrong_answer_is_not(task: LoadedTask) -> None:
    """`write` gives a completion of reward 1, and `spoil` makes one of reward 0 of it."""
    for prompt in (*task.train, *task.held_out):
        right = task.write(prompt.solution, prompt.answer)
        assert task.reward(prompt, right) == 1.0
        assert task.answer_anywhere(prompt, right)
        assert task.reward(prompt, task.spoil(prompt, right, Random(prompt.key))) == 0.0


def test_no_text_makes_the_reward_raise(task: LoadedTask) -> None:
    """Nor does a hostile text earn more than a right completion."""
    for text in HOSTILE:
        assert 0.0 <= task.reward(task.train[0], text) <= 1.0
        assert 0.0 <= task.reward(task.train[0], task.write(text, text)) <= 1.0
        assert task.answer_anywhere(task.train[0], text) in (True, False)
