"""All-gather: everyone sends its completions to everyone. The only step that crosses nodes.

An exchange is a plug-in, as attacks and defenses are. `connect` opens it for a swarm; `at` gives
each node of this process its end.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol

from dgrpo.plugins import Plugin
from dgrpo.records import Completion

Roster = Sequence[str]
"""Names of a swarm's nodes in its agreed order: a node's index is its place here."""


@dataclass(frozen=True, slots=True)
class Message:
    """What one node sends in one round."""

    sender: str
    sender_index: int
    """Number of the sender in the swarm's agreed order: decides which samples it owes."""
    tokenizer_digest: str
    completions: tuple[Completion, ...]


class AllGather(Protocol):
    """One node's end of an exchange."""

    async def all_gather(self, round_index: int, message: Message) -> list[Message]:
        """Send `message`; return everyone's messages, own included, in any order.

        Peers that are late or gone are simply not in the list. What a peer sent is handed over as
        it came: the receiver validates it (`envelope.py`, `admission.py`).
        """
        ...


class Connection(Protocol):
    """An open exchange."""

    def at(self, index: int) -> AllGather:
        """The end of node number `index`, which must be one of this process's nodes."""
        ...

    async def close(self) -> None:
        """Let go of whatever was opened."""
        ...


class Exchange(Plugin):
    """One way for messages to travel. Subclass this."""

    name: ClassVar[str]

    @abstractmethod
    def connect(self, roster: Roster) -> Connection:
        """Open the exchange for a swarm. Raises DgrpoError if that cannot be done."""
