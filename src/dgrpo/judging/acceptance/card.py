"""A judge's measured card: what it accepts of honest and of poisoned completions (paper, Table 1).

Every kind of completion (`cases.py`) is judged as the `judge` defense does it, in its three modes:
after criticism, by a decision alone, and by the log-odds of that decision. `judge_table` sets the
card beside the paper's table.

Leaves out: log-odds after criticism, which the defense does not offer.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dgrpo.defenses.judge import SHIPPED_JUDGE, Judge, JudgeAtWork
from dgrpo.judging.acceptance.cases import Kind, kinds
from dgrpo.judging.bench import Bench, Question
from dgrpo.judging.local import LocalJudge
from dgrpo.measurement.intervals import wilson
from dgrpo.policy.model import LanguageModel, load_model
from dgrpo.policy.settings import SHIPPED, ModelSettings, Sampling
from dgrpo.policy.threads import one_thread

COMPLETIONS = 500
"""Completions of each kind on the card."""


@dataclass(frozen=True, slots=True)
class Mode:
    """One way to ask: the defense's knobs."""

    title: str
    criticism: bool
    generated: bool

    def judge(self, model: LanguageModel) -> LocalJudge:
        """The judge as the defense makes it by default, but for these two knobs."""
        knobs = Judge()
        sampling = Sampling(
            max_tokens=knobs.max_tokens,
            temperature=knobs.temperature,
            top_k=knobs.top_k,
            top_p=knobs.top_p,
        )
        chosen = sampling if self.generated else None
        return LocalJudge(model, "brief", self.criticism, chosen, knobs.batch)


MODES = {
    "criticism": Mode("criticism, then a decision", criticism=True, generated=True),
    "decision": Mode("a decision alone", criticism=False, generated=True),
    "log-odds": Mode("log-odds of yes above 0", criticism=False, generated=False),
}
"""By the name they have on the card."""

PAPER = {
    "equation": ("1.5 %", "19.4 %", "7.4 %", "1.2 %"),
    "text": ("3.8 %", "86 %", "38 %", "37 %"),
    "honest-oracle": ("74.8 %", "95 %", "83.2 %", "96 %"),
}
"""Its Table 1: accepted by 14B with criticism and without, 7B and 32B with it."""


def measure_judge(folder: Path, samples: int = COMPLETIONS) -> dict[str, Any]:
    """Judge at most `samples` completions of each kind; shares with 95 % Wilson intervals.

    Times are a core's own (process time on one thread), whatever else the machine does.
    """
    model = load_model(ModelSettings(name=str(folder.resolve())))
    judged, spent = 0, dict.fromkeys(MODES, 0.0)
    acceptance = {}
    for kind in kinds(min(samples, COMPLETIONS)):
        modes = {}
        for name, mode in MODES.items():
            with one_thread():
                started = time.process_time()
                modes[name] = _share(accepted(mode.judge(model), kind), len(kind.pairs))
                spent[name] += time.process_time() - started
        judged += len(kind.pairs)
        acceptance[kind.name] = {
            "title": kind.title,
            "honest": kind.honest,
            "completions": len(kind.pairs),
            "accepted": modes,
        }
    return {
        "parameters": sum(p.numel() for p in model.network.parameters()),
        "vocabulary": model.vocabulary,
        "megabytes": round(sum(f.stat().st_size for f in folder.iterdir()) / 1e6, 2),
        "weights_digest": model.weights_digest(),
        "acceptance": acceptance,
        "core_milliseconds_per_completion": {
            name: round(1000 * seconds / judged, 2) for name, seconds in spent.items()
        },
    }


def accepted(judge: LocalJudge, kind: Kind) -> int:
    """How many of the kind's completions pass, under the defense's default policies."""
    work = JudgeAtWork(Judge(), Bench(judge))
    questions = [Question(p.key, p.text, text) for p, text in kind.pairs]
    return sum(verdict.accepted for verdict in asyncio.run(work.verdicts(questions)))


def _share(count: int, of: int) -> dict[str, float] | None:
    """None where there is nothing to judge."""
    if of == 0:
        return None
    low, high = wilson(count, of)
    return {"share": round(count / of, 4), "low": round(low, 4), "high": round(high, 4)}


def judge_table(card: Mapping[str, Any]) -> str:
    """Accepted shares as a Markdown table, the paper's beside them."""
    heads = [mode.title for mode in MODES.values()]
    paper = ["paper: 14B, criticism", "14B, decision alone", "7B, criticism", "32B, criticism"]
    lines = [
        f"| completions | n | {' | '.join(heads)} | {' | '.join(paper)} |",
        "|---" * (2 + len(heads) + len(paper)) + "|",
    ]
    for name, row in card["acceptance"].items():
        ours = [_percent(row["accepted"][mode]) for mode in MODES]
        cells = [row["title"], str(row["completions"]), *ours, *PAPER.get(name, ("",) * 4)]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _percent(figures: Mapping[str, float] | None) -> str:
    if figures is None:
        return "none"
    share, low, high = (100 * figures[name] for name in ("share", "low", "high"))
    return f"{share:.1f} % ({low:.1f} to {high:.1f})"


def shipped_card() -> dict[str, Any]:
    """The card that lies beside the shipped judge's weights."""
    card: dict[str, Any] = json.loads(
        (SHIPPED / SHIPPED_JUDGE / "card.json").read_text(encoding="utf-8")
    )
    return card
