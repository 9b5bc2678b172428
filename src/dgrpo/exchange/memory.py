"""All nodes in one process: messages are handed over as they are, and nobody is late."""

from __future__ import annotations

import asyncio
from typing import ClassVar

from dgrpo.exchange.base import AllGather, Connection, Exchange, Message, Roster


class Memory(Exchange):
    """Hands messages over within one process (the simulation's exchange)."""

    name: ClassVar[str] = "memory"

    def connect(self, roster: Roster) -> Connection:
        """A table that everyone puts a message on."""
        return Table(len(roster))


class Table:
    """Where the nodes of one process meet: a gathering is over once every node has put one down."""

    def __init__(self, nodes: int) -> None:
        self._nodes = nodes
        self._messages: dict[int, dict[int, Message]] = {}
        self._over: dict[int, asyncio.Event] = {}

    def at(self, index: int) -> AllGather:
        """See `Connection`."""
        return Seat(self, index)

    async def close(self) -> None:
        """Nothing was opened."""

    async def meet(self, round_index: int, index: int, message: Message) -> list[Message]:
        """Put a message down, wait for the others', take all."""
        messages = self._messages.setdefault(round_index, {})
        over = self._over.setdefault(round_index, asyncio.Event())
        messages[index] = message
        if len(messages) == self._nodes:
            over.set()
            # whoever waits holds them: a round that is played again, as on resuming, starts anew
            del self._messages[round_index], self._over[round_index]
        try:
            await over.wait()
        except asyncio.CancelledError:  # the round is given up: nothing of it stays on the table
            if not over.is_set():
                messages.pop(index, None)
            raise
        return [messages[i] for i in sorted(messages)]


class Seat:
    """One node's place at the table."""

    def __init__(self, table: Table, index: int) -> None:
        self._table = table
        self._index = index

    async def all_gather(self, round_index: int, message: Message) -> list[Message]:
        """See `AllGather`."""
        return await self._table.meet(round_index, self._index, message)
