"""The one exception users see: what was wrong, where, and what to do about it."""

from __future__ import annotations

import difflib

from pydantic import ValidationError


class DgrpoError(Exception):
    """A fault that the user can mend. The command line prints it without a stack trace."""

    def __init__(self, problem: str, *, remedy: str = "") -> None:
        super().__init__(problem + (f"\n  → {remedy}" if remedy else ""))
        self.problem = problem
        self.remedy = remedy

    @classmethod
    def from_validation(cls, error: ValidationError, where: str, known: list[str]) -> DgrpoError:
        """Turn pydantic's report into lines that name the field, the value and the remedy."""
        problems, remedies = [], []
        for fault in error.errors(include_url=False):
            field = ".".join(str(part) for part in fault["loc"])
            place = ".".join(part for part in (where, field) if part)
            if fault["type"] == "extra_forbidden":
                problems.append(f"{place} is not a setting")
                remedies.append(did_you_mean(field.rsplit(".", 1)[-1], known))
            elif fault["type"] == "missing":
                problems.append(f"{place} is missing")
            else:
                message = fault["msg"].removeprefix("Value error, ")
                value = "" if fault["type"] == "value_error" else f" = {fault['input']!r}"
                problems.append(f"{place}{value}: {message}" if place else message)
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
