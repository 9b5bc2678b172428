r"""Make a stranger's text harmless to look at: on a terminal, in a message, on a page.

Characters that cannot be seen become `\u` escapes: terminal escapes, changes of the direction of
text, zero-width characters, lone surrogates. What is too long is shortened. Leaves out: HTML, which
the pages' templates escape by themselves, and look-alikes, which can be seen and mistaken.
"""

from __future__ import annotations

import reprlib
import unicodedata
from typing import Any

_CATEGORIES = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
"""Unicode categories: control, format, surrogate, private, unassigned, line/paragraph separator."""
_IGNORED = frozenset(
    chr(code)
    for first, last in (
        (0x034F, 0x034F), (0x115F, 0x1160), (0x17B4, 0x17B5), (0x180B, 0x180F), (0x2800, 0x2800),
        (0x3164, 0x3164), (0xFE00, 0xFE0F), (0xFFA0, 0xFFA0), (0xE0100, 0xE01EF),
    )
    for code in range(first, last + 1)
)  # fmt: skip
"""Unicode's Default_Ignorable_Code_Point outside those categories, and the empty Braille cell."""
_WHITE = {"\n": "\\n", "\t": "\\t"}


def is_hidden(char: str) -> bool:
    """Whether `char` shows nothing, or only changes others; line breaks and tabs are seen."""
    return (unicodedata.category(char) in _CATEGORIES or char in _IGNORED) and char not in _WHITE


def visible(text: str, limit: int = 4000) -> str:
    r"""`text` with what cannot be seen written out, cut after `limit` characters.

    Line breaks and tabs stay: for whole texts.

    >>> visible("\x1b[31mred\u202e")
    '\\u001b[31mred\\u202e'
    """
    cut = text[:limit] + ("…" if len(text) > limit else "")
    return "".join(_escape(char) if is_hidden(char) else char for char in cut)


def one_line(text: str, limit: int = 2000) -> str:
    r"""`text` on one line for a message or a cell: line breaks are written out, too.

    A longer text loses its middle, so that a message ends with what is wrong.

    >>> one_line("name\nfinished: all is well\r"), one_line("a" * 1000 + "b", limit=10)
    ('name\\nfinished: all is well\\u000d', 'aaaaa … (991 characters) … aaaab')
    """
    seen = visible(shorten(text, limit), 2 * limit + 100)
    return "".join(_WHITE.get(char, char) for char in seen)


def shown(value: object, limit: int = 120) -> str:
    """Any value for a message, as Python writes it, on one line and short.

    Never raises, however deep or large the value is.

    >>> shown("high"), shown([[[[[1]]]]]), len(shown("x" * 300_000)) < 200
    ("'high'", '[[[[[...]]]]]', True)
    """
    if isinstance(value, str):
        value = shorten(value, limit)
        return one_line(repr(value), 2 * limit)
    return one_line(_Short().repr(value), limit)


def shorten(text: str, limit: int) -> str:
    """`text`, or its beginning and end and how many characters were left out between them."""
    left_out = len(text) - limit
    if left_out <= 0:
        return text
    half = limit // 2
    return f"{text[:half]} … ({left_out:,} characters) … {text[len(text) - half :]}"


class _Short(reprlib.Repr):
    """Bounded in depth, in entries and in characters."""

    def __init__(self) -> None:
        super().__init__()
        self.maxlevel, self.maxstring, self.maxlong, self.maxother = 4, 60, 60, 60

    def repr_int(self, x: Any, level: int) -> str:
        try:
            return super().repr_int(x, level)
        except ValueError:  # Python writes out no number of thousands of digits
            return f"<a whole number of {x.bit_length():,} bits>"


def _escape(char: str) -> str:
    code = ord(char)
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"
