r"""The paper's binary reward: the format holds and the right answer stands in the answer tags.

Comparing is done on the numbers themselves (exact rationals), not with a symbolic engine:
completions come from hostile peers, and a parser that can be made to compute (`10**10**10`) has no
place in front of them. math-verify was considered for the comparison and left out for that reason;
the answers of the tasks here are plain numbers.

What it leaves out: answers that are not one number (intervals, expressions, units that matter).
"""

from __future__ import annotations

import re
from fractions import Fraction

_TAGGED = re.compile(r"\s*<think>(.*?)</think>\s*<answer>(.*?)</answer>\s*", re.DOTALL)
_NUMBER = re.compile(
    r"""(?<![\w.,/])(?<!\d[eE_][-+])        # not inside a word or another number
        (?:-?[$€£]|[$€£]?-)?\d+(?:,\d{3})*(?:\.\d+)?  # 1,200.50, -$5 or $-5
        (?:/-?\d+(?:\.\d+)?)?                  # 3/4
        (?![\d/_]|[.,]\d|[eE][-+]?\d|[a-zA-Z]\d|[kK]\b)""",
    re.VERBOSE | re.ASCII,
)
_MINUS_WORD = re.compile(r"\b(?:minus|negative)\s+(?=[$€£]?\d)", re.IGNORECASE)
_UNIT = re.compile(r"(?<=[A-Za-z])[²³]|(?<![A-Za-z])(?:[cdkm]?m|ft|in|yd)[23]\b(?!/\d)")
"""The exponent of a unit, as in "12 cm²" or "12 cm2"."""
_DASHES = dict.fromkeys(map(ord, "−–‒﹣－\N{HYPHEN}\N{NON-BREAKING HYPHEN}⁻"), "-")
"""What people write for a minus sign."""
_APART = r"\s*-\s+(?=[$€£]?\d)"
"""A minus sign apart from the number that an answer begins with; elsewhere it begins an item."""
_ROOTS = frozenset("√∛∜")
_ANSWER = re.compile(r"<answer>([^<>]*)</answer>")
_TAGS = ("<think>", "</think>", "<answer>", "</answer>")
_CODE = re.compile(r"\s*<code>(.*?)</code>\s*", re.DOTALL)
_CODE_TAGS = ("<code>", "</code>")
LONGEST_NUMBER = 40
"""Characters; a longer run of digits is not an answer and would only cost time to compare."""


def parse_number(text: str) -> Fraction | None:
    """The one number in `text`, exactly; None where there is none or more than one.

    Digits and fractions of other scripts are numbers, too, and none that is read: "5½" is not 5.
    Nor is "√25" 25. So are digits that are no number in any form read here: "54 or 8k" is not 54.

    >>> [parse_number(text) for text in ("54 cows", " $1,200 ", "36.0", "7 or 8", "5e3", "5½")]
    [Fraction(54, 1), Fraction(1200, 1), Fraction(36, 1), None, None, None]
    """
    plain = _plain(text, r"\A")
    if any((c.isnumeric() and not c.isascii()) or c in _ROOTS for c in plain):
        return None
    found = _NUMBER.findall(plain)
    if len(found) != 1 or len(found[0]) > LONGEST_NUMBER:
        return None
    if sum(map(str.isdigit, plain)) != sum(map(str.isdigit, found[0])):
        return None
    numerator, _, denominator = re.sub(r"[,$€£]", "", found[0]).partition("/")
    if denominator and Fraction(denominator) == 0:
        return None
    return Fraction(numerator) / Fraction(denominator or "1")


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
    numbers = _numbers(text)
    return bool(numbers) and parse_number(numbers[-1]) == parse_number(answer)


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
    if not pieces or not _numbers(pieces[-1]):
        return None
    return "\n".join(pieces[:-1] or pieces), _numbers(pieces[-1])[-1]


def _pieces(text: str) -> list[str]:
    """The lines of `text`, cut at every tag as well, without empty ones."""
    pieces = [piece.strip() for piece in re.split(r"\n|</?(?:think|answer)>", text)]
    return [piece for piece in pieces if piece]


def _numbers(text: str) -> list[str]:
    """Every number as it is written, but for its minus sign."""
    return _NUMBER.findall(_plain(text, "<answer>"))


def _plain(text: str, opening: str) -> str:
    """The text without exponents of units, every minus sign turned into the plain one.

    opening: a pattern of what an answer begins after.
    """
    text = _UNIT.sub(" ", text).translate(_DASHES)
    text = re.sub(rf"({opening}){_APART}", r"\1-", text)
    return _MINUS_WORD.sub("-", text)


def parse_printed(line: str) -> Fraction | None:
    """As `parse_number`, of a line that a program printed: "(0+5j)" and "0x5" are not 5.

    >>> [parse_printed(line) for line in ("54 cows", "(0+5j)")]
    [Fraction(54, 1), None]
    """
    return None if re.search(r"\d[^\W\d]", line) else parse_number(line)


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
