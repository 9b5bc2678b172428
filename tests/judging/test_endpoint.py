"""An endpoint is asked through the real API, and whatever it does, a round goes on.

One server is real (`transformers serve`), one misbehaves on purpose.
"""

from __future__ import annotations

import asyncio
import json
import logging
import socket
import threading
from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
from tests.judging.servers import Misbehaving, chat, is_probe, misbehaving, transformers_serve
from tests.judging.small_judge import questions

from dgrpo.judging.address import checked_url
from dgrpo.judging.endpoint import EndpointJudge
from dgrpo.judging.line import Line
from dgrpo.judging.local import LocalJudge
from dgrpo.judging.replies import REPLY_BYTES
from dgrpo.judging.verdicts import Opinion, Policy, verdict_of
from dgrpo.policy.model import load_model
from dgrpo.policy.settings import ModelSettings, Sampling

pytestmark = pytest.mark.xdist_group("judge")  # one worker teaches the small judge
YES, NO = chat("Fine. <decision> yes </decision>"), chat("<decision> no </decision>")


@pytest.fixture
def server() -> Iterator[Misbehaving]:
    with misbehaving() as state:
        yield state


def judge(url: str, **changes: Any) -> EndpointJudge:
    """Asks in chat form, patient enough for a busy machine unless a test says otherwise."""
    named = {one.name for one in fields(Line)}
    of_line = {name: changes.pop(name) for name in list(changes) if name in named}
    settings: dict[str, Any] = {
        "model": "m",
        "style": "full",
        "criticism": True,
        "fields": {"max_tokens": 64},
        **changes,
    }
    line = Line(**{"url": url, "timeout": 30.0, "retries": 0, **of_line})
    return EndpointJudge(line=line, **settings)


def ask(asked: EndpointJudge, count: int = 6) -> list[Opinion]:
    return asyncio.run(asked.ask(questions()[:count]))


def kinds(opinions: list[Opinion]) -> set[str]:
    return {opinion.undecided for opinion in opinions}


# A real server


@pytest.fixture(scope="module")
def served(judge_folder: Path) -> Iterator[tuple[str, Path]]:
    with transformers_serve(judge_folder) as url:
        yield url, judge_folder


@pytest.mark.parametrize("criticism", [True, False])
def test_a_served_judge_says_what_it_says_in_this_process(
    served: tuple[str, Path], criticism: bool
) -> None:
    url, folder = served
    greedy = Sampling(max_tokens=48, temperature=0)
    model = load_model(ModelSettings(name=str(folder)))
    here = asyncio.run(LocalJudge(model, "brief", criticism, greedy).ask(questions()))
    sent_along = {"temperature": 0, "max_tokens": 48}
    there = asyncio.run(
        judge(
            url,
            model=str(folder),
            style="brief",
            criticism=criticism,
            fields=sent_along,
            timeout=120.0,
        ).ask(questions())
    )
    assert there == here
    assert [opinion.accept for opinion in there] == [True, False] * 12


def test_a_served_chat_model_is_asked_in_its_template(served: tuple[str, Path]) -> None:
    """The small judge was never taught the full form: what it answers need not be readable."""
    url, folder = served
    opinions = ask(judge(url, model=str(folder), timeout=120.0), 3)
    assert kinds(opinions) <= {"", "unreadable"}


def test_a_name_that_the_server_does_not_have_is_refused(served: tuple[str, Path]) -> None:
    url, _ = served
    opinions = ask(judge(url, model="another/model", timeout=120.0))
    assert kinds(opinions) == {"refused"}
    assert "HTTP 400" in opinions[0].detail


# What is sent


def test_the_request_is_the_apis_own_and_keyed_by_the_completion(server: Misbehaving) -> None:
    server.behaviour = lambda number, body: YES
    sent_along = {"max_tokens": 64, "top_k": 10}
    for _ in range(2):
        ask(judge(server.url + "/", fields=sent_along, key="secret-key", concurrency=1), 3)
    assert set(server.paths) == {"/v1/chat/completions"}
    assert {header["Authorization"] for header in server.headers} == {"Bearer secret-key"}
    first, again = server.judged[:3], server.judged[3:]
    assert first == again
    assert len({body["seed"] for body in first}) == 3
    for body, question in zip(first, questions(), strict=False):
        assert body["model"] == "m"
        assert body["top_k"] == 10
        assert [message["role"] for message in body["messages"]] == ["user"]
        assert question.completion in body["messages"][0]["content"]


