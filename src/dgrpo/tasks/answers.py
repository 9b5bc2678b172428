r"""Which number an answer says: "$1,200", "54 cows", "\frac{1}{2}", "2 million"; or none.

docs/answers.md is the table of what is read and what is refused; the tests hold it against this
file. An answer comes from a hostile peer. So nothing here computes anything but exact fractions of
at most `LONGEST_NUMBER` characters, no pattern backtracks further than a constant, and the words
that are looked at are the few beside the number.

Leaves out: expressions (`2+2`, `\sqrt{25}`, `2\pi`), powers of ten (`5e3`), numbers in words,
digits of other scripts, and words of other languages than English.
"""

from __future__ import annotations

import re
from fractions import Fraction
from itertools import islice

from dgrpo.tasks.notation import MONEY, plain_notation

LONGEST_NUMBER = 40
"""Characters; a longer run of digits is not an answer and would only cost time to compare."""
_WINDOW = 64
"""Characters beside a number that are looked at."""

_SPACE = r"[ \u00a0\u2007\u2009\u202f]"
_NUMBER = re.compile(
    rf"""(?<![\w.,/])(?<!\d[eE_][-+])              # not inside a word or another number
        (?:(?P<whole>[1-9]\d{{0,11}}){_SPACE}(?:and{_SPACE})?(?P<part>[1-9]\d{{0,5}}/[1-9]\d{{0,5}})
        |[1-9]\d{{0,2}}(?:{_SPACE}\d{{3}}){{1,9}}(?:\.\d+)?(?!-?\w|{_SPACE}\d)         # 1 200
        |(?:[1-9]\d{{0,2}}(?:,\d{{3}})+|\d+)(?:\.\d+)?(?:/-?\d+(?:\.\d+)?)?            # 1,200  3/4
        |\.\d+)                                                                        # .5
        (?![\d_]|/(?![A-Za-z]{{2}})|[.,]\d|[eE][-+]?\d|[A-Za-z]\d)""",
    re.VERBOSE | re.ASCII,
)
_SCALES = {
    "hundred": 100,
    "thousand": 1_000,
    "million": 10**6,
    "billion": 10**9,
    "trillion": 10**12,
    "lakh": 10**5,
    "crore": 10**7,
    "dozen": 12,
}
_SCALES |= {f"{word}s": factor for word, factor in _SCALES.items()}
_LETTER_SCALES = {"k": 1_000, "K": 1_000, "M": 10**6, "B": 10**9}
_UNIT_LETTERS = frozenset("mgshlLAVWJNCFΩ")
"""Single letters that are a unit after a number; any other one is a variable: 3x."""

