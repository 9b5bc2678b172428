"""A judge behind an OpenAI-compatible HTTP API: a vLLM server, `transformers serve`, a provider.

The endpoint is trusted to judge, not to behave: it may be down, slow, redirect, or answer nonsense
of any size. Each of these ends in an undecided opinion of a known kind, in bounded time.

Circuit breaker: before a round's completions the probe, a harmless question, asks whether the
endpoint is alive. If not, all of them are undecided at once, and for the length of one request's
timeout nothing is asked again: a dead endpoint costs one timeout, not one per completion. The probe
asks exactly as the questions do, so that a field which the server refuses is found here.

Whose fault it is (`suspicion.py`): whatever fails while peers' texts are out, or after them, counts
as `provoked`, for every completion and in later rounds, until a probe is answered that was sent
with no peer's text out. A round ends with a probe, so that what fails after that is an outage.

Leaves out: streaming, tools, and log-odds (few servers give log-probabilities).
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import httpx2

from dgrpo.judging.bench import Question
from dgrpo.judging.failures import NoReplyError
from dgrpo.judging.fields import remedy
from dgrpo.judging.line import Line
from dgrpo.judging.local import judge_key
from dgrpo.judging.prompts import JudgePrompt, Style, judge_prompt
from dgrpo.judging.replies import Reply
from dgrpo.judging.suspicion import Suspicion
from dgrpo.judging.verdicts import NO_REPLY, Opinion, opinion_of

HARMLESS = Question("", "1+1?", "2")
"""What a probe asks about."""
_INVALID = frozenset({400, 422})
"""What servers answer to a field that they do not take."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Call:
    """One call of `ask`."""

    client: httpx2.AsyncClient
    deadline: float
    """On the monotonic clock."""


