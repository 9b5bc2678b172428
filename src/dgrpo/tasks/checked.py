"""The rewards that a task gives, checked as they return: one finite number per completion.

`LoadedTask` puts these checks around `reward`, `rewards` and their like of every task, so that the
round, the measurement, attacks and defenses all get numbers that they can compute with.

Leaves out: whether a reward is the right one.
"""

from __future__ import annotations

import inspect
import math
import reprlib
import sys
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from decimal import Decimal
from functools import wraps
from itertools import islice
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dgrpo.errors import DgrpoError, first_line
from dgrpo.records import Prompt

if TYPE_CHECKING:
    from dgrpo.tasks.base import LoadedTask

LARGEST_REWARD = 1e9
"""Rewards beyond it are refused: squares of the float32 gradients that they weigh overflow."""
SHOWN = 60
"""Characters of a value or a text in a message."""

Pairs = Sequence[tuple[Prompt, str]]
"""(prompt, completion)."""

_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = _SHORT.maxlong = SHOWN
_MARK = "_dgrpo_checked"
_LIST = "return a list, one number per completion, in order"
_ANY_TEXT = "give a number for every text, 0 for what cannot be read: peers send any text at all"
_TEXTS = ("", "7", "<answer>", "\N{COW FACE}\x00\u2028" * 8)
"""Completions that a reward is tried with: peers may send such."""


def check_overrides(task: type[LoadedTask]) -> None:
    """Put the check around a class's own `rewards` and their like."""
    for name in ("rewards", "rewards_by_sender", "answers_anywhere"):
        method = inspect.getattr_static(task, name)
        if inspect.isfunction(method) and not hasattr(method, _MARK):
            setattr(task, name, _checked(method))


def give_each(
    task: LoadedTask, method: Callable[[Prompt, str], object], pairs: Pairs
) -> list[float]:
    """What a method gives for each completion, as floats.

    Raises DgrpoError naming task, prompt and value where that is no usable number.
    """
    return [_one(task, method, prompt, text) for prompt, text in pairs]


def try_rewards(task: LoadedTask) -> None:
    """Raise DgrpoError if a task's rewards cannot be used; called before a model is loaded.

    Rewards that run programs are not tried.
    """
    if task.of_programs:
        return
    for prompt in task.train[:2]:
        texts = (task.write(prompt.solution, prompt.answer), *_TEXTS)
        task.rewards([(prompt, text) for text in texts])
        task.answers_anywhere([(prompt, text) for text in texts])


def shown(value: object) -> str:
    """A value as a message shows it: escaped and short, even where its `repr` fails."""
    return _SHORT.repr(value)


def finite(value: object) -> float | None:
    """A Python, numpy or torch number as a float, True as 1; None if it is none or not finite."""
    if getattr(value, "shape", None) == () and callable(getattr(value, "item", None)):
        value = value.item()  # type: ignore[attr-defined]
    if not isinstance(value, Real | Decimal):
        return None
    try:
        number = float(value)
    except (OverflowError, ValueError):
        return None
    return number if math.isfinite(number) else None


def _checked(method: Callable[..., object]) -> Callable[..., list[Any]]:
    """A method that takes many completions, with a check of what it returns."""
    convert = bool if method.__name__ == "answers_anywhere" else float

    @wraps(method)
    def checking(task: LoadedTask, pairs: Pairs, *more: object) -> list[Any]:
        where = _where(task, method)
        try:
            values = _listed(method(task, pairs, *more), len(pairs), where)
        except DgrpoError:  # of a sandbox that fails
            raise
        except Exception as error:
            raise DgrpoError(
                f"{where} raised {_fault(task, error)}, for {len(pairs)} completions",
                remedy=_ANY_TEXT,
            ) from error
        together = zip(values, pairs, strict=True)
        return [convert(_usable(value, prompt, text, where)) for value, (prompt, text) in together]

    setattr(checking, _MARK, True)
    return checking


def _one(
    task: LoadedTask, method: Callable[[Prompt, str], object], prompt: Prompt, text: str
) -> float:
    where = _where(task, method)
    try:
        value = method(prompt, text)
    except DgrpoError:
        raise
    except Exception as error:
        raise DgrpoError(
            f"{where} raised {_fault(task, error)}, for {_which(prompt, text)}", remedy=_ANY_TEXT
        ) from error
    return _usable(value, prompt, text, where)


def _listed(given: object, wanted: int, where: str) -> list[object]:
    """What was returned, as a list of so many values; raises DgrpoError if it is none."""
    if not isinstance(given, Iterable) or isinstance(given, str | bytes | Mapping | Set):
        raise DgrpoError(f"{where} gave {shown(given)} for {wanted} completions", remedy=_LIST)
    values = list(islice(given, wanted + 1))  # a generator may have no end
    if len(values) != wanted:
        many = f"more than {wanted}" if len(values) > wanted else str(len(values))
        raise DgrpoError(f"{where} gave {many} values for {wanted} completions", remedy=_LIST)
    return values


def _usable(value: object, prompt: Prompt, text: str, where: str) -> float:
    number = finite(value)
    if number is None or abs(number) > LARGEST_REWARD:
        raise DgrpoError(
            f"{where} gave {shown(value)} for {_which(prompt, text)}",
            remedy="give a finite number, at most 1e9 either way; 0 where a completion earns "
            "nothing",
        )
    return number


def _where(task: LoadedTask, method: Callable[..., object]) -> str:
    return f"task {shown(task.name)[1:-1]}: its `{method.__name__}`"


def _which(prompt: Prompt, text: str) -> str:
    asked = (prompt.question or prompt.text).strip()
    return f"the completion {shown(text)} of prompt {prompt.key}, {shown(asked)}"


def _fault(task: LoadedTask, error: Exception) -> str:
    """What an exception says and where the task's own file let it through."""
    frames = traceback.extract_tb(error.__traceback__)
    file = getattr(sys.modules.get(type(task).__module__), "__file__", None)
    own = [frame for frame in frames if frame.filename == file]
    last = (own or frames)[-1]
    said = shown(first_line(error))
    return f"{type(error).__name__} {said} ({Path(last.filename).name}, line {last.lineno})"