_BESIDE = rf"[\s\"'(\[|*{MONEY}]"
"""What may stand between a word, or a sign, and the number that it is about."""
_DECORATION = re.compile(rf"(?:(?<![A-Za-z])[A-Z]{{1,2}}(?=[{MONEY}]))?{_BESIDE}*\Z")
_OPENING = re.compile(r"[=:(\[\"'≈~]\s*\Z")
"""Before a minus sign that is apart from its number; elsewhere such a sign begins an item."""
_ORDINALS = "third|fourth|fifth|sixth|seventh|eighth|ninth|tenth|hundredth|thousandth"
_CHANGED_BEFORE = re.compile(
    rf"""(?:[<>≤≥≠≮≯≪≫≲≳⩽⩾±∓√∛∜^]=?|!=|=/=|\w[+*×·÷]|[\w)]\s+[+*×·÷]\s+
    |(?:\b(?:not|never|cannot|isnt|wasnt|neither|nor)|n't)
      (?:\s+(?:be|been|equals?|to|exactly|quite|just|only|really|even|always|the|answer|is|=))*
    |\b(?:than|over|under|above|below|beyond|exceed(?:s|ing)?|almost|nearly|between|without|times
      |plus|except(?:\s+for)?|excluding|all\s+but|at\s+(?:least|most)|(?:divided|multiplied)\s+by
      |(?<!add\s)(?<!adds\s)(?<!added\s)(?<!adding\s)(?<!sums\s)(?<!summing\s)up\s+to
      |half|twice|double|thrice|triple|quadruple|sqrt|root|log|ln|exp|sin|cos|tan|factorial
      |(?:out|instead)\s+of|one\s+in|(?:hundred|thousand|million|billion|trillion|dozen)(?:\s+and)?
      |(?:half|halves|(?:{_ORDINALS}|quarter)s?|percent|fraction|part|root|square|cube|multiples?
        |divisors?|powers?|factorial|reciprocal|inverse|opposite|logarithm)\s+of(?:\s+the)?))
    {_BESIDE}*\Z""",
    re.VERBOSE | re.IGNORECASE,
)
_VARIABLE_BEFORE = re.compile(r"(?<![\w'.-])([A-Za-zα-ω])[\s\"'(\[]*([-+*×·÷]?)[\s\"'(\[]*\Z")
_CHANGED_AFTER = re.compile(
    rf"""\s*(?:[<>≤≥≠≪≫≲≳⩽⩾±^!+]|[*×·÷]\w|\s[*×·÷]\s+\w)
    |[\s\"'(\[*·/-]*(?:squared|cubed|factorial|pi|sqrt|log|ln|sin|cos|tan|exp|mod|xyz?|yz|xz
      |or|plus|minus|mil|mln|mn|bn|tn|mio|half|halves|(?:{_ORDINALS})s|quarters\s+of
      |and\s+(?:an?|one|two|three|four|five|six|seven|eight|nine)[\s-]+
        (?:half|halves|(?:{_ORDINALS}|quarter)s?)
      |and\s+(?:up|more|over|above|under|below|less|fewer|higher|lower)
      |at\s+(?:least|most)|to\s+the\s+(?:power|\w+\s+power)|(?:\w+\s+)?below\s+zero
      |in\s+(?:{"|".join(_SCALES)})
      |point\s+(?:zero|oh|one|two|three|four|five|six|seven|eight|nine)
      |(?:is|was)\s+(?:not|wrong|incorrect|false)|isn't|wasn't)\b""",
    re.VERBOSE | re.IGNORECASE,
)
_WORD = re.compile(
    r"(?P<gap>[\s\"'(\[*·/-]*)(?P<word>[^\W\d_]+(?:[.'-][^\W\d_]+)*)(?P<more>\s+[^\W\d_])?"
)
_NO_NUMBER = re.compile(
    r"\\|[√∛∜π∞]|\b(?:minus|negative|inf(?:inity)?)\b|\A:\s*-[A-Za-z]|~~", re.IGNORECASE
)
"""What makes an answer something else than one number, wherever it stands."""


def parse_number(text: str) -> Fraction | None:
    """The one number that an answer says, exactly; None if it says none, or more than one.

    >>> [str(parse_number(text)) for text in ("54 cows", " $1,200 ", "1 1/2", "2 million")]
    ['54', '1200', '3/2', '2000000']
    >>> [parse_number(text) for text in ("7 or 8", "5e3", "54!", "> 54", "half of 54", "3x")]
    [None, None, None, None, None, None]
    """
    narrow = re.sub(r"\s{2,}", "\t", f": {text}")  # no gap outgrows the window
    plain = plain_notation(narrow)
    found = list(islice(_NUMBER.finditer(plain), 2))
    if len(found) != 1 or _NO_NUMBER.search(plain):
        return None
    number = found[0]
    if not plain.isascii() and any(c.isnumeric() and not c.isascii() for c in plain):
        return None  # digits of other scripts, exponents
    if len(re.findall(r"\d", plain)) != len(re.findall(r"\d", number.group())):
        return None  # digits that are no number read here: "54 or 8_000"
    return _value(number) if len(number.group()) <= LONGEST_NUMBER else None


