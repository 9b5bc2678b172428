"""Make the shipped problem pools again: `python -m dgrpo.pretraining.pools`.

Needs reasoning-gym, which the package itself needs for other pools only. Writes one Parquet file
per stream (`tasks/problems.py`) and a card that says what made it.
"""

from __future__ import annotations

import hashlib
import json
from importlib.metadata import version
from itertools import islice
from random import Random

from dgrpo.tasks.gsm_python import CODE_TEMPLATES
from dgrpo.tasks.problems import POOLS, SHORTEST_TEMPLATES, file_of, word_problems

SEED = 2026
"""The default `task.pool_seed`."""
STREAMS = {SHORTEST_TEMPLATES: 16_000, CODE_TEMPLATES: 4_000}
"""Draws per template set: enough for the largest pools of the experiments, copies included."""


def main() -> None:
    """Write every stream's file, and the card."""
    import polars

    POOLS.mkdir(exist_ok=True)
    card = {}
    for templates, count in STREAMS.items():
        drawn = list(islice(word_problems(templates, Random(SEED)), count))
        rows = [(one.question, one.answer, one.solution) for one in drawn]
        file = file_of(templates, SEED)
        frame = polars.DataFrame(rows, schema=["question", "answer", "solution"], orient="row")
        frame.write_parquet(file, compression="zstd", compression_level=19)
        card[file.name] = {
            "templates": templates,
            "seed": SEED,
            "draws": count,
            "digest": digest_of(rows),
            "reasoning-gym": version("reasoning-gym"),
        }
    (POOLS / "card.json").write_text(json.dumps(card, indent=1) + "\n", encoding="utf-8")


def digest_of(rows: list[tuple[str, str, str]]) -> str:
    """16 hex digits over the problems, whatever file they are in."""
    return hashlib.sha256(json.dumps(rows, ensure_ascii=False).encode()).hexdigest()[:16]


if __name__ == "__main__":
    main()
