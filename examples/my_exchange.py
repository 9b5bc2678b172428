"""A first exchange: each node has a mailbox that the others write to.

    dgrpo run experiments/text-horizontal.toml --name mailboxes \
        --exchange.name examples/my_exchange.py:Mailboxes

The nodes of one process share the mailboxes. Over a network `all_gather` would send bytes instead,
and give up on peers that do not answer in time: whoever is not in the list is counted as absent.
"""

from __future__ import annotations

import asyncio
from typing import ClassVar

from dgrpo.exchange import AllGather, Connection, Exchange, Message, Roster


class Mailboxes(Exchange):
    """Everyone writes into everyone's mailbox, and waits until its own holds a message of each."""

    name: ClassVar[str] = "mailboxes"

    def connect(self, roster: Roster) -> Connection:
        """A mailbox per node."""
        return PostOffice(len(roster))


class PostOffice:
    """All mailboxes."""

    def __init__(self, nodes: int) -> None:
        self.boxes = [asyncio.Queue[Message]() for _ in range(nodes)]

    def at(self, index: int) -> AllGather:
        """The end of node number `index`."""
        return Counter(self, index)

    async def close(self) -> None:
        """Nothing was opened."""


class Counter:
    """Where one node sends and receives."""

    def __init__(self, office: PostOffice, index: int) -> None:
        self.office = office
        self.index = index

    async def all_gather(self, round_index: int, message: Message) -> list[Message]:
        """Write into every mailbox, own included; then empty one's own."""
        for box in self.office.boxes:
            await box.put(message)
        return [await self.office.boxes[self.index].get() for _ in self.office.boxes]