def last_number(text: str) -> tuple[str, Fraction] | None:
    """The last number of a whole completion, as it is written and as it is read; None without one.

    Its sign and its scale are read, but no other words beside it: reasoning that breaks off in
    "so 4 * 7" ends on 7.
    """
    plain = plain_notation(re.sub(r"</?(?:think|answer|code)>", _opened, text))
    last = None
    for number in _NUMBER.finditer(plain):
        last = number
    if last is None or len(last.group()) > LONGEST_NUMBER:
        return None
    before, after = _beside(last)
    value, factor = _exact(last), _factor(after.partition("\n")[0], lenient=True)
    if value is None or factor is None:
        return None
    value *= factor if _sign(before.rpartition("\n")[2])[0] is False else -factor
    sign = re.search(r"(?:-?[$€£]|[$€£]?-)?\Z", before)
    written = (sign.group() if sign else "") + last.group()
    return (written if parse_number(written) == value else str(value)), value


def _opened(tag: re.Match[str]) -> str:
    """A line break, and a mark where an answer begins: its minus sign may be apart."""
    return "\n: " if tag.group() == "<answer>" else "\n"


def _beside(number: re.Match[str]) -> tuple[str, str]:
    """What stands before and after a number, as far as it is looked at."""
    text = number.string
    before = text[max(0, number.start() - _WINDOW) : number.start()]
    return before, text[number.end() : number.end() + _WINDOW]


def _value(number: re.Match[str]) -> Fraction | None:
    """What a number says with its sign and scale; None if what stands beside it changes it."""
    before, after = _beside(number)
    negative, words = _sign(before)
    variable = _VARIABLE_BEFORE.search(before)
    if negative is None or _CHANGED_BEFORE.search(words):
        return None
    if variable and (variable[1] not in "aAI" or variable[2]):
        return None
    factor = _factor(after, money=any(c in MONEY for c in before[-2:]))
    value = _exact(number)
    if factor is None or value is None:
        return None
    return -value * factor if negative else value * factor


def _sign(before: str) -> tuple[bool | None, str]:
    """Whether the number is negative, None if unclear; and the text whose last words are about it.

    A minus sign that touches a word is a hyphen. One that is apart from its number is a dash,
    except where the answer begins.
    """
    lead = _DECORATION.sub("", before)
    if not lead.endswith("-"):
        return (None if not lead and len(before) == _WINDOW else False), before
    rest, between = lead[:-1], before[len(lead) :]
    apart = any(c.isspace() for c in between)
    if apart and not _OPENING.search(rest):
        return False, ""
    if not apart and (rest[-1:].isalnum() or rest.endswith((")", "%"))):
        return False, rest
    if _DECORATION.sub("", rest).endswith("-") or rest.endswith("|"):
        return None, rest
    return True, rest


def _factor(after: str, *, money: bool = False, lenient: bool = False) -> int | None:
    """What the words after a number multiply it by, 1 for units; None if they change it.

    lenient: words that change it are let pass.
    """
    factor, place = 1, 0
    for _ in range(3):
        if not lenient and _CHANGED_AFTER.match(after, place):
            return None
        word = _WORD.match(after, place)
        scale = _scale(word) if word else None
        if word is None or scale is None:
            return None if word and not lenient and _is_variable(word, money) else factor
        factor, place = factor * scale, word.end("word")
    return None


def _scale(word: re.Match[str]) -> int | None:
    """What a word multiplies a number by, if it is a scale; 5k, but not 5 k."""
    letter = None if word["gap"] else _LETTER_SCALES.get(word["word"])
    return letter or _SCALES.get(word["word"].lower())


def _is_variable(word: re.Match[str], money: bool) -> bool:
    """Whether a word after a number is a single letter, and none of a unit or a sentence."""
    letter = word["word"]
    if len(letter) > 1 or not (letter.isascii() or "\u0370" <= letter <= "\u03ff"):
        return False
    if letter in _UNIT_LETTERS:
        return money and letter == "m"  # "$5m" is no length
    return not (letter in "aAI" and word["more"] and word["gap"].isspace())  # "5 a week"


def _exact(number: re.Match[str]) -> Fraction | None:
    """The number as it is written, without sign and scale; None for 5/0 and for "3 4/2"."""
    if number["whole"]:
        part = Fraction(number["part"])
        return int(number["whole"]) + part if part < 1 else None
    numerator, _, denominator = re.sub(r"[,\s]", "", number.group()).partition("/")
    below = Fraction(denominator or 1)
    return Fraction(numerator) / below if below else None