def test_a_field_of_the_users_goes_before_ours(server: Misbehaving) -> None:
    server.behaviour = lambda number, body: YES
    ask(judge(server.url, fields={"seed": 7}), 2)
    assert [body["seed"] for body in server.judged] == [7, 7]


def test_the_brief_form_is_a_plain_completion_with_its_opening(server: Misbehaving) -> None:
    body = json.dumps({"choices": [{"index": 0, "text": " no </decision>"}]}).encode()
    server.behaviour = lambda number, _: (200, body, {})
    opinions = ask(judge(server.url, style="brief", criticism=False))
    assert [opinion.accept for opinion in opinions] == [False] * 6
    assert set(server.paths) == {"/v1/completions"}
    assert all(sent["prompt"].endswith("\n<decision>") for sent in server.judged)


def test_the_key_is_in_no_log_and_no_representation(
    server: Misbehaving, caplog: pytest.LogCaptureFixture
) -> None:
    server.behaviour = lambda number, body: (401, b"", {})
    asked = judge(server.url, key="secret-key")
    with caplog.at_level(logging.DEBUG):
        assert kinds(ask(asked)) == {"refused"}
    assert "gives no verdicts: HTTP 401" in caplog.text
    assert "secret-key" not in caplog.text + repr(asked)


# What comes back


def test_at_most_so_many_requests_are_made_at_a_time(server: Misbehaving) -> None:
    now, most = [0], [0]
    three = threading.Barrier(3, timeout=30.0)

    def count(number: int, body: dict[str, Any]) -> Any:
        if is_probe(body):
            return YES
        with server.lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
        three.wait()  # none is answered before three have come
        server.closing.wait(0.1)  # in which a fourth would come
        with server.lock:
            now[0] -= 1
        return YES

    server.behaviour = count
    assert kinds(ask(judge(server.url, concurrency=3), 12)) == {""}
    assert most[0] == 3


def test_server_errors_that_pass_are_asked_again(server: Misbehaving) -> None:
    server.behaviour = lambda number, body: (500, b"", {}) if number % 3 else NO
    opinions = ask(judge(server.url, retries=2, concurrency=1))
    assert [opinion.accept for opinion in opinions] == [False] * 6
    assert len(server.bodies) > 7


@pytest.mark.parametrize("wanted", ["0", "999999999", "-1", "1e9", "nan", "٣", "soon", ""])
def test_no_endpoint_makes_a_round_wait_as_long_as_it_likes(
    server: Misbehaving, wanted: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dgrpo.judging.line.LONGEST_PAUSE", 0.5)
    headers = {"Retry-After": wanted.encode().decode("latin-1")}
    server.behaviour = lambda number, body: NO if number % 2 else (429, b"", headers)
    opinions = ask(judge(server.url, retries=1, concurrency=1), 2)
    assert [opinion.accept for opinion in opinions] == [False, False]


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        ((200, b"<html>", {}), "malformed"),
        ((200, b"", {}), "malformed"),
        ((200, b"[" * 100_000, {}), "malformed"),
        ((200, b"null", {}), "malformed"),
        ((200, b'{"choices": []}', {}), "malformed"),
        ((200, b'{"choices": [{"message": {"content": 1}}]}', {}), "malformed"),
        ((200, b'{"choices": [{"text": "<decision> yes </decision>"}]}', {}), "malformed"),
        ((200, b"\xff\xfe", {}), "malformed"),
        (chat(None), "malformed"),
        (chat("x" * REPLY_BYTES), "malformed"),
        ((200, b"\x1f\x8b" + b"0" * 99, {"Content-Encoding": "gzip"}), "malformed"),
        ((200, b"{}", {"Content-Length": "9999"}), "unreachable"),
        ((200, b"zz\r\n", {"Transfer-Encoding": "chunked"}), "unreachable"),
        ((404, b"", {}), "refused"),
        ((413, YES[1], {}), "refused"),
        ((204, b"", {}), "refused"),
        ((503, YES[1], {}), "unreachable"),
        ((429, YES[1], {}), "unreachable"),
        (chat("I think so."), "unreadable"),
        (chat("<decision> yes"), "unreadable"),
        (chat(""), "unreadable"),
    ],
)
def test_nonsense_never_becomes_a_decision(
    server: Misbehaving, answer: tuple[int, bytes, dict[str, str]], kind: str
) -> None:
    server.behaviour = lambda number, body: answer
    opinions = ask(judge(server.url))
    assert kinds(opinions) == {kind}
    assert all(opinion.accept is None and opinion.detail for opinion in opinions)


