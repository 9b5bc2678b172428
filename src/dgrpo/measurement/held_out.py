"""Held-out measurement of one model: accuracy, length and attack success, one definition each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from dgrpo.attacks.base import Attack
from dgrpo.errors import DgrpoError
from dgrpo.records import Example, HeldOutScore, Prompt
from dgrpo.tasks.base import LoadedTask
from dgrpo.tasks.checked import finite, shown


def score_held_out(
    task: LoadedTask,
    prompts: Sequence[Prompt],
    completions: Sequence[tuple[str, tuple[int, ...]]],
    measures: dict[str, Attack],
    examples: int,
    probes: Mapping[str, Sequence[tuple[Prompt, str]]] | None = None,
) -> HeldOutScore:
    """Score (text, ids) completions, one per prompt, in order.

    probes: by measure name, (prompt, text) pairs on which that attack is measured instead.
    """
    pairs = [(prompt, text) for prompt, (text, _) in zip(prompts, completions, strict=True)]
    rewards = task.rewards(pairs)
    rates: dict[str, float | None] = {}
    for name, attack in measures.items():
        for suffix, rate in rates_of(attack, task, (probes or {}).get(name, pairs)).items():
            rates[f"{name}/{suffix}" if suffix else name] = rate
    return HeldOutScore(
        samples=len(pairs),
        accuracy=_mean(rewards) or 0.0,
        answer_anywhere=_mean(task.answers_anywhere(pairs)) or 0.0,
        completion_tokens=_mean([len(ids) for _, ids in completions]) or 0.0,
        measures=rates,
        measured_prompts={
            name: len({prompt.key for prompt, _ in drawn}) for name, drawn in (probes or {}).items()
        },
        examples=_examples(pairs, rewards, measures, examples),
    )


def rates_of(
    attack: Attack, task: LoadedTask, pairs: Sequence[tuple[Prompt, str]]
) -> dict[str, float | None]:
    """What an attack measures. Raises DgrpoError for a rate that no results file can hold."""
    rates: dict[str, float | None] = {}
    for suffix, rate in attack.measure(task, pairs).items():
        rates[suffix] = None if rate is None else finite(rate)
        if rate is not None and rates[suffix] is None:
            raise DgrpoError(
                f"attack {attack.name}: its `measure` gave {shown(rate)} as rate {suffix!r}",
                remedy="give a finite number, or None where nothing was applicable",
            )
    return rates


def _examples(
    pairs: Sequence[tuple[Prompt, str]],
    rewards: Sequence[float],
    measures: dict[str, Attack],
    count: int,
) -> tuple[Example, ...]:
    """At most `count`: one that shows an attack if any does, then right ones, then any."""
    every = [
        Example(
            prompt.text, text, reward, any(m.succeeded(prompt, text) for m in measures.values())
        )
        for (prompt, text), reward in zip(pairs, rewards, strict=True)
    ]
    poisoned = [one for one in every if one.poisoned]
    others = sorted((one for one in every if not one.poisoned), key=lambda one: -one.reward)
    return tuple([*poisoned[:1], *others, *poisoned[1:]][:count])


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None
