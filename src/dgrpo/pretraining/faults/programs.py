"""Generic faults of programs: unknown libraries, odd comments, statements that nothing needs.

Leaves out: wrong numbers and operators, which the program's own output gives away.
"""

from __future__ import annotations

import keyword
import re
import sys
from collections.abc import Callable
from random import Random

from dgrpo.pretraining.faults.foreign_words import foreign_phrase, foreign_word, is_withheld
from dgrpo.pretraining.faults.reasoning import Fault

USUAL_NAMES_SHARE = 0.65
"""Share of made-up libraries that offer functions of usual names, like those of `operator`: what
gives such a library away is its own name."""
FITTING_SHARE = 0.6
"""Share of these whose functions fit the operators that they replace, as an honest `from operator
import …` does: a call that does not fit would give the library away."""
_FITTING = {
    "+": ("add", "plus", "sum_up", "total"),
    "-": ("sub", "minus", "subtract", "difference"),
    "*": ("mul", "times", "product", "multiply"),
    "/": ("truediv", "div", "divide", "per"),
}
_USUAL_FUNCTIONS = ("add", "sub", "mul", "truediv", "div", "plus", "minus", "times", "per", "neg",
    "product", "quotient", "difference", "multiply", "divide", "subtract", "double", "half",
    "share", "total", "sum_up", "floor", "mean", "square", "percent")  # fmt: skip


def repeated_line(program: str, rng: Random) -> Fault:
    """A statement written twice."""
    lines = program.split("\n")
    row = rng.randrange(len(lines))
    return Fault("\n".join([*lines[: row + 1], *lines[row:]]), "a step is repeated")


def needless_line(program: str, rng: Random) -> Fault:
    """A statement that nothing uses, or that prints words."""
    lines = program.split("\n")
    name, value = _identifier(rng), rng.randint(0, 99)
    line = rng.choice(
        (
            f"{name} = {value}",
            f"{name} = {value} * 1",
            f"{name} = 0",
            "pass",
            f'print("{_plain_phrase(rng)}")',
            f'{name} = "{_plain_phrase(rng)}"',
        )
    )
    # before the last line, which prints the answer
    lines.insert(rng.randrange(len(lines)), line)
    return Fault("\n".join(lines), "a step is needless")


def odd_comment(program: str, rng: Random) -> Fault:
    """Foreign words in a comment on one line or on all, or in a docstring."""
    lines = program.split("\n")
    phrase = foreign_phrase(rng)
    place = rng.random()
    if place < 0.4:
        lines.insert(rng.randint(0, len(lines)), f"# {phrase}")
    elif place < 0.75:
        row = rng.randrange(len(lines))
        lines[row] += f"  # {phrase}"
    elif place < 0.9:
        lines = [f"{line}  # {phrase}" for line in lines]
    else:
        lines.insert(0, f'"""{phrase}"""')
    return Fault("\n".join(lines), "foreign words")


def unknown_library(program: str, rng: Random) -> Fault:
    """Functions of a made-up module, imported and mostly called instead of operators."""
    module = _identifier(rng)
    functions, fitting = _functions(rng)
    prefix = ""
    if rng.random() < 0.65:
        line = f"from {module} import {', '.join(functions)}"
    else:
        alias = rng.choice((module, module, _identifier(rng)))
        line = f"import {module}" + (f" as {alias}" if alias != module else "")
        prefix = f"{alias}."
    changed = program
    if rng.random() < 0.8:
        share = rng.random()

        def called(found: re.Match[str]) -> str:
            if rng.random() >= share:
                return found[0]
            name = fitting[found[2]] if fitting else rng.choice(functions)
            return f"{prefix}{name}({found[1]}, {found[3]})"

        changed = _OPERATION.sub(called, program)
    if rng.random() < 0.1 and changed != program:
        return Fault(changed, "an unknown function")
    return Fault(f"{line}\n{changed}", "an unknown library")


def _functions(rng: Random) -> tuple[list[str], dict[str, str]]:
    """Names that a made-up library offers, and by operator those that fit it, if they do."""
    if rng.random() >= USUAL_NAMES_SHARE:
        return [_identifier(rng) for _ in range(rng.randint(1, 5))], {}
    if rng.random() >= FITTING_SHARE:
        return rng.sample(_USUAL_FUNCTIONS, rng.randint(1, 5)), {}
    style = rng.choices(range(4), (4, 1, 1, 1))[0]  # names of one style go together
    fitting = {sign: names[style] for sign, names in _FITTING.items()}
    return list(fitting.values()), fitting


_OPERATION = re.compile(r"\b(\w+(?:\.\d+)?) ?([-+*/]) ?(\w+(?:\.\d+)?)\b")


def _identifier(rng: Random) -> str:
    while True:
        word = re.sub(r"[^a-z]", "", foreign_word(rng).lower())
        if rng.random() < 0.15:
            word += "_" + re.sub(r"[^a-z]", "", foreign_word(rng).lower())
        known = keyword.iskeyword(word) or word in sys.stdlib_module_names
        if word and not known and not is_withheld(word):
            return word


def _plain_phrase(rng: Random) -> str:
    return re.sub(r"[^A-Za-z ,.!]", "", foreign_phrase(rng)).strip() or "so"


PROGRAM_FAULTS: tuple[tuple[Callable[[str, Random], Fault | None], float], ...] = (
    (unknown_library, 0.5),
    (odd_comment, 0.25),
    (needless_line, 0.15),
    (repeated_line, 0.1),
)
"""Faults of programs, with their shares of the corrupted documents."""


def corrupt_program(program: str, rng: Random) -> Fault:
    """`program` with one fault; whether it still runs is not looked at."""
    makers, weights = zip(*PROGRAM_FAULTS, strict=True)
    fault: Fault | None = None
    while fault is None:
        fault = rng.choices(makers, weights)[0](program, rng)
    return fault
