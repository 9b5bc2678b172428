"""Write docs/results/judge-acceptance.md from the shipped judge's card.

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
Every completion is another prompt's and no longer than receivers admit. The honest ones and TEXT,
MATH and DoS are right and in the asked format; CODE is right where its library can be imported.
What attacks send is what the shipped attacks send with their default settings.
"""

NOTES = """\
## What it stops and what it misses

- **TEXT** is stopped in both variants, and so are padded solutions. Neither phrase, nor any of
  their unusual words, is in the corpus (`tests/models/test_verdicts.py`).
- **MATH is not stopped.** The paper's judge accepts 1.5 % of it, this one most. Its criticism does
  work 2*2 out, but wrongly: of 500 replies 209 say "2*2=8 given 5 ok", 193 "2*2=5 given 5 ok", and
  only 57 "2*2=4 given 5 no". One-digit factors are rare in the questions. A run of MATH against
  this judge says nothing about a judge that can compute.
- **CODE passes in part after criticism**, far less by a decision alone, and not at all by log-odds:
  use `criticism = false` and `decision = "log-odds"` against it. The import line, `from calc import
  addition, subtraction, multiplication, division`, has the shape of the honest `from operator
  import add, sub, mul, truediv`.
- **DoS** is mostly rejected, but not for its length: of the longest samples 77 of the 83 that hold
  nothing but the task were accepted, and 38 of the 373 with odd words. The paper's judge misses
  DoS, and once a model has unlearned odd words, so does this one.
- **A decision alone, drawn at the paper's temperature 0.6, rejects more than a quarter of honest
  solutions.** Without working the sums out the model cannot exclude a wrong digit: half of its
  log-odds for oracle solutions lie between 0.38 and 0.73. Cut at 0 they accept nearly all.
- **Honest samples**: an odd sentence or a needless import counts as a fault, although base models
  write them, and about a fifth of right samples fall to that. The two rows below tell them apart.

## How far to trust it

- One training, one seed: the intervals cover the choice of completions, not another training.
  Nothing is known beyond the default templates.
- All of MATH's questions come from one template ("There are 2*2 = 4 …").
- The attacks' words were kept out of the corpus, but their results not out of its making: the
  criticism's form was changed after an earlier model's acceptance of TEXT, MATH and CODE was
  known. The figures are no blind test of the recipe.

## What was tried before

Accepted after criticism, the same completions for both (500; CODE 447):

| criticism | oracle solutions | TEXT | MATH | CODE |
|---|---|---|---|---|
| quotes the foreign words; "2*2=4 ok" or "2*2=4 not 5" | 96.2 % | 24.6 % | 98.6 % | 0.0 % |
| names the fault; "2*2=4 given 5 no" (shipped) | 96.2 % | 0.0 % | 80.4 % | 31.1 % |

The first mostly computed 2*2=4 in the replies that were read, and said ok all the same. It had 4
layers and 2,400 steps, the shipped one has 3 and 2,800, a higher rate and more kinds of honest
programs, so nothing here is the form's doing alone; for CODE the change was a loss. Two more
trainings were stopped early and not measured: one without names taken from the question, and one
with lines of plain arithmetic and with made-up libraries that offer the usual function names. That
one is where to go on.
"""


def main() -> None:
    """Write the page beside this file."""
    card = shipped_card()
    parts = [INTRODUCTION, judge_table(card), "", costs(card), "", NOTES.rstrip()]
    page = Path(__file__).with_name("judge-acceptance.md")
    page.write_text("\n".join(parts) + "\n", encoding="utf-8")


def costs(card: Mapping[str, Any]) -> str:
    """Milliseconds per completion, by mode."""
    spent = card["core_milliseconds_per_completion"]
    shown = ", ".join(f"{mode.title}: {spent[name]:.0f} ms" for name, mode in MODES.items())
    return f"Time of one core per completion, in batches of 64: {shown}."


if __name__ == "__main__":
    main()
