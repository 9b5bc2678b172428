"""Numbers on the command line mean what they look like, or are refused.

Leaves out: values of an experiment's settings, which are read as TOML (`overrides.py`).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from cyclopts import Token

from dgrpo.errors import DgrpoError

_RANGE = re.compile(r"(\d{1,18})(?:-(\d{1,18}))?", re.ASCII)
_MOST_SEEDS = 10_000
_HOW_SEEDS = "give whole numbers from 0, as in --seeds 0 1 2, --seeds 0,1,2 or --seeds 0-2"


def whole_number(_type: Any, tokens: Sequence[Token]) -> int:
    """The one value as a whole number. Raises DgrpoError for 1.5, which is none."""
    token = tokens[0]
    try:
        return int(token.value)
    except ValueError:
        raise DgrpoError(
            f"{token.keyword} = {token.value!r} is not a whole number", remedy="give one, as in 3"
        ) from None


def seed_numbers(_type: Any, tokens: Sequence[Token]) -> list[int]:
    """Every seed once, in the order given, of `0 1 2`, `0,1,2` or `0-2`, and of these mixed.

    Raises DgrpoError for anything else.
    """
    seeds: dict[int, None] = {}
    parts = [part.strip() for token in tokens for part in token.value.split(",")]
    for part in filter(None, parts):
        found = _RANGE.fullmatch(part)
        if found is None:
            raise DgrpoError(f"--seeds: {part!r} is no seed", remedy=_HOW_SEEDS)
        first, last = int(found[1]), int(found[2] or found[1])
        if not first <= last < first + _MOST_SEEDS:
            problem = "holds no seed" if last < first else f"is more than {_MOST_SEEDS:,} seeds"
            raise DgrpoError(f"--seeds: {part!r} {problem}", remedy=_HOW_SEEDS)
        seeds.update(dict.fromkeys(range(first, last + 1)))
    return some_seeds(list(seeds))


def some_seeds(seeds: list[int]) -> list[int]:
    """The same seeds; raises DgrpoError if there are none: a run without a seed plays nothing."""
    if not seeds:
        raise DgrpoError("--seeds has no value", remedy=_HOW_SEEDS)
    return seeds