def test_nonsense_about_one_completion_leaves_the_others_judged(server: Misbehaving) -> None:
    """Even a completion that brings down the request that holds it opens no circuit for others."""
    poison = questions()[1].completion

    def upset(number: int, body: dict[str, Any]) -> Any:
        if poison in body["messages"][0]["content"]:
            return 500, b"", {}
        return YES

    server.behaviour = upset
    opinions = ask(judge(server.url, retries=1))
    assert [opinion.undecided for opinion in opinions] == ["", "unreachable", "", "", "", ""]


@pytest.mark.parametrize("answer", [(400, b"", {}), (500, b"", {}), chat(None), (200, b"no", {})])
def test_a_completion_cannot_choose_the_policy_of_outages(
    server: Misbehaving, answer: tuple[int, bytes, dict[str, str]]
) -> None:
    """An endpoint that fails on one completion and answers about others is not down."""
    poison = questions()[1].completion

    def upset(number: int, body: dict[str, Any]) -> Any:
        return answer if poison in body["messages"][0]["content"] else YES

    server.behaviour = upset
    opinions = ask(judge(server.url, retries=0))
    policies: dict[str, Policy] = {"unreadable": "reject", "on_failure": "accept"}
    verdicts = [verdict_of(one, threshold=0.0, **policies) for one in opinions]
    assert [one.accepted for one in verdicts] == [True, False, True, True, True, True]
    assert verdicts[1].undecided  # still counted, by kind
    server.behaviour = lambda number, body: answer  # now it is down
    verdicts = [verdict_of(one, threshold=0.0, **policies) for one in ask(judge(server.url))]
    assert all(one.accepted and one.undecided for one in verdicts)


def test_neither_can_one_that_takes_the_rounds_time_or_all_the_tokens(
    server: Misbehaving,
) -> None:
    poison = questions()[1].completion
    policies: dict[str, Policy] = {"unreadable": "reject", "on_failure": "accept"}

    def accepted(opinions: list[Opinion]) -> list[bool]:
        return [verdict_of(one, threshold=0.0, **policies).accepted for one in opinions]

    def slow(number: int, body: dict[str, Any]) -> Any:
        return 30.0 if poison in body["messages"][0]["content"] else YES

    server.behaviour = slow
    opinions = ask(judge(server.url, retries=0, timeout=20.0, round_timeout=1.0))
    assert opinions[1].undecided == "timeout"
    assert accepted(opinions)[1] is False

    def thinks_too_long(number: int, body: dict[str, Any]) -> Any:
        """As a server does that splits off a reasoning which took all the tokens."""
        return chat(None) if poison in body["messages"][0]["content"] else YES

    server.behaviour = thinks_too_long
    assert accepted(ask(judge(server.url, retries=0))) == [True, False, True, True, True, True]


