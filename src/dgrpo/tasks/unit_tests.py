"""Programming problems with unit tests, in the format of HumanEval (Chen et al. 2021).

Each line of the file has `task_id`, `prompt` (the head of a function, with its docstring),
`entry_point` (its name), `canonical_solution` (its body) and `test` (a function
`check(candidate)`). A completion is `<code> … </code>` with the function's body, indented, or with
the whole function. The reward is 1 if every test passes: programs run in the sandbox, the tests
never where the programs are.

Leaves out: partial credit, and tests of anything but what a function returns or raises.
"""

from __future__ import annotations

import hashlib
import json
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from random import Random
from typing import Any, ClassVar

from pydantic import Field

from dgrpo.errors import DgrpoError
from dgrpo.records import Prompt
from dgrpo.sandbox import Examination, Program, SandboxSettings, shared_sandbox
from dgrpo.tasks.assertions import Assertion, plain_assertions
from dgrpo.tasks.base import Task
from dgrpo.tasks.copies import without_copies
from dgrpo.tasks.executed import SandboxedTask
from dgrpo.tasks.files import read_lines, write_rows
from dgrpo.tasks.programs import find_program
from dgrpo.tasks.reward import split_code, write_code

PROMPT_TEMPLATE = "Question: Complete this function.\n\n{head}\nProgram:\n"
"""Plain continuation prompt, for base models."""
KEPT_REWARDS = 16_384
"""Rewards kept per task: every node rewards the same completions."""
TESTED = "<tested>"
"""`__name__` of a program, as in HumanEval's own harness no `__main__`: what stands below a main
guard (input, doctests) is not part of the function, and does not run."""
_FIELDS = ("task_id", "prompt", "entry_point", "canonical_solution", "test")


class UnitTests(Task):
    """Functions to complete, rewarded by unit tests that the programs never see."""

    name: ClassVar[str] = "unit-tests"

    file: Path | None = None
    """Needed. JSONL in HumanEval's format, or the same compressed (`.gz`)."""
    held_out: int = Field(64, ge=1)
    """Problems in the held-out pool."""
    train: int = Field(0, ge=0)
    """Problems in the training pool; 0: all others."""
    pool_seed: int = 2026
    """Decides which problems are held out."""
    sandbox: SandboxSettings = SandboxSettings()
    """How programs are run."""

    @classmethod
    def example_settings(cls, folder: Path) -> dict[str, Any]:
        """A file of small functions."""
        file = folder / "problems.jsonl"
        write_rows(file, map(_example, range(40)))
        return {"file": str(file)}

    def pools(self) -> UnitTestTask:
        """Read the file and divide it into the pools."""
        if self.file is None:
            raise DgrpoError(
                "task.file is missing", remedy="give a JSONL file in HumanEval's format"
            )
        problems = _read(self.file)
        prompts = sorted(problems.values(), key=lambda problem: problem.key)
        Random(self.pool_seed).shuffle(prompts)
        wanted = self.held_out + max(self.train, 1)
        if len(prompts) < wanted:
            raise DgrpoError(
                f"task.file = {str(self.file)!r} has {len(prompts)} problems, {wanted} are asked "
                "for",
                remedy="lower task.held_out or task.train",
            )
        train = prompts[self.held_out :]
        return UnitTestTask(
            name=self.name,
            train=tuple(problem.asked for problem in train[: self.train or None]),
            held_out=tuple(problem.asked for problem in prompts[: self.held_out]),
            problems={problem.key: problem for problem in prompts},
            sandbox=self.sandbox,
        )


