"""Servers that call themselves OpenAI-compatible, each in a dialect of its own."""

from __future__ import annotations

import asyncio
import json
import logging
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from tests.judging.servers import Misbehaving, answered, chat, is_probe, misbehaving
from tests.judging.small_judge import questions

from dgrpo.defenses.judge import Judge
from dgrpo.judging.failures import pause_of
from dgrpo.records import Verdict

YES, NO = "The steps hold. <decision> yes </decision>", "<decision> no </decision>"


@pytest.fixture
def server() -> Iterator[Misbehaving]:
    with misbehaving() as state:
        yield state


def verdicts(server: Misbehaving, count: int = 4, **knobs: Any) -> list[Verdict]:
    """What a judge behind the server says of some completions, one asked about at a time."""
    settings = {"model": "m", "endpoint": server.url, "timeout": 30.0, "concurrency": 1, **knobs}
    return asyncio.run(Judge(**settings).start().verdicts(questions()[:count]))


def accepted(said: list[Verdict]) -> list[bool]:
    return [one.accepted for one in said]


def kinds(said: list[Verdict]) -> set[str]:
    return {one.undecided for one in said}


# Fields


def openai_reasoning(number: int, body: dict[str, Any]) -> Any:
    """As OpenAI's reasoning models."""
    if "max_tokens" in body:
        message = "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead."
        return answered({"error": {"message": message, "param": "max_tokens"}}, 400)
    if body.get("temperature", 1) != 1 or "top_p" in body:
        name = "top_p" if body.get("temperature", 1) == 1 else "temperature"
        return answered({"error": {"message": f"Unsupported value: '{name}'"}}, 400)
    return chat(YES)


def test_a_refused_field_is_found_by_the_probe_and_its_mending_is_said(
    server: Misbehaving, caplog: pytest.LogCaptureFixture
) -> None:
    """Each remedy leads to the next, and the last to verdicts."""
    server.behaviour = openai_reasoning
    fields: dict[str, Any] = {}
    for remedy, mended in (
        ("endpoint_fields = {max_completion_tokens = 256} sends it by that name",
         {"max_completion_tokens": 256}),
        ("endpoint_fields = {temperature = false} leaves it out", {"temperature": False}),
        ("endpoint_fields = {top_p = false} leaves it out", {"top_p": False}),
    ):  # fmt: skip
        said = verdicts(server, endpoint_fields=fields)
        assert kinds(said) == {"refused"}
        assert all("HTTP 400: “" in one.reason and remedy in one.reason for one in said)
        assert remedy in caplog.text
        assert not server.judged  # no completion left this process
        fields |= mended
    assert accepted(verdicts(server, endpoint_fields=fields)) == [True] * 4
    sent = server.judged[-1]
    assert sent["max_completion_tokens"] == 256
    assert not {"max_tokens", "temperature", "top_p"} & set(sent)
    assert "seed" in sent


@pytest.mark.parametrize(
    "refusal",
    [
        answered({"detail": [{"type": "extra_forbidden", "loc": ["body", "seed"]}]}, 422),
        answered({"error": {"message": "Unrecognized request argument", "code": 400}}, 400),
        (400, b"", {}),
    ],
)
def test_a_seed_that_the_server_refuses_is_sent_no_more(
    server: Misbehaving, refusal: Any, caplog: pytest.LogCaptureFixture
) -> None:
    server.behaviour = lambda number, body: refusal if "seed" in body else chat(YES)
    assert accepted(verdicts(server)) == [True] * 4
    assert "takes no seed" in caplog.text
    assert [("seed" in body) for body in server.bodies] == [True] + [False] * 6


def test_the_probe_carries_every_field_that_the_questions_carry(server: Misbehaving) -> None:
    server.behaviour = lambda number, body: chat(YES)
    verdicts(server, endpoint_fields={"top_k": 10})
    probe, question = server.bodies[0], server.judged[0]
    assert is_probe(probe)
    assert set(probe) == set(question)
    assert {"seed", "max_tokens", "temperature", "top_p", "top_k"} <= set(probe)


