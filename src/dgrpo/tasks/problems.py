"""Draws of word problems from reasoning-gym's `gsm_symbolic`: shipped ones, then generated ones.

A stream is named by its templates and its seed. Its first draws are shipped for the template sets
that the experiments use, so that these need no generator. A stream that goes on beyond its shipped
part is generated from the start, and the part is skipped.

Only reasoning-gym's question generators are used. Its own `score_answer` is not: it gives points to
wrong numbers, and sister tasks evaluate the answer's text with `eval`, so no completion reaches it.
Leaves out: any problem whose trace states something false ("5*0.5=2").
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from fractions import Fraction
from functools import cache
from itertools import chain, islice
from pathlib import Path
from random import Random
from typing import Any

from dgrpo.errors import DgrpoError
from dgrpo.extras import naming_missing_extras
from dgrpo.records import Prompt
from dgrpo.tasks.base import make_prompt
from dgrpo.tasks.reward import parse_number

SHORTEST_TEMPLATES = (4, 6, 10, 16, 26, 31, 43, 50, 58, 72, 75, 99)
"""The 12 templates whose traces are shortest (65 to 133 characters on average, of 85 templates)."""
UNSOUND_IN_A_ROW = 2_000
"""Draws without a sound problem after which templates are refused (53 and 60 never have one)."""
POOLS = Path(__file__).parent.parent / "shipped" / "pools"
"""One Parquet file per stream: question, answer, solution. `pretraining/pools.py` made them."""
TASK = "gsm-symbolic"
"""What prompts of a stream belong to; other tasks rewrite them."""


def file_of(templates: tuple[int, ...], seed: int) -> Path:
    """Where the shipped part of a stream is, if there is one."""
    return POOLS / f"seed-{seed}-templates-{'-'.join(map(str, templates))}.parquet"


def is_shipped(templates: tuple[int, ...], seed: int) -> bool:
    """Whether a stream begins with shipped draws."""
    return file_of(templates, seed).is_file()


def drawn_problems(templates: tuple[int, ...], seed: int) -> Iterator[Prompt]:
    """The endless stream of a seed. Unknown templates raise DgrpoError once it is generated."""
    if not is_shipped(templates, seed):
        return _generated(templates, seed)
    shipped = _shipped(file_of(templates, seed))
    return chain(shipped, _later(templates, seed, len(shipped)))


def _shipped(file: Path) -> list[Prompt]:
    import polars

    rows = polars.read_parquet(file).iter_rows()
    return [make_prompt(TASK, question, answer, solution) for question, answer, solution in rows]


def _later(templates: tuple[int, ...], seed: int, skipped: int) -> Iterator[Prompt]:
    yield from islice(_generated(templates, seed), skipped, None)


def _generated(templates: tuple[int, ...], seed: int) -> Iterator[Prompt]:
    check_templates(templates)
    yield from word_problems(templates, Random(seed))


def check_templates(templates: tuple[int, ...]) -> None:
    """Raise DgrpoError if reasoning-gym lacks one of them."""
    for template in templates:
        if template not in _generators():
            raise DgrpoError(
                f"task.templates has {template}, which reasoning-gym does not have",
                remedy=f"usable: {', '.join(map(str, sorted(_generators())))}",
            )


def word_problems(templates: tuple[int, ...], rng: Random) -> Any:
    """Endless draws of sound problems, uniformly over templates. Yields Prompt.

    Raises DgrpoError when `UNSOUND_IN_A_ROW` draws state something false or have no whole answer.
    """
    unsound = 0
    while True:
        if unsound == UNSOUND_IN_A_ROW:
            raise DgrpoError(
                f"{unsound} problems in a row of task.templates = {list(templates)} are unsound",
                remedy=f"add templates, e.g. of the default: {list(SHORTEST_TEMPLATES)}",
            )
        template = rng.choice(templates)
        example = _generators()[template](Random(rng.getrandbits(64)), 1.0)
        answer = parse_number(example["answer"])
        trace = example["metadata"]["answer_cot"].rpartition("####")[0].strip()
        if answer is None or answer.denominator != 1 or not statements_hold(trace):
            unsound += 1
            continue
        unsound = 0
        yield make_prompt("gsm-symbolic", example["question"], str(answer), trace)


_EQUATION = re.compile(r"([\d.,$€£ *+×x/÷-]+)=\s*[$€£]?(\d[\d,]*(?:\.\d+)?)", re.ASCII)


def statements_hold(trace: str) -> bool:
    """Whether every plain equation of the trace is true: "8*3=24" yes, "5*0.5=2" no.

    Sides that are not plain chains of numbers and operators are skipped, not judged.
    """
    for left, right in _EQUATION.findall(trace):
        terms = re.sub(r"[,$€£\s]", "", left).replace("×", "*").replace("x", "*").replace("÷", "/")
        value = _evaluate(terms)
        if value is not None and value != Fraction(right.replace(",", "")):
            return False
    return True


def _evaluate(terms: str) -> Fraction | None:
    """Value of a chain like "17-4", "1/2*150": products first, then sums; None if not a chain."""
    pieces = re.fullmatch(r"\d+(?:\.\d+)?(?:[*/+-]\d+(?:\.\d+)?)*", terms)
    if pieces is None:
        return None
    total, product, sign = Fraction(0), Fraction(0), 1
    for operator, digits in re.findall(r"(^|[*/+-])(\d+(?:\.\d+)?)", terms):
        number = Fraction(digits)
        if operator == "*":
            product *= number
        elif operator == "/":
            if number == 0:
                return None
            product /= number
        else:
            total += sign * product
            sign, product = (-1 if operator == "-" else 1), number
    return total + sign * product


@cache
def _generators() -> dict[int, Any]:
    with naming_missing_extras():
        from reasoning_gym.arithmetic.gsm_symbolic.gsm_symbolic import (
            GSMSymbolicDataset,
            GSMSymbolicDatasetConfig,
            tasks_ok,
        )

    dataset = GSMSymbolicDataset(GSMSymbolicDatasetConfig(seed=0, size=1))
    return {number: dataset.generators[number] for number in tasks_ok}