@dataclass
class EndpointJudge:
    """Asks `model` over `line`: chat for the full style, plain completion for the brief one."""

    line: Line
    model: str
    style: Style
    criticism: bool
    fields: dict[str, Any]
    """Sampling and whatever else is sent with every request."""
    seeded: bool = True
    """Whether requests carry a seed of the completion's, until the server refuses it."""
    round_timeout: float = 600.0
    """Seconds for all of a round's requests together."""
    _suspicion: Suspicion = field(default_factory=Suspicion)
    _down_until: float = 0.0
    """On the monotonic clock: the circuit is open until then."""
    _outage: Opinion = field(default_factory=Opinion)
    """What the last probe found wrong."""
    _dead: bool = False
    """Whether a probe failed in the middle of a round."""
    _warned: bool = False
    """Whether it was said that the harmless question gets no decision."""

    async def ask(self, questions: Sequence[Question]) -> list[Opinion]:
        """See `bench.Judging`. A client per call: event loops come and go with rounds."""
        if not questions or time.monotonic() < self._down_until:
            return [self._unasked] * len(questions)
        late = Opinion(undecided="timeout", detail=f"not judged within {self.round_timeout:g} s")
        opinions, begun = [late] * len(questions), self._suspicion.probe_started()
        deadline = time.monotonic() + self.round_timeout
        try:
            async with asyncio.timeout(self.round_timeout), self.line.client() as client:
                await self._ask_all(_Call(client, deadline), questions, opinions)
        except TimeoutError:
            _log.warning("%s: %g s were not enough for a round", self.line.url, self.round_timeout)
            if self._suspicion.provoked(begun):  # if a probe took them: by another call's texts
                return [replace(one, provoked=one.undecided in NO_REPLY) for one in opinions]
        return opinions

    async def _ask_all(
        self, call: _Call, questions: Sequence[Question], opinions: list[Opinion]
    ) -> None:
        """Fill `opinions` in place, so that what was decided in time survives a timeout."""
        if not await self._alive(call):
            self._down_until = time.monotonic() + self.line.timeout
            opinions[:] = [self._unasked] * len(questions)
            return
        opinions[:] = [replace(late, provoked=True) for late in opinions]
        queue = iter(range(len(questions)))
        probing = asyncio.Lock()

        async def work() -> None:
            for index in queue:
                started = time.monotonic()
                opinion = await self._opinion(call, questions[index])
                failed = opinion.undecided in NO_REPLY
                opinions[index] = replace(opinion, provoked=failed)
                if opinion.undecided not in ("timeout", "unreachable"):
                    continue
                async with probing:  # was it this completion, or does nothing come back any more?
                    if self.line.answered < started and not self._dead:
                        self._dead = not await self._alive(call)
                if self._dead:
                    for rest in queue:
                        opinions[rest] = replace(self._outage, provoked=True)

        with self._suspicion.texts_out():
            async with asyncio.TaskGroup() as group:
                for _ in range(min(self.line.concurrency, len(questions))):
                    group.create_task(work())
        if not self._dead:
            await self._alive(call)

    @property
    def _unasked(self) -> Opinion:
        """On a completion that stays here because of the last outage."""
        provoked = self._outage.provoked or self._suspicion.provoked()
        return replace(self._outage, provoked=provoked)

    async def _opinion(self, call: _Call, question: Question) -> Opinion:
        try:
            asked, reply = await self._reply(call, question, lambda failure: self._dead)
        except NoReplyError as failure:
            return failure.opinion(remedy(failure.status, failure.words, self.fields))
        return self._read(asked, reply)

    def _read(self, asked: JudgePrompt, reply: Reply) -> Opinion:
        if reply.silent:
            return Opinion(undecided="unreadable", detail=reply.silent)
        if self.style == "full":
            return opinion_of(reply.text, last=True, ending=reply.ending)
        return opinion_of(asked.opening + reply.text, ending=reply.ending)

    async def _alive(self, call: _Call) -> bool:
        """Whether a harmless question is answered in the API's form; `_outage` says why not."""
        probe = self._suspicion.probe_started()
        try:
            asked, reply = await self._probe(call)
        except NoReplyError as failure:
            said = failure.opinion(remedy(failure.status, failure.words, self.fields))
            self._outage = replace(said, provoked=self._suspicion.provoked(probe))
            _log.warning("%s gives no verdicts: %s", self.line.url, self._outage.detail)
            return False
        self._suspicion.answered(probe)
        self._dead = False
        opinion = self._read(asked, reply)
        if opinion.undecided and not self._warned:
            self._warned = True
            _log.warning("%s decides nothing on “2” for 1+1: %s", self.line.url, opinion.detail)
        return True

    async def _probe(self, call: _Call) -> tuple[JudgePrompt, Reply]:
        """The harmless question. A seed that the server refuses is sent no more."""
        try:
            return await self._reply(call, HARMLESS, _was_slow)
        except NoReplyError as failure:
            if not self.seeded or failure.status not in _INVALID:
                raise
            refused = failure.opinion().detail
        given = await self._reply(call, HARMLESS, _was_slow, seeded=False)
        self.seeded = False  # so it was the seed, and the seed alone
        _log.warning("%s takes no seed, and gets none: %s", self.line.url, refused)
        return given

    async def _reply(
        self,
        call: _Call,
        question: Question,
        give_up: Callable[[NoReplyError], bool],
        *,
        seeded: bool = True,
    ) -> tuple[JudgePrompt, Reply]:
        asked = judge_prompt(
            question.prompt_text, question.completion, style=self.style, criticism=self.criticism
        )
        body: dict[str, Any] = {"model": self.model}
        if self.style == "full":
            body["messages"] = [{"role": "user", "content": asked.text}]
        else:
            body["prompt"] = asked.continued
        if self.seeded and seeded:
            body["seed"] = judge_key(question)[0] & 0x7FFFFFFF
        body |= self.fields
        reply = await self.line.ask(call.client, body, deadline=call.deadline, give_up=give_up)
        return asked, reply


def _was_slow(failure: NoReplyError) -> bool:
    """Whether a probe is not worth another try: it waits only once."""
    return failure.kind == "timeout"
