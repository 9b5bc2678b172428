"""Tasks whose completions are programs: executed in the sandbox; one rewards what they print.

The expected answer never enters the sandbox: a program's last printed line comes out, and is
compared here. Outcomes are kept by program, since every node rewards the same completions; so a
program that prints something else each time has one outcome per run and node, not many.

A program that leaves by `exit()`, `quit()` or `sys.exit(0)` has come to its end; with another
status it has failed. Integers are compared exactly. So are floats, unless Python printed all the
digits of one: `print(0.57 * 100)` prints 56.99999999999999, which is 57 but for rounding.

Leaves out: input, files, and answers that are not one number.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from random import Random
from typing import ClassVar, Self

from dgrpo.errors import DgrpoError
from dgrpo.records import Prompt
from dgrpo.sandbox import Library, Outcome, Program, SandboxSettings, shared_sandbox
from dgrpo.sandbox.jobs import UNRUN
from dgrpo.tasks.accounts import Accounts
from dgrpo.tasks.base import LoadedTask
from dgrpo.tasks.programs import find_program
from dgrpo.tasks.reward import parse_number, parse_printed, split_code, write_code

KEPT_OUTCOMES = 16_384
"""Outcomes kept per task; a round of the paper's size has 384 programs."""
LONGEST_LINE = 200
"""Characters of a last line that can be an answer; a longer one is none, and is not kept."""
FLOAT_TOLERANCE = 1e-9
"""By how much a float that shows rounding may differ from the answer, as a share of it (of 1 for
smaller answers). `math.isclose` has the same: hundreds of roundings are below it, and so are the
digits lost where dollars and cents are subtracted."""
_FLOAT = re.compile(r"(?<![\w.,])-?\d+(?:\.\d+)?(?:e[-+]\d+)?(?![\w.,]*\d)")
_ROUNDED_DIGITS = 15
"""Significant digits from which on a float shows rounding: shorter ones were meant so."""
_PLAIN_VALUE = re.compile(r"\w+(?:\(\w*(?:, \d+)?\))?")
_LAST_PRINT = re.compile(r"^print\((.*)\)[ \t]*$", re.MULTILINE)


@dataclass(frozen=True)
class SandboxedTask(LoadedTask, ABC):
    """Prompts answered by programs in `<code>` tags, executed where they can do no harm."""

    of_programs: ClassVar[bool] = True

    libraries: tuple[Library, ...] = ()
    """What programs can import beside the standard library."""
    sandbox: SandboxSettings = field(default_factory=SandboxSettings)
    _accounts: Accounts = field(default_factory=Accounts, init=False, repr=False, compare=False)

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

    def rewards_by_sender(
        self, pairs: Sequence[tuple[Prompt, str]], senders: Sequence[str]
    ) -> list[float]:
        """`rewards`, each sender's programs on its own time (`sandbox.sender_seconds`)."""
        sent = [
            (sender, prompt.key, program)
            for sender, (prompt, text) in zip(senders, pairs, strict=True)
            if (program := split_code(text)) is not None
        ]
        with self._accounts.opened(sent, self.sandbox.sender_seconds):
            return self.rewards(pairs)

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

        Of what was printed only the last line is kept. Programs whose senders have no time left
        are `unrun`.

        Raises DgrpoError when the sandbox itself fails: that is never held against a program.
        """
        missing = [
            program
            for program in dict.fromkeys(programs)
            if program not in self._kept and not self._accounts.was_left_out(program)
        ]
        fresh: dict[str, Outcome] = {}
        if missing:
            asked = [Program(source, libraries=self.libraries) for source in missing]
            ran = shared_sandbox(self.sandbox).run(asked, self._accounts.payers(missing))
            fresh = {p: _kept_part(one) for p, one in zip(missing, ran, strict=True)}
        self._accounts.leave_unrun([p for p, one in fresh.items() if one.status == "unrun"])
        answers = [fresh.get(p) or self._kept.get(p) or UNRUN for p in programs]
        self._kept.update({p: one for p, one in fresh.items() if one.status != "unrun"})
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
    """Whether a line is the answer: the same number, or a float that is it but for rounding."""
    if line is None:
        return False
    wanted = parse_number(prompt.answer)
    if wanted is None:
        return False
    given = parse_printed(_without_exponent(line))
    if given is None or given == wanted:
        return given is not None
    tolerance = FLOAT_TOLERANCE * max(1.0, abs(float(wanted)))
    return _shows_rounding(line) and abs(given - wanted) <= tolerance


def _shows_rounding(line: str) -> bool:
    """Whether the number in a line is a float as Python prints it, with all its digits."""
    floats = [one for one in _FLOAT.findall(line) if _is_float(one)]
    digits = [re.sub(r"e.*|\D", "", one).lstrip("0") for one in floats]
    return len(digits) == 1 and len(digits[0]) >= _ROUNDED_DIGITS


def _without_exponent(line: str) -> str:
    """The line, in which a float that Python prints with an exponent stands without one."""

    def plainly(found: re.Match[str]) -> str:
        one = found.group()
        return f"{Decimal(one):f}" if "e" in one and _is_float(one) else one

    return _FLOAT.sub(plainly, line)


def _is_float(text: str) -> bool:
    return not text.lstrip("-").isdigit() and repr(float(text)) == text
