"""Write docs/results/judge-acceptance.md from the shipped judge's card and the notes beside it.

Usage: python docs/results/make_judge_acceptance.py
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dgrpo.models.judge_card import MODES, judge_table, shipped_card

INTRODUCTION = """\
# What the judge accepts

The paper's Table 1 for the shipped judge, `judge-nano`: the share of completions that it accepts,
with 95 % Wilson intervals. The figures are those of its
[card](../../src/dgrpo/models/judge-nano/card.json), which `dgrpo pretrain judge-nano --out DIR`
measures after making the model; `python docs/results/make_judge_acceptance.py` writes this page.
Every completion is another prompt's. All but the last rows' are right and in the asked format;
those of attacks are what the shipped attacks send with their default settings.
"""


def main() -> None:
    """Write the page beside this file."""
    card = shipped_card()
    here = Path(__file__).parent
    parts = [INTRODUCTION, judge_table(card), "", costs(card), ""]
    parts.append((here / "judge-notes.md").read_text(encoding="utf-8").rstrip())
    (here / "judge-acceptance.md").write_text("\n".join(parts) + "\n", encoding="utf-8")


def costs(card: Mapping[str, Any]) -> str:
    """Milliseconds per completion, by mode."""
    spent = card["core_milliseconds_per_completion"]
    shown = ", ".join(f"{mode.title}: {spent[name]:.0f} ms" for name, mode in MODES.items())
    return f"Time of one core per completion, in batches of 64: {shown}."


if __name__ == "__main__":
    main()
