"""The plain arithmetic that a text states: "21 girls x 3 boys/girl = 63 boys" says 21*3=63.

Leaves out: whatever is not a chain of numbers and + - * / on one line with a number after "=".
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

from dgrpo.tasks.equations import fold

_TOKEN = re.compile(
    r"\d+(?:,\d{3})*(?:\.\d+)?|(?<![A-Za-z])[x×](?![A-Za-z])|(?<![A-Za-z])[-+*/÷](?![A-Za-z])",
    re.ASCII,
)
_RIGHT = re.compile(r"\s*[$€£¥₹]?(\d+(?:,\d{3})*(?:\.\d+)?)", re.ASCII)
_PLAIN = {"×": "*", "x": "*", "÷": "/"}


@dataclass(frozen=True, slots=True)
class Statement:
    """One "chain = number"."""

    left: str
    """The left side as written, up to the number on the right: "21 girls x 3 boys/girl = "."""
    chain: str
    """The left side with nothing but numbers and operators: "21*3"."""
    result: str
    """What the chain gives, as a plain decimal."""
    written: str
    """What the text says it gives, as it is written."""
    start: int
    end: int
    """Where `written` stands in the text."""

    @property
    def holds(self) -> bool:
        """Whether the text is right about it."""
        return Fraction(self.result) == Fraction(self.written)


def statements_in(text: str) -> list[Statement]:
    """The statements of `text` in order; chains that divide by 0 are skipped."""
    found = []
    for sign in re.finditer("=", text):
        right = _RIGHT.match(text, sign.end())
        before = re.split(r"[\n=]|[.,:;!?]\s", text[: sign.start()])[-1]
        chain, start = _chain_at_end(before)
        if right is None or "," in right.group(1) or not chain:
            continue
        result = _value(chain)
        if result is not None:
            left = text[sign.start() - len(before) + start : right.start(1)]
            place = right.span(1)
            found.append(Statement(left, "".join(chain), result, right.group(1), *place))
    return found


def _chain_at_end(text: str) -> tuple[list[str], int]:
    """The longest "number operator number …" that ends the text's numbers and operators.

    Empty where there is none; and where in the text it begins.
    """
    tokens = list(_TOKEN.finditer(text))
    chain: list[str] = []
    for token in reversed(tokens):
        if token[0][0].isdigit() != (len(chain) % 2 == 0):
            break
        chain.insert(0, _PLAIN.get(token[0], token[0]).replace(",", ""))
    if len(chain) % 2 == 0:
        chain = chain[1:]
    return (chain, tokens[-len(chain)].start()) if len(chain) >= 3 else ([], 0)


def _value(chain: list[str]) -> str | None:
    value = fold([Fraction(t) for t in chain[::2]], chain[1::2])
    if value is None or value < 0:
        return None
    if value.denominator == 1:
        return str(value.numerator)
    return f"{float(value):.2f}".rstrip("0").rstrip(".")
