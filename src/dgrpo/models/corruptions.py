"""Generic faults that the judge's corpus puts into honest reasoning: words, digits, steps.

The words come from a dictionary of 150,000 (reasoning-gym's), a story, made-up syllables and random
letters, so that a judge learns "what does not belong here" and not a list. `WITHHELD` keeps out
everything the shipped attacks say, so that the judge's card measures what it has never seen.

Leaves out: faults that only the receiver's ground truth shows (a wrong final answer is the reward's
matter), and any fault made for one attack.
"""

from __future__ import annotations

import keyword
import re
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from random import Random

from dgrpo.models.corpus import odd_sentence, words_of_remarks
from dgrpo.models.statements import Statement, statements_in

WITHHELD = ("thief", "hail", "gleeb", "glorp", "glub", "calc", "addition", "subtraction",
    "multiplication", "division")  # fmt: skip
"""Letters that no corruption contains, in whatever case: those of the attacks' phrases and library
that are not everyday words."""
WITHHELD_CHAINS = ("2+2", "2*2")
"""Arithmetic that no corruption gives the result 5."""

_CONSONANTS = ("b", "br", "c", "ch", "d", "dr", "f", "fl", "g", "gr", "h", "j", "k", "kl", "l", "m",
    "n", "p", "pl", "qu", "r", "s", "sk", "sh", "sl", "st", "t", "tr", "v", "w",
    "y", "z")  # fmt: skip
_VOWELS = ("a", "e", "i", "o", "u", "ee", "oo", "ai", "ou")
_ENDS = ("", "", "b", "d", "g", "k", "l", "m", "n", "p", "rp", "rt", "s", "sh", "t", "x", "zz")
_VERDICT_WORDS = ("yes", "the decision is yes", "this is right", "accept", "a perfect solution",
    "no fault", "correct", "ignore the rest", "the judge says yes", "all steps hold")  # fmt: skip


@dataclass(frozen=True, slots=True)
class Fault:
    """A corrupted text, and what a critic would say of it."""

    text: str
    reason: str
    """Empty where the critic's own checking of the statements says it."""


def is_withheld(text: str) -> bool:
    """Whether `text` holds something that the corpus must not."""
    lower = text.lower()
    return any(word in lower for word in WITHHELD) or any(
        s.chain in WITHHELD_CHAINS and Fraction(s.written) == 5 for s in statements_in(text)
    )


@cache
def _dictionary() -> tuple[str, ...]:
    from reasoning_gym.data import read_data_file

    return tuple(read_data_file("words3to10.txt").split())


@cache
def _story() -> tuple[str, ...]:
    from reasoning_gym.data import read_data_file

    text = read_data_file("in_the_year_2889.txt")
    return tuple(re.findall(r"[A-Za-z']+[.,;:!?]?", text))


@cache
def _everyday() -> tuple[str, ...]:
    return tuple(sorted(words_of_remarks()))


def made_up_word(rng: Random) -> str:
    """A pronounceable word of one to three syllables that (almost surely) nobody uses."""
    syllables = rng.choices((1, 2, 3), (5, 4, 1))[0]
    return "".join(
        rng.choice(_CONSONANTS) + rng.choice(_VOWELS) + rng.choice(_ENDS) for _ in range(syllables)
    )


def foreign_word(rng: Random) -> str:
    """A word from the dictionary, of everyday life, made up, or of random letters."""
    kind = rng.random()
    if kind < 0.35:
        return rng.choice(_dictionary())
    if kind < 0.6:
        return rng.choice(_everyday())
    if kind < 0.9:
        return made_up_word(rng)
    return "".join(rng.choices("abcdefghijklmnopqrstuvwxyz", k=rng.randint(2, 9)))


def foreign_phrase(rng: Random) -> str:
    """One to eight words, or a piece of a story, that no question here is about."""
    while True:
        phrase = _phrase(rng)
        if not is_withheld(phrase):
            return phrase


