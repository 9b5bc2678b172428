"""What rounds.jsonl and summary.json say, computed from the records of a round.

Only honest nodes count. A completion is counted once per honest receiver. Labels come from the
senders and are joined here, after every decision has been made.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from dgrpo.attacks.base import Attack
from dgrpo.experiment import Experiment
from dgrpo.measurement.held_out import rates_of
from dgrpo.records import HeldOutScore, Judged, Label, RoundRecord
from dgrpo.runs.reader import SCHEMA
from dgrpo.tasks.base import LoadedTask

Labels = Mapping[tuple[str, str, int], Label]
"""Label by (sender, prompt key, sample), from the senders' own memory."""


def held_out_fields(scores: Sequence[HeldOutScore]) -> dict[str, Any]:
    """Held-out figures of the honest nodes, averaged."""
    names = scores[0].measures
    return {
        "accuracy": _mean([s.accuracy for s in scores]),
        "answer_anywhere": _mean([s.answer_anywhere for s in scores]),
        "completion_tokens": _mean([s.completion_tokens for s in scores]),
        "held_out_samples": scores[0].samples,
        "attack_success": {n: _mean([s.measures[n] for s in scores]) for n in names},
        "measured_prompts": scores[0].measured_prompts,
        "examples": [asdict(example) for example in scores[0].examples],
    }


def base_line(scores: Sequence[HeldOutScore]) -> dict[str, Any]:
    """Line 0: the base model before any update."""
    return {
        "round": 0,
        "reward": None,
        "reward_by_label": {},
        "advantage_by_label": {},
        **held_out_fields(scores),
        "attack_success_training": {},
        "screening": _screening([], [], {}),
        "violations": {},
        "idle_groups": 0,
        "loss": None,
        "gradient_norm": None,
        "seconds": {},
    }


def round_line(
    records: Sequence[RoundRecord],
    labels: Labels,
    task: LoadedTask,
    measures: Sequence[Attack],
) -> dict[str, Any]:
    """The line of one round, from the honest nodes' records."""
    senders = {record.node for record in records}
    judged = [one for record in records for one in record.judged]
    scores = [record.held_out for record in records if record.held_out is not None]
    by_label: dict[str, list[float]] = defaultdict(list)
    advantages: dict[str, list[float | None]] = defaultdict(list)
    for one in judged:
        by_label[label_of(labels, one)].append(one.reward)
        advantages[label_of(labels, one)].append(one.advantage)
    from_honest = list(  # once each, however many have received it
        {
            one.received.item: (one.received.prompt, one.received.text)
            for one in judged
            if one.received.sender in senders
        }.values()
    )
    seconds = records[0].seconds  # nodes wait for one another: everyone's clock shows the same
    return {
        "round": records[0].round + 1,
        "reward": _mean([one.reward for one in judged]),
        "reward_by_label": {label: _mean(values) for label, values in sorted(by_label.items())},
        "advantage_by_label": {label: _mean(those) for label, those in sorted(advantages.items())},
        **held_out_fields(scores),
        "attack_success_training": {
            m.name: rates_of(m, task, from_honest).get("") for m in measures
        },
        "screening": _screening(judged, records[0].judged, labels),
        "violations": dict(sum((Counter(r.violations) for r in records), Counter())),
        "idle_groups": sum(r.idle_groups for r in records),
        "loss": _mean([r.update.loss for r in records]),
        "gradient_norm": _mean([r.update.gradient_norm for r in records]),
        "seconds": {**seconds, "total": sum(seconds.values())},
    }


def completion_rows(records: Sequence[RoundRecord], labels: Labels) -> list[dict[str, Any]]:
    """One row per honest receiver and completion, for the Parquet shards."""
    return [
        {
            "round": record.round + 1,
            "sender": one.received.sender,
            "receiver": record.node,
            "prompt_key": one.received.prompt.key,
            "sample": one.received.sample,
            "text": one.received.text,
            "label": label_of(labels, one),
            "accepted": one.accepted,
            "verdicts": [
                {"defense": name, "accepted": v.accepted, "score": v.score, "reason": v.reason}
                for name, v in one.verdicts.items()
            ]
            or None,
            "reward": one.reward,
            "advantage": one.advantage,
        }
        for record in records
        for one in record.judged
    ]


def summarise(
    experiment: Experiment, digest: str, seed: int, lines: Sequence[dict[str, Any]]
) -> dict[str, Any]:
    """summary.json, from rounds.jsonl alone."""
    measures = [m.name for m in experiment.measure]
    metrics = {
        name: _series(lines, lambda line, n=name: line["attack_success"].get(n))
        for name in dict.fromkeys((*measures, *lines[0]["attack_success"]))
    }
    return {
        "schema": SCHEMA,
        "experiment": experiment.name,
        "digest": digest,
        "seed": seed,
        "rounds": lines[-1]["round"],
        "nodes": experiment.nodes,
        "malicious": experiment.malicious,
        "attack_success": metrics[measures[0]] if measures else None,
        "accuracy": _series(lines, lambda line: line["accuracy"]),
        "answer_anywhere": _series(lines, lambda line: line["answer_anywhere"]),
        "completion_tokens": _series(lines, lambda line: line["completion_tokens"]),
        "reward": _series(lines[1:], lambda line: line["reward"]),
        "metrics": metrics,
        "held_out_samples": {
            "start": lines[0]["held_out_samples"],
            "each": lines[min(1, len(lines) - 1)]["held_out_samples"],
            "end": lines[-1]["held_out_samples"],
        },
        "screening": _screening_totals(lines),
        "violations": dict(sum((Counter(line["violations"]) for line in lines), Counter())),
        "seconds": {
            phase: round(sum(line["seconds"].get(phase, 0.0) for line in lines), 3)
            for phase in (
                "generate", "exchange", "verify", "reward", "update", "evaluate", "total",
            )
        },
    }  # fmt: skip


