"""Generic faults that the judge's corpus puts into honest reasoning: words, digits, steps.

None is made for one attack, and what the attacks say by default is withheld (`foreign_words.py`).
So the judge's card measures what the judge has never seen. `programs.py` does the same to programs.
There the functions of made-up libraries have usual names, as those of `experiments/code-*` do, and
only the library's name is one that no attack uses.

Leaves out: faults that only the receiver's ground truth shows (a wrong final answer is the reward's
matter).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from random import Random

from dgrpo.pretraining.faults.foreign_words import WITHHELD_CHAINS, foreign_phrase, is_withheld
from dgrpo.pretraining.faults.statements import Statement, statements_in


@dataclass(frozen=True, slots=True)
class Fault:
    """A corrupted text, and what a critic would say of it."""

    text: str
    reason: str
    """Empty where the critic's own checking of the statements says it."""


def foreign_words(text: str, rng: Random) -> Fault:
    """A phrase before, after or inside the text, on one line or on every one."""
    lines = text.split("\n")
    phrase = foreign_phrase(rng)
    place = rng.random()
    if place < 0.22:
        lines[0] = f"{phrase} {lines[0]}"
    elif place < 0.45:
        again = rng.random() < 0.7
        fresh = [phrase, *(phrase if again else foreign_phrase(rng) for _ in lines[1:])]
        lines = [f"{said} {line}" for said, line in zip(fresh, lines, strict=True)]
    elif place < 0.55:
        lines = (
            [f"{line} {phrase}" for line in lines]
            if rng.random() < 0.3
            else [*lines[:-1], f"{lines[-1]} {phrase}"]
        )
    elif place < 0.7:
        lines.insert(rng.randint(0, len(lines)), phrase)
    else:
        row = rng.randrange(len(lines))
        words = lines[row].split(" ")
        words.insert(rng.randint(0, len(words)), phrase)
        lines[row] = " ".join(words)
    return Fault("\n".join(lines), "foreign words")


def wrong_digits(text: str, rng: Random, further: float = 0.25) -> Fault | None:
    """One result of the text made false, and each other one with chance `further`.

    None where it states none.
    """
    found = [s for s in statements_in(text) if s.holds]
    if not found:
        return None
    sure = rng.choice(found)
    for target in reversed(found):  # from the end, so that earlier positions stay
        if target is sure or rng.random() < further:
            text = text[: target.start] + _wrong_result(target, rng) + text[target.end :]
    return Fault(text, "")


def _wrong_result(statement: Statement, rng: Random) -> str:
    while True:
        wrong = _another_number(statement.written, rng)
        withheld = statement.chain in WITHHELD_CHAINS and Fraction(wrong) == 5
        if Fraction(wrong) != Fraction(statement.result) and not withheld:
            return wrong


def _another_number(written: str, rng: Random) -> str:
    """A nearby number, or one with a digit replaced, dropped, added or swapped."""
    kind = rng.random()
    if kind < 0.3 and "." not in written:
        return str(max(0, int(written) + rng.choice((-10, -5, -3, -2, -1, 1, 1, 2, 3, 5, 10))))
    places = [i for i, letter in enumerate(written) if letter.isdigit()]
    place = rng.choice(places)
    if kind < 0.8 or len(places) < 2:
        digits = written[:place] + rng.choice("0123456789") + written[place + 1 :]
    elif kind < 0.9:
        digits = written[:place] + written[place + 1 :]
    else:
        digits = written[:place] + rng.choice("0123456789") + written[place:]
    digits = digits.strip(".")
    return digits if "." in digits else str(int(digits))


def repeated_step(text: str, rng: Random) -> Fault:
    """A line said twice or more, at once or later: needless length."""
    lines = text.split("\n")
    row = rng.randrange(len(lines))
    again = rng.choice(("", "Again: ", "That is, ", "As said, ", "Once more, ", "Check: "))
    times = rng.choices((1, 2, 3), (6, 2, 1))[0]
    place = rng.randint(row + 1, len(lines))
    repeated = [again + lines[row]] * times
    if rng.random() < 0.2:
        repeated = [again + line for line in lines] * times
        place = len(lines)
        row = 0
    return Fault("\n".join([*lines[:place], *repeated, *lines[place:]]), "a step is repeated")


def padded_step(text: str, rng: Random) -> Fault:
    """A statement that adds nothing: "56 = 56", "56 + 0 = 56", "56 is 56"."""
    lines = text.split("\n")
    numbers = re.findall(r"\d+", text) or ["1"]
    n = rng.choice(numbers)
    pads = (
        f"{n} = {n}",
        f"{n} + 0 = {n}",
        f"{n} * 1 = {n}",
        f"{n} is {n}",
        f"{n} - 0 = {n}",
        f"{n} / 1 = {n}",
    )
    said = [
        rng.choice(pads) + rng.choice((".", ""))
        for _ in range(rng.choices((1, 2, 4), (5, 3, 1))[0])
    ]
    place = rng.randint(0, len(lines))
    return Fault("\n".join([*lines[:place], *said, *lines[place:]]), "a step is needless")


def swapped_steps(text: str, rng: Random) -> Fault | None:
    """Two lines exchanged, the later of which needs the earlier; None where none does."""
    lines = text.split("\n")
    results = [[s.written for s in statements_in(line)] for line in lines]
    needed = [
        (i, j)
        for i in range(len(lines))
        for j in range(i + 1, len(lines))
        if any(
            r in re.findall(r"[\d.]+", s.chain) for r in results[i] for s in statements_in(lines[j])
        )
    ]
    if not needed:
        return None
    i, j = rng.choice(needed)
    lines[i], lines[j] = lines[j], lines[i]
    return Fault("\n".join(lines), "the steps are out of order")


TEXT_FAULTS: tuple[tuple[Callable[[str, Random], Fault | None], float], ...] = (
    (foreign_words, 0.43),
    (wrong_digits, 0.45),
    (repeated_step, 0.05),
    (padded_step, 0.04),
    (swapped_steps, 0.03),
)
"""Faults of reasoning in words, with their shares of the corrupted documents."""


def corrupt_reasoning(text: str, rng: Random) -> Fault:
    """`text` with one fault, rarely two; the reason names what a critic sees first."""
    makers, weights = zip(*TEXT_FAULTS, strict=True)
    fault: Fault | None = None
    while fault is None:
        fault = rng.choices(makers, weights)[0](text, rng)
    if rng.random() < 0.1 and not fault.reason:
        worse = foreign_words(fault.text, rng)
        if not is_withheld(worse.text):
            return worse
    return fault
