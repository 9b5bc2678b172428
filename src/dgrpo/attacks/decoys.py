"""Decoys: completions of reward 0 that stand beside the poison in a vertical attacker's groups."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from dgrpo.records import Completion, Prompt

if TYPE_CHECKING:
    from dgrpo.attacks.base import Turn


class Decoys:
    """Completions of reward 0 for a prompt.

    From `own`, the model's samples for it: one that scores 0, or else a right one with another
    answer, so that a decoy looks like anything the model might have said. Its gradient then
    stays that of an ordinary wrong answer. `short` keeps to the shorter half of those that score 0.
    Without samples: shuffled words.
    """

    def __init__(
        self, prompt: Prompt, own: Sequence[Completion], turn: Turn, short: bool = False
    ) -> None:
        self._prompt, self._own, self._turn = prompt, own, turn
        rewards = turn.task.rewards([(prompt, one.text) for one in own])
        self._wrong = [one for one, reward in zip(own, rewards, strict=True) if reward == 0]
        if short:
            self._wrong.sort(key=lambda one: len(one.token_ids))
            self._wrong = self._wrong[: (len(self._wrong) + 1) // 2]

    def pick(self, sample: int) -> Completion:
        """The decoy to send as sample number `sample`."""
        prompt, turn = self._prompt, self._turn
        rng = turn.rng("decoy", prompt.key, sample)
        if self._wrong:  # as it was drawn, with its ids and cut off if it was
            return replace(rng.choice(self._wrong), sample=sample)
        if self._own:
            text = turn.task.spoil(prompt, rng.choice(self._own).text, rng)
            return Completion(prompt.key, sample, text)
        words = prompt.solution.split()
        rng.shuffle(words)
        return Completion(prompt.key, sample, " ".join(words))
