"""All-gather: everyone sends its completions to everyone. The only step that crosses nodes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from dgrpo.records import Completion


@dataclass(frozen=True, slots=True)
class Message:
    """What one node sends in one round."""

    sender: str
    sender_index: int
    """Number of the sender in the swarm's agreed order: decides which samples it owes."""
    tokenizer_digest: str
    completions: tuple[Completion, ...]


class Exchange(Protocol):
    """How messages travel."""

    async def all_gather(
        self, round_index: int, completions: Sequence[Completion]
    ) -> list[Message]:
        """Send `completions`; return everyone's messages, own included, sorted by sender index.

        Peers that are late or gone are simply not in the list.
        """
        ...
