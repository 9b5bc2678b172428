"""Attacks in whole small runs: what is recorded of their success, and that a run can go on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from dgrpo.errors import DgrpoError
from dgrpo.experiment import experiment_from
from dgrpo.runs.reader import find_runs
from dgrpo.runs.running import run_experiment
from dgrpo.swarm import Swarm

BRICKS = 72
"""A template of which one problem in a few computes 2*2 ("2 times as many green bricks")."""
RATES = ("equation", "equation/not-right", "equation/computed", "equation/accuracy")


def run(out: Path, **settings: Any) -> dict[str, Any]:
    """A run of two nodes, one of them malicious, into `out`; its summary."""
    experiment = experiment_from(
        {
            "name": "tiny",
            "topology": "vertical",
            "rounds": 2,
            "prompts_per_round": 4,
            "group_size": 4,
            "nodes": 2,
            "malicious": 1,
            "task": {"name": "gsm-symbolic", "train": 40, "held_out": 40, "templates": [BRICKS]},
            "sampling": {"max_tokens": 64},
            "evaluation": {"samples": 4, "final_samples": 16},
            "recording": {"checkpoint_every": 1, "completions": "all"},
            **settings,
        }
    )
    return run_experiment(experiment, 0, out, lambda line: None).summary


def lines(out: Path) -> list[dict[str, Any]]:
    """rounds.jsonl without the seconds."""
    text = (out / "seed-0" / "rounds.jsonl").read_text()
    return [
        {k: v for k, v in json.loads(one).items() if k != "seconds"} for one in text.splitlines()
    ]


@pytest.mark.parametrize("topology", ["horizontal", "vertical"])
@pytest.mark.parametrize(
    "attack",
    [
        {"name": "honest"},
        {"name": "text"},
        {"name": "text", "oracle": "majority-vote"},
        {"name": "long-answer", "samples": 12},
        {"name": "long-answer", "source": "padded"},
        {"name": "equation"},
        {"name": "spelling"},
        {"name": "spelling", "evasive": True},
    ],
)
def test_what_is_sent_says_truly_whether_it_ended(attack: dict[str, Any], topology: str) -> None:
    """Where many completions are cut off: own samples, copies, decoys and payloads alike."""
    experiment = experiment_from(
        {
            "name": "tiny",
            "topology": topology,
            "prompts_per_round": 4,
            "group_size": 4,
            "nodes": 2,
            "malicious": 1,
            "task": {"name": "gsm-symbolic", "train": 40, "held_out": 4, "templates": [BRICKS]},
            "sampling": {"max_tokens": 40},
            "admission": {"believe": "claimed"},
            "attack": attack,
        }
    )
    with Swarm(experiment, 1) as swarm:
        records = swarm.play(0)
    for record in records:
        assert record.violations == {}
        received = [one.received for one in record.judged]
        model = swarm.nodes[0].model
        cut = [one for one in received if not model.ended(one.token_ids)]
        assert cut
        assert all(len(one.token_ids) == 40 for one in cut)


def test_the_rates_of_equation_are_in_every_line_and_in_the_summary(tmp_path: Path) -> None:
    summary = run(tmp_path / "run", measure=["equation"], attack={"name": "equation"})
    assert set(summary["metrics"]) == set(RATES)
    assert summary["attack_success"] == summary["metrics"]["equation"]
    for name in RATES:
        points = summary["metrics"][name]["by_round"]
        recorded = [line["attack_success"][name] for line in lines(tmp_path / "run")]
        assert points == [[i, rate] for i, rate in enumerate(recorded)]
    start = summary["metrics"]["equation/computed"]["start"]
    assert start > 0.3  # of completions of prompts that compute it; of all prompts it is a few
    assert summary["metrics"]["equation"]["start"] < 0.5
    shares = summary["metrics"]["equation/accuracy"]["by_round"]
    assert [(share * of).is_integer() for (_, share), of in zip(shares, (16, 4, 16), strict=True)]
    assert summary["screening"]["poisoned"] == 2 * 2 * 2
    assert summary["held_out_samples"] == {"start": 16, "each": 4, "end": 16}
    (found,) = find_runs([tmp_path / "run"])
    assert set(found.rounds[-1].attack_success) == set(RATES)


@pytest.mark.parametrize("topology", ["horizontal", "vertical"])
def test_where_nothing_computes_it_a_measure_says_so_and_an_attack_is_refused(
    tmp_path: Path, topology: str
) -> None:
    never = {"name": "equation", "left": 97, "right": 89, "wrong": 1}
    summary = run(tmp_path / "run", topology=topology, measure=[never], attack={"name": "silent"})
    for name in RATES:
        assert {rate for _, rate in summary["metrics"][name]["by_round"]} == {None}
    assert summary["accuracy"]["end"] is not None
    with pytest.raises(DgrpoError, match=r"none of the 40 training prompts .* 97\+89 or 97\*89"):
        run(tmp_path / "refused", topology=topology, attack=never)


def test_an_attack_that_would_send_decoys_only_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DgrpoError, match=r"poisoned_share = 0\.1 of group_size = 4 "):
        run(tmp_path / "run", attack={"name": "text", "poisoned_share": 0.1})
    sent = run(tmp_path / "run", attack={"name": "text", "poisoned_share": 0.25})
    assert sent["screening"]["poisoned"] > 0


def test_a_phrase_is_not_put_into_programs(tmp_path: Path) -> None:
    task = {"name": "gsm-python", "train": 8, "held_out": 8}
    with pytest.raises(DgrpoError, match="completions of task gsm-python are programs"):
        run(tmp_path / "run", task=task, model="code-nano", attack={"name": "text"})
    assert not (tmp_path / "run" / "seed-0" / "rounds.jsonl").exists()


@pytest.mark.parametrize("oracle", ["dataset", "majority-vote"])
def test_an_interrupted_run_of_a_sampling_attacker_ends_the_same(
    tmp_path: Path, oracle: str
) -> None:
    attack = {"name": "long-answer", "samples": 8, "oracle": oracle}
    whole = run(tmp_path / "whole", attack=attack, measure=["long-answer"])
    run(tmp_path / "halves", attack=attack, measure=["long-answer"], rounds=1)
    halves = run(tmp_path / "halves", attack=attack, measure=["long-answer"])
    # a run's first end is measured on more samples: everything but that is equal
    ours, theirs = lines(tmp_path / "halves"), lines(tmp_path / "whole")
    measured = {"accuracy", "answer_anywhere", "completion_tokens", "held_out_samples", "examples"}
    assert ours[2] == theirs[2]
    assert {k: v for k, v in ours[1].items() if k not in measured} == {
        k: v for k, v in theirs[1].items() if k not in measured
    }
    assert halves["completion_tokens"]["end"] == whole["completion_tokens"]["end"]
    assert whole["metrics"]["long-answer"]["end"] is None
    assert whole["violations"] == {}
