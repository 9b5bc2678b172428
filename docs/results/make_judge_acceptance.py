"""Write docs/results/judge-acceptance.md from the shipped judge's card.

Usage: python docs/results/make_judge_acceptance.py
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dgrpo.judging.acceptance.card import MODES, judge_table, shipped_card

INTRODUCTION = """\
# What the judge accepts

The paper's Table 1 for the shipped judge, `judge-nano`: the share of completions that it accepts,
with 95 % Wilson intervals. The figures are those of its
[card](../../src/dgrpo/shipped/judge-nano/card.json), which `dgrpo pretrain judge-nano --out DIR`
measures after making the model; `python docs/results/make_judge_acceptance.py` writes this page.
`dgrpo judge --samples 500` measures one of its columns again, or another judge's.
Every completion is another prompt's and no longer than receivers admit. The honest ones and TEXT,
MATH and DoS are right and in the asked format; CODE is right where its library can be imported.
What attacks send is what the shipped attacks send, with their default settings where the row does
not say otherwise.
"""

NOTES = """\
## What it stops and what it misses

- **TEXT** is stopped in both variants, and so are padded solutions. Neither phrase, nor any of
  their unusual words, is in the corpus (`tests/pretraining/test_verdicts.py`). Other phrases
  pass: of 64 oracle solutions each (61 accepted without a phrase), "so be it" is accepted 61
  times before the reasoning, 57 after it and 52 beside the number in the answer tags, "buy gold
  now" 0, 14 and 17 times, the attack's phrase and "go and steal" never
  (`python benchmarks/judge_phrases.py`). An attacker who can ask the judge will find a phrase of
  short common words that it lets through.
- **MATH is stopped by criticism, and only by it.** The critic works 2*2 out ("2*2 = 4 given 5
  no"); the corpus holds no 2*2=5 and no 2+2=5. A decision alone and log-odds let it pass: the sum
  has to be written down to be seen.
- **CODE** is stopped with the attack's own names (`from calc import addition, …`) and with
  functions called `add, sub, mul, truediv`, as in `experiments/code-*`, which look like an honest
  `from operator import …` but for the module. The former are in no document of its corpus. The
  latter are: made-up libraries there have functions of usual names, these four among them, so
  that what gives a library away is its own name (`calc` is in none). For `experiments/code-*` the
  judge is no blind one. The training before this one accepted 42 % of
  those.
- **DoS** is mostly rejected, but not for its length: odd words are what it rejects, and long
  right samples of the untrained model mostly have some. The paper's judge misses DoS. This one, in
  training (seeds 0 to 2, first against last ten rounds; rounds.jsonl of `dos-*-judge*`): with
  zero reward, which trains against odd words, it stops fewer and fewer (50, 52, 61 → 24, 37, 35 %
  vertically, 43, 42, 42 → 12, 9, 8 % horizontally); with `drop` mostly more (56, 56, 74 → 90, 87,
  74 %; 59, 58, 60 → 83, 80, 77 %), and with them right honest completions (20, 24, 22 → 55, 65,
  39 % vertically).
- **A decision alone**, drawn at the paper's temperature 0.6, rejects one oracle solution in
  eleven; cut at 0, log-odds accept them all. Both stop TEXT and nearly all of CODE, and let MATH
  pass.
- **Honest samples**: an odd sentence or a needless import counts as a fault, although base models
  write them, and about a fifth of right samples fall to that. Two rows of the table tell them
  apart.

## How far to trust it

- One training, one seed: the intervals cover the choice of completions, not another training.
  Nothing is known beyond the templates of its recipe.
- All of MATH's questions come from one template ("There are 2*2 = 4 …").
- The attacks' words and equations were kept out of the corpus, but their results not out of its
  making: recipes were changed after earlier models' acceptance of TEXT, MATH and CODE was known.
  The figures are no blind test of the recipe.
- Its recipe leaves out every question of the default pools and of those of `experiments/`. A few
  of its documents are longer than the 512 tokens of its context.

## What was tried before

Accepted after criticism, the same completions for all (500; the first row's CODE 447); CODE by
the attack's default names, and by those of `experiments/code-*` where it was measured:

| training | oracle solutions | TEXT | MATH | CODE | CODE, usual names | honest programs there |
|---|---|---|---|---|---|---|
| 1 | 96.2 % | 24.6 % | 98.6 % | 0.0 % | | |
| 2 | 96.2 % | 0.0 % | 80.4 % | 35.4 % | | |
| 3 | 89.2 % | 0.0 % | 92.8 % | 0.0 % | | |
| 4 | 97.6 % | 0.0 % | 0.0 % | 0.0 % | 42 % (n = 120) | 58 % (n = 120) |
| 5 (shipped) | 94.8 % | 0.0 % | 0.0 % | 0.0 % | 0.4 % | 100 % |

1. The criticism quotes the foreign words, and says "2*2=4 ok" or "2*2=4 not 5".
2. It names the fault, says "2*2=4 given 5 no", and stops at the first false statement.
3. Beside that, plain exercises, and made-up libraries with usual function names.
4. Beside that, left sides word for word ("21 girls x 3 boys/girl = 63 given 63 ok"), every
   statement gone through, six in ten results of faulty exercises wrong, and learning to write
   what it accepts.
5. Beside that, the 18 templates of `experiments/code-*` instead of 12, a third of the word
   problems as programs instead of a fifth, made-up libraries whose functions fit the operators
   they replace (before, calls that did not fit gave them away), 4,400 steps instead of 3,600.

The second and third could not copy: in the replies that were read they worked out sums that the
text does not hold ("5*20=150" for "15 * 8"), and "given" was whatever seemed likely. Learning the
accepted documents whole, questions included, is what taught copying: in a short trial (1,000
steps, all documents whole or none) it repeated sums word for word that it made up without.
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
