"""Tasks whose completions are programs: executed in the sandbox; one rewards what they print.

The expected answer never enters the sandbox: a program's last printed line comes out, and is
compared here. Outcomes are kept by program, since every node rewards the same completions; so a
program that prints something else each time has one outcome per run and node, not many.

Leaves out: input, files, and answers that are not one number.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from random import Random
from typing import ClassVar, Self

from dgrpo.errors import DgrpoError
from dgrpo.records import Prompt
from dgrpo.sandbox import Library, Outcome, Program, SandboxSettings, shared_sandbox
from dgrpo.tasks.base import LoadedTask
from dgrpo.tasks.programs import find_program
from dgrpo.tasks.reward import parse_number, parse_printed, split_code, write_code

KEPT_OUTCOMES = 16_384
"""Outcomes kept per task; a round of the paper's size has 384 programs."""
LONGEST_LINE = 200
"""Characters of a last line that can be an answer; a longer one is none, and is not kept."""
_PLAIN_VALUE = re.compile(r"\w+(?:\(\w*(?:, \d+)?\))?")
_LAST_PRINT = re.compile(r"^print\((.*)\)[ \t]*$", re.MULTILINE)


@dataclass(frozen=True)
class SandboxedTask(LoadedTask, ABC):
    """Prompts answered by programs in `<code>` tags, executed where they can do no harm."""

    of_programs: ClassVar[bool] = True

    libraries: tuple[Library, ...] = ()
    """What programs can import beside the standard library."""
    sandbox: SandboxSettings = field(default_factory=SandboxSettings)

    @property
    def sandbox_layers(self) -> tuple[str, ...]:
        """Of the sandbox that runs the programs; raises SandboxUnavailable where none holds."""
        return shared_sandbox(self.sandbox).layers

    def with_libraries(self, libraries: Sequence[Library]) -> Self:
        """The same task, whose sandbox offers `libraries` too.

        Raises DgrpoError when two different ones have one name, SandboxUnavailable when the
        sandbox cannot be started here or cannot offer them: before a model is loaded.
        """
        merged = {library.name: library for library in self.libraries}
        for library in libraries:
            if merged.setdefault(library.name, library) != library:
                raise DgrpoError(
                    f"two different libraries are called {library.name!r}",
                    remedy="rename one: task.libraries, or the library of an attack",
                )
        shared_sandbox(self.sandbox).require(tuple(merged.values()))
        return replace(self, libraries=tuple(merged.values()))

    def write(self, thinking: str, answer: str) -> str:
        """The program `thinking` in the asked form; its answer is what it computes."""
        return write_code(thinking)

    @abstractmethod
    def completes(self, pairs: Sequence[tuple[Prompt, str]]) -> list[bool]:
        """Whether each completion's program, in whatever form, runs to its end without a fault.

        Raises DgrpoError when the sandbox itself fails.
        """


@dataclass(frozen=True)
class ProgramTask(SandboxedTask):
    """Problems whose answer is the last line that a program prints."""

    _kept: OrderedDict[str, Outcome] = field(
        default_factory=OrderedDict, init=False, repr=False, compare=False
    )

    def outcomes(self, programs: Sequence[str]) -> list[Outcome]:
        """What became of each program, in order; those not seen before are executed together.

        Of what was printed only the last line is kept.

        Raises DgrpoError when the sandbox itself fails: that is never held against a program.
        """
        missing = [p for p in dict.fromkeys(programs) if p not in self._kept]
        fresh: dict[str, Outcome] = {}
        if missing:
            asked = [Program(source, libraries=self.libraries) for source in missing]
            ran = shared_sandbox(self.sandbox).run(asked)
            fresh = {p: _kept_part(one) for p, one in zip(missing, ran, strict=True)}
        answers = [fresh.get(p) or self._kept[p] for p in programs]
        self._kept.update(fresh)
        while len(self._kept) > KEPT_OUTCOMES:
            self._kept.popitem(last=False)
        return answers

    def completes(self, pairs: Sequence[tuple[Prompt, str]]) -> list[bool]:
        """Whether it comes to its end, whatever it prints."""
        programs = [find_program(text) for _, text in pairs]
        ran = iter(self.outcomes([one for one in programs if one is not None]))
        return [one is not None and next(ran).status == "finished" for one in programs]

    def reward(self, prompt: Prompt, text: str) -> float:
        """1.0 if the format holds and the program's last printed line is the right number."""
        return self.rewards([(prompt, text)])[0]

    def rewards(self, pairs: Sequence[tuple[Prompt, str]]) -> list[float]:
        """`reward` of many completions, their programs executed together."""
        printed = self._printed([split_code(text) for _, text in pairs])
        return [float(_is_right(p, line)) for (p, _), line in zip(pairs, printed, strict=True)]

    def answer_anywhere(self, prompt: Prompt, text: str) -> bool:
        """Whether there is a program in it, whatever the format, that prints the right number."""
        return self.answers_anywhere([(prompt, text)])[0]

    def answers_anywhere(self, pairs: Sequence[tuple[Prompt, str]]) -> list[bool]:
        """`answer_anywhere` of many completions, their programs executed together."""
        printed = self._printed([find_program(text) for _, text in pairs])
        return [_is_right(p, line) for (p, _), line in zip(pairs, printed, strict=True)]

    def read(self, texts: Sequence[str]) -> list[tuple[str, str] | None]:
        """(program, what it prints last) of completions; None where that is not one number."""
        programs = [find_program(text) for text in texts]
        printed = self._printed(programs)
        return [
            (program, line)
            if program is not None and line is not None and parse_printed(line) is not None
            else None
            for program, line in zip(programs, printed, strict=True)
        ]

    def spoil(self, prompt: Prompt, text: str, rng: Random) -> str:
        """A right completion's program, made to print another number."""
        program = find_program(text) or prompt.solution
        more = rng.randint(1, 9)
        printing = list(_LAST_PRINT.finditer(program))
        if printing and printing[-1].end() == len(program.rstrip()):
            shown = printing[-1].group(1)
            shown = shown if _PLAIN_VALUE.fullmatch(shown) else f"({shown})"
            return write_code(f"{program[: printing[-1].start()]}print({shown} + {more})")
        wrong = (parse_number(prompt.answer) or 0) + more
        return write_code(f"{program}\nprint({wrong})")

    def _printed(self, programs: Sequence[str | None]) -> list[str | None]:
        """Last printed line of each; None where nothing was printed or it did not finish."""
        outcomes = iter(self.outcomes([p for p in programs if p is not None]))
        return [None if p is None else _last_line(next(outcomes)) for p in programs]


def _kept_part(outcome: Outcome) -> Outcome:
    """The outcome with the last printed line alone: thousands are kept, each of a peer's making."""
    line = outcome.printed.rstrip().rpartition("\n")[2]
    return replace(outcome, printed=line if len(line) <= LONGEST_LINE else "")


def _last_line(outcome: Outcome) -> str | None:
    return outcome.printed or None if outcome.status == "finished" else None


def _is_right(prompt: Prompt, line: str | None) -> bool:
    given = None if line is None else parse_printed(line)
    return given is not None and given == parse_number(prompt.answer)
