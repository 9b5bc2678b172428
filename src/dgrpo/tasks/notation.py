r"""One notation for what people write around a number: `-\frac{1}{2}`, "−½" and "minus **1/2**".

Every pattern looks at a bounded number of characters, since the text is a peer's.

Leaves out: LaTeX that computes (`\sqrt`, `\times`, `\pi`), whose backslash stays; and emphasis by
one underscore.
"""

from __future__ import annotations

import re
import unicodedata

MONEY = "$€£¥₹₩₽₺₪"
"""Signs of currencies, before or after a number."""
_MARKS: dict[int, str] = {
    **dict.fromkeys(map(ord, "−–‒﹣－\N{HYPHEN}\N{NON-BREAKING HYPHEN}⁻"), "-"),
    **dict.fromkeys(map(ord, "⁄∕"), "/"),
    **dict.fromkeys(map(ord, "“”`{}"), '"'),
    ord("’"): "'",
}
"""What people write for a minus sign, a fraction bar and quotes; braces are LaTeX's."""
_VULGAR = {c: unicodedata.normalize("NFKC", c).replace("⁄", "/") for c in "¼½¾⅐⅑⅒⅓⅔⅕⅖⅗⅘⅙⅚⅛⅜⅝⅞"}
_UNIT_POWER = re.compile(
    r"(?<=[A-Za-z])[²³]|(?<![A-Za-z])(?:[cdkm]?m|ft|in|yd)\}?(?:\^?[23]\b|\^\{[23]\})(?!/\d)"
)
"""The exponent of a unit, as in "12 cm²", "12 cm2" or "12 cm^2"."""
_MINUS_WORD = re.compile(rf"\b(?:minus|negative)\s+(?=[\"'(\[{MONEY}]{{0,3}}\.?\d)", re.IGNORECASE)
_FRACTION = re.compile(
    r"(?P<mixed>(?<=\d))?\\[dtc]?frac\s?"
    r"(?:\{\s?(-?[\d.,]{1,40})\s?\}\s?\{\s?([\d.,]{1,40})\s?\}|(\d)\s?(\d))"
)
_LATEX = (
    (re.compile(r"\\\\|\\[nt](?![A-Za-z])|\\[,;: ]|\\[()\[\]]"), " "),
    (re.compile(r"\\!"), ""),
    (re.compile(r"\\([%$#&_{}])"), r"\1"),
    (
        re.compile(
            r"\\(?:text(?:bf|it|rm|tt)?|math(?:bf|it|rm|tt)|boxed|fbox|mbox|underline|emph)\s?(?=\{)"
        ),
        "",
    ),
    (re.compile(r"\\(?:left|right|displaystyle|q?quad|approx|sim)(?![A-Za-z])"), " "),
    (re.compile(r"\^?\s?\{?\\(?:circ|degree)(?![A-Za-z])\}?"), "°"),
)


def plain_notation(text: str) -> str:
    """The text in one notation: without LaTeX and emphasis, with one sign for minus.

    Emphasis and braces become quotes, so that digits on both sides of them stay apart.
    """
    text = text.replace("{,}", ",")
    if "\\" in text:
        text = _FRACTION.sub(_fraction, text)
        for pattern, plain in _LATEX:
            text = pattern.sub(plain, text)
    text = _UNIT_POWER.sub(" ", text).translate(_MARKS)
    if not text.isascii():
        text = re.sub(r"(\d\s?)?([¼½¾⅐-⅞])", _vulgar, text)
    text = re.sub(r"</?[A-Za-z]{1,10}\s?/?>|\*\*|__", '"', text)
    return _MINUS_WORD.sub("-", re.sub(r"[-=]>|[→⇒➜]", ":", text))


def _fraction(found: re.Match[str]) -> str:
    above, below = found.group(2) or found.group(4), found.group(3) or found.group(5)
    return f"{' ' if found['mixed'] is not None else ''}{above}/{below}"


def _vulgar(found: re.Match[str]) -> str:
    before, sign = found.groups()
    return f"{before.rstrip()} {_VULGAR[sign]}" if before else _VULGAR[sign]
