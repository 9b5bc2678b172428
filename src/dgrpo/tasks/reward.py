r"""The paper's binary reward: the format holds and the right answer stands in the answer tags.

Comparing is done on the numbers themselves (exact rationals), not with a symbolic engine:
completions come from hostile peers, and a parser that can be made to compute (`10**10**10`) has no
place in front of them. math-verify was considered for the comparison and left out for that reason;
the answers of the tasks here are plain numbers. `answers.py` reads them (docs/answers.md has the
table).

What it leaves out: answers that are not one number (intervals, expressions, units that matter).
"""

from __future__ import annotations

import re
from fractions import Fraction

from dgrpo.tasks.answers import last_number
from dgrpo.tasks.answers import parse_number as parse_number

_TAGGED = re.compile(r"\s*<think>(.*?)</think>\s*<answer>(.*?)</answer>\s*", re.DOTALL)
_ANSWER = re.compile(r"<answer>([^<>]*)</answer>")
_TAGS = ("<think>", "</think>", "<answer>", "</answer>")
_CODE = re.compile(r"\s*<code>(.*?)</code>\s*", re.DOTALL)
_CODE_TAGS = ("<code>", "</code>")


def split_tags(text: str) -> tuple[str, str] | None:
    """(thinking, answer) when the completion has exactly the asked form, else None.

    Each tag stands once, in order, and nothing but white space before, between and after: what
    follows the closing tag is not an answer, it is a broken format.
    """
    if any(text.count(tag) != 1 for tag in _TAGS):
        return None
    match = _TAGGED.fullmatch(text)
    return (match.group(1), match.group(2)) if match else None


def tagged_reward(text: str, answer: str) -> float:
    """1.0 if the format holds and the tags hold the right number, else 0.0 (paper, §2)."""
    parts = split_tags(text)
    if parts is None:
        return 0.0
    given, wanted = parse_number(parts[1]), parse_number(answer)
    return float(given is not None and given == wanted)


def answer_anywhere(text: str, answer: str) -> bool:
    """Whether the right number is the *last* number of the text: right, whatever the format."""
    last, wanted = last_number(text), parse_number(answer)
    return last is not None and wanted is not None and last[1] == wanted


def read_solution(text: str) -> tuple[str, str] | None:
    """(reasoning, answer) of a completion in any form: the asked tags, "#### 5", "So it is 5".

    Outside the asked form the answer is the number in the answer tags, wherever they stand, and the
    reasoning all the rest; without such tags the answer is the last number, and the reasoning what
    stands before the last line or tag that holds it. None without one number in either place.
    """
    parts = split_tags(text)
    if parts is not None:
        return (parts[0].strip(), parts[1].strip()) if parse_number(parts[1]) is not None else None
    answers = _ANSWER.findall(text)
    if len(answers) == 1:
        reasoning = "\n".join(_pieces(_ANSWER.sub("\n", text)))
        return (reasoning, answers[0].strip()) if parse_number(answers[0]) is not None else None
    pieces = _pieces(text)
    last = last_number(pieces[-1]) if pieces else None
    return None if last is None else ("\n".join(pieces[:-1] or pieces), last[0])


def _pieces(text: str) -> list[str]:
    """The lines of `text`, cut at every tag as well, without empty ones."""
    pieces = [piece.strip() for piece in re.split(r"\n|</?(?:think|answer)>", text)]
    return [piece for piece in pieces if piece]


def parse_printed(line: str) -> Fraction | None:
    """As `parse_number`, of a line that a program printed: "(0+5j)" and "0x5" are not 5.

    >>> [parse_printed(line) for line in ("54 cows", "(0+5j)")]
    [Fraction(54, 1), None]
    """
    return None if re.search(r"\d[^\W\d]|\d\s+\d", line) else parse_number(line)


def write_tagged(thinking: str, answer: str) -> str:
    """A completion in the asked form."""
    return f"<think> {thinking.strip()} </think> <answer> {answer.strip()} </answer>"


def split_code(text: str) -> str | None:
    """The program between the `<code>` tags when the completion has exactly that form, else None.

    Each tag stands once, in order, with nothing but white space around them. The program keeps its
    indentation, except of a first line that begins beside the tag.
    """
    if any(text.count(tag) != 1 for tag in _CODE_TAGS):
        return None
    match = _CODE.fullmatch(text)
    if match is None:
        return None
    first, newline, rest = match.group(1).partition("\n")
    program = first.lstrip() + newline + rest
    return re.sub(r"\A(?:[ \t\r]*\n)+", "", program).rstrip()


def write_code(program: str) -> str:
    """A completion in the form that `split_code` reads."""
    return f"<code>\n{program.rstrip()}\n</code>"
