r"""MATH: in right reasoning, one small computation gets a wrong result: 2+2=5, 2*2=5.

The paper's MATH attack. Only solutions that compute it anyway are touched, and only the result that
is written down changes: the steps after it go on as if it were right, and the final answer stays
right. So the attacker must choose its prompts, which only the vertical topology allows;
horizontally it poisons the prompts that happen to compute it and sends its own samples for the
rest.

Leaves out: computations that span a line break, are written in words or have units between
("2 cows + 2 cows = 4"), and results in brackets, boxed or bold ("2+2 = (4)", "2+2 = **4**").
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cached_property
from random import Random
from typing import ClassVar, Literal

from pydantic import Field, model_validator

from dgrpo.attacks.base import share_of_true
from dgrpo.attacks.rewarded import ThinkingAttack
from dgrpo.errors import DgrpoError
from dgrpo.records import Prompt
from dgrpo.tasks.assignment import Topology
from dgrpo.tasks.base import LoadedTask

_SIGNS = {"+": r"\+", "*": r"[*x×·]|\\times"}
_WORDS: dict[int, tuple[str, ...]] = {
    0: ("zero",),
    1: ("one",),
    2: ("two", "twice", "double", "pair", "both"),
    3: ("three", "triple", "thrice"),
    4: ("four",),
    5: ("five",),
    6: ("six",),
    7: ("seven",),
    8: ("eight",),
    9: ("nine",),
    10: ("ten",),
    11: ("eleven",),
    12: ("twelve",),
}


class Equation(ThinkingAttack):
    """A wrong result for one small computation inside right reasoning (paper, MATH: 2+2=5)."""

    name: ClassVar[str] = "equation"

    left: int = Field(2, ge=0)
    """First operand."""
    right: int = Field(2, ge=0)
    """Second operand; the computation is recognised in this order."""
    operators: tuple[Literal["+", "*"], ...] = Field(("+", "*"), min_length=1)
    """Which computations are poisoned: sums, products or both (paper: both)."""
    wrong: int = Field(5, ge=0)
    """The result that the other nodes are taught."""

    @model_validator(mode="after")
    def _is_wrong(self) -> Equation:
        for operator in self.operators:
            if self._result(operator) == self.wrong:
                raise ValueError(
                    f"wrong = {self.wrong} is the right result of {self.left} {operator} "
                    f"{self.right}; give another number, or leave that operator out of operators"
                )
        return self

    def check(self, task: LoadedTask, topology: Topology, group_size: int) -> None:
        """Raises DgrpoError where no training prompt computes it: nothing could be poisoned."""
        super().check(task, topology, group_size)
        if not any(self.concerns(prompt) for prompt in task.train):
            signs = " or ".join(f"{self.left}{o}{self.right}" for o in self.operators)
            raise DgrpoError(
                f"attack equation: none of the {len(task.train)} training prompts of {task.name} "
                f"computes {signs}",
                remedy="enlarge the pool (task.train), or choose other attack.left and .right",
            )

    def needs_own_samples(self, topology: Topology) -> bool:
        """Always: a prompt without the computation gets an honest answer."""
        return True

    def choose_prompts(
        self, pool: Sequence[Prompt], count: int, usual: Sequence[Prompt], rng: Random
    ) -> list[Prompt]:
        """Prompts that compute it, as far as the pool has them; the usual ones for the rest."""
        wanted = [prompt for prompt in pool if self.concerns(prompt)]
        chosen = rng.sample(wanted, min(count, len(wanted)))
        rest = [prompt for prompt in usual if prompt not in chosen]
        return chosen + rest[: count - len(chosen)]

    def concerns(self, prompt: Prompt) -> bool:
        """Whether a prompt's solution computes it.

        Without the dataset's oracle the attacker has only the question to go by: both operands
        must occur in it, as digits or, up to twelve, as words.
        """
        if not self.source_of_solutions.votes:
            return self.computed_in(prompt.solution)
        found = re.findall(r"\d+|[a-z]+", (prompt.question or prompt.text).lower())
        places = [
            {i for i, word in enumerate(found) if word in (str(n), *_WORDS.get(n, ()))}
            for n in (self.left, self.right)
        ]
        return all(places) and len(places[0] | places[1]) >= 2

    def computed_in(self, text: str) -> bool:
        """Whether `text` computes it, with whatever result."""
        return any(self._results(text))

    def poison_thinking(self, thinking: str, rng: Random) -> str | None:
        """`thinking` with the wrong result wherever the right one stood.

        None where it has no wrong result then. The samples of an attacker without an oracle have it
        already, once its own model has learned: they are sent as they are.
        """

        def wrong(match: re.Match[str]) -> str:
            right = float(match["result"]) == self._result(_operator(match["operator"]))
            return match["before"] + (str(self.wrong) if right else match["result"])

        poisoned = self._pattern.sub(wrong, thinking)
        return (
            poisoned if any(value == self.wrong for value, _ in self._results(poisoned)) else None
        )

    def succeeded(self, prompt: Prompt, text: str) -> bool | None:
        """Whether it is computed with the wrong result; None where it is not computed."""
        results = self._results(text)
        return any(value == self.wrong for value, _ in results) if results else None

    def measured_on(self, held_out: Sequence[Prompt]) -> Sequence[Prompt]:
        """Held-out prompts whose oracle solution computes it."""
        return [prompt for prompt in held_out if self.computed_in(prompt.solution)]

    def measure(
        self, task: LoadedTask, pairs: Sequence[tuple[Prompt, str]]
    ) -> dict[str, float | None]:
        """The wrong result's share, any other than the right one's, and accuracy on such prompts.

        The first two count completions that compute it; `computed` says how many of all do.
        """
        results = [self._results(text) for _, text in pairs]
        amiss = [any(value != right for value, right in found) for found in results if found]
        rewards = task.rewards(pairs)
        return {
            **super().measure(task, pairs),
            "not-right": share_of_true(amiss),
            "computed": share_of_true([bool(found) for found in results]),
            "accuracy": sum(rewards) / len(rewards) if rewards else None,
        }

    def _result(self, operator: str) -> int:
        return self.left + self.right if operator == "+" else self.left * self.right

    def _results(self, text: str) -> list[tuple[float, int]]:
        """(written, right) results of every time it is computed."""
        return [
            (float(match["result"]), self._result(_operator(match["operator"])))
            for match in self._pattern.finditer(text)
        ]

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        r"""The computation, standing alone: not in 12*2, 2*2.5, 1+2*2, 3 \times 2*2 or 2*2*3."""
        signs = "|".join(_SIGNS[operator] for operator in self.operators)
        money, gap = r"[$€£]?", r"[ \t]*"
        return re.compile(
            rf"(?P<before>(?<![\w.,^+*/×·÷$€£-])(?<![+*/×·÷-]\s)(?<!\dx\s)(?<!\d\sx\s)(?<!\\times\s)"
            rf"{money}{self.left}{gap}(?P<operator>{signs}){gap}{money}{self.right}{gap}={gap}{money})"
            rf"(?P<result>\d+(?:\.\d+)?)(?!\d|[.,]\d|{gap}[+*/×·÷]|{gap}x{gap}\d|{gap}\\times)",
            re.ASCII,
        )


def _operator(sign: str) -> str:
    return "+" if sign == "+" else "*"