def test_a_completion_that_kills_the_server_is_accepted_in_no_later_round(
    server: Misbehaving,
) -> None:
    """The outage is of its making until the endpoint answers again; then outages are outages."""
    poison, killed = questions()[1].completion, threading.Event()
    policies: dict[str, Policy] = {"unreadable": "reject", "on_failure": "accept"}

    def accepted(opinions: list[Opinion]) -> list[bool]:
        return [verdict_of(one, threshold=0.0, **policies).accepted for one in opinions]

    def mortal(number: int, body: dict[str, Any]) -> Any:
        if poison in body["messages"][0]["content"]:
            killed.set()
        return (500, b"", {}) if killed.is_set() else YES

    server.behaviour = mortal
    asked = judge(server.url, concurrency=1)
    assert accepted(ask(asked)) == [True] + [False] * 5
    assert accepted(ask(asked)) == [False] * 6  # asked anew: the probe fails
    assert accepted(ask(asked)) == [False] * 6  # left alone for a while
    asked._down_until = 0.0
    server.behaviour = lambda number, body: YES
    assert accepted(ask(asked)) == [True] * 6
    server.behaviour = lambda number, body: (500, b"", {})
    opinions = ask(asked)
    assert {one.undecided for one in opinions} == {"unreachable"}
    assert accepted(opinions) == [True] * 6  # it answered after the last text of a peer's


@pytest.mark.parametrize("answer", [(400, b"", {}), chat(None), (500, b"", {})])
def test_one_that_spoils_the_server_after_its_own_verdict_is_accepted_in_no_later_round(
    server: Misbehaving, answer: tuple[int, bytes, dict[str, str]]
) -> None:
    last, spoiled = questions()[5].completion, threading.Event()

    def brittle(number: int, body: dict[str, Any]) -> Any:
        if spoiled.is_set():
            return answer
        if last in body["messages"][0]["content"]:
            spoiled.set()
        return YES

    server.behaviour = brittle
    asked = judge(server.url, concurrency=1)
    assert kinds(ask(asked)) == {""}
    for _ in range(2):
        opinions = ask(asked)
        assert all(one.undecided and one.provoked for one in opinions)
        asked._down_until = 0.0


def test_a_slow_completion_takes_the_policy_of_outages_from_everyone(server: Misbehaving) -> None:
    """A server that serves one at a time, stalled by a peer's text, answers no probe either."""
    poison, stalled = questions()[1].completion, threading.Event()

    def one_at_a_time(number: int, body: dict[str, Any]) -> Any:
        if poison in body["messages"][0]["content"]:
            stalled.set()
        if number == 1:
            asked.line.timeout = 0.5  # from here on nothing has to be answered in time
        return 30.0 if stalled.is_set() else YES

    server.behaviour = one_at_a_time
    asked = judge(server.url, concurrency=1)
    for opinions in (ask(asked), ask(asked)):
        assert {one.undecided for one in opinions if one.provoked} == {"timeout"}
        assert all(one.provoked for one in opinions if one.undecided)


async def sent(
    asked: EndpointJudge, out: threading.Event, count: int
) -> asyncio.Task[list[Opinion]]:
    """Another node's call about `count` texts, the poison among them, which has reached the server.

    out: what the server sets when the poison arrives.
    """
    call = asyncio.create_task(asked.ask(questions()[2 - count : 2]))
    assert await asyncio.to_thread(out.wait, 30.0)
    return call


def test_a_node_that_asks_while_another_has_texts_out_meets_no_outage(server: Misbehaving) -> None:
    """Its harmless question is turned away because of a peer's text that another node has sent."""
    poison, stalled = questions()[1].completion, threading.Event()

    def overloaded(number: int, body: dict[str, Any]) -> Any:
        if poison in body["messages"][0]["content"]:
            stalled.set()
            return 30.0
        return (503, b"", {}) if stalled.is_set() else YES

    server.behaviour = overloaded
    asked = judge(server.url, timeout=5.0)

    async def both() -> list[Opinion]:
        first = await sent(asked, stalled, 2)
        second = await asked.ask(questions()[2:4])
        await first
        return second

    opinions = asyncio.run(both())
    assert kinds(opinions) == {"unreachable"}
    assert all(one.provoked for one in opinions)


POLICIES: dict[str, Policy] = {"unreadable": "reject", "on_failure": "accept"}


