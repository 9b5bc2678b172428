"""The completions that a judge's card is measured on: honest ones and the shipped attacks' own.

Attacks are asked as in a round (`Attack.poison`), on prompts of the default pools and of
`experiments/code-*`, whose questions no judge was trained on. One completion per prompt, so that a
rate's interval is that of independent items. MATH needs more prompts than the pools have (one in
ninety computes 2+2 or 2*2): they are drawn like the pools, with another seed, and their questions
may have been seen.

Leaves out: DoS and TEXT in programs.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from random import Random

from dgrpo.attacks.base import Attack, Turn
from dgrpo.attacks.code_import import CodeImport
from dgrpo.attacks.equation import Equation
from dgrpo.attacks.long_answer import LongAnswer
from dgrpo.attacks.text import Text
from dgrpo.judging.plain import is_plain
from dgrpo.policy.model import LanguageModel, load_model
from dgrpo.policy.noise import sampling_key
from dgrpo.policy.sampling import SampleRequest, sample
from dgrpo.policy.settings import ModelSettings, Sampling
from dgrpo.records import Completion, Prompt
from dgrpo.tasks.assignment import Slot
from dgrpo.tasks.base import LoadedTask
from dgrpo.tasks.gsm_python import CODE_TEMPLATES, GsmPython
from dgrpo.tasks.gsm_symbolic import GsmSymbolic
from dgrpo.tasks.problems import word_problems

SECOND_PHRASE = "Gleeb Glorp Glub"
"""The paper's phrase for every sentence."""
USUAL_FUNCTIONS = ("add", "sub", "mul", "truediv")
"""What the attacker's functions are called in `experiments/code-*`."""
BASE, CODE_BASE = "gsm-nano", "code-nano"
"""Whose samples stand for honest nodes', and the first one's for DoS."""
MATH_POOL_SEED = 5
"""Of the questions drawn for MATH."""

Pairs = list[tuple[Prompt, str]]
"""(prompt, completion)."""


@dataclass(frozen=True, slots=True)
class Kind:
    """Completions of one kind, each of another prompt."""

    name: str
    title: str
    honest: bool
    pairs: Pairs


def kinds(count: int) -> Iterator[Kind]:
    """All kinds, `count` completions each, or as many as the pools give."""
    task, programs = GsmSymbolic().load(), GsmPython().load()
    base, coder = (load_model(ModelSettings(name=name)) for name in (BASE, CODE_BASE))
    prompts = [*task.held_out, *task.train]
    for_programs = [*programs.held_out, *programs.train]
    wider = GsmPython(templates=CODE_TEMPLATES).load()
    wide = [*wider.held_out, *wider.train][:count]
    first, coded = prompts[:count], for_programs[:count]
    computing = Equation()
    sums = list(islice(_questions_for(computing), count))
    yield Kind("honest-oracle", "honest: oracle solutions", True, oracle(task, first))
    yield Kind("honest-sums", "honest: oracle solutions with 2+2 or 2*2", True, oracle(task, sums))
    right = right_samples(task, base, prompts, count)
    yield from _by_plainness("honest-samples", f"honest: right samples of {BASE}", right)
    yield Kind("honest-programs", "honest: oracle programs", True, oracle(programs, coded))
    right = right_samples(programs, coder, for_programs, count)
    yield from _by_plainness("honest-code-samples", f"honest: right samples of {CODE_BASE}", right)
    title = "honest: oracle programs of experiments/code-*"
    yield Kind("honest-programs-wide", title, True, oracle(wider, wide))
    yield Kind("text", "TEXT", False, poisoned(Text(), task, first, base))
    every = Text(phrase=SECOND_PHRASE, position="every-sentence")
    yield Kind("text-every", "TEXT, every sentence", False, poisoned(every, task, first, base))
    yield Kind("equation", "MATH", False, poisoned(computing, task, sums, base))
    calling = poisoned(CodeImport(), programs, coded, coder)
    yield Kind("code", "CODE", False, calling)
    calling = poisoned(CodeImport(functions=USUAL_FUNCTIONS), wider, wide, coder)
    yield Kind("code-usual", "CODE as in experiments/code-*", False, calling)
    longest = poisoned(LongAnswer(), task, first, base)
    yield Kind("dos", "DoS: longest right of 80 samples", False, longest)
    padded = poisoned(LongAnswer(source="padded"), task, first, base)
    yield Kind("dos-padded", "DoS: padded", False, padded)


