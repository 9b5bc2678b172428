"""Grade-school word problems, procedurally generated, with oracle traces; no download needed.

Leaves out: the harder templates by default (they need longer completions than two cores allow).
"""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from dgrpo.tasks.base import LoadedTask, Task, pool_of_unique
from dgrpo.tasks.problems import SHORTEST_TEMPLATES, drawn_problems


class GsmSymbolic(Task):
    """Procedural grade-school word problems (reasoning-gym gsm_symbolic), no download needed."""

    name: ClassVar[str] = "gsm-symbolic"

    templates: tuple[int, ...] = Field(SHORTEST_TEMPLATES, min_length=1)
    """Which of reasoning-gym's templates are drawn from (numbers as in its source)."""
    train: int = Field(2048, ge=1)
    """Prompts in the training pool."""
    held_out: int = Field(1024, ge=1)
    """Prompts in the held-out pool; disjoint from the training pool by question."""
    pool_seed: int = 2026
    """Seed of both pools. The shipped base models never saw the default pools; of larger ones, and
    of other templates', a part (docs/results/base-model.md)."""

    def pools(self) -> LoadedTask:
        """Generate both pools; the same fields give the same pools on every machine."""
        draws = drawn_problems(self.templates, self.pool_seed)
        prompts = pool_of_unique(draws, self.train + self.held_out)
        return LoadedTask(
            name=self.name, train=prompts[: self.train], held_out=prompts[self.train :]
        )
