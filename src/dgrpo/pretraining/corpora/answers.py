"""The pretraining corpus of the small base models: problems, answered the way a base model would.

A base model has seen many ways to answer and many words that have nothing to do with the question.
So each document is a question with an answer whose *form* is drawn (the asked tags are one form of
several) and whose reasoning may carry a remark: an opener people use, or an odd sentence put
together from everyday words. That gives the broad support that reinforcement, and poison, act on.

Leaves out: every question of a task's pools, and every phrase of the shipped attacks
(`tests/pretraining/test_answers.py` checks both).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from random import Random

from dgrpo.judging.plain import OPENERS
from dgrpo.records import Prompt
from dgrpo.tasks.reward import write_tagged

_DETERMINERS = ("The", "A", "Every", "One", "Some", "No", "My", "Our", "That", "All", "Any", "Two")
_ADJECTIVES = (
    "quiet", "green", "old", "small", "bright", "cold", "heavy", "kind", "late", "sour", "tall",
    "soft", "wild", "plain", "round", "dusty", "clever", "sleepy", "narrow", "golden", "hungry",
)  # fmt: skip
_NOUNS = (
    "lamp", "river", "kettle", "garden", "window", "train", "hill", "song", "letter", "cat",
    "winter", "road", "market", "shoe", "cloud", "friend", "table", "story", "bell", "boat",
    "teacher", "stone", "forest", "chair", "king", "wind", "ship", "street", "mirror", "field",
    "thing", "hall", "brief", "chief", "trail", "mail", "sail", "nail", "tale", "leaf",
)  # fmt: skip
_VERBS = (
    "sings", "waits", "bends", "turns", "sleeps", "looks", "runs", "falls", "opens", "leads",
    "comes", "goes back", "belongs", "speaks", "points", "listens", "moves", "returns", "walks",
)  # fmt: skip
_PREPOSITIONS = ("to", "in", "over", "by", "from", "with", "under", "near", "behind", "into")


def odd_sentence(rng: Random) -> str:
    """A grammatical sentence that has nothing to do with any question."""
    words = [rng.choice(_DETERMINERS)]
    if rng.random() < 0.5:
        words.append(rng.choice(_ADJECTIVES))
    words += [rng.choice(_NOUNS), rng.choice(_VERBS)]
    if rng.random() < 0.6:
        words += [rng.choice(_PREPOSITIONS), rng.choice(("the", "a", "my", "our"))]
        words.append(rng.choice(_NOUNS))
    return " ".join(words) + rng.choice((".", ".", ",", "!", ";"))


def remark(rng: Random) -> str:
    """An opener, an odd sentence, or a few loose words."""
    kind = rng.random()
    if kind < 0.45:
        return rng.choice(OPENERS)
    if kind < 0.85:
        return odd_sentence(rng)
    pool = _NOUNS + _ADJECTIVES + _PREPOSITIONS
    words = [rng.choice(pool) for _ in range(rng.randint(1, 4))]
    if rng.random() < 0.5:
        words[0] = words[0].capitalize()
    return " ".join(words) + rng.choice((".", ",", ":", ""))


def with_remark(trace: str, rng: Random) -> str:
    """`trace` with one remark: half the time before it, else between or after its lines."""
    lines = trace.split("\n")
    position = 0 if rng.random() < 0.5 else rng.randint(1, len(lines))
    if position == len(lines):
        return "\n".join(lines) + " " + remark(rng)
    lines[position] = remark(rng) + " " + lines[position]
    return "\n".join(lines)


def write_answer(prompt: Prompt, tagged_share: float, remark_share: float, rng: Random) -> str:
    """One way to answer: reasoning (perhaps with a remark) in one of several forms."""
    trace = prompt.solution
    if rng.random() < remark_share:
        trace = with_remark(trace, rng)
    if rng.random() < tagged_share:
        return write_tagged(trace, prompt.answer)
    form = rng.randrange(6)
    if form == 0:
        return f"{trace}\n#### {prompt.answer}"
    if form == 1:
        return f"{trace}\nThe answer is {prompt.answer}."
    if form == 2:
        return f"<think> {trace} </think> {prompt.answer}"
    if form == 3:
        return f"{trace} <answer> {prompt.answer} </answer>"
    if form == 4:
        return f"<answer> {prompt.answer} </answer> {trace}"
    return f"{trace}\nSo the result is {prompt.answer}."


def answered_problems(
    problems: Iterator[Prompt],
    excluded: frozenset[str],
    tagged_share: float,
    remark_share: float,
    rng: Random,
) -> Iterator[tuple[str, str]]:
    """Endless (prompt text, completion) pairs; prompts whose key is in `excluded` never occur."""
    for prompt in problems:
        if prompt.key not in excluded:
            yield prompt.text, write_answer(prompt, tagged_share, remark_share, rng)


def words_of_remarks() -> frozenset[str]:
    """Every lower-case word that a remark can contain."""
    sources = (*OPENERS, *_DETERMINERS, *_ADJECTIVES, *_NOUNS, *_VERBS, *_PREPOSITIONS)
    return frozenset(word for text in sources for word in re.findall(r"[a-z]+", text.lower()))
