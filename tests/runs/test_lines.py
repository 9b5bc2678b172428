"""A line of rounds.jsonl counts what the round's records hold."""

from __future__ import annotations

import pydantic
import pytest

from dgrpo.attacks.text import Text
from dgrpo.experiment import experiment_from
from dgrpo.report.tables import independent
from dgrpo.runs.lines import completion_rows, round_line, summarise, text_digest
from dgrpo.runs.reader import Screening
from dgrpo.swarm import Swarm
from dgrpo.tasks.gsm_symbolic import GsmSymbolic

TASK = GsmSymbolic(train=64, held_out=16)
EXPERIMENT = experiment_from(
    {
        "name": "small",
        "rounds": 1,
        "prompts_per_round": 8,
        "group_size": 8,
        "nodes": 4,
        "malicious": 1,
        "measure": ["text"],
        "task": {"name": "gsm-symbolic", "train": 64, "held_out": 16},
        "sampling": {"max_tokens": 96},
        "evaluation": {"samples": 4, "final_samples": 4},
        "attack": {"name": "text"},
        # so strict that honest completions are rejected, right ones too
        "defense": [{"name": "top-k", "k": 4}],
    }
)


@pytest.fixture(scope="module")
def played() -> tuple[Swarm, list, dict]:
    swarm = Swarm(EXPERIMENT, seed=3, task=TASK.load())
    records = swarm.play(0)[:3]
    labels = {(n.name, *item): label for n in swarm.nodes for item, label in n.labels.items()}
    return swarm, records, round_line(records, labels, swarm.task, EXPERIMENT.measure)


def test_copies_of_a_text_count_once_among_different_texts(played: tuple) -> None:
    _, records, line = played
    counted = line["screening"]
    assert counted["poisoned"] == 3 * 8 * 2  # three receivers, eight prompts, two copies each
    assert counted["different"]["poisoned"] == 8
    assert counted["different"]["poisoned_stopped"] == counted["poisoned_stopped"] / 6
    sent = [one.received for one in records[0].judged if one.received.sender == "node-3"]
    named = {text_digest(one.prompt.key, one.text) for one in sent}
    assert len(counted["poisoned_texts"]) == len(named) == 8
    assert set(counted["poisoned_texts"]) == named
    honest = [one.received for one in records[0].judged if one.received.sender != "node-3"]
    assert counted["different"]["honest"] == len({(o.prompt.key, o.text) for o in honest})
    assert independent([Screening(poisoned=48, different=counted["different"])], "poisoned", 3) == 8


def test_success_in_training_is_measured_on_what_honest_nodes_sent(played: tuple) -> None:
    """By sender, not by label: an attacker's own samples, sent as they are, are labelled honest."""
    swarm, records, line = played
    assert line["attack_success_training"] == {"text": 0.0}
    sent = [one for r in records for one in r.judged if one.received.sender != "node-3"]
    labels = {(n.name, *item): "honest" for n in swarm.nodes for item in n.labels}
    blind = round_line(records, labels, swarm.task, [Text(phrase="=")])
    again = blind["attack_success_training"]["text"]
    assert again == sum("=" in one.received.text for one in sent) / len(sent) > 0.5


def test_right_honest_completions_are_counted_apart(played: tuple) -> None:
    _, records, line = played
    honest = [one for r in records for one in r.judged if one.received.sender != "node-3"]
    right = [one for one in honest if one.reward == 1]
    counted = line["screening"]
    assert 0 < counted["honest_right"] == len(right) < counted["honest"] == len(honest)
    rejected = sum(not one.accepted for one in right)
    assert 0 < counted["honest_right_rejected"] == rejected < counted["honest_rejected"]


def test_a_node_that_knows_its_own_labels_alone_counts_its_peers_as_unknown(played: tuple) -> None:
    """As on a network: no label of a peer crosses the wire."""
    swarm, records, known = played
    own = {("node-0", *item): label for item, label in swarm.nodes[0].labels.items()}
    line = round_line(records[:1], own, swarm.task, EXPERIMENT.measure)
    counted, peers = (
        line["screening"],
        [one for one in records[0].judged if one.received.sender != "node-0"],
    )
    assert (counted["honest"], counted["poisoned"]) == (8 * 2, 0)
    assert counted["unknown"] == len(peers) == 8 * 6
    rejected = sum(not one.accepted for one in peers)
    assert 0 < counted["unknown_rejected"] == rejected < len(peers)
    assert counted["by_defense"]["top-k"]["unknown_rejected"] == rejected
    assert set(line["reward_by_label"]) == {"honest", "unknown"}
    labels = {one["label"] for one in completion_rows(records[:1], own)}
    assert labels == {"honest", "unknown"}
    totals = summarise(EXPERIMENT, EXPERIMENT.digest, 3, [line | {"round": 0}, line])["screening"]
    assert totals["unknown_rejected"] == rejected / len(peers)
    assert "unknown" not in known["screening"]  # nothing is unknown in a simulation
    read = pydantic.TypeAdapter(Screening).validate_python(counted)
    assert read.unknown == len(peers)


def test_the_summary_adds_up_lines_of_runs_that_did_not_count_these_yet(played: tuple) -> None:
    _swarm, _, line = played
    first = {**line, "round": 0, "seconds": {}}
    older = {**line, "screening": dict(line["screening"])}
    for name in ("different", "honest_right", "honest_right_rejected"):
        del older["screening"][name]
    new, old = (
        summarise(EXPERIMENT, "digest", 3, [first, one])["screening"] for one in (line, older)
    )
    assert new["honest"] == old["honest"] == 2 * line["screening"]["honest"]
    assert new["honest_right"] == 2 * old["honest_right"] > 0
    assert new["different"]["honest_right"] == 2 * old["different"]["honest_right"] > 0
    assert new["different"]["poisoned"] == 2 * old["different"]["poisoned"] == 16
