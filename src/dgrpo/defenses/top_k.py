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

from dgrpo.defenses.base import Need, Receiver, RunningDefense, StatelessDefense
from dgrpo.errors import DgrpoError
from dgrpo.records import Batch, Verdict


class TopK(StatelessDefense):
    """The paper's logit check: rejects a completion with a token outside the receiver's top k."""

    name: ClassVar[str] = "top-k"
    per_completion: ClassVar[bool] = True

    k: int = Field(50, ge=1)
    """Tokens allowed at each position (paper: 50 of 151,936; 50 of 1,024 is 4.9 %)."""
    tolerated: int = Field(0, ge=0)
    """Tokens outside the top k that a completion may have (paper: none)."""

    def start(self, node: Receiver) -> RunningDefense:
        """Refuses a `k` that no token of this node's model can miss."""
        if self.k >= node.vocabulary:
            raise DgrpoError(
                f"{self.name}: k = {self.k} rejects nothing: "
                f"the model's vocabulary has {node.vocabulary} entries",
                remedy="set k to a small share of them, such as sampling.top_k",
            )
        return self

    def needs(self) -> frozenset[Need]:
        """Each token's rank."""
        return frozenset({"rank"})

    async def screen(self, batch: Batch, node: Receiver) -> list[Verdict]:
        """Score: the largest rank in the completion (0 is the most likely token)."""
        return [self.verdict(statistics["rank"]) for statistics in batch.statistics]

    def verdict(self, ranks: Sequence[float]) -> Verdict:
        """The verdict on a completion whose tokens have these ranks."""
        outside = [position for position, rank in enumerate(ranks) if rank >= self.k]
        worst = float(max(ranks, default=0))
        if len(outside) <= self.tolerated:
            return Verdict(accepted=True, score=worst)
        return Verdict(
            accepted=False,
            score=worst,
            reason=f"{len(outside)} tokens outside the top {self.k}, first at {outside[0]}",
        )
