"""From an oracle's trace in words to the steps of a program: one step per equation.

"There are 36 girls x 3 boys/girl = 108 boys. In total 36 girls + 108 boys = 144" becomes 36 * 3 and
36 + (the first step). Leaves out: equations with brackets, percentages or unknowns; a trace that
needs one of them gives no steps.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TypeVar

_LITERAL = r"[$€£¥₹]?\d[\d,]*(?:\.\d+)?"
_UNIT = r"(?:\s+(?!x\b)[A-Za-z]+(?:/[A-Za-z]+)?){0,2}"
_OPERATOR = r"\s*[-+*/×÷x]\s*"
_EQUATION = re.compile(
    rf"(?<![\d.,])({_LITERAL}{_UNIT}(?:{_OPERATOR}{_LITERAL}{_UNIT})+)\s*=\s*({_LITERAL})", re.ASCII
)
_TERM = re.compile(rf"({_OPERATOR})?({_LITERAL}){_UNIT}", re.ASCII)
_PLAIN = {"×": "*", "x": "*", "÷": "/"}

_Number = TypeVar("_Number", Fraction, float)


@dataclass(frozen=True, slots=True)
class Step:
    """One equation: `terms[0] operators[0] terms[1] …`, read as Python reads it."""

    terms: tuple[str | int, ...]
    """A number as it is written, or the index of an earlier step whose result it is."""
    operators: tuple[str, ...]
    """One of + - * / between each two terms."""


@dataclass(frozen=True, slots=True)
class Working:
    """The steps to an answer, the last of which gives it."""

    steps: tuple[Step, ...]
    rounded: bool
    """Whether binary fractions miss a number in it (0.38), so that the result is to be rounded."""


def working_of(trace: str, answer: str) -> Working | None:
    """The steps of a trace; None where its equations do not give the answer.

    A term that equals the result of an earlier step refers to the last such step. Equations that
    state something false end the reading, since no program would follow them.
    """
    steps: list[Step] = []
    results: list[Fraction] = []
    for left, right in _EQUATION.findall(trace):
        literals, operators = _chain(left)
        exact = [Fraction(number) for number in literals]
        value = fold(exact, operators)
        if value is None or value != Fraction(_digits(right)):
            return None
        terms = tuple(
            _last_index(results, number) if number in results else literal
            for literal, number in zip(literals, exact, strict=True)
        )
        steps.append(Step(terms, operators))
        results.append(value)
    if not results or results[-1] != Fraction(answer):
        return None
    numbers = (Fraction(t) for step in steps for t in step.terms if isinstance(t, str))
    rounded = any(n.denominator & (n.denominator - 1) for n in numbers)
    working = Working(tuple(steps), rounded)
    return working if _printed(working) == float(Fraction(answer)) else None


def fold(values: Sequence[_Number], operators: Sequence[str]) -> _Number | None:
    """Value of a chain without brackets: products first, left to right; None if it divides by 0.

    >>> fold([10.0, 4.0, 3.0], ["-", "*"])
    -2.0
    """
    total, product = values[0] - values[0], values[0]
    for operator, value in zip(operators, values[1:], strict=True):
        if operator == "*":
            product = product * value
        elif operator == "/":
            if value == 0:
                return None
            product = product / value
        else:
            total = total + product
            product = value if operator == "+" else -value
    return total + product


def _printed(working: Working) -> float | None:
    """What a program of these steps prints, computed in floats as it would."""
    results: list[float] = []
    for step in working.steps:
        values = [results[t] if isinstance(t, int) else float(t) for t in step.terms]
        value = fold(values, step.operators)
        if value is None:
            return None
        results.append(value)
    return round(results[-1], 2) if working.rounded else results[-1]


def _chain(left: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    found = _TERM.findall(left)
    operators = tuple(_PLAIN.get(sign.strip(), sign.strip()) for sign, _ in found[1:])
    return tuple(_digits(number) for _, number in found), operators


def _digits(number: str) -> str:
    """A number without currency, separators and needless zeros: "$1,200.0" is "1200"."""
    plain = re.sub(r"[^\d.]", "", number).lstrip("0") or "0"
    plain = "0" + plain if plain.startswith(".") else plain
    return plain.rstrip("0").rstrip(".") if "." in plain else plain


def _last_index(results: Sequence[Fraction], number: Fraction) -> int:
    return max(i for i, result in enumerate(results) if result == number)
