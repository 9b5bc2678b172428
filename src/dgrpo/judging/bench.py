"""One judge for all nodes of a run: each completion is judged once, whoever received it.

A bench remembers opinions for as long as some node of the run holds it, and lets nodes that ask
about the same completion at the same time wait for one another. Failures are not remembered: the
next round may find the endpoint up again.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol
from weakref import WeakValueDictionary

from dgrpo.judging.verdicts import NO_REPLY, Opinion

REMEMBERED = 100_000
"""Opinions kept; about 100 MB at most with completions of 1,024 tokens."""


@dataclass(frozen=True, slots=True)
class Question:
    """A completion to judge under the receiver's own copy of its prompt."""

    prompt_key: str
    prompt_text: str
    completion: str


class Judging(Protocol):
    """A judge as the bench uses it: a local model or an endpoint."""

    async def ask(self, questions: Sequence[Question]) -> list[Opinion]:
        """One opinion per question, in order; failures are opinions too, nothing is raised."""
        ...


class Bench:
    """A judge with what it has already said."""

    def __init__(self, judge: Judging, identity: str = "") -> None:
        self.judge = judge
        self.identity = identity
        """Which model it is, down to its files where they are here."""
        self._known: OrderedDict[Question, Opinion] = OrderedDict()
        self._asked: dict[Question, asyncio.Future[Opinion]] = {}

    async def opinions(self, questions: Sequence[Question]) -> list[Opinion]:
        """One opinion per question, in order."""
        wanted = dict.fromkeys(questions)
        said = {q: self._known[q] for q in wanted if q in self._known}
        others = {q: self._asked[q] for q in wanted if q not in said and q in self._asked}
        mine = [q for q in wanted if q not in said and q not in others]
        said |= await self._ask(mine)
        for question, future in others.items():
            said[question] = await asyncio.shield(future)  # one waiter's end is not the others'
        return [said[question] for question in questions]

    async def _ask(self, questions: list[Question]) -> dict[Question, Opinion]:
        if not questions:
            return {}
        loop = asyncio.get_running_loop()
        futures = {question: loop.create_future() for question in questions}
        self._asked |= futures
        try:
            given = dict(zip(questions, await self.judge.ask(questions), strict=True))
        except BaseException:
            for future in futures.values():  # whoever waits for them must not wait for ever
                future.cancel()
            raise
        finally:
            for question in questions:
                del self._asked[question]
        for question, opinion in given.items():
            futures[question].set_result(opinion)
            if opinion.undecided not in NO_REPLY:
                self._known[question] = opinion
        while len(self._known) > REMEMBERED:
            self._known.popitem(last=False)
        return given


_benches: WeakValueDictionary[str, Bench] = WeakValueDictionary()


def shared_bench(settings: str, make: Callable[[], Bench]) -> Bench:
    """The bench of everyone with these settings, made if nobody holds one."""
    bench = _benches.get(settings)
    if bench is None:
        bench = _benches[settings] = make()
    return bench
