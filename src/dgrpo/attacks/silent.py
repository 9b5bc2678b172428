"""A node that sends nothing: the second control, since a defended run also trains on less."""

from __future__ import annotations

from typing import ClassVar

from dgrpo.attacks.base import StatelessAttack, Turn
from dgrpo.records import Sent
from dgrpo.tasks.assignment import Topology


class Silent(StatelessAttack):
    """Sends nothing at all, as a node that crashed or left."""

    name: ClassVar[str] = "silent"

    def needs_own_samples(self, topology: Topology) -> bool:
        """Nothing is sent, so nothing is drawn."""
        return False

    async def poison(self, own: list[Sent], turn: Turn) -> list[Sent]:
        """An empty message."""
        return []
