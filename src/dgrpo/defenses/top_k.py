"""The paper's logit check: every token must be among the receiver's k most likely ones.

Source: paper §5.1. One forward pass over a received completion under the receiver's own weights; a
token passes when fewer than k vocabulary entries have a strictly larger logit. Ties pass, and so
does a token at rank k − 1: with generation at the same k an honest completion fails only by
rounding. Meant for homogeneous swarms.

Leaves out: how *likely* a sequence is; payloads made of plausible tokens pass (MATH, DoS).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from pydantic import Field

from dgrpo.defenses.base import Receiver, Running, StatelessDefense
from dgrpo.errors import DgrpoError
from dgrpo.records import Received, Verdict


class TopK(StatelessDefense):
    """The paper's logit check: rejects a completion with a token outside the receiver's top k."""

    name: ClassVar[str] = "top-k"

    k: int = Field(50, ge=1)
    """Tokens allowed at each position (paper: 50 of 151,936; 50 of 1,024 is 4.9 %)."""
    tolerated: int = Field(0, ge=0)
    """Tokens outside the top k that a completion may have (paper: none)."""

    def start(self, node: Receiver) -> Running:
        """Refuses a `k` that no token of this node's model can miss."""
        if self.k >= node.vocabulary:
            raise DgrpoError(
                f"{self.name}: k = {self.k} rejects nothing: "
                f"the model's vocabulary has {node.vocabulary} entries",
                remedy="set k to a small share of them, such as sampling.top_k",
            )
        return self

    async def check(self, received: Sequence[Received], node: Receiver) -> list[Verdict]:
        """Score: the largest rank in the completion (0 is the most likely token)."""
        return [self._verdict(s.ranks) for s in await node.token_scores(received)]

    def _verdict(self, ranks: tuple[int, ...]) -> Verdict:
        outside = [position for position, rank in enumerate(ranks) if rank >= self.k]
        worst = float(max(ranks, default=0))
        if len(outside) <= self.tolerated:
            return Verdict(accepted=True, score=worst)
        return Verdict(
            accepted=False,
            score=worst,
            reason=f"{len(outside)} tokens outside the top {self.k}, first at {outside[0]}",
        )
