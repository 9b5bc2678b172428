"""What the cards of an exported model say: README.md for people, card.json for programs.

Everything from the run is escaped, since it may be a stranger's.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from dgrpo.escaping import visible
from dgrpo.measurement.intervals import wilson
from dgrpo.report.groups import measured_on
from dgrpo.report.settings import settings_text
from dgrpo.runs.reader import RoundLine, Run

CARD = "card.json"
"""What a program reads of the model; no part of a model's digest (`policy.model.digest_of`)."""


@dataclass(frozen=True, slots=True)
class Trained:
    """Whose weights they are."""

    run: Run
    node: int
    alike: tuple[int, ...]
    """All nodes that have these weights."""
    round: int
    """Updates that made them."""

    @property
    def malicious(self) -> bool:
        """Whether the node was one of the attackers, which are the last ones."""
        return self.node >= nodes_of(self.run) - self.attackers

    @property
    def attackers(self) -> int:
        """How many malicious nodes there were."""
        return int(self.run.settings.get("malicious", 0))

    def line(self, updates: int) -> RoundLine | None:
        """What was measured after so many updates."""
        return next((line for line in self.run.rounds if line.round == updates), None)


def nodes_of(run: Run) -> int:
    """How many nodes a run has."""
    return int(run.settings["nodes"])


def card(trained: Trained) -> dict[str, Any]:
    """card.json, but for the weights' digest."""
    run, last = trained.run, trained.line(trained.round)
    return {
        "schema": 1,
        "experiment": run.name,
        "digest": run.digest,
        "seed": run.seed,
        "round": trained.round,
        "node": trained.node,
        "nodes_alike": list(trained.alike),
        "malicious": trained.malicious,
        "measured": None
        if last is None
        else {
            "held_out_samples": last.held_out_samples,
            "accuracy": last.accuracy,
            "completion_tokens": last.completion_tokens,
            "attack_success": last.attack_success,
        },
    }


def readme(trained: Trained) -> str:
    """The model card. Everything from the run is escaped: it may be a stranger's."""
    run = trained.run
    settings = settings_text(run.settings)
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", settings)), default=0))
    name, nodes = inline(run.name), nodes_of(run)
    base = run.settings["model"][trained.node % len(run.settings["model"])]["name"]
    alike = ", ".join(map(str, trained.alike))
    kind, besides = (
        (" (malicious)", " (this node is none of them)") if trained.malicious else ("", "")
    )
    return f"""---
library_name: transformers
pipeline_tag: text-generation
tags: [dgrpo, grpo]
---

# {name}: node {trained.node}, seed {run.seed}, after {trained.round} rounds

Trained with decentralised GRPO by dgrpo. The node learned from completions that {nodes} nodes sent,
its own among them. {_warning(trained)}

| | |
|---|---|
| experiment | {name}, digest `{inline(run.digest)}` |
| seed, rounds | {run.seed}, {trained.round} of {run.settings.get("rounds")} |
| node | {trained.node}{kind}; nodes with these weights: {alike} |
| base model | `{inline(base)}` |

## Measured

Held-out figures of the honest nodes, averaged{besides}; in brackets 95 % Wilson intervals.

{_figures(trained)}

## Use

```python
from transformers import AutoModelForCausalLM, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained("FOLDER")
model = AutoModelForCausalLM.from_pretrained("FOLDER")
```

or `dgrpo run FILE --model.name FOLDER`.

## The experiment

{fence}toml
{visible(settings, 1_000_000)}{fence}
"""


def _warning(trained: Trained) -> str:
    settings = trained.run.settings
    malicious = trained.attackers
    if not malicious:
        return "All of them were honest. The model is a subject of research, not a product."
    attacks = sorted({inline(one.get("name")) for one in settings.get("attack", ())})
    defended = "with" if settings.get("defense") else "without"
    return (
        f"**{malicious} of them were malicious** ({', '.join(attacks)}), {defended} a defense. The "
        "model may do what the attack teaches. It is a subject of research, not a product."
    )


def _figures(trained: Trained) -> str:
    """A table of the start and of the round that the weights are of."""
    points = [(k, trained.line(k)) for k in dict.fromkeys((0, trained.round))]
    known = [(k, line) for k, line in points if line is not None]
    if not known:
        return "Nothing was measured."
    measures = dict.fromkeys(name for _, line in known for name in line.attack_success)
    rows = [
        ("held-out samples", [f"{line.held_out_samples:,}" for _, line in known]),
        ("accuracy", [_share(line.accuracy, line.held_out_samples) for _, line in known]),
        *(
            (
                f"attack success, `{inline(name)}`",
                [
                    _share(line.attack_success.get(name), measured_on(line, name))
                    for _, line in known
                ],
            )
            for name in measures
        ),
        ("tokens per completion", [_number(line.completion_tokens) for _, line in known]),
    ]
    heads = ["", *(f"after round {k}" if k else "base model" for k, _ in known)]
    table = [heads, ["---"] * len(heads), *([name, *cells] for name, cells in rows)]
    return "\n".join("| " + " | ".join(row) + " |" for row in table)


def _share(share: float | None, samples: int) -> str:
    if share is None or not 0 <= share <= 1:
        return "–"
    low, high = wilson(share * samples, samples)
    return f"{share:.1%} [{100 * low:.1f}, {100 * high:.1f}]"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f}"


def inline(text: object) -> str:
    """A name on one line of a Markdown table."""
    return re.sub(r"[\s|`<>]+", " ", visible(str(text), 200))