def test_one_that_kills_the_server_while_another_node_asks_is_accepted_in_no_later_round(
    server: Misbehaving,
) -> None:
    """The other node's probes are answered while the text is out, so they clear nobody."""
    poison = questions()[1].completion
    out, others_done, killed = threading.Event(), threading.Event(), threading.Event()

    def mortal(number: int, body: dict[str, Any]) -> Any:
        if killed.is_set():
            return 500, b"", {}
        if poison in body["messages"][0]["content"]:
            out.set()
            assert others_done.wait(30.0)
            killed.set()
            return 500, b"", {}
        return YES

    server.behaviour = mortal
    asked = judge(server.url)

    async def both() -> list[Opinion]:
        first = await sent(asked, out, 1)
        assert kinds(await asked.ask(questions()[2:4])) == {""}
        others_done.set()
        return await first

    for opinions in (asyncio.run(both()), ask(asked), ask(asked)):
        verdicts = [verdict_of(one, threshold=0.0, **POLICIES) for one in opinions]
        assert {(one.accepted, one.undecided) for one in verdicts} == {(False, "unreachable")}


def test_a_probe_between_two_failures_of_one_round_clears_nobody(server: Misbehaving) -> None:
    upsets, kills, killed = questions()[1].completion, questions()[3].completion, threading.Event()

    def mortal(number: int, body: dict[str, Any]) -> Any:
        if kills in body["messages"][0]["content"]:
            killed.set()
        upset = upsets in body["messages"][0]["content"]
        return (500, b"", {}) if upset or killed.is_set() else YES

    server.behaviour = mortal
    asked = judge(server.url, concurrency=1)
    assert [one.undecided for one in ask(asked)] == ["", "unreachable", "", *["unreachable"] * 3]
    assert all(one.undecided and one.provoked for one in ask(asked))


def test_a_probe_that_fails_after_anothers_texts_came_and_went_meets_no_outage(
    server: Misbehaving,
) -> None:
    poison = questions()[1].completion
    out, probing, others_done = threading.Event(), threading.Event(), threading.Event()

    def overloaded(number: int, body: dict[str, Any]) -> Any:
        if poison in body["messages"][0]["content"]:
            out.set()
            assert probing.wait(30.0)
            return 500, b"", {}
        if out.is_set() and not probing.is_set():
            probing.set()
            assert others_done.wait(30.0)
            return 503, b"", {}
        return YES

    server.behaviour = overloaded
    asked = judge(server.url)

    async def both() -> list[Opinion]:
        first = await sent(asked, out, 1)
        second = asyncio.create_task(asked.ask(questions()[2:4]))
        await first
        others_done.set()
        return await second

    for opinions in (asyncio.run(both()), ask(asked)):  # and while it is left alone
        assert kinds(opinions) == {"unreachable"}
        assert all(one.provoked for one in opinions)


