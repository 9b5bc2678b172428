"""The line to an endpoint: a request is sent, and sent again where that may help.

Every failure is a `NoReplyError` of a known kind, in bounded time. A server that says when it may
be asked again is left alone until then, by all requests, as long as the round has the time.

Leaves out: what is asked, and what failures mean for completions (`endpoint.py`).
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import httpx2

from dgrpo.errors import DgrpoError, first_line
from dgrpo.judging.address import Proxy
from dgrpo.judging.failures import WORDS_BYTES, NoReplyError, failure_of, pause_of
from dgrpo.judging.replies import REPLY_BYTES, Reply, read_reply

FIRST_PAUSE = 0.25
"""Seconds before the first retry; doubled for each further one."""
LONGEST_PAUSE = 8.0
"""Seconds; the longest pause, unless the server says when to come and the round has the time."""
WORDS_WITHIN = 5.0
"""Seconds that the body of a failure may take."""


@dataclass
class Line:
    """Sends requests to one base URL."""

    url: str
    """Up to and including the version, e.g. `http://localhost:8000/v1`."""
    key: str | None = field(default=None, repr=False)
    """Bearer token; never logged, never part of settings, and struck out of a server's words."""
    timeout: float = 60.0
    """Seconds for one request, from connecting to the last byte of the body."""
    retries: int = 2
    concurrency: int = 8
    proxy: Proxy | None = None
    answered: float = 0.0
    """When the server last answered with success, on the monotonic clock."""
    _quiet_until: float = 0.0
    """Until when the server asks to be left alone, on the monotonic clock."""

    def __post_init__(self) -> None:
        try:
            self._certificates = httpx2.create_ssl_context()
        except OSError as error:
            raise DgrpoError(
                f"judge: the certificates of this machine cannot be read: {first_line(error)}",
                remedy="SSL_CERT_FILE and SSL_CERT_DIR name them; mend or unset these",
            ) from error

    def client(self) -> httpx2.AsyncClient:
        """A client for one call: event loops come and go with rounds."""
        return httpx2.AsyncClient(
            follow_redirects=False,
            timeout=self.timeout,
            transport=httpx2.AsyncHTTPTransport(  # of our own: the environment adds no proxy
                verify=self._certificates,
                limits=httpx2.Limits(max_connections=self.concurrency),
                proxy=self.proxy.url if self.proxy else None,
            ),
            headers={
                "Accept-Encoding": "identity",
                "Content-Type": "application/json",
                **({} if self.key is None else {"Authorization": f"Bearer {self.key}"}),
            },
        )

    async def ask(
        self,
        client: httpx2.AsyncClient,
        body: dict[str, Any],
        *,
        deadline: float,
        give_up: Callable[[NoReplyError], bool],
    ) -> Reply:
        """The reply to `body`, asked for again where that may help; raises NoReplyError.

        deadline: on the monotonic clock; nothing is waited for beyond it. give_up: whether a
        failure is not worth another try. To wait as the server says costs none of the tries if the
        server answered others since the last one.
        """
        tries, answered = 0, self.answered
        while True:
            if (left := self._quiet_until - time.monotonic()) > 0:
                await asyncio.sleep(left)
            try:
                return await self._request(client, body)
            except NoReplyError as failure:
                told = failure.pause > 0 and time.monotonic() + failure.pause < deadline
                free, answered = told and self.answered > answered, self.answered
                if not failure.retry or give_up(failure) or (tries >= self.retries and not free):
                    raise
                if told:
                    again = time.monotonic() + max(failure.pause, FIRST_PAUSE)
                    self._quiet_until = max(self._quiet_until, again)
            if not told:
                await asyncio.sleep(min(FIRST_PAUSE * 2**tries, LONGEST_PAUSE))
            tries += not free

    async def _request(self, client: httpx2.AsyncClient, body: dict[str, Any]) -> Reply:
        """One request; what can be said of its failure holds neither the key nor a password."""
        try:
            reply = await self._post(client, body)
        except NoReplyError as failure:
            if self.key:
                failure.words = failure.words.replace(self.key, "[key]")
            if self.proxy:
                failure.note = f"this came through {self.proxy}; {self.proxy.way_round}"
            raise
        self.answered = time.monotonic()
        return reply

    async def _post(self, client: httpx2.AsyncClient, body: dict[str, Any]) -> Reply:
        chat = "messages" in body
        try:
            async with (
                asyncio.timeout(self.timeout),  # a body that trickles in is slow, too
                client.stream(
                    "POST",
                    f"{self.url.rstrip('/')}/{'chat/completions' if chat else 'completions'}",
                    content=json.dumps(body).encode(),  # ASCII, whatever a text holds
                ) as response,
            ):
                try:
                    if response.status_code == 200:
                        return read_reply(await _limited(response), chat=chat)
                    raise failure_of(response.status_code, await _beginning(response))
                except NoReplyError as failure:
                    failure.pause = pause_of(response.headers)
                    raise
        except (TimeoutError, httpx2.TimeoutException):
            raise NoReplyError(
                "timeout", f"no answer within {self.timeout:g} s", retry=True
            ) from None
        except httpx2.HTTPError as error:
            name = type(error).__name__
            raise NoReplyError("unreachable", name, str(error), retry=True) from None


async def _limited(response: httpx2.Response) -> bytes:
    """The body, as it came: what is compressed could be of any size."""
    if response.headers.get("content-encoding", "identity") != "identity":
        raise NoReplyError("malformed", "the answer is compressed")
    raw = bytearray()
    async for chunk in response.aiter_raw():
        raw += chunk
        if len(raw) > REPLY_BYTES:
            raise NoReplyError("malformed", f"the answer exceeds {REPLY_BYTES} bytes")
    return bytes(raw)


async def _beginning(response: httpx2.Response) -> bytes:
    """Of the body of a failure: as much as comes soon. Nothing where it is compressed."""
    raw = bytearray()
    if response.headers.get("content-encoding", "identity") != "identity":
        return b""
    try:
        async with asyncio.timeout(WORDS_WITHIN):
            async for chunk in response.aiter_raw():
                raw += chunk
                if len(raw) >= WORDS_BYTES:
                    break
    except (TimeoutError, httpx2.HTTPError):
        pass  # its status says enough
    return bytes(raw[:WORDS_BYTES])