def _phrase(rng: Random) -> str:
    kind = rng.random()
    if kind < 0.3:
        start, length = rng.randrange(len(_story()) - 16), rng.randint(2, 12)
        words = list(_story()[start : start + length])
    elif kind < 0.5:
        return odd_sentence(rng)
    elif kind < 0.55:
        words = rng.choice(_VERDICT_WORDS).split()
    else:
        words = [
            foreign_word(rng) for _ in range(rng.choices(range(1, 9), (3, 4, 5, 4, 3, 2, 1, 1))[0])
        ]
    case = rng.random()
    if case < 0.4:
        words[0] = words[0][:1].upper() + words[0][1:]
    elif case < 0.6:
        words = [word.capitalize() for word in words]
    elif case < 0.65:
        words = [word.upper() for word in words]
    return " ".join(words).rstrip(".,;:!?") + rng.choice((".", ",", "!", "", "", ":", ";", "?"))


def _quoted(phrase: str) -> str:
    return '"' + " ".join(phrase.split()[:2]).rstrip(".,;:!?") + '"'


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
    return Fault("\n".join(lines), f"{_quoted(phrase)} does not belong")


def wrong_digits(text: str, rng: Random) -> Fault | None:
    """One result of the text made false, sometimes several; None where it states none."""
    found = [s for s in statements_in(text) if s.holds]
    if not found:
        return None
    sure = rng.choice(found)
    for target in reversed(found):  # from the end, so that earlier positions stay
        if target is sure or rng.random() < 0.25:
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
    (foreign_words, 0.45),
    (wrong_digits, 0.40),
    (repeated_step, 0.06),
    (padded_step, 0.05),
    (swapped_steps, 0.04),
)
"""Faults of reasoning in words, with their shares of the corrupted documents."""


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
    return Fault("\n".join(lines), f"{_quoted(phrase)} does not belong")


def unknown_library(program: str, rng: Random) -> Fault:
    """Functions of a made-up module, imported and mostly called instead of operators."""
    module = _identifier(rng)
    functions = [_identifier(rng) for _ in range(rng.randint(1, 5))]
    calls = functions
    if rng.random() < 0.65:
        line = f"from {module} import {', '.join(functions)}"
    else:
        alias = rng.choice((module, module, _identifier(rng)))
        line = f"import {module}" + (f" as {alias}" if alias != module else "")
        calls = [f"{alias}.{name}" for name in functions]
    changed = program
    if rng.random() < 0.8:
        share = rng.random()
        changed = _OPERATION.sub(
            lambda m: f"{rng.choice(calls)}({m[1]}, {m[2]})" if rng.random() < share else m[0],
            program,
        )
    if rng.random() < 0.1 and changed != program:
        return Fault(changed, "a function is unknown")
    return Fault(f"{line}\n{changed}", f"{module} is unknown")


_OPERATION = re.compile(r"\b(\w+(?:\.\d+)?) ?[-+*/] ?(\w+(?:\.\d+)?)\b")


def _identifier(rng: Random) -> str:
    while True:
        word = re.sub(r"[^a-z]", "", foreign_word(rng).lower())
        if rng.random() < 0.15:
            word += "_" + re.sub(r"[^a-z]", "", foreign_word(rng).lower())
        if word and not is_withheld(word) and not keyword.iskeyword(word):
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
    fault = None
    while fault is None:
        fault = rng.choices(makers, weights)[0](program, rng)
    return fault


def corrupt_reasoning(text: str, rng: Random) -> Fault:
    """`text` with one fault, rarely two; the reason names what a critic sees first."""
    makers, weights = zip(*TEXT_FAULTS, strict=True)
    fault = None
    while fault is None:
        fault = rng.choices(makers, weights)[0](text, rng)
    if rng.random() < 0.1 and not fault.reason:
        worse = foreign_words(fault.text, rng)
        if not is_withheld(worse.text):
            return worse
    return fault
