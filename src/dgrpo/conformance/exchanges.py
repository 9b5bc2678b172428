"""What every exchange promises, with all nodes of a swarm in this process."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytest

from dgrpo.conformance.hostile import HOSTILE
from dgrpo.exchange import AllGather, Exchange, Message
from dgrpo.records import Completion

PATIENCE = 60.0
"""Seconds after which a gathering that everyone takes part in counts as stuck."""
ABSENT = 0.5
"""Seconds for which nodes wait for one that never sends."""


@contextmanager
def swarm(exchange: Exchange, nodes: int) -> Iterator[tuple[asyncio.Runner, list[AllGather]]]:
    """The nodes' ends of an open exchange, and the one event loop of its rounds."""
    connection = exchange.connect([f"node-{index}" for index in range(nodes)])
    with asyncio.Runner() as runner:
        try:
            yield runner, [connection.at(index) for index in range(nodes)]
        finally:
            runner.run(connection.close())


def message(index: int, round_index: int) -> Message:
    """What a node sends in a round: texts and ids that differ from every other message's."""
    completions = tuple(
        Completion(f"prompt-{number}", number, f"{text}{index}", (index, round_index, number))
        for number, text in enumerate(HOSTILE)
    )
    return Message(f"node-{index}", index, f"digest-{round_index}", completions)


async def gather(
    ends: Sequence[AllGather], round_index: int, patience: float
) -> list[list[Message] | BaseException]:
    """What each node gets in a round, or what it raises."""
    asked = (
        asyncio.wait_for(end.all_gather(round_index, message(index, round_index)), patience)
        for index, end in enumerate(ends)
    )
    return await asyncio.gather(*asked, return_exceptions=True)


def check_whole(gathered: Sequence[list[Message] | BaseException], round_index: int) -> None:
    """Everyone has everyone's message of the round, as it was sent."""
    sent = [message(index, round_index) for index in range(len(gathered))]
    for got in gathered:
        assert not isinstance(got, TimeoutError), "everyone sent, and a node still waits"
        if isinstance(got, BaseException):
            raise got
        heard = sorted(got, key=lambda one: one.sender_index)
        assert [one.sender for one in heard] == [one.sender for one in sent]
        assert heard == sent, "a message is not what was sent"


@pytest.mark.parametrize("nodes", [1, 3])
def test_everyone_gets_everyones_message_own_included(exchange: Exchange, nodes: int) -> None:
    """In two rounds one after the other, whatever the texts hold, in any order."""
    with swarm(exchange, nodes) as (runner, ends):
        for round_index in (0, 1):
            check_whole(runner.run(gather(ends, round_index, PATIENCE)), round_index)


def test_a_node_that_never_sends_makes_nobody_raise(exchange: Exchange) -> None:
    """The others may wait, or go on without it; it never counts as having sent."""
    with swarm(exchange, 3) as (runner, ends):
        for index, got in enumerate(runner.run(gather(ends[:2], 0, ABSENT))):
            if isinstance(got, TimeoutError):
                continue
            if isinstance(got, BaseException):
                raise got
            assert message(index, 0) in got
            assert {one.sender_index for one in got} <= {0, 1}


def test_it_can_be_opened_again_once_it_is_closed(exchange: Exchange) -> None:
    """A port or a file that it holds is given back."""
    for _ in range(2):
        with swarm(exchange, 2) as (runner, ends):
            check_whole(runner.run(gather(ends, 0, PATIENCE)), 0)
