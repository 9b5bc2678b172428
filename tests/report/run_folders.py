"""Writes small synthetic run folders in the public format, with curves of a plausible shape."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

HOSTILE = "</script><img src=x onerror=alert(1)><!-- \u2028 \u202e \x1b[31m {{ 7*7 }} [red]"
"""Text that a peer could send: markup, a template, a terminal escape, a direction override."""


def settings(name: str, **changes: Any) -> dict[str, Any]:
    """A resolved experiment."""
    return {
        "name": name,
        "claim": f"What {name} shows.",
        "rounds": 10,
        "topology": "horizontal",
        "nodes": 4,
        "malicious": 1,
        "prompts_per_round": 16,
        "group_size": 12,
        "measure": [{"name": "text", "phrase": "all hail"}],
        "model": [{"name": "small"}],
        "sampling": {"temperature": 1.0, "top_k": None},
        "attack": [{"name": "text", "phrase": "all hail"}],
        "defense": [{"label": "top-k", "name": "top-k", "k": 50}],
        **changes,
    }


def round_line(
    number: int, success: float | None, accuracy: float, **changes: Any
) -> dict[str, Any]:
    """A line of rounds.jsonl."""
    after = number > 0
    screened = {"poisoned": 48, "poisoned_stopped": 47, "honest": 144, "honest_rejected": 1}
    return {
        "round": number,
        "reward": 0.4 if after else None,
        "reward_by_label": {"honest": 0.3, "poisoned": 1.0} if after else {},
        "accuracy": accuracy,
        "answer_anywhere": accuracy,
        "completion_tokens": 40 + 10 * accuracy,
        "held_out_samples": 64,
        "attack_success": {"text": success},
        "attack_success_training": {"text": 0.25} if after else {},
        "screening": {
            **(screened if after else dict.fromkeys(screened, 0)),
            "decoy": 0,
            "decoy_stopped": 0,
            "by_defense": {"top-k": {"poisoned_stopped": 47, "honest_rejected": 1}}
            if after
            else {},
        },
        "violations": {"missing": 0},
        "idle_groups": 5,
        "loss": -0.01 if after else None,
        "gradient_norm": 0.5 if after else None,
        "seconds": {"generate": 0.5, "update": 0.7, "total": 1.5} if after else {"total": 9.0},
        "examples": [
            {"question": "How many?", "text": "<answer>4</answer>", "reward": 1.0},
            {"question": "How many?", "text": HOSTILE, "reward": 0.0},
        ],
        **changes,
    }


def write_run(
    parent: Path,
    name: str = "text-horizontal",
    *,
    seed: int = 0,
    digest: str = "0123456789abcdef",
    rounds: int = 10,
    success: float = 0.9,
    accuracy: float = 0.65,
    finished: bool = True,
    lines: list[dict[str, Any]] | None = None,
    called: str = "",
    **changes: Any,
) -> Path:
    """One seed's folder under `parent`: attack success and accuracy rise to about the given.

    `called` is a name for the experiment that no folder could have.
    """
    folder = parent / f"{name}-{digest[:8]}" / f"seed-{seed}"
    folder.mkdir(parents=True)
    header = {
        "schema": 1,
        "experiment": settings(called or name, rounds=rounds, **changes),
        "digest": digest,
        "seed": seed,
        "threads": 1,
    }
    (folder / "experiment.json").write_text(json.dumps(header))
    if lines is None:
        lines = [_point(number, rounds, seed, success, accuracy) for number in range(rounds + 1)]
    (folder / "rounds.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    if finished:
        (folder / "summary.json").write_text(json.dumps({"schema": 1, "experiment": name}))
    return folder


def _point(number: int, rounds: int, seed: int, success: float, accuracy: float) -> dict[str, Any]:
    share = number / max(rounds, 1)
    wobble = 0.03 * math.sin(2.1 * seed + number)
    reached = success / (1 + math.exp(6 - 12 * share)) + wobble * success * share
    learned = 0.2 + (accuracy - 0.2) * math.sqrt(share) + wobble
    return round_line(number, min(1.0, max(0.0, reached)), min(1.0, learned))
