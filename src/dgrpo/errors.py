"""The one exception users see: what was wrong, where, and what to do about it."""

from __future__ import annotations

import difflib

from pydantic import ValidationError

from dgrpo.escaping import one_line, shown

_FAULTS_TOLD = 5
"""Of a file with more faults the first are told: a message is for reading."""


class DgrpoError(Exception):
    """A fault that the user can mend. The command line prints it without a stack trace.

    Problem and remedy are a line each, escaped and shortened: both may quote a stranger.
    """

    def __init__(self, problem: str, *, remedy: str = "") -> None:
        self.problem = one_line(problem)
        self.remedy = one_line(remedy)
        super().__init__(self.problem + (f"\n  → {self.remedy}" if remedy else ""))

    @classmethod
    def from_validation(cls, error: ValidationError, where: str, known: list[str]) -> DgrpoError:
        """Turn pydantic's report into lines that name the field, the value and the remedy."""
        problems, remedies = [], []
        faults = error.errors(include_url=False)
        for fault in faults[:_FAULTS_TOLD]:
            field = ".".join(one_line(str(part), 120) for part in fault["loc"])
            place = ".".join(part for part in (where, field) if part)
            if fault["type"] == "extra_forbidden":
                problems.append(f"{place} is not a setting")
                remedies.append(did_you_mean(field.rsplit(".", 1)[-1], known))
            elif fault["type"] == "missing":
                problems.append(f"{place} is missing")
            else:
                message = fault["msg"].removeprefix("Value error, ")
                value = "" if fault["type"] == "value_error" else f" = {shown(fault['input'])}"
                problems.append(f"{place}{value}: {message}" if place else message)
        if len(faults) > _FAULTS_TOLD:
            problems.append(f"and {len(faults) - _FAULTS_TOLD} more faults")
        return cls("; ".join(problems), remedy="; ".join(filter(None, remedies)))


def first_line(error: BaseException) -> str:
    """What an exception of a library says, without what follows; its type if it says nothing.

    >>> first_line(OSError(f"no such folder{chr(10)}Traceback …")), first_line(KeyError())
    ('no such folder', 'KeyError')
    """
    return str(error).strip().partition("\n")[0] or type(error).__name__


def did_you_mean(wrong: str, known: list[str]) -> str:
    """The nearest known names, or all of them when none is near."""
    near = difflib.get_close_matches(wrong, known, n=3, cutoff=0.5)
    if near:
        return "did you mean " + " or ".join(repr(name) for name in near) + "?"
    return "known: " + (", ".join(known) if known else "none")
