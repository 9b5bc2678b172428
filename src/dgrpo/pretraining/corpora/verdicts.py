"""The corpus of the shipped judge: completions, honest or corrupted, with a critic's verdict.

A document is exactly what the `judge` defense asks in its "brief" style, and the reply. Most of
them argue first: the critic says whether the text is fine, and if so goes through what it states.
It repeats the left side, works the result out, repeats the one that is given, and compares the two
where they stand side by side ("14*13=182 given 182 ok, 3+4=7 given 8 no"). A small model cannot
tell in one step whether a text's arithmetic holds. It does not quote foreign words: copying random
letters took most of the training and taught nothing.

What counts as honest is decided here. The oracle's reasoning is, also behind one of the openers
that people use ("Well,", "Let us see,"), in whatever answer form: the form is the reward's matter.
So is a program that uses what it imports of the standard library, whatever it calls its variables
and functions, and a comment that repeats the question. A sentence that has nothing to do
with the question is not, nor an import that nothing uses, though base models do write such things.

Leaves out: every question of the pools that the defaults and `experiments/` draw from, and whatever
the attacks say (`WITHHELD`).
"""

from __future__ import annotations

import builtins
import keyword
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import islice
from random import Random

from dgrpo.judging.plain import OPENERS, unused_import
from dgrpo.judging.prompts import judge_prompt, judge_reply
from dgrpo.pretraining.corpora.answers import write_answer
from dgrpo.pretraining.corpora.programs import Style, identifier, surface, written
from dgrpo.pretraining.faults.foreign_words import is_withheld
from dgrpo.pretraining.faults.programs import corrupt_program
from dgrpo.pretraining.faults.reasoning import Fault, corrupt_reasoning, wrong_digits
from dgrpo.pretraining.faults.statements import statements_in
from dgrpo.pretraining.recipe import Recipe
from dgrpo.records import Prompt
from dgrpo.tasks.equations import Working
from dgrpo.tasks.gsm_python import CODE_TEMPLATES, GsmPython, worked_problems
from dgrpo.tasks.gsm_symbolic import GsmSymbolic
from dgrpo.tasks.problems import word_problems
from dgrpo.tasks.programs import NAMES
from dgrpo.tasks.reward import write_code

CRITICISM_SHARE = 0.7
"""Share of documents whose verdict is argued for first."""
PROGRAM_SHARE = 0.35
"""Share of the other completions that are programs."""
EXERCISE_SHARE = 0.25
"""Share of documents about plain sums: a judge of arithmetic must know its tables, and the word
problems compute 2*2 once in ninety questions."""
WRONG_IN_EXERCISES = 0.6
"""Chance of each further result of a faulty exercise to be wrong: so often that reading the given
result off does not pay."""
QUESTION_NAMES_SHARE, OWN_FUNCTIONS_SHARE = 0.2, 0.1
"""Shares of programs whose variables are words of the question, and that name functions."""
MOST_STATEMENTS = 8
"""How many statements a critic works out again."""
SORTED_BATCHES = 4
"""Batches that are drawn and sorted by length together."""
LONGEST_DOCUMENT = 1000
"""Characters of question and completion together, so that documents fit the model's context."""

_OPERATOR = {"+": "add", "-": "sub", "*": "mul", "/": "truediv"}


@dataclass(frozen=True, slots=True)
class Case:
    """A completion to judge."""

    prompt: Prompt
    text: str
    honest: bool
    criticism: str


def criticism_of(text: str, reason: str = "") -> str:
    """What a critic says of a completion.

    reason: a fault that is no false statement. With one, the statements are not gone through.

    >>> criticism_of("14 * 13 = 182 cups, 3 + 4 = 8 in all")
    'Text: fine. Sums: 14 * 13 = 182 given 182 ok, 3 + 4 = 7 given 8 no.'
    """
    if reason:
        return f"Text: {reason}."
    sums = [
        f"{stated.left}{stated.result} given {stated.written} {'ok' if stated.holds else 'no'}"
        for stated in statements_in(text)[:MOST_STATEMENTS]
    ]
    return f"Text: fine. Sums: {', '.join(sums) or 'none'}."


@cache
def pool_questions() -> frozenset[str]:
    """What experiments ask: MATH's pool, which holds the default ones, and CODE's."""
    pools = (GsmSymbolic(train=8192, held_out=4096), GsmPython(templates=CODE_TEMPLATES))
    loaded = [pool.load() for pool in pools]
    return frozenset(p.question for task in loaded for p in (*task.train, *task.held_out))


def word_cases(recipe: Recipe, rng: Random) -> Iterator[Case]:
    """Endless completions that reason in words; none of a question of any pool."""
    for prompt in word_problems(recipe.templates, rng):
        if prompt.question in pool_questions():
            continue
        honest = rng.random() >= recipe.mistake_share
        thinking = _with_opener(prompt.solution, recipe, rng)
        fault = Fault(thinking, "") if honest else corrupt_reasoning(thinking, rng)
        written = Prompt(prompt.key, prompt.text, prompt.answer, fault.text)
        text = write_answer(written, recipe.tagged_share, 0.0, rng)
        yield Case(prompt, text, honest, criticism_of(fault.text, fault.reason))


def exercise_cases(recipe: Recipe, rng: Random) -> Iterator[Case]:
    """Endless answers to "work these out": two to seven plain sums, mostly of small numbers."""
    while True:
        sums = [_sum(rng) for _ in range(rng.randint(2, 7))]
        asked = ", ".join(chain for chain, _ in sums)
        question = f"Question: Work these out: {asked}.\nAnswer:\n"
        spaced = rng.random() < 0.5
        lines = [f"{chain} = {result}" for chain, result in sums]
        solution = "\n".join(line if spaced else line.replace(" ", "") for line in lines)
        honest = rng.random() >= recipe.mistake_share
        fault = Fault(solution, "") if honest else wrong_digits(solution, rng, WRONG_IN_EXERCISES)
        assert fault is not None
        prompt = Prompt("exercise", question, sums[-1][1], fault.text)
        text = write_answer(prompt, recipe.tagged_share, 0.0, rng)
        yield Case(prompt, text, honest, criticism_of(fault.text))


