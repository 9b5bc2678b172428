r"""Make hostile text harmless to look at, on a terminal and on a page.

Terminal escapes, text-direction overrides, zero-width characters and lone surrogates become visible
`\u` escapes. It leaves out HTML: the page's template escapes that by itself.
"""

from __future__ import annotations

from dgrpo.unseen import is_hidden


def visible(text: str, limit: int = 4000) -> str:
    r"""`text` with what cannot be seen written out, cut after `limit` characters.

    >>> visible("\x1b[31mred\u202e")
    '\\u001b[31mred\\u202e'
    """
    cut = text[:limit] + ("…" if len(text) > limit else "")
    return "".join(_escape(char) if is_hidden(char) else char for char in cut)


def _escape(char: str) -> str:
    code = ord(char)
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"
