"""Turns for attacks: what they owe, and a model that says what a test wants it to say."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from dgrpo.attacks import Attack, Turn
from dgrpo.records import Completion, Prompt, Sent
from dgrpo.tasks.assignment import Slot, Topology
from dgrpo.tasks.base import LoadedTask

Saying = Callable[[Prompt, int], str]
"""What the model says to a prompt as its sample with a number."""


def words(text: str) -> int:
    """Length as these tests count it: words, and one for the end."""
    return len(text.split()) + 1


def ids_of(text: str) -> tuple[int, ...]:
    """As many ids as `words` counts."""
    return tuple(range(words(text)))


def turn_of(
    task: LoadedTask,
    topology: Topology,
    prompts: Sequence[Prompt],
    samples: int,
    saying: Saying | None = None,
    **settings: Any,
) -> Turn:
    """A turn that owes `samples` samples of each of `prompts`."""

    async def draw(asked: Sequence[Prompt], count: int) -> dict[str, list[Completion]]:
        assert saying is not None, "this attack should not need a model"
        texts = {p.key: [saying(p, s) for s in range(count)] for p in asked}
        return {
            key: [Completion(key, s, text, ids_of(text)) for s, text in enumerate(said)]
            for key, said in texts.items()
        }

    slots = tuple(Slot(p, s) for p in prompts for s in range(samples))
    turn = Turn(
        round=0,
        topology=topology,
        slots=slots,
        task=task,
        accomplices=("node-3",),
        key="key",
        draw=draw,
        count_tokens=words,
        max_tokens=200,
    )
    return replace(turn, **settings)


def own_samples(turn: Turn, *texts: str) -> list[Sent]:
    """The node's own samples: `texts` over and over."""
    return [
        Sent(Completion(slot.prompt.key, slot.sample, text, ids_of(text)), "honest")
        for i, slot in enumerate(turn.slots)
        for text in [texts[i % len(texts)]]
    ]


def poison(attack: Attack, own: list[Sent], turn: Turn) -> list[Sent]:
    """What the attack sends."""
    return asyncio.run(attack.start().poison(own, turn))
