"""The accept rule: defenses in, verdicts out. A completion is accepted if every defense accepts it.

The round, a guard in someone's trainer and the measurements all screen by `screen`.

Leaves out: what becomes of a rejected completion (`round.py`), and who is poisoned, which no
receiver knows.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

from dgrpo import answers
from dgrpo.defenses.base import Defense, Receiver, RunningDefense
from dgrpo.errors import DgrpoError, did_you_mean
from dgrpo.records import Batch, Received, TokenStatistics, Verdict

if TYPE_CHECKING:
    from dgrpo.experiment import NamedDefense
    from dgrpo.tasks.base import LoadedTask

REWARDS, MODEL = "rewards", "model"
"""What a receiver may offer beside statistics per token."""


class Screener(Receiver, Protocol):
    """A receiver that can be asked for the statistics that defenses need."""

    async def token_statistics(
        self, received: Sequence[Received], names: Collection[str]
    ) -> list[TokenStatistics]:
        """How its own model sees each completion, by one forward pass."""
        ...


@dataclass(frozen=True)
class Mounted:
    """A defense at work, and what the experiment calls it."""

    label: str
    needs: frozenset[str]
    per_completion: bool
    running: RunningDefense


@dataclass(frozen=True)
class Screened:
    """What all defenses together say of a batch."""

    verdicts: tuple[dict[str, Verdict], ...]
    """By completion, the verdict of each defense by its label."""
    accepted: tuple[bool, ...]
    """By completion: whether every defense accepted it."""


def start_defenses(named: Sequence[NamedDefense], receiver: Receiver) -> list[Mounted]:
    """Start each defense for `receiver`.

    Raises DgrpoError for a defense that needs what the receiver does not offer, before any starts.
    """
    for one in named:
        _check_needs(one.label, one.check, receiver.offers)
    return [
        Mounted(
            label=one.label,
            needs=frozenset(one.check.needs()),
            per_completion=one.check.per_completion,
            running=one.check.start(receiver),
        )
        for one in named
    ]


def rewards_of(task: LoadedTask, received: Sequence[Received]) -> tuple[float, ...]:
    """One per completion, against the receiver's own ground truth."""
    pairs = [(one.prompt, one.text) for one in received]
    return tuple(task.rewards_by_sender(pairs, [one.sender for one in received]))


async def screen(defenses: Sequence[Mounted], batch: Batch, receiver: Screener) -> Screened:
    """Ask every defense about every completion.

    Statistics per token that any of them needs are computed once, by one forward pass. Raises
    DgrpoError for a defense that does not give one verdict per completion.
    """
    per_token = frozenset(n for d in defenses for n in d.needs if n not in (REWARDS, MODEL))
    if per_token and batch.received:
        statistics = await receiver.token_statistics(batch.received, per_token)
        batch = replace(batch, statistics=tuple(statistics))
    verdicts = {
        d.label: await answers.verdicts(d.label, d.running.screen(batch, receiver), batch.received)
        for d in defenses
    }
    return _screened(
        tuple({n: of[i] for n, of in verdicts.items()} for i in range(len(batch.received)))
    )


async def screen_parts(
    defenses: Sequence[Mounted], batch: Batch, receiver: Screener, parts: Sequence[Sequence[int]]
) -> AsyncIterator[tuple[Batch, Screened]]:
    """Screen a round part by part, as it is learned from; parts hold indices of completions.

    Defenses that need the whole round see it first. What they need of tokens costs a forward pass
    of its own, unless the round is one part.
    """
    if len(parts) == 1:
        yield batch, await screen(defenses, batch, receiver)
        return
    whole = await screen([d for d in defenses if not d.per_completion], batch, receiver)
    each = [d for d in defenses if d.per_completion]
    for indices in parts:
        part = batch.part(indices)
        screened = await screen(each, part, receiver)
        both = [whole.verdicts[i] | own for i, own in zip(indices, screened.verdicts, strict=True)]
        yield part, _screened(tuple({d.label: one[d.label] for d in defenses} for one in both))


def _screened(verdicts: tuple[dict[str, Verdict], ...]) -> Screened:
    return Screened(verdicts, tuple(all(v.accepted for v in one.values()) for one in verdicts))


def _check_needs(label: str, defense: Defense, offers: frozenset[str]) -> None:
    lacking = sorted(set(defense.needs()) - offers)
    if lacking:
        raise DgrpoError(
            f"defense {label} needs {lacking[0]!r}, which this receiver does not offer",
            remedy=did_you_mean(lacking[0], sorted(offers))
            + "; a receiver with a model offers statistics per token, one with a task rewards",
        )
