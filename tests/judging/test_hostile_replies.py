"""Whatever bytes a server sends, they are a reply or a failure of a known kind; nothing raises."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from dgrpo.judging.failures import WORDS, NoReplyError, failure_of, pause_of
from dgrpo.judging.fields import remedy
from dgrpo.judging.replies import read_reply
from dgrpo.judging.verdicts import NO_REPLY, QUOTED_CHARACTERS, opinion_of

NAMES = (
    "choices", "message", "content", "text", "type", "error", "code", "status", "detail", "msg",
    "loc", "param", "finish_reason", "refusal", "reasoning", "reasoning_content", "errors",
)  # fmt: skip
VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=8),
    st.sampled_from(
        ["text", "length", "stop", "error", "429", "<think>", "<decision> yes </decision>"]
    ),
    st.sampled_from([0, 200, 429, 503, 10**400, -1]),
)
JSON: st.SearchStrategy[Any] = st.recursive(
    VALUES,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=4)
    ),
    max_leaves=12,
)
CHOICES = st.fixed_dictionaries(
    {"choices": st.lists(st.dictionaries(st.sampled_from(NAMES), JSON, max_size=4), max_size=2)}
)
BODIES = st.one_of(
    st.binary(max_size=40),
    st.one_of(JSON, CHOICES).map(lambda value: json.dumps(value).encode()),
    st.sampled_from([b"[" * 9_999, b'{"error":' * 9_999, b'{"a":' + b"9" * 9_999 + b"}"]),
)


@given(raw=BODIES, chat=st.booleans())
def test_a_body_of_http_200_is_a_reply_or_a_known_failure(raw: bytes, chat: bool) -> None:
    try:
        reply = read_reply(raw, chat=chat)
    except NoReplyError as failure:
        opinion = failure.opinion(remedy(failure.status, failure.words, {"seed": 1}))
        assert opinion.undecided in NO_REPLY
    else:
        opinion = opinion_of(reply.text, last=True, ending=reply.ending)
        if opinion.accept:
            assert b"yes" in raw
    assert len(opinion.detail) < 3 * QUOTED_CHARACTERS
    assert opinion.detail.isprintable() or opinion.accept is not None


@given(raw=BODIES, status=st.integers(100, 999).filter(lambda status: status != 200))
def test_any_other_answer_is_a_failure_with_words_of_bounded_length(
    raw: bytes, status: int
) -> None:
    failure = failure_of(status, raw)
    assert failure.opinion().undecided in ("refused", "unreachable")
    assert len(failure.words) <= max(len(raw), WORDS + 8 * 41)
    assert failure.opinion().detail.isprintable()


HEADERS = st.text(max_size=70) | st.sampled_from(
    ["Fri, 26 Jul 2024 12:00:00 GMT", "Fri, 26 Jul 0000 12:00:00 +9959", "1" * 12, "0.000000001"]
)


@given(after=HEADERS, ms=HEADERS, date=HEADERS)
def test_any_header_is_a_time_to_wait_or_none(after: str, ms: str, date: str) -> None:
    assert pause_of({"retry-after": after, "retry-after-ms": ms, "date": date}) >= 0
