"""What commands print reaches the terminal, whatever characters that knows.

A console of another code page, `LANG=C` or a pipe may take less than UTF-8: what they lack is
written in ASCII instead of ending the run. Leaves out: hostile text (`escaping.py`).
"""

from __future__ import annotations

import codecs
import io
import sys

_ERRORS = "dgrpo-plain"
_IN_ASCII = {
    "\N{NO-BREAK SPACE}": " ",
    "\N{EN DASH}": "-",
    "\N{EM DASH}": "-",
    "\N{MINUS SIGN}": "-",
    "\N{RIGHTWARDS ARROW}": "->",
    "\N{MULTIPLICATION SIGN}": "x",
    "\N{HORIZONTAL ELLIPSIS}": "...",
    "\N{MIDDLE DOT}": ".",
    "\N{GREATER-THAN OR EQUAL TO}": ">=",
    "\N{LESS-THAN OR EQUAL TO}": "<=",
    "\N{LEFT DOUBLE QUOTATION MARK}": '"',
    "\N{RIGHT DOUBLE QUOTATION MARK}": '"',
    "\N{RIGHT SINGLE QUOTATION MARK}": "'",
}
"""Characters of dgrpo's own messages; all others become escapes such as `\\u4e2d`."""


def print_anything() -> None:
    """Let standard output and standard error take every character from here on."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=_ERRORS)


def _in_ascii(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lost = error.object[error.start : error.end]
    written = (_IN_ASCII.get(c) or c.encode("ascii", "backslashreplace").decode() for c in lost)
    return "".join(written), error.end


codecs.register_error(_ERRORS, _in_ascii)
