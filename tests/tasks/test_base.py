"""What every loaded task keeps to, a third party's too."""

from __future__ import annotations

import pytest

from dgrpo.errors import DgrpoError
from dgrpo.records import Prompt
from dgrpo.tasks.base import LoadedTask, make_prompt

NUMBER = make_prompt("t", "2+2?", "4", "2+2=4")
CLOCK = make_prompt("t", "When does it leave?", "3:30", "At half past three")


class Exact(LoadedTask):
    """Compares answers as they are written."""

    def reward(self, prompt: Prompt, text: str) -> float:
        return float(text == prompt.answer)


@pytest.mark.parametrize("pools", [((NUMBER, CLOCK), ()), ((NUMBER,), (CLOCK,))])
def test_an_answer_that_the_default_reward_cannot_read_is_refused(
    pools: tuple[tuple[Prompt, ...], tuple[Prompt, ...]],
) -> None:
    with pytest.raises(DgrpoError, match=f"task t: the answer '3:30' of prompt {CLOCK.key}"):
        LoadedTask("t", *pools)
    Exact("t", *pools)