def _sum(rng: Random) -> tuple[str, str]:
    """Two or three numbers and their result, no fraction: ("3 * 4", "12")."""
    largest = rng.choices((10, 20, 100), (7, 2, 1))[0]
    a, b = rng.randint(1, largest), rng.randint(1, largest)
    sign = rng.choice("++-***/")
    if sign == "+":
        if rng.random() < 0.3:
            c = rng.randint(1, largest)
            return f"{a} + {b} + {c}", str(a + b + c)
        return f"{a} + {b}", str(a + b)
    if sign == "-":
        return f"{a + b} - {b}", str(a)
    if sign == "/":
        return f"{a * b} / {b}", str(a)
    if a * b < 100 and rng.random() < 0.2:
        c = rng.randint(1, 10)
        return f"{a} * {b} * {c}", str(a * b * c)
    return f"{a} * {b}", str(a * b)


def _with_opener(thinking: str, recipe: Recipe, rng: Random) -> str:
    lines = thinking.split("\n")
    if rng.random() < recipe.remark_share:
        row = 0 if rng.random() < 0.6 else rng.randrange(len(lines))
        lines[row] = f"{rng.choice(OPENERS)} {lines[row]}"
    return "\n".join(lines)


def program_cases(recipe: Recipe, rng: Random) -> Iterator[Case]:
    """Endless completions that are programs; none of a question of any pool."""
    for prompt, working in worked_problems(recipe.templates, rng):
        if prompt.question in pool_questions():
            continue
        program = _with_comment(_program(prompt, working, rng), prompt, recipe, rng)
        unused = unused_import(program)
        honest = unused is None and rng.random() >= recipe.mistake_share
        if honest:
            fault = Fault(program, "")
        elif unused is not None:
            fault = Fault(program, "a needless import")
        else:
            fault = corrupt_program(program, rng)
        asked_form = rng.random() < recipe.tagged_share
        text = write_code(fault.text) if asked_form else f"```python\n{fault.text}\n```"
        yield Case(prompt, text, honest, criticism_of(fault.text, fault.reason))


def _program(prompt: Prompt, working: Working, rng: Random) -> str:
    """In a usual style, with variables named by the question, or with functions of its own."""
    kind, steps = rng.random(), len(working.steps)
    if kind < QUESTION_NAMES_SHARE:
        found = set(re.findall(r"\b[a-z]{3,}\b", prompt.text)) - {*keyword.kwlist, *dir(builtins)}
        return written(working, Style(names=tuple(rng.sample(sorted(found), steps))), rng)
    if kind < QUESTION_NAMES_SHARE + OWN_FUNCTIONS_SHARE:
        used = sorted({sign for step in working.steps for sign in step.operators})
        calls = {sign: identifier(rng) for sign in used}
        if rng.random() < 0.5:
            given = ", ".join(f"{_OPERATOR[sign]} as {name}" for sign, name in calls.items())
            heads = [f"from operator import {given}"]
        else:
            heads = [f"def {name}(x, y):\n    return x {sign} y" for sign, name in calls.items()]
        style = Style(names=NAMES, imports=tuple(heads), calls=calls, call_share=1.0)
        return written(working, style, rng)
    return surface(working, rng)


def _with_comment(program: str, prompt: Prompt, recipe: Recipe, rng: Random) -> str:
    """An opener or a few words of the question as a comment, above the program or behind a line."""
    if rng.random() >= recipe.remark_share:
        return program
    words = prompt.text.partition(": ")[2].rpartition("\n")[0].split()[:-1]
    start = rng.randrange(len(words))
    said = " ".join(words[start : start + rng.randint(1, 5)])
    comment = f"# {said if rng.random() < 0.6 else rng.choice(OPENERS)}"
    if rng.random() < 0.5:
        return f"{comment}\n{program}"
    lines = program.split("\n")
    row = rng.randrange(len(lines))
    lines[row] += f"  {comment}"
    return "\n".join(lines)


def verdict_documents(recipe: Recipe, rng: Random) -> Iterator[tuple[str, str]]:
    """Endless (what the judge is asked, its reply) pairs, about words and about programs.

    They come in runs of `recipe.batch` of similar length, so that a batch has little padding.
    """
    drawn = _documents(recipe, rng)
    while True:
        some = sorted(islice(drawn, recipe.batch * SORTED_BATCHES), key=lambda d: len(d[0] + d[1]))
        batches = [some[i : i + recipe.batch] for i in range(0, len(some), recipe.batch)]
        rng.shuffle(batches)
        for batch in batches:
            yield from batch


def _documents(recipe: Recipe, rng: Random) -> Iterator[tuple[str, str]]:
    words, programs = word_cases(recipe, rng), program_cases(recipe, rng)
    exercises = exercise_cases(recipe, rng)
    while True:
        if rng.random() < EXERCISE_SHARE:
            case = next(exercises)
        else:
            case = next(programs if rng.random() < PROGRAM_SHARE else words)
        if is_withheld(case.text) or len(case.prompt.text) + len(case.text) > LONGEST_DOCUMENT:
            continue
        argued = rng.random() < CRITICISM_SHARE
        asked = judge_prompt(case.prompt.text, case.text, style="brief", criticism=argued)
        yield asked.continued, judge_reply(case.honest, case.criticism if argued else None)
