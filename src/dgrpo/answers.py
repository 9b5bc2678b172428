"""What a defense or an attack answers in a round, checked before anything is computed from it.

Plug-ins are people's own code: what is wrong with an answer is told by the plug-in's name. Leaves
out what can be told from a plug-in's class alone (`plugins.py`) and rewards (`tasks/`).
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from dgrpo.errors import DgrpoError
from dgrpo.records import Received, Sent, Verdict

_VERDICTS = "give Verdict(accepted=True or False, score=a number) for each completion, in order"


async def verdicts(defense: str, answer: object, received: Sequence[Received]) -> list[Verdict]:
    """A defense's verdicts. Raises DgrpoError if `answer` is no coroutine that gives them."""
    if not inspect.isawaitable(answer):
        raise DgrpoError(
            f"defense {defense}: its screen is not `async def`: it gave {type(answer).__name__}",
            remedy="write async def screen(self, batch, node)",
        )
    return one_each(defense, await answer, received)


def one_each(defense: str, answer: object, received: Sequence[Received]) -> list[Verdict]:
    """The verdicts, one per completion. Raises DgrpoError if `answer` is anything else."""
    if not isinstance(answer, list | tuple):
        raise DgrpoError(
            f"defense {defense}: its screen gave {type(answer).__name__}, not a list of verdicts",
            remedy=_VERDICTS,
        )
    if len(answer) != len(received):
        raise DgrpoError(
            f"defense {defense} gave {len(answer)} verdicts on {len(received)} completions",
            remedy="its screen must give one each, in order",
        )
    return [_verdict(defense, one) for one in answer]


def _verdict(defense: str, one: object) -> Verdict:
    """The verdict, its numbers Python's own; numpy's and torch's are taken, too."""
    if isinstance(one, Verdict):
        accepted, score = _plain(one.accepted), _plain(one.score)
        texts = isinstance(one.reason, str) and isinstance(one.undecided, str)
        if isinstance(accepted, bool) and isinstance(score, int | float) and texts:
            return replace(one, accepted=accepted, score=float(score))
    raise DgrpoError(f"defense {defense}: {one!r:.200} is not a verdict", remedy=_VERDICTS)


def _plain(value: Any) -> Any:
    """A scalar of numpy or torch as Python's own; everything else as it is."""
    try:
        return value.item()
    except (AttributeError, TypeError, ValueError, RuntimeError):
        return value


def sent_by(attack: str, answer: object) -> list[Sent]:
    """What an attack sends. Raises DgrpoError if `answer` is not a list of `Sent`."""
    everything = answer if isinstance(answer, list | tuple) else [answer]
    for one in everything:
        if not isinstance(one, Sent):
            raise DgrpoError(
                f"attack {attack}: its poison gave {one!r:.200}, which is not a Sent",
                remedy="give a list of Sent(completion, label)",
            )
    return list(everything)