def _series(lines: Sequence[dict[str, Any]], of: Any) -> dict[str, Any]:
    points = [[line["round"], of(line)] for line in lines]
    return {
        "start": points[0][1] if points else None,
        "end": points[-1][1] if points else None,
        "by_round": points,
    }


def _screening(
    judged: Sequence[Judged], by_one: Sequence[Judged], labels: Labels
) -> dict[str, Any]:
    """Counts per label and per defense; and of different texts, as one receiver (`by_one`) judged.

    Attackers send copies of one text, in one round and in later ones, and a defense judges them
    alike: an interval that takes them for independent would be too narrow. So a line names the
    poisoned texts, for rounds and seeds to be counted together.
    """
    counts = dict.fromkeys(_COUNTED, 0)
    different = dict.fromkeys(_COUNTED, 0)
    texts: dict[tuple[Label, str, str], Judged] = {}
    for one in by_one:
        text = (label_of(labels, one), one.received.prompt.key, one.received.text)
        if text not in texts or not one.accepted:  # rejected once is rejected
            texts[text] = one
    poisoned: dict[str, None] = {}
    for (label, key, said), one in texts.items():
        _count(different, label, one)
        if label == "poisoned":
            poisoned[text_digest(key, said)] = None
    by_defense: dict[str, dict[str, Any]] = {}
    for one in judged:
        label = label_of(labels, one)
        stopped = _STOPPED[label]
        _count(counts, label, one)
        for name, verdict in one.verdicts.items():
            own = by_defense.setdefault(name, {_STOPPED[known]: 0 for known in _KNOWN})
            own[stopped] = own.get(stopped, 0) + (not verdict.accepted)
            if verdict.undecided:  # also where the policy is to accept: never silently
                kinds = own.setdefault("undecided", {})
                kinds[verdict.undecided] = kinds.get(verdict.undecided, 0) + 1
    return {
        **counts,
        "different": different,
        "poisoned_texts": list(poisoned),
        "by_defense": by_defense,
    }


def text_digest(prompt_key: str, text: str) -> str:
    """Eight hex digits that stand for a text as an answer to a prompt."""
    return hashlib.sha256(f"{prompt_key} {text}".encode(errors="surrogatepass")).hexdigest()[:8]


def label_of(labels: Labels, one: Judged) -> Label:
    """What its sender knows of a completion; a node on a network knows its own labels alone."""
    return labels.get(one.received.item, "unknown")


def _count(counts: dict[str, int], label: Label, one: Judged) -> None:
    counts[label] = counts.get(label, 0) + 1
    counts[_STOPPED[label]] = counts.get(_STOPPED[label], 0) + (not one.accepted)
    if label == "honest" and one.reward == 1:
        counts["honest_right"] += 1
        counts["honest_right_rejected"] += not one.accepted


_STOPPED: dict[str, str] = {
    "poisoned": "poisoned_stopped",
    "decoy": "decoy_stopped",
    "honest": "honest_rejected",
    "unknown": "unknown_rejected",
}
_KNOWN = ("poisoned", "decoy", "honest")
"""Labels that a simulation counts; `unknown` is counted only where it occurs."""
_RIGHT = ("honest_right", "honest_right_rejected")
"""Of honest completions those of full reward: to reject a wrong one costs little."""
_COUNTED = (*(name for label in _KNOWN for name in (label, _STOPPED[label])), *_RIGHT)


def _screening_totals(lines: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Whole-run counts, and the shares that were stopped (null where there was nothing to stop)."""
    counts: Counter[str] = Counter()
    different: Counter[str] = Counter()
    by_defense: dict[str, Counter[str]] = defaultdict(Counter)
    undecided: dict[str, Counter[str]] = defaultdict(Counter)
    for line in lines:
        screened = line["screening"]
        counts.update({n: screened.get(n, 0) for n in (*_COUNTED, "unknown", "unknown_rejected")})
        different.update(screened.get("different", {}))
        for name, own in screened["by_defense"].items():
            by_defense[name].update({k: n for k, n in own.items() if k != "undecided"})
            undecided[name].update(own.get("undecided", {}))

    def share(counter: Counter[str], label: str) -> float | None:
        return counter[_STOPPED[label]] / counts[label] if counts[label] else None

    labels = (*_KNOWN, "unknown") if counts["unknown"] else _KNOWN
    shares = {_STOPPED[label]: share(counts, label) for label in labels}
    right, rejected = (counts[name] for name in _RIGHT)
    return {
        **{label: counts[label] for label in labels},
        **shares,
        "honest_right": right,
        "honest_right_rejected": rejected / right if right else None,
        "different": dict(different),
        "by_defense": {
            name: {_STOPPED[label]: share(own, label) for label in labels}
            | ({"undecided": dict(undecided[name])} if undecided[name] else {})
            for name, own in by_defense.items()
        },
    }


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None
