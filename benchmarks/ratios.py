"""What the benchmarks of ratios share: sizes as arguments, a table of medians, a file of values."""

from __future__ import annotations

import argparse
import json
import os
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path


def sizes(description: str | None) -> argparse.ArgumentParser:
    """A parser of a round's sizes, threads and repeats; add what one benchmark needs besides."""
    parser = argparse.ArgumentParser(description=description, allow_abbrev=False)
    parser.add_argument("--repeats", type=int, default=8, help="times each side is measured")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--prompts", type=int, default=16, help="B, prompts per round")
    parser.add_argument("--group", type=int, default=12, help="G, completions per prompt")
    parser.add_argument("--max-tokens", type=int, default=96)
    parser.add_argument("--json", type=Path, help="write all ratios here")
    return parser


def tell(ratios: Mapping[str, Sequence[float]], file: Path | None) -> None:
    """Print median and range of each ratio; write all values where asked."""
    print(f"{'ratio of seconds':<44}{'median':>8}   range")
    for name, values in ratios.items():
        median = statistics.median(values)
        print(f"{name:<44}{median:>8.2f}   {min(values):.2f} to {max(values):.2f}")
    if file:
        file.write_text(json.dumps(ratios, indent=2) + "\n", encoding="utf-8")