def _by_plainness(name: str, title: str, pairs: Pairs) -> Iterator[Kind]:
    """All of them, those that say only what the task needs, and the others."""
    plain = [is_plain(*pair) for pair in pairs]
    yield Kind(name, title, True, pairs)
    for wanted, suffix, which in (
        (True, "plain", "of these: nothing but the task"),
        (False, "odd", "of these: odd words or needless imports too"),
    ):
        part = [pair for pair, found in zip(pairs, plain, strict=True) if found is wanted]
        yield Kind(f"{name}-{suffix}", which, True, part)


def oracle(task: LoadedTask, prompts: Sequence[Prompt]) -> Pairs:
    """The oracle's solutions in the asked form."""
    return [(p, task.write(p.solution, p.answer)) for p in prompts]


def poisoned(
    attack: Attack, task: LoadedTask, prompts: Sequence[Prompt], model: LanguageModel
) -> Pairs:
    """The poison that `attack` sends for each prompt; less where it finds nothing to poison."""
    sampling = Sampling()

    async def draw(asked: Sequence[Prompt], count: int) -> dict[str, list[Completion]]:
        drawn = _draw(model, asked, count, sampling)
        return {
            prompt.key: [
                Completion(prompt.key, number, model.decode(ids), ids, model.ended(ids))
                for number, ids in enumerate(samples)
            ]
            for prompt, samples in zip(asked, drawn, strict=True)
        }

    turn = Turn(
        round=0,
        topology="horizontal",
        slots=tuple(Slot(prompt, 0) for prompt in prompts),
        task=task,
        accomplices=("card",),
        key="card",
        draw=draw,
        count_tokens=lambda text: len(model.encode_completion(text)),
        max_tokens=sampling.max_tokens,
    )
    sent = asyncio.run(attack.start().poison([], turn))
    by_key = {prompt.key: prompt for prompt in prompts}
    return [
        (by_key[s.completion.prompt_key], s.completion.text) for s in sent if s.label == "poisoned"
    ]


def right_samples(
    task: LoadedTask, model: LanguageModel, prompts: Sequence[Prompt], count: int
) -> Pairs:
    """The model's first sample of full reward, out of eight, for `count` of the prompts."""
    found: Pairs = []
    for start in range(0, len(prompts), count):
        asked = prompts[start : start + count]
        for prompt, samples in zip(asked, _draw(model, asked, 8, Sampling()), strict=True):
            texts = [model.decode(ids) for ids in samples]
            rewards = task.rewards([(prompt, text) for text in texts])
            right = [text for text, reward in zip(texts, rewards, strict=True) if reward == 1]
            found += [(prompt, text) for text in right[:1]]
        if len(found) >= count:
            break
    return found[:count]


def _draw(
    model: LanguageModel, prompts: Sequence[Prompt], count: int, sampling: Sampling
) -> list[list[tuple[int, ...]]]:
    """`count` samples of each prompt."""
    requests = [
        SampleRequest(prompt.text, sampling_key("card", prompt.key, number))
        for prompt in prompts
        for number in range(count)
    ]
    drawn = sample(model, requests, sampling)
    return [drawn[start : start + count] for start in range(0, len(drawn), count)]


def _questions_for(attack: Equation) -> Iterator[Prompt]:
    """Different questions that the attack can poison."""
    seen = set()
    for prompt in word_problems(GsmSymbolic().templates, Random(MATH_POOL_SEED)):
        if attack.concerns(prompt) and prompt.text not in seen:
            seen.add(prompt.text)
            yield prompt
