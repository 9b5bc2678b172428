"""Which prompts a node answers in a round, and which samples of each.

* horizontal: everyone answers the same B prompts, G/m samples each; node i owns samples
  i·G/m … (i+1)·G/m − 1 of every group.
* vertical: every node picks B/m prompts itself and draws all G samples of each.

Draws come from keys (run seed, epoch or round, node): no state, any round can be recomputed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Literal

from dgrpo.errors import DgrpoError
from dgrpo.records import Prompt

Topology = Literal["horizontal", "vertical"]


@dataclass(frozen=True, slots=True)
class Slot:
    """One completion a node owes: sample `sample` of `prompt`."""

    prompt: Prompt
    sample: int


@dataclass(frozen=True, slots=True)
class Assignment:
    """How B prompts and groups of G are dealt to m nodes."""

    topology: Topology
    nodes: int
    prompts_per_round: int
    group_size: int
    seed: int

    def __post_init__(self) -> None:
        check_divides(self.topology, self.nodes, self.prompts_per_round, self.group_size)

    @property
    def prompts_per_node(self) -> int:
        """Prompts a node answers per round: B, or B/m in vertical."""
        vertical = self.topology == "vertical"
        return self.prompts_per_round // self.nodes if vertical else self.prompts_per_round

    def samples(self, node: int) -> range:
        """Sample indices that node number `node` owes for each of its prompts."""
        if self.topology == "vertical":
            return range(self.group_size)
        share = self.group_size // self.nodes
        return range(node * share, (node + 1) * share)

    def common_prompts(self, pool: Sequence[Prompt], round_index: int) -> list[Prompt]:
        """Horizontal: the round's B different prompts, the same for everyone.

        The pool is walked in epochs. A rest smaller than B is left out, another one each epoch: a
        round across two epochs could hold a prompt twice, and its samples would be duplicates.
        """
        epoch, place = divmod(round_index, len(pool) // self.prompts_per_round)
        first = place * self.prompts_per_round
        return self._epoch(pool, epoch)[first : first + self.prompts_per_round]

    def own_prompts(self, pool: Sequence[Prompt], round_index: int, node: int) -> list[Prompt]:
        """Vertical: what an honest node picks, B/m different prompts at random."""
        rng = Random(f"own prompts {self.seed} {round_index} {node}")
        return rng.sample(list(pool), self.prompts_per_node)

    def _epoch(self, pool: Sequence[Prompt], epoch: int) -> list[Prompt]:
        order = list(pool)
        Random(f"common prompts {self.seed} {epoch}").shuffle(order)
        return order


def check_divides(topology: Topology, nodes: int, prompts: int, group: int) -> None:
    """Raise DgrpoError when B (vertical) or G (horizontal) cannot be dealt evenly to m nodes."""
    field, value, what = (
        ("prompts_per_round", prompts, "prompts")
        if topology == "vertical"
        else ("group_size", group, "completions of a prompt")
    )
    if value % nodes:
        below, above = value - value % nodes, value + nodes - value % nodes
        near = f"{below} or {above}" if below else f"{above}"
        raise DgrpoError(
            f"{field} = {value}: the {what} cannot be dealt evenly to nodes = {nodes} ({topology})",
            remedy=f"use {field} = {near}, or another number of nodes",
        )
    if group < 2:
        raise DgrpoError(
            f"group_size = {group}: a group of one has no advantage", remedy="use at least 2"
        )
