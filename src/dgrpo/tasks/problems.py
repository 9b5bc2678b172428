"""Draws of word problems: those that ship with the package, then whatever the generator gives.

A stream is named by its templates and its seed. Its first draws are shipped for the template sets
that the experiments use, so that these need no generator. A stream that goes on beyond its shipped
part is generated from the start, and the part is skipped.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain, islice
from pathlib import Path
from random import Random

from dgrpo.records import Prompt
from dgrpo.tasks.base import make_prompt

POOLS = Path(__file__).parent.parent / "shipped" / "pools"
"""One Parquet file per stream: question, answer, solution. `pretraining/pools.py` made them."""
TASK = "gsm-symbolic"
"""What prompts of a stream belong to; other tasks rewrite them."""


def file_of(templates: tuple[int, ...], seed: int) -> Path:
    """Where the shipped part of a stream is, if there is one."""
    return POOLS / f"seed-{seed}-templates-{'-'.join(map(str, templates))}.parquet"


def is_shipped(templates: tuple[int, ...], seed: int) -> bool:
    """Whether a stream begins with shipped draws."""
    return file_of(templates, seed).is_file()


def drawn_problems(templates: tuple[int, ...], seed: int) -> Iterator[Prompt]:
    """The endless stream of a seed. Unknown templates raise DgrpoError once it is generated."""
    if not is_shipped(templates, seed):
        return _generated(templates, seed)
    shipped = _shipped(file_of(templates, seed))
    return chain(shipped, _later(templates, seed, len(shipped)))


def _shipped(file: Path) -> list[Prompt]:
    import polars

    rows = polars.read_parquet(file).iter_rows()
    return [make_prompt(TASK, question, answer, solution) for question, answer, solution in rows]


def _later(templates: tuple[int, ...], seed: int, skipped: int) -> Iterator[Prompt]:
    yield from islice(_generated(templates, seed), skipped, None)


def _generated(templates: tuple[int, ...], seed: int) -> Iterator[Prompt]:
    from dgrpo.tasks.gsm_symbolic import check_templates, word_problems

    check_templates(templates)
    yield from word_problems(templates, Random(seed))
