"""Word problems of `gsm-symbolic`, answered by a Python program in `<code> … </code>`.

The oracle's program says what the trace's equations say, a statement each, and prints the last
result. Of the default templates every problem has one; problems of other templates whose equations
do not give the answer are skipped. The reward executes programs in the sandbox (`executed.py`).

Leaves out: problems whose answer is not a number, and programs that read input.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from random import Random
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from dgrpo.errors import DgrpoError
from dgrpo.plugins import refuse_recorded
from dgrpo.records import Prompt
from dgrpo.sandbox import Library, SandboxSettings, checked_name
from dgrpo.tasks.base import Task, make_prompt, pool_of_unique
from dgrpo.tasks.equations import Working, working_of
from dgrpo.tasks.executed import ProgramTask
from dgrpo.tasks.problems import SHORTEST_TEMPLATES, check_templates, drawn_problems, word_problems
from dgrpo.tasks.programs import write_program

PROMPT_TEMPLATE = "Question: {question}\nProgram:\n"
"""Plain continuation prompt: the models here are base models, not chat models."""
CODE_TEMPLATES = (4, 6, 10, 16, 26, 31, 43, 50, 58, 72, 75, 99, 20, 48, 55, 62, 82, 95)
"""Those of `experiments/code-*.toml`: the shortest, and six that the base models never see. A judge
has to know the task that it judges."""
_TRIED = 1_000
"""Problems per template set without a program before the templates are refused."""


class OfferedLibrary(BaseModel):
    """A module that programs can import: its source, or `file`, which is read at once."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    name: str = Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")
    """What programs import; with `file`, its stem unless given."""
    source: str
    """Python source. It runs in the sandbox, as untrusted as the programs."""

    @field_validator("name")
    @classmethod
    def _importable(cls, name: str) -> str:
        return checked_name(name)

    @field_validator("source")
    @classmethod
    def _compiles(cls, source: str) -> str:
        try:
            compile(source, "<library>", "exec")
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            raise ValueError(f"not Python: {error}") from None
        return source

    @model_validator(mode="before")
    @classmethod
    def _read(cls, table: Any) -> Any:
        """Replace `file` by its text, so that an experiment says all that it runs."""
        if not isinstance(table, dict) or "file" not in table:
            return table
        path = Path(str(table["file"]))
        refuse_recorded(str(path))
        try:
            source = path.read_text(encoding="utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            raise ValueError(f"{path} cannot be read: {error}") from None
        rest = {key: value for key, value in table.items() if key != "file"}
        return {"name": path.stem, "source": source, **rest}


class GsmPython(Task):
    """Word problems answered by a Python program, which the reward runs in a sandbox."""

    name: ClassVar[str] = "gsm-python"

    templates: tuple[int, ...] = Field(SHORTEST_TEMPLATES, min_length=1)
    """Which of reasoning-gym's templates are drawn from (numbers as in its source)."""
    train: int = Field(2048, ge=1)
    """Prompts in the training pool."""
    held_out: int = Field(1024, ge=1)
    """Prompts in the held-out pool; disjoint from the training pool by question."""
    pool_seed: int = 2026
    """Seed of both pools. The shipped base models never saw the default pools; of larger ones, and
    of other templates', a part (docs/results/base-model.md)."""
    libraries: tuple[OfferedLibrary, ...] = ()
    """Modules beside the standard library; those of attacks in the experiment are added."""
    sandbox: SandboxSettings = SandboxSettings()
    """How programs are run."""

    def pools(self) -> ProgramTask:
        """Generate both pools; the same fields give the same pools on every machine."""
        problems = drawn_problems(self.templates, self.pool_seed)
        draws = (prompt for prompt, _ in worked(problems, self.templates))
        prompts = pool_of_unique(draws, self.train + self.held_out)
        return ProgramTask(
            name=self.name,
            train=prompts[: self.train],
            held_out=prompts[self.train :],
            sandbox=self.sandbox,
        ).with_libraries([Library(one.name, one.source) for one in self.libraries])


def worked_problems(templates: tuple[int, ...], rng: Random) -> Iterator[tuple[Prompt, Working]]:
    """Endless draws of problems whose equations give the answer, with their steps.

    Raises DgrpoError for unknown templates, and where no problem of these has a program.
    """
    check_templates(templates)
    yield from worked(word_problems(templates, rng), templates)


def worked(
    problems: Iterator[Prompt], templates: tuple[int, ...]
) -> Iterator[tuple[Prompt, Working]]:
    """Those of `problems` whose equations give the answer, with their steps.

    templates: what a DgrpoError names where no problem has a program.
    """
    while True:
        for problem in islice(problems, _TRIED):
            working = working_of(problem.solution, problem.answer)
            if working is not None:
                break
        else:
            raise DgrpoError(
                f"no problem of task.templates = {list(templates)} can be answered by a program",
                remedy=f"add templates, e.g. of the default: {list(SHORTEST_TEMPLATES)}",
            )
        program = write_program(working)
        prompt = make_prompt("gsm-python", problem.question, problem.answer, program)
        yield replace(prompt, text=PROMPT_TEMPLATE.format(question=prompt.question)), working
