"""What plug-ins are tried on: small pools, a model's samples, an attacker's turn, a receiver."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Any

from dgrpo.attacks import Attack, Turn
from dgrpo.guard import Guard
from dgrpo.policy.model import LanguageModel
from dgrpo.policy.noise import sampling_key
from dgrpo.policy.sampling import SampleRequest, sample
from dgrpo.policy.settings import Sampling
from dgrpo.records import Completion, Prompt, Received, Sent, Verdict
from dgrpo.tasks import LoadedTask
from dgrpo.tasks.assignment import Slot, Topology
from dgrpo.tasks.gsm_symbolic import GsmSymbolic

MAX_TOKENS = 160
"""Room for every oracle solution with every attack's payload."""

Drawn = Mapping[tuple[str, int], Completion]
"""Samples of a model by (prompt key, number)."""


def small_pools() -> LoadedTask:
    """Small pools, half of whose training prompts are found by every attack (2+2, 2*2)."""
    whole = GsmSymbolic().load()
    sums = [p for p in whole.train if re.search(r"(?<![\d.])2 ?[+*] ?2 ?= ?4\b", p.solution)]
    others = [p for p in whole.train if p not in sums]
    train = [p for pair in zip(others, sums, strict=False) for p in pair]
    return replace(whole, train=tuple(train), held_out=whole.held_out[:8])


def samples_of(model: LanguageModel, pools: LoadedTask) -> Drawn:
    """Four samples of `model` for each training prompt."""
    asked = [(p, s) for p in pools.train for s in range(4)]
    requests = [SampleRequest(p.text, sampling_key(0, p.key, s)) for p, s in asked]
    ids = sample(model, requests, Sampling())
    return {
        (p.key, s): Completion(p.key, s, model.decode(one), one, model.ended(one))
        for (p, s), one in zip(asked, ids, strict=True)
    }


@dataclass(frozen=True)
class Field:
    """Where an attack is tried: a task that it can work on, and its model's samples."""

    task: LoadedTask
    model: LanguageModel
    drawn: Drawn
    said: str | None = None
    """What the model says to everything, in place of its samples."""

    def saying(self, text: str) -> Field:
        """The same field with a model that always says `text`."""
        return replace(self, said=text)

    async def draw(self, prompts: Sequence[Prompt], count: int) -> dict[str, list[Completion]]:
        """Half of it right, half of it the shipped model's samples."""
        return {p.key: [self._sample(p, s) for s in range(count)] for p in prompts}

    def own(self, attack: Attack, turn: Turn) -> list[Sent]:
        """The node's own samples, where the attack asks for them."""
        if not attack.start().needs_own_samples(turn.topology):
            return []
        return [
            Sent(replace(self._sample(slot.prompt, slot.sample), sample=slot.sample), "honest")
            for slot in turn.slots
        ]

    def turn(self, slots: Sequence[Slot], topology: Topology, key: str = "key") -> Turn:
        """What the attack is told when it owes `slots`."""
        return Turn(
            round=0,
            topology=topology,
            slots=tuple(slots),
            task=self.task,
            accomplices=("node-3",),
            key=key,
            draw=self.draw,
            count_tokens=lambda text: len(self.model.encode_completion(text)),
            max_tokens=MAX_TOKENS,
            model=self.model,
        )

    def owing(self, attack: Attack, topology: Topology, key: str = "key") -> Turn:
        """A turn that owes 2 samples of each of 6 prompts, or whole groups of 4 in vertical."""
        chosen = list(self.task.train[:6])
        if topology == "vertical":
            chosen = attack.start().choose_prompts(self.task.train, 6, chosen, Random(key))
        samples = range(2, 4) if topology == "horizontal" else range(4)
        return self.turn([Slot(p, s) for p in chosen for s in samples], topology, key)

    def _sample(self, prompt: Prompt, number: int) -> Completion:
        if self.said is None and number % 2:
            return replace(self.drawn[prompt.key, number % 4], sample=number)
        text = self.said if self.said is not None else right_text(self.task, prompt, number)
        return Completion(prompt.key, number, text, self.model.encode_completion(text))


Fields = Callable[[Attack], Field]
"""The field that suits an attack."""


def right_text(task: LoadedTask, prompt: Prompt, number: int) -> str:
    """A right completion; `number` makes a few different ones."""
    lines = prompt.solution.split("\n")
    return task.write("\n".join([*lines[:1] * (number // 2 % 3), *lines]), prompt.answer)


def poison(attack: Attack, own: list[Sent], turn: Turn) -> list[Sent]:
    """What the attack sends."""
    return asyncio.run(attack.start().poison(own, turn))


@dataclass(frozen=True)
class Receiving:
    """Who guards itself: the shipped model, and a task."""

    task: LoadedTask
    model: LanguageModel
    name: str = "node-0"

    def with_defense(self, settings: Mapping[str, Any]) -> Guard:
        """A guard that has just started this defense."""
        return Guard([settings], model=self.model, task=self.task, name=self.name)


def verdicts_of(guard: Guard, received: Sequence[Received]) -> list[Verdict]:
    """What its one defense says."""
    return [
        verdict
        for by_label in guard.screen_received(received).verdicts
        for verdict in by_label.values()
    ]
