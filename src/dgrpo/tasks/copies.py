"""Which prompts ask the same: copies that white space, Unicode or a number's notation sets apart.

A held-out question that was trained on measures memory. A key is a digest of the very characters,
and so tells "7" from "7.0". Two prompts are copies if their questions are equal but for white
space, invisible characters, letter case, the form of Unicode, quotes and dashes, and the notation
of numbers, and if their answers say the same.

Leaves out: questions in other words or with other names, and the same question with another answer.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from functools import lru_cache

from dgrpo.records import Prompt
from dgrpo.tasks.answers import parse_number

_MARKS: dict[int, str | None] = {
    **dict.fromkeys(map(ord, "‘’‚‛´′"), "'"),
    **dict.fromkeys(map(ord, "“”„‟″«»"), '"'),
    **dict.fromkeys(map(ord, "‐‑‒–—−﹣－"), "-"),
    **dict.fromkeys(map(ord, "\u00ad\u200b\u200c\u200d\u2060\ufeff")),
}
"""Quotes, dashes, and characters that nobody sees."""
_NUMBER = re.compile(r"(?<![\w.,])(\d{1,3}(?:,\d{3})+|\d+)(?:\.(\d+))?(?![\d_]|[.,]\d)", re.ASCII)
_NEEDLESS_SPACE = re.compile(r"(?<!\d) | (?!\d)")


def copy_key(prompt: Prompt) -> tuple[str, str]:
    """Equal for prompts that ask the same and have the same answer."""
    return _folded(prompt.question or prompt.text), _answer(prompt.answer)


def without_copies(prompts: Iterable[Prompt], of: Iterable[Prompt] = ()) -> list[Prompt]:
    """The first of all prompts that ask the same, and none that one of `of` asks.

    Nor one whose whole text is given to the model by one of `of`, whatever its answer.
    """
    known = list(of)
    seen, texts = {copy_key(p) for p in known}, {p.text for p in known}
    kept = []
    for prompt in prompts:
        key = copy_key(prompt)
        if key not in seen and prompt.text not in texts:
            seen.add(key)
            kept.append(prompt)
    return kept


def copies_between(
    first: Sequence[Prompt], second: Sequence[Prompt]
) -> list[tuple[Prompt, Prompt]]:
    """Pairs of one prompt of each that are copies, or have one key."""
    by_key = {prompt.key: prompt for prompt in first}
    by_question = {copy_key(prompt): prompt for prompt in first}
    found = ((by_key.get(p.key) or by_question.get(copy_key(p)), p) for p in second)
    return [(one, other) for one, other in found if one is not None]


@lru_cache(maxsize=1 << 15)
def _folded(question: str) -> str:
    """The question in one form; white space is left between digits alone."""
    text = question.replace("`", "'")
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text.translate(_MARKS)).translate(_MARKS)
    plain = " ".join(_NUMBER.sub(_plain_number, text.casefold()).split())
    return _NEEDLESS_SPACE.sub("", plain)


def _plain_number(found: re.Match[str]) -> str:
    whole, decimals = found[1].replace(",", ""), (found[2] or "").rstrip("0")
    return f"{whole}.{decimals}" if decimals else whole


@lru_cache(maxsize=1 << 15)
def _answer(answer: str) -> str:
    number = parse_number(answer)
    return str(number) if number is not None else " ".join(answer.split())
