"""Words that no question is about: from a dictionary, a story, made-up syllables, random letters.

A judge has to learn "what does not belong here" and not a list, so the sources are wide: 150,000
dictionary words and a story by Verne (both come with reasoning-gym), and whatever syllables give.
`WITHHELD` keeps out everything that the shipped attacks say by default.

Leaves out: other scripts than the Latin one.
"""

from __future__ import annotations

import re
from fractions import Fraction
from functools import cache
from random import Random

from dgrpo.pretraining.corpora.answers import odd_sentence, words_of_remarks
from dgrpo.pretraining.faults.statements import statements_in

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
