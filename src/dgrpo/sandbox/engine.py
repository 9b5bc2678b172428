"""What every engine offers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from dgrpo.sandbox.jobs import Allowance
from dgrpo.sandbox.programs import Examination, Library, Outcome, Program


class Sandbox(ABC):
    """A place where programs of strangers can be run."""

    layers: tuple[str, ...]
    """What stands between a program and this machine, strongest fence first."""

    def require(self, libraries: Sequence[Library]) -> None:
        """Make sure, before a run begins, that programs can import `libraries` here.

        Raises SandboxUnavailable where the engine has no imports.
        """
        return

    @abstractmethod
    def run(
        self,
        programs: Sequence[Program],
        payers: Sequence[Sequence[Allowance]] | None = None,
    ) -> list[Outcome]:
        """One outcome per program, in order, each run in a process of its own, in parallel.

        payers: per program, the allowances that its time is charged to. Once all of a program's are
        spent it is not begun: its outcome is `unrun`. Empty: its time is its own.
        Raises SandboxBroken when the sandbox itself fails again and again, and SandboxUnavailable
        for a program that this engine can never run (libraries in monty).
        """

    @abstractmethod
    def examine(
        self,
        examinations: Sequence[Examination],
        payers: Sequence[Sequence[Allowance]] | None = None,
    ) -> list[Outcome]:
        """Outcomes of the *tests*, in order: `finished` means that they all passed.

        Raises as `run`.
        """

    @abstractmethod
    def close(self) -> None:
        """End what runs, and every worker. May be called again."""

    @abstractmethod
    def abandon(self) -> None:
        """Let go of what the parent process owns, in a forked child."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
