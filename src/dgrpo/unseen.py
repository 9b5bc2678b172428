"""Characters that cannot be seen: where peers' text is shown to people, or to a judge.

Leaves out: look-alikes, which can be seen and mistaken.
"""

from __future__ import annotations

import unicodedata

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


def is_hidden(char: str) -> bool:
    """Whether `char` shows nothing, or only changes others; line breaks and tabs are seen."""
    return (unicodedata.category(char) in _CATEGORIES or char in _IGNORED) and char not in "\n\t"