def test_a_false_of_the_users_drops_a_field_of_ours_and_is_sent_as_any_other(
    server: Misbehaving,
) -> None:
    server.behaviour = lambda number, body: chat(YES)
    fields = {"seed": False, "max_tokens": False, "top_p": 0.5, "logprobs": False}
    verdicts(server, endpoint_fields=fields)
    for body in server.bodies:
        assert not {"seed", "max_tokens"} & set(body)
        assert (body["top_p"], body["logprobs"], body["temperature"]) == (0.5, False, 0.6)


@pytest.mark.parametrize(
    ("body", "shown"),
    [
        (b'{"error": {"message": "model overloaded"}}', "model overloaded"),
        (b'{"error": "top_p must be < 1.0", "error_type": "validation"}', "top_p must be < 1.0"),
        (b'{"detail": [{"loc": ["body", "x"], "msg": "Extra inputs"}]}', "body.x: Extra inputs"),
        (b'[{"error": {"code": 400, "message": "Invalid value"}}]', "Invalid value"),
        (b'{"message": "no such route"}', "no such route"),
        (b"<html>Bad Gateway</html>", "<html>Bad Gateway</html>"),
        (b'{"error": {"message": "a\\u001b[31m\\u202eb"}}', "a�[31m�b"),
        (b"\xff\xfe\x1b[2J", "���[2J"),
        (b'{"error": {"message": "' + b"x" * 90_000 + b'"}}', '{"error": {"message": "xxx'),
        (b'{"error": {"message": "' + b"x" * 9_000 + b'"}}', "xxx"),
        (b"[" * 50_000, "[[["),
    ],
)
def test_the_servers_own_words_are_shown_escaped_and_shortened(
    server: Misbehaving, body: bytes, shown: str
) -> None:
    server.behaviour = lambda number, sent: (400, body, {})
    said = verdicts(server, 1)[0]
    assert said.undecided == "refused"
    assert f"HTTP 400: “{shown}" in said.reason
    assert len(said.reason) < 600
    assert said.reason.isprintable()


def test_a_server_that_repeats_the_key_does_not_spread_it(
    server: Misbehaving, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("JUDGE_KEY", "sk-a/secret+key")
    for padding in range(120, 165, 3):  # wherever the words are cut off
        text = "x" * padding + " sk-a/secret+key"
        echo = json.dumps({"error": {"message": text}}).replace("/", "\\/").encode()
        for status in (401, 200):
            server.behaviour = lambda number, body, s=status, e=echo: (s, e, {})
            with caplog.at_level(logging.DEBUG):
                said = verdicts(server, 1, api_key_env="JUDGE_KEY", retries=0)
            assert "sk-a" not in said[0].reason + caplog.text


def test_a_website_in_the_apis_place_is_told_from_it(server: Misbehaving) -> None:
    server.behaviour = lambda number, body: (200, b"<!doctype html><html>seed</html>", {})
    said = verdicts(server, 1)[0]
    assert said.undecided == "malformed"
    assert "“<!doctype html>" in said.reason
    assert "endpoint must end in the API's version, as …/v1" in said.reason


# Replies


def test_content_as_typed_parts_is_read(server: Misbehaving) -> None:
    for parts in (
        [{"type": "text", "text": YES}],
        [{"type": "text", "text": "It holds. "}, {"type": "text", "text": YES}],
        [{"type": "thinking", "thinking": [{"type": "text", "text": NO}]},
         {"type": "text", "text": YES}],
        [{"type": "reasoning", "text": NO}, {"type": "output_text", "text": YES}],
    ):  # fmt: skip
        server.behaviour = lambda number, body, parts=parts: chat(parts, "stop")
        assert accepted(verdicts(server)) == [True] * 4


@pytest.mark.parametrize(
    "parts", [[], [1], ["yes"], [{"type": "text"}], [{"type": "text", "text": 1}], [[]], {}]
)
def test_parts_that_hold_no_text_are_malformed(server: Misbehaving, parts: object) -> None:
    server.behaviour = lambda number, body: chat(parts)
    assert kinds(verdicts(server)) == {"malformed"}


@pytest.mark.parametrize(
    "answer",
    [
        chat(None, "length", reasoning_content="Let me see"),
        chat("", "length", reasoning=NO),
        chat([], "length"),
        chat("<think> Let me see", "length"),
        chat(f"Perhaps {YES}", "length"),
    ],
)
def test_a_model_that_spent_its_tokens_says_so(
    server: Misbehaving, answer: Any, caplog: pytest.LogCaptureFixture
) -> None:
    server.behaviour = lambda number, body: answer
    said = verdicts(server)
    assert kinds(said) == {"unreadable"}
    assert all("raise max_tokens" in one.reason for one in said)
    assert caplog.text.count("decides nothing on “2” for 1+1") == 1  # the probe tells at the start


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (chat(None, "stop", refusal="I cannot help"), "it declined: “I cannot help”"),
        (chat(None, "content_filter"), "content filter"),
        (chat(None, "stop", reasoning_content=YES), "nothing after its reasoning"),
        (chat("Fine. Yes!", "stop"), "holds no decision: “Fine. Yes!”"),
    ],
)
def test_an_answer_without_a_decision_is_the_judges_and_is_shown(
    server: Misbehaving, answer: Any, said: str
) -> None:
    server.behaviour = lambda number, body: answer
    reasons = verdicts(server)
    assert kinds(reasons) == {"unreadable"}
    assert all(said in one.reason for one in reasons)


