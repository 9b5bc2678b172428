"""Shipped problems: what the generator gives, without the generator."""

from __future__ import annotations

import json
import subprocess
import sys
from itertools import islice
from pathlib import Path
from random import Random

import polars
import pytest

from dgrpo.pretraining.pools import SEED, STREAMS, digest_of
from dgrpo.tasks import problems
from dgrpo.tasks.problems import (
    POOLS,
    SHORTEST_TEMPLATES,
    drawn_problems,
    file_of,
    is_shipped,
    word_problems,
)


@pytest.mark.parametrize("templates", STREAMS, ids=len)
def test_a_shipped_stream_begins_as_the_generated_one(templates: tuple[int, ...]) -> None:
    shipped = list(islice(drawn_problems(templates, SEED), 400))
    assert is_shipped(templates, SEED)
    assert shipped == list(islice(word_problems(templates, Random(SEED)), 400))


@pytest.mark.parametrize("templates", STREAMS, ids=len)
def test_the_card_names_the_files_content(templates: tuple[int, ...]) -> None:
    file = file_of(templates, SEED)
    card = json.loads((POOLS / "card.json").read_text())[file.name]
    rows = polars.read_parquet(file).rows()
    assert (tuple(card["templates"]), card["seed"]) == (templates, SEED)
    assert card["draws"] == len(rows) == STREAMS[templates]
    assert card["digest"] == digest_of(rows)


def test_a_stream_goes_on_beyond_its_shipped_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = polars.read_parquet(file_of(SHORTEST_TEMPLATES, SEED))
    monkeypatch.setattr(problems, "POOLS", tmp_path)
    whole.head(5).write_parquet(file_of(SHORTEST_TEMPLATES, SEED))
    generated = list(islice(word_problems(SHORTEST_TEMPLATES, Random(SEED)), 12))
    assert list(islice(drawn_problems(SHORTEST_TEMPLATES, SEED), 12)) == generated


@pytest.mark.parametrize(
    "task",
    [
        "gsm_symbolic import GsmSymbolic as T; T()",
        "gsm_symbolic import GsmSymbolic as T; T(train=8192, held_out=4096)",
        "gsm_python import GsmPython as T; T()",
        "gsm_python import GsmPython as T, CODE_TEMPLATES; T(templates=CODE_TEMPLATES)",
    ],
)
def test_the_experiments_pools_need_no_generator(task: str) -> None:
    importing, _, build = task.partition("; ")
    code = f"""
import sys
sys.modules["reasoning_gym"] = None
from dgrpo.tasks.{importing}
{build}.load()
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_other_pools_name_the_extra_that_they_need() -> None:
    code = """
import sys
sys.modules["reasoning_gym"] = None
from dgrpo.tasks.gsm_symbolic import GsmSymbolic
GsmSymbolic(pool_seed=5).load()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "DgrpoError: reasoning_gym is not installed" in done.stderr
    assert "pip install 'dgrpo[problems]'" in done.stderr
