"""Packages that only some commands need, and the extra that brings each."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from dgrpo.errors import DgrpoError

EXTRAS = {
    "altair": "report",
    "jinja2": "report",
    "markupsafe": "report",
    "vl_convert": "report",
    "httpx2": "judge-endpoint",
    "reasoning_gym": "problems",
    "datasets": "hub",
    "pydantic_monty": "monty",
    "pytest": "conformance",
}
"""Module -> the extra of `pip install 'dgrpo[…]'` that has it."""


@contextmanager
def naming_missing_extras() -> Iterator[None]:
    """Raise DgrpoError that names the extra if a package of one is not installed."""
    try:
        yield
    except ModuleNotFoundError as error:
        module = (error.name or "").partition(".")[0]
        if module not in EXTRAS:
            raise
        raise DgrpoError(
            f"{module} is not installed",
            remedy=f"pip install 'dgrpo[{EXTRAS[module]}]', or 'dgrpo[all]' for everything",
        ) from error
