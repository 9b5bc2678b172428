"""Copy the small files of finished runs to where committed results live.

A run is three files there: experiment.json, rounds.jsonl and summary.json, in
`<folder>/<experiment>/seed-<n>/`. Checkpoints and completions stay behind.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from dgrpo.reproduce.matrix import Entry, Found, fitting
from dgrpo.runs.files import writing

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
    fresh = place.with_name(f".new-{place.name}")  # no name that a reader of runs looks for
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    for name in SMALL_FILES:
        shutil.copyfile(source / name, fresh / name)
    shutil.rmtree(place, ignore_errors=True)
    fresh.rename(place)
