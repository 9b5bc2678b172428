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
from dgrpo.records import Judged, Received, RoundRecord, Verdict


async def play_round(node: Node, round_index: int) -> RoundRecord:
    """Generate, exchange, verify, reward, update, evaluate. Returns what happened."""
    clock = PhaseClock()

    with clock("generate"):
        slots = node.slots(round_index)  # vertical: its own prompts; horizontal: everyone's
        own = await node.generate(slots, round_index)
        sent = await node.attack.poison(own, node.turn(slots, round_index))  # Honest(): own
        sent = answers.sent_by(node.attack.name, sent)

    with clock("exchange"):
        node.remember_labels(sent)  # who is poisoned stays at home
        messages = await node.exchange.all_gather(round_index, [s.completion for s in sent])
        received, violations = node.admit(messages, round_index)  # own completions included

    with clock("verify"):
        verdicts = {
            name: await answers.verdicts(name, check.check(received, node), received)
            for name, check in node.defenses
        }
        accepted = [all(v[i].accepted for v in verdicts.values()) for i in range(len(received))]

    with clock("reward"):  # against the node's own ground truth, looked up by prompt key
        rewards = node.task.rewards([(one.prompt, one.text) for one in received])
        in_group, learned = accepted, rewards
        if node.on_reject == "zero-reward":  # the paper's: rejected, but still in its group
            in_group = [True] * len(received)
            learned = [r if ok else 0.0 for r, ok in zip(rewards, accepted, strict=True)]
        advantages, idle_groups = advantages_by_group(node, received, learned, in_group)

    with clock("update"):
        update = await node.update(received, advantages, round_index)

    with clock("evaluate"):
        held_out = await node.evaluate(round_index + 1)

    return RoundRecord(
        node=node.name,
        round=round_index,
        judged=tuple(
            Judged(one, _of(verdicts, i), accepted[i], rewards[i], advantages[i])
            for i, one in enumerate(received)
        ),
        violations=violations,
        idle_groups=idle_groups,
        update=update,
        held_out=held_out,
        seconds=clock.seconds,
    )


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


def _of(verdicts: dict[str, list[Verdict]], index: int) -> dict[str, Verdict]:
    return {name: of_all[index] for name, of_all in verdicts.items()}