@dataclass(frozen=True)
class Problem:
    """One line of the file."""

    head: str
    """The function's head and docstring, and whatever stands before it."""
    function: str
    solution: str
    test: str

    @cached_property
    def key(self) -> str:
        """Digest of the problem and its tests."""
        text = "\x1f".join((UnitTests.name, self.head, self.function, self.test))
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @cached_property
    def asked(self) -> Prompt:
        """The prompt; its answer is the test file, its solution the body with its indentation."""
        return Prompt(
            key=self.key,
            text=PROMPT_TEMPLATE.format(head=self.head.strip()),
            answer=self.test,
            solution=self.solution.strip("\n").rstrip(),
        )

    @cached_property
    def assertions(self) -> Sequence[Assertion] | None:
        """The tests, if all of them are plain assertions."""
        return plain_assertions(self.test, self.function)

    def program(self, code: str) -> str:
        """The whole program: the head, then a body, or the function anew."""
        return f"{self.head.rstrip()}\n{code}\n"


@dataclass(frozen=True)
class UnitTestTask(SandboxedTask):
    """Problems whose completions are programs, judged by tests."""

    numeric_answers: ClassVar[bool] = False

    problems: Mapping[str, Problem] = field(default_factory=dict)
    """By prompt key."""
    _kept: OrderedDict[tuple[str, str], bool] = field(
        default_factory=OrderedDict, init=False, repr=False, compare=False
    )

    def reward(self, prompt: Prompt, text: str) -> float:
        """1.0 if the format holds and the program passes every test."""
        return self.rewards([(prompt, text)])[0]

    def rewards(self, pairs: Sequence[tuple[Prompt, str]]) -> list[float]:
        """`reward` of many completions, their programs run together.

        Raises DgrpoError when the sandbox itself fails: that is never held against a program.
        """
        return [float(passed) for passed in self._pass([(p, split_code(t)) for p, t in pairs])]

    def answer_anywhere(self, prompt: Prompt, text: str) -> bool:
        """Whether there is a program in it, whatever the format, that passes every test."""
        return self.answers_anywhere([(prompt, text)])[0]

    def answers_anywhere(self, pairs: Sequence[tuple[Prompt, str]]) -> list[bool]:
        """`answer_anywhere` of many completions, their programs run together."""
        return self._pass([(prompt, _find_code(text)) for prompt, text in pairs])

    def completes(self, pairs: Sequence[tuple[Prompt, str]]) -> list[bool]:
        """Whether it passes every test: a function that nobody calls has not run."""
        return self.answers_anywhere(pairs)

    def read(self, texts: Sequence[str]) -> list[tuple[str, str] | None]:
        """(program, program) of completions: without the tests, only equal programs agree."""
        programs = [_find_code(text) for text in texts]
        return [(program, program) if program else None for program in programs]

    def spoil(self, prompt: Prompt, text: str, rng: Random) -> str:
        """A right completion's program, whose function gives nothing in the end."""
        program = _find_code(text) or prompt.solution
        function = self.problems[prompt.key].function
        return write_code(f"{program}\n\n\n{function} = lambda *values: None")

    def _pass(self, pairs: Sequence[tuple[Prompt, str | None]]) -> list[bool]:
        """Whether each program passes the tests of its prompt; None passes none."""
        asked = [(prompt.key, code) for prompt, code in pairs if code is not None]
        missing = [
            pair
            for pair in dict.fromkeys(asked)
            if pair not in self._kept and not self._accounts.was_left_out(pair)
        ]
        fresh = dict(zip(missing, self._judge(missing), strict=True))
        self._accounts.leave_unrun([pair for pair, passed in fresh.items() if passed is None])
        self._kept.update({pair: passed for pair, passed in fresh.items() if passed is not None})
        answers = [
            code is not None and self._kept.get((prompt.key, code), False) for prompt, code in pairs
        ]
        while len(self._kept) > KEPT_REWARDS:
            self._kept.popitem(last=False)
        return answers

    def _judge(self, asked: Sequence[tuple[str, str]]) -> list[bool | None]:
        """Whether each program passes its tests; None for those that were not run."""
        if not asked:
            return []
        called = [self.problems[key].assertions is not None for key, _ in asked]
        by_values = [pair for pair, plain in zip(asked, called, strict=True) if plain]
        by_tests = [pair for pair, plain in zip(asked, called, strict=True) if not plain]
        values = iter(self._by_values(by_values))
        tests = iter(self._by_tests(by_tests))
        return [next(values if plain else tests) for plain in called]

    def _by_values(self, asked: Sequence[tuple[str, str]]) -> list[bool | None]:
        """Calls go in, values come out, and are judged here."""
        if not asked:
            return []
        assertions = [self.problems[key].assertions or () for key, _ in asked]
        programs = [
            replace(self._program(key, code), expressions=tuple(one.call for one in wanted))
            for (key, code), wanted in zip(asked, assertions, strict=True)
        ]
        outcomes = shared_sandbox(self.sandbox).run(programs, self._accounts.payers(asked))
        return [
            None
            if outcome.status == "unrun"
            else outcome.status == "finished"
            and all(one.holds(value) for one, value in zip(wanted, outcome.values, strict=True))
            for outcome, wanted in zip(outcomes, assertions, strict=True)
        ]

    def _by_tests(self, asked: Sequence[tuple[str, str]]) -> list[bool | None]:
        """The tests run in a jail of their own, and call into the candidate's."""
        if not asked:
            return []
        examinations = [
            Examination(
                self._program(key, code),
                (self.problems[key].head, f"{self.problems[key].test}\n\ncheck(candidate)\n"),
                self.problems[key].function,
            )
            for key, code in asked
        ]
        outcomes = shared_sandbox(self.sandbox).examine(examinations, self._accounts.payers(asked))
        return [
            None if outcome.status == "unrun" else outcome.status == "finished"
            for outcome in outcomes
        ]

    def _program(self, key: str, code: str) -> Program:
        return Program(self.problems[key].program(code), self.libraries, name=TESTED)


