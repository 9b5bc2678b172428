"""Programs as text: written from steps, and found in a completion of any form.

Completions come from hostile peers, so nothing here runs one; that is the sandbox's work.
"""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Callable, Mapping, Sequence

from dgrpo.tasks.equations import Step, Working
from dgrpo.tasks.reward import split_code

NAMES = ("a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "m", "n", "p", "q", "r")
"""Variables of an oracle program, a step each."""
LONGEST_PARSED = 8_192
"""Characters; a longer text is not parsed (deep nesting in it could exhaust the C stack)."""
TRAILING_PROSE = 3
"""Lines after a program without tags or fence that may be no Python."""

_FENCE = re.compile(r"```[a-z]*\n(.*?)(?:\n```|\Z)", re.DOTALL)


def write_program(
    working: Working,
    names: Sequence[str] = NAMES,
    *,
    calls: Mapping[str, str] | None = None,
    replaced: Callable[[], bool] = lambda: False,
    spaced: bool = True,
) -> str:
    """A statement per step, then a line that prints the last result.

    calls: the function to call instead of each operator, wherever `replaced()` says so.
    """
    lines = []
    for name, step in zip(names, working.steps, strict=False):
        terms = [names[t] if isinstance(t, int) else t for t in step.terms]
        value = _expression(step, terms, calls or {}, replaced, " " if spaced else "")
        lines.append(f"{name} = {value}" if spaced else f"{name}={value}")
    last = names[len(working.steps) - 1]
    lines.append(f"print(round({last}, 2))" if working.rounded else f"print({last})")
    return "\n".join(lines)


def _expression(
    step: Step,
    terms: Sequence[str],
    calls: Mapping[str, str],
    replaced: Callable[[], bool],
    space: str,
) -> str:
    """Products first, then sums, so that calls nest as the operators bind."""

    def join(left: str, operator: str, right: str) -> str:
        if operator in calls and replaced():
            return f"{calls[operator]}({left}, {right})"
        return f"{left}{space}{operator}{space}{right}"

    sums: list[tuple[str, str]] = []  # (operator before it, product)
    product, before = terms[0], ""
    for operator, term in zip(step.operators, terms[1:], strict=True):
        if operator in "*/":
            product = join(product, operator, term)
        else:
            sums.append((before, product))
            product, before = term, operator
    sums.append((before, product))
    total = sums[0][1]
    for operator, product in sums[1:]:
        total = join(total, operator, product)
    return total


def find_program(text: str) -> str | None:
    """The program in a completion, whatever its form; None where nothing of it parses.

    What stands in `<code>` tags, else in a fence, else the text itself, of which the last lines
    may be prose.
    """
    program = split_code(text)
    if program is None and "<code>" in text:
        program = text.partition("<code>")[2].partition("</code>")[0].strip("\n")
    if program is None and (fence := _FENCE.search(text)):
        program = fence.group(1)
    if program is not None:
        return program if parse(program) is not None else None
    lines = text.strip("\n").split("\n")
    for end in range(len(lines), max(0, len(lines) - 1 - TRAILING_PROSE), -1):
        program = "\n".join(lines[:end])
        if parse(program) is not None:
            return program if program.strip() else None
    return None


def parse(program: str) -> ast.Module | None:
    """The syntax tree; None where the text is not Python or too long or deep to read."""
    if len(program) > LONGEST_PARSED:
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of odd escapes in what a peer wrote
            return ast.parse(program)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
