"""A judge behind an OpenAI-compatible HTTP API: a vLLM server, `transformers serve`, a provider.

The endpoint is trusted to judge, not to behave: it may be down, slow, redirect, or answer nonsense
of any size. Each of these ends in an undecided opinion of a known kind, in bounded time.

Circuit breaker: before a round's completions the probe, a harmless question, asks whether the
endpoint is alive. If not, all of them are undecided at once, and for `timeout` seconds nothing is
asked again: a dead endpoint costs one timeout, not one per completion.

Whose fault it is: whatever fails while peers' texts are out, or after them, may have been brought
about by a completion that crashes or stalls the server. It counts as `provoked`, for every
completion and in later rounds, until a probe is answered that was sent with no peer's text out. A
round ends with a probe, so that what fails after that is an outage.

Leaves out: streaming, tools, and log-odds (few servers give log-probabilities).
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import urlsplit

import httpx2
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from dgrpo.judging.bench import Question
from dgrpo.judging.local import judge_key
from dgrpo.judging.prompts import JudgePrompt, Style, judge_prompt
from dgrpo.judging.verdicts import NO_REPLY, Opinion, Undecided, opinion_of

REPLY_BYTES = 1 << 20
"""Longest body that is read: a reply of 100,000 tokens."""
FIRST_PAUSE = 0.25
"""Seconds before the first retry; doubled for each further one."""
LONGEST_PAUSE = 8.0
"""Seconds; no pause before a retry is longer, whatever the endpoint asks for."""
PASSING = frozenset({408, 409, 425, 429})
"""Client errors that may go away by themselves; server errors may, too."""

_log = logging.getLogger(__name__)


class _NoReplyError(Exception):
    """A request that gave no reply."""

    def __init__(
        self, kind: Undecided, detail: str, *, retry: bool = False, pause: float = 0.0
    ) -> None:
        super().__init__(detail)
        self.retry = retry
        self.pause = pause
        """Seconds that the endpoint asks to be left alone."""
        self.opinion = Opinion(undecided=kind, detail=detail)


class _Message(BaseModel):
    content: str


class _Choice(BaseModel):
    message: _Message | None = None
    text: str | None = None


class _Reply(BaseModel):
    """What both of the API's forms have in common; strict, so that numbers are no text."""

    model_config = ConfigDict(strict=True)

    choices: list[_Choice] = Field(min_length=1, max_length=8)
    """One is asked for."""

    def read(self, chat: bool) -> str | None:
        """The text of the first choice."""
        first = self.choices[0]
        if chat:
            return first.message.content if first.message else None
        return first.text


