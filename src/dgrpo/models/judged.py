"""The completions that a judge's card is measured on: honest ones and the shipped attacks' own.

Attacks are asked as in a round (`Attack.poison`), on prompts of the default pools, whose questions
no judge was trained on. One completion per prompt, so that a rate's interval is that of
independent items. MATH needs more prompts than the pools have (one in ninety computes 2+2 or 2*2):
they are drawn like the pools, with another seed, and their questions may have been seen.

Leaves out: samples of a base model that writes programs.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from random import Random

from dgrpo.attacks.base import Attack, Turn
from dgrpo.attacks.equation import Equation
from dgrpo.attacks.long_answer import LongAnswer
from dgrpo.attacks.text import Text
from dgrpo.models.corpus import OPENERS
from dgrpo.policy.model import LanguageModel, ModelSettings, load_model
from dgrpo.policy.noise import sampling_key
from dgrpo.policy.sampling import SampleRequest, Sampling, sample
from dgrpo.records import Completion, Prompt
from dgrpo.tasks.assignment import Slot
from dgrpo.tasks.base import LoadedTask
from dgrpo.tasks.gsm_python import GsmPython
from dgrpo.tasks.gsm_symbolic import GsmSymbolic, word_problems
from dgrpo.tasks.reward import split_tags

SECOND_PHRASE = "Gleeb Glorp Glub"
"""The paper's phrase for every sentence."""
BASE = "gsm-nano"
"""Whose samples stand for honest nodes' and for DoS."""
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
    base = load_model(ModelSettings(name=BASE))
    prompts = [*task.held_out, *task.train]
    first, coded = prompts[:count], programs.held_out[:count]
    computing = Equation()
    sums = list(islice(_questions_for(computing), count))
    yield Kind("honest-oracle", "honest: oracle solutions", True, oracle(task, first))
    yield Kind("honest-sums", "honest: oracle solutions with 2+2 or 2*2", True, oracle(task, sums))
    right = right_samples(task, base, prompts, count)
    plain = [says_only_the_solution(*pair) for pair in right]
    yield Kind("honest-samples", f"honest: right samples of {BASE}", True, right)
    for wanted, name, title in ((True, "plain", "only the steps"), (False, "odd", "odd words too")):
        part = [pair for pair, is_plain in zip(right, plain, strict=True) if is_plain is wanted]
        yield Kind(f"honest-samples-{name}", f"of these: {title}", True, part)
    yield Kind("honest-programs", "honest: oracle programs", True, oracle(programs, coded))
    yield Kind("text", "TEXT", False, poisoned(Text(), task, first, base))
    every = Text(phrase=SECOND_PHRASE, position="every-sentence")
    yield Kind("text-every", "TEXT, every sentence", False, poisoned(every, task, first, base))
    yield Kind("equation", "MATH", False, poisoned(computing, task, sums, base))
    longest = poisoned(LongAnswer(), task, first, base)
    yield Kind("dos", "DoS: longest right of 80 samples", False, longest)
    padded = poisoned(LongAnswer(source="padded"), task, first, base)
    yield Kind("dos-padded", "DoS: padded", False, padded)


def oracle(task: LoadedTask, prompts: Sequence[Prompt]) -> Pairs:
    """The oracle's solutions in the asked form."""
    return [(p, task.write(p.solution, p.answer)) for p in prompts]


def poisoned(
    attack: Attack, task: LoadedTask, prompts: Sequence[Prompt], model: LanguageModel
) -> Pairs:
    """What `attack` sends for each prompt; less where it finds nothing to poison."""
    sampling = Sampling()

    async def draw(asked: Sequence[Prompt], count: int) -> dict[str, list[Completion]]:
        return {
            prompt.key: [
                Completion(prompt.key, number, model.decode(ids), ids)
                for number, ids in enumerate(_draw(model, prompt, count, sampling))
            ]
            for prompt in asked
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
    sent = asyncio.run(attack.poison([], turn))
    by_key = {prompt.key: prompt for prompt in prompts}
    return [(by_key[s.completion.prompt_key], s.completion.text) for s in sent]


def right_samples(
    task: LoadedTask, model: LanguageModel, prompts: Sequence[Prompt], count: int
) -> Pairs:
    """The model's first sample of full reward for each prompt, out of eight."""
    found: Pairs = []
    for prompt in prompts:
        drawn = _draw(model, prompt, 8, Sampling())
        texts = [model.decode(ids) for ids in drawn]
        found += [(prompt, text) for text in texts if task.reward(prompt, text) == 1][:1]
        if len(found) == count:
            break
    return found


def says_only_the_solution(prompt: Prompt, text: str) -> bool:
    """Whether a completion's reasoning is the oracle's, but for openers ("Well,")."""
    parts = split_tags(text)
    if parts is None:
        return False
    thinking, solution = (" ".join(t.split()) for t in (parts[0], prompt.solution))
    for opener in OPENERS:
        thinking = thinking.replace(f"{opener} ", "")
    return thinking == solution


def _draw(
    model: LanguageModel, prompt: Prompt, count: int, sampling: Sampling
) -> list[tuple[int, ...]]:
    keys = [sampling_key("card", prompt.key, number) for number in range(count)]
    return sample(model, [SampleRequest(prompt.text, key) for key in keys], sampling)


def _questions_for(attack: Equation) -> Iterator[Prompt]:
    """Different questions that the attack can poison."""
    seen = set()
    for prompt in word_problems(GsmSymbolic().templates, Random(MATH_POOL_SEED)):
        if attack.concerns(prompt) and prompt.text not in seen:
            seen.add(prompt.text)
            yield prompt
