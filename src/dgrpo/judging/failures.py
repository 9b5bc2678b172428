"""What it means that a server gives no reply, and what it says of that itself.

Servers put their words in many places: `error.message`, FastAPI's `detail`, a list, plain text, a
page for browsers. All of it may be nonsense, and is bounded here and escaped where it is shown.

Leaves out: what to do about it (`line.py` tries again, `fields.py` knows remedies).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import pydantic_core
from pydantic import JsonValue

from dgrpo.judging.verdicts import Opinion, Undecided, quotation

WORDS_BYTES = 1 << 14
"""How much of the body of a failure is read."""
WORDS = 2_000
"""Characters of it that are kept."""
PASSING = frozenset({408, 409, 425, 429})
"""Client errors that may go away by themselves; server errors may, too."""
_PASSES = re.compile(
    r"rate.?limit|too.?many|overload|unavailable|time.?out|exhausted|server.?error|internal",
    re.IGNORECASE,
)
"""The same in words, as some servers have words for codes."""


class NoReplyError(Exception):
    """A request that gave no reply."""

    def __init__(
        self,
        kind: Undecided,
        problem: str,
        words: str = "",
        *,
        retry: bool = False,
        pause: float = 0.0,
        status: int = 0,
    ) -> None:
        super().__init__(problem)
        self.kind: Undecided = kind
        self.problem = problem
        self.words = words
        """What the server says, in bounded length and not yet fit to be shown."""
        self.retry = retry
        self.pause = pause
        """Seconds that the endpoint asks to be left alone."""
        self.status = status
        """Of HTTP, or the one inside the body; 0 where there is none."""
        self.note = ""
        """What the client knows about it."""

    def opinion(self, remedy: str = "") -> Opinion:
        """On the completion that was asked about."""
        more = "".join(f"; {one}" for one in (self.note, remedy) if one)
        return Opinion(undecided=self.kind, detail=self.problem + quotation(self.words) + more)


def malformed(raw: bytes) -> NoReplyError:
    """A body of HTTP 200 that is not of the API's form."""
    words = words_of(raw[:WORDS_BYTES])
    return NoReplyError("malformed", "the answer is not of the API's form", words)


def error_inside(error: JsonValue) -> NoReplyError:
    """An error that came with HTTP 200, sorted by its code as HTTP's would be."""
    known = error if isinstance(error, dict) else {}
    names = [known.get(name) for name in ("code", "status", "type")]
    status = next((s for s in map(_status_of, names) if s), 0)
    problem = f"error{f' {status}' if status else ''} inside HTTP 200"
    passes = _passes(status) if status else any(_PASSES.search(str(n)) for n in names if n)
    retry = passes or not error
    kind: Undecided = "unreachable" if retry else "refused"
    return NoReplyError(kind, problem, _message_in(error) or "", retry=retry, status=status)


def _status_of(code: JsonValue) -> int:
    """An HTTP status, also if it is written as text; 0 for other codes."""
    if isinstance(code, str) and re.fullmatch(r"[1-5][0-9]{2}", code, re.ASCII):
        return int(code)
    return code if type(code) is int and 100 <= code < 600 else 0


def failure_of(status: int, raw: bytes) -> NoReplyError:
    """What an answer other than HTTP 200 means. raw: the beginning of its body."""
    where = " (redirects are not followed)" if 300 <= status < 400 else ""
    retry = _passes(status)
    kind: Undecided = "unreachable" if retry else "refused"
    return NoReplyError(kind, f"HTTP {status}{where}", words_of(raw), retry=retry, status=status)


def _passes(status: int) -> bool:
    return status >= 500 or status in PASSING


def pause_of(headers: Mapping[str, str]) -> float:
    """Seconds to wait, from Retry-After as seconds or as a date; 0 where it says nothing usable.

    A date is compared with the server's own clock if the server sends that.

    >>> pause_of({"retry-after": "20"}), pause_of({"retry-after": "soon"})
    (20.0, 0.0)
    >>> pause_of({"retry-after": "Fri, 26 Jul 2024 12:00:30 GMT",
    ...           "date": "Fri, 26 Jul 2024 12:00:00 GMT"})
    30.0
    """
    if seconds := _number(headers.get("retry-after-ms", "")):
        return seconds / 1000
    asked = headers.get("retry-after", "")
    if until := _date(asked):
        now = _date(headers.get("date", "")) or datetime.now(UTC)
        return max((until - now).total_seconds(), 0.0)
    return _number(asked)


def _number(text: str) -> float:
    usable = re.fullmatch(r"\s*[0-9]{1,12}(\.[0-9]{0,9})?\s*", text, re.ASCII)
    return float(text) if usable else 0.0


def _date(text: str) -> datetime | None:
    if not 20 <= len(text) <= 64:
        return None
    try:
        date = parsedate_to_datetime(text)
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
    return date if date.tzinfo else date.replace(tzinfo=UTC)


def words_of(raw: bytes) -> str:
    """What a server says in a body of any form: the message of its error, or the body itself."""
    try:
        said = _message_in(pydantic_core.from_json(raw))
    except ValueError:
        said = None
    return said or raw.decode("utf-8", "replace")


def _message_in(value: Any) -> str | None:
    """The message inside an error, wherever servers put it; its beginning."""
    if isinstance(value, str):
        return value[:WORDS]
    if isinstance(value, list):
        parts = [one for one in map(_message_in, value[:4]) if one]
        return "; ".join(parts)[:WORDS] or None
    if not isinstance(value, dict):
        return None
    for name in ("error", "message", "detail", "msg", "errors"):
        if said := _message_in(value.get(name)):
            where = value.get("loc") or value.get("param")
            parts = where if isinstance(where, list) else [where] if where else []
            path = ".".join(str(part)[:40] for part in parts[:8])
            return said if path in said else f"{path}: {said}"
    return pydantic_core.to_json(value).decode("utf-8", "replace")[:WORDS] if value else None