@dataclass
class EndpointJudge:
    """Asks `model` at `url`: chat for the full style, plain completion for the brief one."""

    url: str
    """Base URL up to and including the version, e.g. `http://localhost:8000/v1`."""
    model: str
    style: Style
    criticism: bool
    fields: dict[str, Any]
    """Sampling and whatever else is sent with every request."""
    key: str | None = field(default=None, repr=False)
    """Bearer token; never logged, never part of settings."""
    timeout: float = 60.0
    """Seconds for one request, from connecting to the last byte of the body."""
    round_timeout: float = 600.0
    """Seconds for all of a round's requests together."""
    retries: int = 2
    concurrency: int = 8
    _down_until: float = 0.0
    """On the monotonic clock: the circuit is open until then."""
    _outage: Opinion = field(default_factory=Opinion)
    """What the last probe found wrong."""
    _sent: int = 0
    """Calls that have sent peers' texts so far."""
    _asking: int = 0
    """Those of them that are not done: nodes may ask about different texts at a time."""
    _cleared: int = 0
    """Those of them after which a probe was answered, sent when no call was asking."""
    _dead: bool = False
    """Whether a probe failed in the middle of a round."""
    _answered: float = 0.0
    """When the endpoint last answered with success, on the monotonic clock."""

    async def ask(self, questions: Sequence[Question]) -> list[Opinion]:
        """See `bench.Judging`. A client per call: event loops come and go with rounds."""
        if not questions or time.monotonic() < self._down_until:
            return [self._unasked] * len(questions)
        late = Opinion(undecided="timeout", detail=f"not judged within {self.round_timeout:g} s")
        opinions, cleared = [late] * len(questions), self._cleared
        try:
            async with (
                asyncio.timeout(self.round_timeout),
                httpx2.AsyncClient(
                    follow_redirects=False,
                    timeout=self.timeout,
                    limits=httpx2.Limits(max_connections=self.concurrency),
                    headers={"Accept-Encoding": "identity", **self._authorisation()},
                ) as client,
            ):
                await self._ask_all(client, questions, opinions)
        except TimeoutError:
            _log.warning("%s: %g s were not enough for a round", self.url, self.round_timeout)
            if self._sent > cleared:  # where it was the probe that took them, another call's texts
                return [replace(one, provoked=one.undecided in NO_REPLY) for one in opinions]
        return opinions

    async def _ask_all(
        self, client: httpx2.AsyncClient, questions: Sequence[Question], opinions: list[Opinion]
    ) -> None:
        """Fill `opinions` in place, so that what was decided in time survives a timeout."""
        if not await self._alive(client):
            self._down_until = time.monotonic() + self.timeout
            opinions[:] = [self._unasked] * len(questions)
            return
        opinions[:] = [replace(late, provoked=True) for late in opinions]
        queue = iter(range(len(questions)))
        probing = asyncio.Lock()

        async def work() -> None:
            for index in queue:
                started = time.monotonic()
                opinion = await self._opinion(client, questions[index])
                failed = opinion.undecided in NO_REPLY
                opinions[index] = replace(opinion, provoked=failed)
                if opinion.undecided not in ("timeout", "unreachable"):
                    continue
                async with probing:  # was it this completion, or does nothing come back any more?
                    if self._answered < started and not self._dead:
                        self._dead = not await self._alive(client)
                if self._dead:
                    for rest in queue:
                        opinions[rest] = replace(self._outage, provoked=True)

        self._asking += 1
        self._sent += 1
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(min(self.concurrency, len(questions))):
                    group.create_task(work())
        finally:
            self._asking -= 1
        if not self._dead:
            await self._alive(client)

    @property
    def _unasked(self) -> Opinion:
        """On a completion that stays here because of the last outage."""
        return replace(self._outage, provoked=self._outage.provoked or self._sent > self._cleared)

    async def _opinion(self, client: httpx2.AsyncClient, question: Question) -> Opinion:
        asked = judge_prompt(
            question.prompt_text, question.completion, style=self.style, criticism=self.criticism
        )
        word, _ = judge_key(question)
        try:
            reply = await self._tries(client, {"seed": word & 0x7FFFFFFF} | self._body(asked))
        except _NoReplyError as failure:
            return failure.opinion
        if self.style == "full":
            return opinion_of(reply, last=True)
        return opinion_of(asked.opening + reply)

    async def _alive(self, client: httpx2.AsyncClient) -> bool:
        """Whether a harmless question is answered in the API's form; `_outage` says why not."""
        cleared, clears = self._cleared, 0 if self._asking else self._sent
        harmless = judge_prompt("1+1?", "2", style=self.style, criticism=self.criticism)
        try:
            await self._tries(client, self._body(harmless), probe=True)
        except _NoReplyError as failure:
            self._outage = replace(failure.opinion, provoked=self._sent > cleared)
            _log.warning("%s gives no verdicts: %s", self.url, self._outage.detail)
            return False
        self._cleared, self._dead = max(self._cleared, clears), False
        return True

    async def _tries(
        self, client: httpx2.AsyncClient, body: dict[str, Any], *, probe: bool = False
    ) -> str:
        """The reply's text, asked for again where that may help; a probe waits only once."""
        for attempt in range(self.retries + 1):
            try:
                return await self._request(client, body)
            except _NoReplyError as failure:
                slow = failure.opinion.undecided == "timeout"
                hopeless = slow if probe else self._dead
                if hopeless or not failure.retry or attempt == self.retries:
                    raise
                pause = max(FIRST_PAUSE * 2**attempt, failure.pause)
            await asyncio.sleep(min(pause, LONGEST_PAUSE))
        raise AssertionError("the last attempt returns or raises")

    async def _request(self, client: httpx2.AsyncClient, body: dict[str, Any]) -> str:
        chat = self.style == "full"
        url = f"{self.url.rstrip('/')}/{'chat/completions' if chat else 'completions'}"
        try:
            async with (
                asyncio.timeout(self.timeout),  # a body that trickles in is slow, too
                client.stream("POST", url, json=body) as response,
            ):
                self._check_status(response)
                raw = await _limited(response)
        except (TimeoutError, httpx2.TimeoutException):
            raise _NoReplyError(
                "timeout", f"no answer within {self.timeout:g} s", retry=True
            ) from None
        except httpx2.HTTPError as error:
            raise _NoReplyError("unreachable", type(error).__name__, retry=True) from None
        self._answered = time.monotonic()
        try:
            text = _Reply.model_validate_json(raw).read(chat)
        except ValidationError:
            text = None
        if text is None:
            raise _NoReplyError("malformed", "the answer is not of the API's form")
        return text

    def _check_status(self, response: httpx2.Response) -> None:
        status = response.status_code
        if status == 200:
            return
        if status >= 500 or status in PASSING:
            asked = response.headers.get("retry-after", "")
            pause = float(asked) if asked.isascii() and asked.isdecimal() else 0.0
            raise _NoReplyError("unreachable", f"HTTP {status}", retry=True, pause=pause)
        where = " (redirects are not followed)" if 300 <= status < 400 else ""
        raise _NoReplyError("refused", f"HTTP {status}{where}")

    def _body(self, asked: JudgePrompt) -> dict[str, Any]:
        if self.style == "full":
            said: dict[str, Any] = {"messages": [{"role": "user", "content": asked.text}]}
        else:
            said = {"prompt": asked.continued}
        return {"model": self.model, **said, **self.fields}

    def _authorisation(self) -> dict[str, str]:
        return {} if self.key is None else {"Authorization": f"Bearer {self.key}"}


async def _limited(response: httpx2.Response) -> bytes:
    """The body, as it came: what is compressed could be of any size."""
    if response.headers.get("content-encoding", "identity") != "identity":
        raise _NoReplyError("malformed", "the answer is compressed")
    raw = bytearray()
    async for chunk in response.aiter_raw():
        raw += chunk
        if len(raw) > REPLY_BYTES:
            raise _NoReplyError("malformed", f"the answer exceeds {REPLY_BYTES} bytes")
    return bytes(raw)


def checked_url(url: str) -> str:
    """`url` if it can be the base of an API; ValueError says why not.

    A user name, a key or a query in it would end up in every file that names the experiment.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("must be http://HOST… or https://HOST…")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise ValueError("must hold no user name, key or query; a key goes through api_key_env")
    if parts.port == 0:  # reading it raises ValueError for what is no port
        raise ValueError("must name a port that can be connected to")
    if any(char.isspace() for char in url) or "" in parts.hostname.rstrip(".").split("."):
        raise ValueError("must hold no spaces, and a host without empty labels")
    try:
        httpx2.URL(url)
    except httpx2.InvalidURL as error:
        raise ValueError(f"is no address: {error}") from None
    return url
