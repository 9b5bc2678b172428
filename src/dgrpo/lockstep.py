"""Nodes of one process in step: each waits for its model until all do, then all are answered.

Requests that can be answered together are: once per replica, however many nodes ask. Updates wait
until no node asks for samples or scores any more, so that all nodes of a replica are there to be
compared. A node that waits for its peers, in an exchange, holds nobody up.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any

from dgrpo.errors import DgrpoError
from dgrpo.exchange.base import AllGather, Message
from dgrpo.policy.sampling import SampleRequest
from dgrpo.policy.scoring import ScoreItem
from dgrpo.records import TokenStatistics, UpdateStats


@dataclass(frozen=True)
class Generate:
    """Draw completions from the node's replica."""

    requests: tuple[SampleRequest, ...]


@dataclass(frozen=True)
class Score:
    """Score completions under the node's replica."""

    items: tuple[ScoreItem, ...]
    statistics: frozenset[str]
    keep: bool
    """Whether the update that follows may use the forward pass."""


@dataclass(frozen=True)
class Update:
    """Update the node's replica, splitting it if its nodes disagree."""

    items: tuple[ScoreItem, ...]
    advantages: tuple[float | None, ...]
    round: int
    more: bool
    """Whether other parts of the round follow."""


Request = Generate | Score | Update
ANSWER_ORDER: tuple[tuple[type[Request], ...], ...] = ((Generate, Score), (Update,))
"""Which requests are answered first; the others wait until nobody asks for these."""
Compute = Callable[[Sequence[tuple[int, Request]]], dict[int, Any]]
"""(node index, request) of all that are answered together -> answers by node index."""


class Lockstep:
    """Runs nodes' coroutines together, and answers their requests once nobody can go on alone."""

    def __init__(self, compute: Compute) -> None:
        self._compute = compute
        self._waiting: list[tuple[int, Request, asyncio.Future[Any]]] = []
        self._playing = 0
        self._away = 0
        self._looks = 0

    async def together(self, coroutines: Sequence[Coroutine[Any, Any, Any]]) -> list[Any]:
        """Results of one coroutine per node, in order. What a node raises is raised here."""
        self._waiting, self._playing, self._away = [], len(coroutines), 0
        tasks = [asyncio.ensure_future(self._playing_on(c)) for c in coroutines]
        try:
            return list(await asyncio.gather(*tasks))
        finally:
            for task in tasks:  # a node that raised ends the round for all
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def ask(self, index: int, request: Request) -> Any:
        """Wait until every playing node waits, then for the answer.

        Raises DgrpoError for a node that has asked already, and not awaited the answer.
        """
        if any(asking == index for asking, _, _ in self._waiting):
            raise DgrpoError(
                f"node-{index} asked its model again before the last answer came",
                remedy="a defense or an attack must await each call of `node.policy`, `turn.draw` "
                "and `turn.score` before the next",
            )
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting.append((index, request, future))
        self._look_soon()
        return await future

    async def meet(self, gathering: Coroutine[Any, Any, list[Message]]) -> list[Message]:
        """Wait for peers; whoever samples or scores meanwhile does not wait for this node."""
        self._away += 1
        self._look_soon()
        try:
            return await gathering
        finally:
            self._away -= 1

    async def _playing_on(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        answer = await coroutine
        # a node that raised still counts as playing: nothing is computed any more
        self._playing -= 1
        self._look_soon()
        return answer

    def _look_soon(self) -> None:
        """Look once those that can go on have gone on: nodes leave an exchange one by one."""
        self._looks += 1
        asyncio.get_running_loop().call_soon(self._answer_if_all_wait, self._looks)

    def _answer_if_all_wait(self, look: int) -> None:
        """Once nobody can go on alone: answer the requests whose turn it is."""
        if look != self._looks:
            return  # somebody went on since, and a later look follows
        by_turn = [[w for w in self._waiting if isinstance(w[1], turn)] for turn in ANSWER_ORDER]
        turns = [waiting for waiting in by_turn if waiting]
        if not turns or len(self._waiting) + self._away < self._playing:
            return
        answered, *later = turns
        if self._away and isinstance(answered[0][1], Update):
            return  # who is away has not verified yet, and may share a replica with who updates
        self._waiting = [w for waiting in later for w in waiting]
        answered.sort(key=lambda waiting: waiting[0])
        try:
            answers = self._compute([(index, request) for index, request, _ in answered])
        except Exception as error:
            for _, _, future in answered:
                if not future.done():
                    future.set_exception(error)
            return
        for index, _, future in answered:
            if not future.done():
                future.set_result(answers[index])


class NodePort:
    """A node's way out of the process's step: its `policy`, and its end of an exchange."""

    def __init__(self, lockstep: Lockstep, index: int, exchange: AllGather) -> None:
        self._lockstep = lockstep
        self._index = index
        self._exchange = exchange

    async def generate(self, requests: Sequence[SampleRequest]) -> list[tuple[int, ...]]:
        """See `NodePolicy`."""
        return await self._ask(Generate(tuple(requests)))  # type: ignore[no-any-return]

    async def score(
        self, items: Sequence[ScoreItem], statistics: Collection[str] = (), *, keep: bool = False
    ) -> list[TokenStatistics]:
        """See `NodePolicy`."""
        request = Score(tuple(items), frozenset(statistics), keep)
        return await self._ask(request)  # type: ignore[no-any-return]

    async def update(
        self,
        items: Sequence[ScoreItem],
        advantages: Sequence[float | None],
        round_index: int,
        *,
        more: bool = False,
    ) -> UpdateStats:
        """See `NodePolicy`."""
        request = Update(tuple(items), tuple(advantages), round_index, more)
        return await self._ask(request)  # type: ignore[no-any-return]

    async def all_gather(self, round_index: int, message: Message) -> list[Message]:
        """See `AllGather`."""
        return await self._lockstep.meet(self._exchange.all_gather(round_index, message))

    async def _ask(self, request: Request) -> Any:
        return await self._lockstep.ask(self._index, request)