def test_a_round_whose_time_goes_while_anothers_texts_are_out_meets_no_outage(
    server: Misbehaving, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.behaviour = lambda number, body: YES
    asked = judge(server.url)

    async def out_of_time(client: object) -> bool:
        monkeypatch.undo()
        await asked.ask(questions()[:2])
        raise TimeoutError  # as the round's time limit does

    monkeypatch.setattr(asked, "_alive", out_of_time)
    opinions = ask(asked)
    assert kinds(opinions) == {"timeout"}
    assert all(one.provoked for one in opinions)


def test_a_reply_that_was_cut_off_or_quotes_a_decision_has_not_decided(
    server: Misbehaving,
) -> None:
    said = "A first draft would be <decision> yes </decision>. But wait: step 2 says 'Hail', which"
    server.behaviour = lambda number, body: chat(said)
    assert kinds(ask(judge(server.url))) == {"unreadable"}


def test_what_is_kept_of_a_reply_is_short(server: Misbehaving) -> None:
    server.behaviour = lambda number, body: chat("x" * 900_000 + "<decision> no </decision>")
    (opinion,) = ask(judge(server.url), 1)
    assert opinion.accept is False
    assert len(opinion.detail) <= 1_000


def test_a_redirect_is_not_followed_to_another_host(server: Misbehaving) -> None:
    with misbehaving() as elsewhere:
        elsewhere.behaviour = lambda number, body: YES
        headers = {"Location": f"{elsewhere.url}/chat/completions"}
        for status in (301, 302, 307, 308):
            server.behaviour = lambda number, body, status=status: (status, b"", headers)
            assert kinds(ask(judge(server.url))) == {"refused"}
        assert elsewhere.bodies == []


# When nothing comes back


def test_a_dead_endpoint_costs_one_timeout_and_is_left_alone_for_a_while(
    server: Misbehaving,
) -> None:
    arrived = threading.Event()

    def dead(number: int, body: dict[str, Any]) -> Any:
        arrived.set()
        return 30.0

    server.behaviour = dead
    asked = judge(server.url, timeout=0.5, retries=3)
    assert kinds(ask(asked)) == {"timeout"}
    assert arrived.wait(30.0)
    assert len(server.bodies) == 1  # the probe, once; no completion left this process
    asked.line.timeout = 60.0
    asked._down_until += 60.0
    assert kinds(ask(asked)) == {"timeout"}  # the same reason, without asking
    assert len(server.bodies) == 1


def test_an_endpoint_that_comes_back_is_used_again(server: Misbehaving) -> None:
    server.behaviour = lambda number, body: (503, b"", {})
    asked = judge(server.url)
    assert kinds(ask(asked)) == {"unreachable"}
    server.behaviour = lambda number, body: YES
    asked._down_until = 0.0  # what the clock would do
    assert kinds(ask(asked)) == {""}


def test_an_endpoint_that_dies_in_the_middle_opens_the_circuit(server: Misbehaving) -> None:
    server.behaviour = lambda number, body: YES if number < 4 else (500, b"", {})
    opinions = ask(judge(server.url, concurrency=1), 20)
    assert [opinion.undecided for opinion in opinions] == [""] * 3 + ["unreachable"] * 17
    assert len(server.bodies) == 6  # probe, three answers, one failure, a second probe
    assert [opinion.provoked for opinion in opinions] == [False] * 3 + [True] * 17


def test_nobody_listening_is_told_apart_from_a_verdict() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}/v1"
        opinions = ask(judge(url))
    assert kinds(opinions) == {"unreachable"}
    assert "ConnectError" in opinions[0].detail


def test_a_body_that_trickles_in_for_ever_is_slow(server: Misbehaving) -> None:
    def trickle(number: int, body: dict[str, Any]) -> Any:
        return YES if number == 0 else (200, b" ", {"X-Trickle": "1", "Content-Length": "999999"})

    server.behaviour = trickle
    assert kinds(ask(judge(server.url, timeout=1.0), 2)) == {"timeout"}


def test_a_slow_endpoint_keeps_what_it_judged_in_time(server: Misbehaving) -> None:
    server.behaviour = lambda number, body: YES if number < 3 else 60.0
    asked = judge(server.url, concurrency=1, round_timeout=5.0)
    opinions = ask(asked)
    assert [opinion.undecided for opinion in opinions] == ["", ""] + ["timeout"] * 4
    assert "within 5 s" in opinions[-1].detail


def test_one_judge_serves_one_event_loop_after_another(server: Misbehaving) -> None:
    server.behaviour = lambda number, body: YES
    asked = judge(server.url)
    for _ in range(3):
        assert kinds(ask(asked)) == {""}
    assert kinds(asyncio.run(replace(asked).ask([]))) == set()


# Addresses


@pytest.mark.parametrize(
    "url",
    [
        "localhost:8000",
        "ftp://host/v1",
        "file:///etc/passwd",
        "http://",
        "http://user:password@host/v1",
        "https://host/v1?key=abc",
        "https://host/v1#x",
        "http://host:99999/v1",
        "http://host:0/v1",
        "//host/v1",
        "",
        "http://\u2603.net/v1",
        "http://host/v1\n",
        "http://host/\x00",
        "http://two words/v1",
        "http://a..b/v1",
    ],
)
def test_an_address_that_is_no_base_url_or_holds_a_secret_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"must|[Pp]ort|no address"):
        checked_url(url)


@pytest.mark.parametrize("url", ["http://localhost:8000/v1", "https://api.example.org/v1"])
def test_a_plain_base_url_is_taken(url: str) -> None:
    assert checked_url(url) == url
