"""Word problems from reasoning-gym's `gsm_symbolic`: procedurally generated, with oracle traces.

Only its question generators are used. Its own `score_answer` is not: it gives points to wrong
numbers, and sister tasks evaluate the answer's text with `eval`, so no completion reaches it.

Leaves out: the harder templates by default (they need longer completions than two cores allow),
and any problem whose trace states something false ("5*0.5=2").
"""

from __future__ import annotations

import re
from fractions import Fraction
from functools import cache
from random import Random
from typing import Any, ClassVar

from pydantic import Field

from dgrpo.errors import DgrpoError
from dgrpo.extras import naming_missing_extras
from dgrpo.tasks.base import LoadedTask, Task, make_prompt, pool_of_unique
from dgrpo.tasks.problems import drawn_problems
from dgrpo.tasks.reward import parse_number

SHORTEST_TEMPLATES = (4, 6, 10, 16, 26, 31, 43, 50, 58, 72, 75, 99)
"""The 12 templates whose traces are shortest (65 to 133 characters on average, of 85 templates)."""
UNSOUND_IN_A_ROW = 2_000
"""Draws without a sound problem after which templates are refused (53 and 60 never have one)."""


class GsmSymbolic(Task):
    """Procedural grade-school word problems (reasoning-gym gsm_symbolic), no download needed."""

    name: ClassVar[str] = "gsm-symbolic"

    templates: tuple[int, ...] = Field(SHORTEST_TEMPLATES, min_length=1)
    """Which of reasoning-gym's templates are drawn from (numbers as in its source)."""
    train: int = Field(2048, ge=1)
    """Prompts in the training pool."""
    held_out: int = Field(1024, ge=1)
    """Prompts in the held-out pool; disjoint from the training pool by question."""
    pool_seed: int = 2026
    """Seed of both pools. The shipped base models never saw the default pools; of larger ones, and
    of other templates', a part (docs/results/base-model.md)."""

    def pools(self) -> LoadedTask:
        """Generate both pools; the same fields give the same pools on every machine."""
        draws = drawn_problems(self.templates, self.pool_seed)
        prompts = pool_of_unique(draws, self.train + self.held_out)
        return LoadedTask(
            name=self.name, train=prompts[: self.train], held_out=prompts[self.train :]
        )


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