def _find_code(text: str) -> str | None:
    """The program in a completion, whatever its form; the body of a function alone is one too."""
    strict = split_code(text)
    if strict is None and text.count("<code>") == 1:
        strict = text.partition("<code>")[2].partition("</code>")[0].strip("\n").rstrip()
    return strict or find_program(text)


def _example(number: int) -> dict[str, str]:
    """A line in HumanEval's format."""
    return {
        "task_id": f"Small/{number}",
        "prompt": f'def more(x: int) -> int:\n    """x and {number}."""\n',
        "entry_point": "more",
        "canonical_solution": f"    return x + {number}\n",
        "test": f"def check(candidate):\n    assert candidate(1) == {number + 1}\n",
    }


def _read(file: Path) -> dict[str, Problem]:
    """The problems of a file by key, each once. Raises DgrpoError with the line at fault."""
    lines = read_lines(file, "task.file", "give HumanEval.jsonl, as published or as .gz")
    problems = [_problem(line, place) for place, line in lines]
    kept = {prompt.key for prompt in without_copies(problem.asked for problem in problems)}
    return {problem.key: problem for problem in problems if problem.key in kept}


def _problem(line: str, place: str) -> Problem:
    try:
        row = json.loads(line)
        _, head, function, solution, test = (row[name] for name in _FIELDS)
        if not all(isinstance(part, str) for part in (head, function, solution, test)):
            raise TypeError
    except (ValueError, RecursionError, KeyError, TypeError):  # too long a number, too deep a list
        raise DgrpoError(
            f"{place}: not an object with texts " + ", ".join(f"`{name}`" for name in _FIELDS),
            remedy="one JSON object per line, as HumanEval is published",
        ) from None
    problem = Problem(head, function, solution, test)
    try:
        if not function.isidentifier():
            raise ValueError(f"entry_point {function!r} is no name")
        compile(problem.program(problem.asked.solution), "<canonical_solution>", "exec")
        _ = problem.assertions
    except (SyntaxError, ValueError, RecursionError) as error:
        raise DgrpoError(f"{place}: {error}", remedy="mend or remove the line") from None
    return problem
