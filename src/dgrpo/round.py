"""START HERE. One round as one node sees it, from prompts to evaluation.

Nothing here knows of the simulation (`swarm.py`): a node on a network can run this same coroutine
with another `node.exchange` and `node.policy`. `await` marks the places where a node waits: for its
peers, or for a computation that the simulation batches over nodes. Nothing a peer sends raises in
here: what breaks the exchange's rules was dropped and counted on arrival, what a defense distrusts
is left out.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from dgrpo import answers
from dgrpo.learning.advantages import group_advantages, teaches_nothing
from dgrpo.node import Node
from dgrpo.records import Batch, Judged, Received, RoundRecord
from dgrpo.screening import screen_parts


async def play_round(node: Node, round_index: int) -> RoundRecord:
    """Generate, exchange, reward, verify, update, evaluate. Returns what happened."""
    clock = PhaseClock()

    with clock("generate"):
        slots = node.slots(round_index)  # vertical: its own prompts; horizontal: everyone's
        own = await node.generate(slots, round_index)
        sent = await node.attack.poison(own, node.turn(slots, round_index))  # Honest(): own
        sent = answers.sent_by(node.attack_name, sent)

    with clock("exchange"):
        node.remember_labels(sent)  # who is poisoned stays at home
        messages = await node.exchange.all_gather(round_index, node.message(sent))
        received, violations = node.admit(messages, round_index)  # own completions included

    with clock("reward"):  # against the node's own ground truth, looked up by prompt key
        rewards = node.rewards(received)

    judged: list[Judged] = []
    idle_groups = 0
    batch = Batch(round_index, tuple(received), rewards)
    parts = node.parts(received)  # one, unless learner.groups_per_pass cuts the round
    screening = screen_parts(node.defenses, batch, node, parts)
    for part_index in range(len(parts)):
        with clock("verify"):
            part, screened = await anext(screening)

        with clock("reward"):
            learned, in_group = after_rejection(node, part.rewards, screened.accepted)
            advantages, idle = advantages_by_group(node, part.received, learned, in_group)

        with clock("update"):  # a part's gradients are added up, the last part's update steps
            more = part_index + 1 < len(parts)
            update = await node.update(part.received, advantages, round_index, more=more)

        idle_groups += idle
        judged += map(
            Judged, part.received, screened.verdicts, screened.accepted, part.rewards, advantages
        )

    with clock("evaluate"):
        held_out = await node.evaluate(round_index + 1)

    record = RoundRecord(
        node=node.name,
        round=round_index,
        judged=tuple(judged),
        violations=violations,
        idle_groups=idle_groups,
        update=update,
        held_out=held_out,
        seconds=clock.seconds,
    )
    await node.after_round(record)  # what defenses and attacks with a memory learn from it
    return record


def after_rejection(
    node: Node, rewards: Sequence[float], accepted: Sequence[bool]
) -> tuple[Sequence[float], Sequence[bool]]:
    """The rewards to learn from, and who stays in its group.

    `drop` leaves a rejected completion out. `zero-reward`, the paper's, keeps it with reward 0.
    """
    if node.on_reject == "drop":
        return rewards, accepted
    zeroed = [r if ok else 0.0 for r, ok in zip(rewards, accepted, strict=True)]
    return zeroed, [True] * len(rewards)


def advantages_by_group(
    node: Node, received: Sequence[Received], rewards: Sequence[float], in_group: Sequence[bool]
) -> tuple[list[float | None], int]:
    """An advantage per received completion, None for those left out; and the number of idle groups.

    A group is everything received for a prompt (horizontal) or for a prompt from one sender
    (vertical). Groups without two different rewards teach nothing and are counted.
    """
    groups: dict[tuple[str, str], list[int]] = {}
    for index, one in enumerate(received):
        sender = one.sender if node.topology == "vertical" else ""
        members = groups.setdefault((sender, one.prompt.key), [])
        if in_group[index]:
            members.append(index)
    by_group = [[rewards[i] for i in members] for members in groups.values()]
    scaled = group_advantages(by_group, node.advantage_scaling)
    advantages: list[float | None] = [None] * len(received)
    for members, values in zip(groups.values(), scaled, strict=True):
        for index, value in zip(members, values, strict=True):
            advantages[index] = value
    return advantages, sum(teaches_nothing(group) for group in by_group)


class PhaseClock:
    """Wall seconds by phase. A node that waits for a batched computation counts the whole batch."""

    def __init__(self, now: Callable[[], float] = time.perf_counter) -> None:
        self.seconds: dict[str, float] = {}
        self._now = now

    @contextmanager
    def __call__(self, phase: str) -> Iterator[None]:
        """Add the time spent inside to `phase`."""
        started = self._now()
        yield
        self.seconds[phase] = self.seconds.get(phase, 0.0) + self._now() - started
