"""No attack: the control. A malicious node that is honest sends its own samples."""

from __future__ import annotations

from typing import ClassVar

from dgrpo.attacks.base import StatelessAttack, Turn
from dgrpo.records import Sent


class Honest(StatelessAttack):
    """Sends its own samples unchanged; the control of every attacked run."""

    name: ClassVar[str] = "honest"

    async def poison(self, own: list[Sent], turn: Turn) -> list[Sent]:
        """`own`, unchanged."""
        return own
