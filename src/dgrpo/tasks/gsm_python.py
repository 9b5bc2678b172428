"""gsm-symbolic's word problems, answered by a Python program in `<code> … </code>`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from random import Random
from typing import ClassVar

from pydantic import Field

from dgrpo.records import Prompt
from dgrpo.tasks.base import LoadedTask, Task, make_prompt, pool_of_unique
from dgrpo.tasks.equations import Working, working_of
from dgrpo.tasks.gsm_symbolic import SHORTEST_TEMPLATES, word_problems
from dgrpo.tasks.programs import write_program

PROMPT_TEMPLATE = "Question: {question}\nProgram:\n"
"""Plain continuation prompt: the models here are base models, not chat models."""


class GsmPython(Task):
    """Word problems answered by a Python program that is really executed, in a sandbox."""

    name: ClassVar[str] = "gsm-python"

    templates: tuple[int, ...] = Field(SHORTEST_TEMPLATES, min_length=1)
    """Which of reasoning-gym's templates are drawn from (numbers as in its source)."""
    train: int = Field(2048, ge=1)
    """Prompts in the training pool."""
    held_out: int = Field(1024, ge=1)
    """Prompts in the held-out pool; disjoint from the training pool by question."""
    pool_seed: int = 2026
    """Seed of both pools. The shipped small models never saw the pools of the default seed."""

    def load(self) -> LoadedTask:
        """Generate both pools; the same fields give the same pools on every machine."""
        draws = (prompt for prompt, _ in worked_problems(self.templates, Random(self.pool_seed)))
        prompts = pool_of_unique(draws, self.train + self.held_out)
        return LoadedTask(
            name=self.name, train=prompts[: self.train], held_out=prompts[self.train :]
        )


def worked_problems(templates: tuple[int, ...], rng: Random) -> Iterator[tuple[Prompt, Working]]:
    """Endless draws of problems whose equations give the answer, with their steps."""
    for problem in word_problems(templates, rng):
        working = working_of(problem.solution, problem.answer)
        if working is None:
            continue
        question = problem.text.removeprefix("Question: ").removesuffix("\nAnswer:\n")
        prompt = make_prompt("gsm-python", question, problem.answer, write_program(working))
        yield replace(prompt, text=PROMPT_TEMPLATE.format(question=question.strip())), working
