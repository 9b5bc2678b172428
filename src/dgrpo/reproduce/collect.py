"""Copy the small files of finished runs to where committed results live.

A run is three files there: experiment.json, rounds.jsonl and summary.json, in
`<folder>/<experiment>/seed-<n>/`. Checkpoints and completions stay behind.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from dgrpo.reproduce.matrix import Entry, Found, fitting
from dgrpo.runs.files import new_folder, read_bytes, refuse_link, remove, replace_file, writing
from dgrpo.runs.reader import ROUNDS_LIMIT

SMALL_FILES = ("experiment.json", "rounds.jsonl", "summary.json")


def collect(entries: Sequence[Entry], found: Sequence[Found], target: Path) -> list[Path]:
    """Copy what `target` lacks; returns the folders that were written.

    A run in the way that serves the experiment no more (another digest, fewer rounds) is replaced.
    Raises DgrpoError where a file cannot be written.
    """
    written = []
    for entry in entries:
        by_seed: dict[int, list[Found]] = {}
        for one in fitting(entry.experiment, found):
            by_seed.setdefault(one.run.seed, []).append(one)
        for seed, those in sorted(by_seed.items()):
            place = target / entry.name / f"seed-{seed}"
            if any(target.resolve() in one.run.folder.resolve().parents for one in those):
                continue
            with writing(place):
                _replace(those[0].run.folder, place)
            written.append(place)
    return written


def _replace(source: Path, place: Path) -> None:
    """Copy beside `place`, then rename, so that no reader meets half a run."""
    refuse_link(place.parent).mkdir(parents=True, exist_ok=True)
    fresh = new_folder(place.parent)
    try:
        for name in SMALL_FILES:
            replace_file(fresh / name, read_bytes(source / name, ROUNDS_LIMIT))
        remove(place)
        fresh.rename(place)
    except BaseException:
        remove(fresh)
        raise