def test_reasoning_beside_or_inside_the_content_decides_nothing(server: Misbehaving) -> None:
    for answer in (
        chat(YES, "stop", reasoning_content=NO, reasoning=NO),
        chat(f"<think>I answer {YES} or {NO}.</think>\n{YES}", "stop"),
        chat(f"I answer {YES} or {NO}.</think>\n{YES}", "stop"),
        chat("Fine. <decision> **yes** </decision>", "stop"),
    ):
        server.behaviour = lambda number, body, answer=answer: answer
        assert accepted(verdicts(server)) == [True] * 4


@pytest.mark.parametrize(
    "error",
    [
        {"error": {"code": 429, "message": "rate limit, try again"}},
        {"error": {"code": "503", "message": "no instance"}, "choices": None},
        {"error": {"code": "rate_limit_exceeded", "message": "slow down"}},
        {"error": {"type": "overloaded_error", "message": "Overloaded"}},
        {"object": "error", "code": 500, "message": "engine died"},
        {"choices": [{"finish_reason": "error", "message": {"content": f"Fine. {YES}"}}]},
        {"choices": [{"error": {"code": 502}, "message": {"content": ""}}]},
    ],
)
def test_an_error_inside_http_200_that_passes_is_asked_again(
    server: Misbehaving, error: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dgrpo.judging.line.FIRST_PAUSE", 0.01)
    seen: set[str] = set()

    def first_time(number: int, body: dict[str, Any]) -> Any:
        text = json.dumps(body["messages"])
        new = text not in seen
        seen.add(text)
        return answered(error) if new else chat(YES)

    server.behaviour = first_time
    assert accepted(verdicts(server)) == [True] * 4
    assert len(server.judged) == 8
    server.behaviour = lambda number, body: answered(error)
    said = verdicts(server, retries=0)
    assert kinds(said) == {"unreachable"}
    assert all("inside HTTP 200" in one.reason for one in said)


@pytest.mark.parametrize(
    "error",
    [
        {"error": {"code": 401, "message": "bad key"}},
        {"error": {"code": "invalid_request", "message": "bad field"}},
        {"error": "bad model"},
        {"code": 404, "message": "bad path"},
    ],
)
def test_an_error_inside_http_200_that_does_not_pass_is_refused_at_once(
    server: Misbehaving, error: dict[str, Any]
) -> None:
    server.behaviour = lambda number, body: answered(error)
    said = verdicts(server)
    assert kinds(said) == {"refused"}
    assert all("“bad" in one.reason for one in said)
    assert len(server.bodies) == 1


# Waiting


class Window:
    """A server that answers so many requests, and then none for so many seconds, which it says."""

    def __init__(self, requests: int, seconds: float, header: str) -> None:
        self.requests, self.seconds, self.header = requests, seconds, header
        self.lock = threading.Lock()
        self.answered = 0
        self.shut_until: float | None = None
        self.turned_away = 0

    def __call__(self, number: int, body: dict[str, Any]) -> Any:
        with self.lock:
            now = time.time()
            if self.shut_until and now >= self.shut_until:
                self.answered, self.shut_until = 0, None
            if self.answered < self.requests:
                self.answered += 1
                return chat(YES)
            self.shut_until = self.shut_until or now + self.seconds
            self.turned_away += 1
            return self._later(self.shut_until - now)

    def _later(self, left: float) -> Any:
        if self.header == "retry-after-ms":
            return answered({}, 429, retry_after_ms=str(int(left * 1000) + 1))
        if self.header == "seconds":
            return answered({}, 429, Retry_After=str(int(left) + 1))
        until = datetime.now(UTC) + timedelta(seconds=left + 1)
        return answered({}, 503, Retry_After=format_datetime(until, usegmt=True))


@pytest.mark.parametrize("header", ["retry-after-ms", "seconds", "date"])
def test_a_server_that_says_when_to_come_again_is_waited_for(
    server: Misbehaving, header: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However long our own pauses are: here they would all end inside the window."""
    monkeypatch.setattr("dgrpo.judging.line.FIRST_PAUSE", 0.001)
    monkeypatch.setattr("dgrpo.judging.line.LONGEST_PAUSE", 0.001)
    server.behaviour = window = Window(4, 1.0, header)
    assert accepted(verdicts(server, 7)) == [True] * 7
    assert window.turned_away


def test_waiting_side_by_side_costs_no_tries_while_others_are_answered(
    server: Misbehaving, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dgrpo.judging.line.FIRST_PAUSE", 0.001)
    server.behaviour = window = Window(2, 0.3, "retry-after-ms")
    said = verdicts(server, 12, concurrency=8, retries=1)
    assert accepted(said) == [True] * 12
    assert window.turned_away >= 6


def test_nothing_is_waited_for_beyond_the_rounds_time(server: Misbehaving) -> None:
    def later(number: int, body: dict[str, Any]) -> Any:
        return chat(NO) if number % 2 else answered({}, 429, Retry_After="3600")

    server.behaviour = later
    assert kinds(verdicts(server, 2, retries=1, round_timeout=1800.0)) == {""}


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "20"}, 20.0),
        ({"retry-after": "1.5"}, 1.5),
        ({"retry-after": "20", "retry-after-ms": "300"}, 0.3),
        ({"retry-after": "Fri, 26 Jul 2024 12:00:30 GMT", "date": "Fri, 26 Jul 2024 12:00:00 GMT"},
         30.0),
        ({"retry-after": "Fri, 26 Jul 2024 12:00:30 -0000",
          "date": "Fri, 26 Jul 2024 14:00:00 +0200"}, 30.0),
        ({"retry-after": "Fri, 26 Jul 2024 12:00:00 GMT"}, 0.0),
        ({"retry-after": "Fri, 99 Jul 2024 12:00:00 GMT"}, 0.0),
        ({"retry-after": "Fri, 26 Jul 99999 12:00:00 GMT +9999"}, 0.0),
        ({"retry-after": "٣"}, 0.0),
        ({"retry-after": "-1"}, 0.0),
        ({"retry-after": "1e9"}, 0.0),
        ({"retry-after": "nan"}, 0.0),
        ({"retry-after": "9" * 400}, 0.0),
        ({}, 0.0),
    ],
)  # fmt: skip
def test_retry_after_is_read_as_seconds_or_as_a_date(
    headers: dict[str, str], seconds: float
) -> None:
    assert pause_of(headers) == seconds
