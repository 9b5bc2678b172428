"""Promises of the simulation: sharing, splitting, exchange, and what defenses may see."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from dgrpo.errors import DgrpoError
from dgrpo.experiment import Experiment, experiment_from
from dgrpo.records import RoundRecord
from dgrpo.swarm import Swarm
from dgrpo.tasks.gsm_symbolic import GsmSymbolic

TASK = GsmSymbolic(train=64, held_out=16).load()


def small(**settings: Any) -> Experiment:
    return experiment_from(
        {
            "name": "small",
            "rounds": 3,
            "prompts_per_round": 4,
            "group_size": 8,
            "nodes": 4,
            "measure": ["text"],
            "task": {"name": "gsm-symbolic", "train": 64, "held_out": 16},
            "sampling": {"max_tokens": 64},
            "evaluation": {"samples": 4, "final_samples": 4},
            **settings,
        }
    )


def play(experiment: Experiment, rounds: int = 2, **options: Any) -> tuple[Swarm, list[Any]]:
    swarm = Swarm(experiment, seed=3, task=TASK, **options)
    return swarm, [swarm.play(index) for index in range(rounds)]


def decisions(records: list[RoundRecord]) -> list[Any]:
    return [
        [(j.received.item, j.received.text, j.accepted, j.reward, j.advantage) for j in r.judged]
        for r in records
    ]


@pytest.mark.parametrize("topology", ["horizontal", "vertical"])
@pytest.mark.parametrize("defense", [[], [{"name": "top-k", "k": 20}]])
def test_shared_replicas_give_what_separate_ones_give(topology: str, defense: Any) -> None:
    experiment = small(topology=topology, malicious=1, attack={"name": "text"}, defense=defense)
    shared, shared_rounds = play(experiment)
    separate, separate_rounds = play(experiment, share_replicas=False)
    assert len(shared.learners) == 1
    assert len(separate.learners) == 4
    for together, alone in zip(shared_rounds, separate_rounds, strict=True):
        assert decisions(together) == decisions(alone)
    for index in range(4):
        ours = shared.learners[shared.replica_of[index]].model.network.state_dict()
        theirs = separate.learners[separate.replica_of[index]].model.network.state_dict()
        for name, weights in ours.items():
            torch.testing.assert_close(weights, theirs[name], rtol=0, atol=1e-5)


def test_nodes_that_accept_different_completions_part_ways(tmp_path: Any) -> None:
    picky = tmp_path / "picky.py"
    picky.write_text(
        '''
from typing import ClassVar
from dgrpo.defenses import StatelessDefense
from dgrpo.records import Verdict


class Picky(StatelessDefense):
    """Only node-0 rejects what node-1 sends."""

    name: ClassVar[str] = "picky"

    async def check(self, received, node):
        bad = [node.name == "node-0" and r.sender == "node-1" for r in received]
        return [Verdict(not b, float(b), "from node-1" if b else "") for b in bad]
'''
    )
    experiment = small(defense=[{"name": f"{picky}:Picky"}])
    swarm, _ = play(experiment)
    assert len(swarm.learners) == 2
    assert [swarm.replica_of[0] == r for r in swarm.replica_of] == [True, False, False, False]
    separate, _ = play(experiment, share_replicas=False)
    for index in range(4):
        ours = swarm.learners[swarm.replica_of[index]].model.network.state_dict()
        theirs = separate.learners[separate.replica_of[index]].model.network.state_dict()
        for name, weights in ours.items():
            torch.testing.assert_close(weights, theirs[name], rtol=0, atol=1e-5)


def test_the_same_seed_gives_the_same_bytes_and_another_seed_does_not() -> None:
    experiment = small(malicious=1, attack={"name": "text"})
    first, first_rounds = play(experiment)
    again, again_rounds = play(experiment)
    assert [decisions(r) for r in first_rounds] == [decisions(r) for r in again_rounds]
    assert first.learners[0].model.weights_digest() == again.learners[0].model.weights_digest()
    other = Swarm(experiment, seed=4, task=TASK)
    assert decisions(other.play(0)) != decisions(first_rounds[0])


def test_every_node_receives_every_completion_its_own_included() -> None:
    _, rounds = play(small(), rounds=1)
    for record in rounds[0]:
        assert len(record.judged) == 4 * 8
        assert record.node in {j.received.sender for j in record.judged}
        assert record.violations == {}


def test_a_silent_node_is_counted_as_missing_and_the_round_goes_on() -> None:
    experiment = small(prompts_per_round=12, malicious=1, attack={"name": "silent"})
    _, rounds = play(experiment, rounds=1)
    for record in rounds[0]:
        assert record.violations == {"missing": 12 * 2}
        assert len(record.judged) == 12 * 6
        assert record.update.tokens > 0


def test_receiver_rewards_against_its_own_answer() -> None:
    experiment = small(malicious=1, attack={"name": "text"})
    swarm = Swarm(experiment, seed=3, task=TASK)
    records = swarm.play(0)
    for judged in records[0].judged:
        own = TASK.by_key[judged.received.prompt.key]
        assert judged.received.prompt is own
        assert judged.reward == TASK.reward(own, judged.received.text)


def test_zero_reward_keeps_rejected_completions_in_their_group_and_drop_leaves_them_out() -> None:
    defense = [{"name": "top-k", "k": 20}]
    attack = {"name": "text"}
    common = {"prompts_per_round": 12, "malicious": 1, "attack": attack, "defense": defense}
    kept = small(**common, on_reject="zero-reward")
    dropped = small(**common)
    for experiment, in_group in ((kept, True), (dropped, False)):
        _, rounds = play(experiment, rounds=1)
        rejected = [j for j in rounds[0][0].judged if not j.accepted]
        assert len(rejected) >= 12
        if in_group:
            assert all(j.advantage is not None and j.advantage <= 0 for j in rejected)
            assert any(j.advantage is not None and j.advantage < 0 for j in rejected)
            assert any(j.reward == 1 for j in rejected)  # the record keeps what the task says
        else:
            assert all(j.advantage is None for j in rejected)


def test_malicious_nodes_count_in_no_score() -> None:
    _, rounds = play(small(malicious=1, attack={"name": "text"}), rounds=1)
    assert [record.held_out is None for record in rounds[0]] == [False, False, False, True]


def test_each_malicious_node_mounts_its_own_attack() -> None:
    attacks = [{"name": "silent"}, {"name": "text", "phrase": "Ahoy,"}]
    _, rounds = play(small(malicious=2, attack=attacks), rounds=1)
    senders = {j.received.sender for j in rounds[0][0].judged}
    assert senders == {"node-0", "node-1", "node-3"}
    sent = [j.received.text for j in rounds[0][0].judged if j.received.sender == "node-3"]
    assert all("<think> Ahoy, " in text for text in sent)


def test_a_model_per_node_trains_apart(tmp_path: Any) -> None:
    copy = tmp_path / "copy"
    from dgrpo.policy.model import ModelSettings, load_model

    model = load_model(ModelSettings())
    model.network.save_pretrained(copy)
    model.tokenizer.save_pretrained(copy)
    models = [{"name": "gsm-nano"}, {"name": "gsm-nano"}, {"name": str(copy)}, {"name": str(copy)}]
    swarm, rounds = play(small(model=models))
    assert swarm.replica_of == [0, 0, 1, 1]
    digests = [learner.model.weights_digest() for learner in swarm.learners]
    assert rounds[1][0].held_out is not None
    assert len(digests) == 2


def test_a_pool_smaller_than_a_round_is_refused_before_training() -> None:
    with pytest.raises(DgrpoError, match="prompts_per_round = 128"):
        Swarm(small(prompts_per_round=128), seed=0, task=TASK)


def test_a_checkpointed_swarm_goes_on_to_the_same_weights() -> None:
    experiment = small(malicious=1, attack={"name": "text"})
    whole, _ = play(experiment, rounds=3)
    half, _ = play(experiment, rounds=2)
    state = half.state_dict()
    resumed = Swarm(experiment, seed=3, task=TASK)
    resumed.load_state_dict(state)
    resumed.play(2)
    assert resumed.learners[0].model.weights_digest() == whole.learners[0].model.weights_digest()


@pytest.mark.parametrize("topology", ["horizontal", "vertical"])
def test_an_attacker_that_samples_its_model_changes_nothing_for_the_others(topology: str) -> None:
    """What honest nodes draw, send and accept from one another is the control's, to the byte."""
    attack = {"name": "long-answer", "samples": 12}
    attacked, rounds = play(small(topology=topology, malicious=1, attack=attack), rounds=1)
    control = {"name": "honest"}
    clean, control_rounds = play(small(topology=topology, malicious=1, attack=control), rounds=1)
    for ours, theirs in zip(rounds[0][:3], control_rounds[0][:3], strict=True):
        for sender in ("node-0", "node-1", "node-2"):
            sent, expected = (
                [
                    (one.received.item, one.received.text, one.received.token_ids, one.reward)
                    for one in record.judged
                    if one.received.sender == sender
                ]
                for record in (ours, theirs)
            )
            assert sent == expected
            assert len(sent) == 8
        assert ours.violations == {}
    assert [n.labels for n in attacked.nodes[:3]] == [n.labels for n in clean.nodes[:3]]


def test_before_any_update_an_attack_shows_in_no_held_out_completion() -> None:
    attacked, clean = (
        Swarm(small(malicious=1, attack=attack), seed=3, task=TASK)
        for attack in ({"name": "long-answer", "samples": 4}, {"name": "honest"})
    )
    assert attacked.evaluate(0) == clean.evaluate(0)


@pytest.mark.parametrize(
    "attack",
    [
        {"name": "text", "oracle": "majority-vote", "votes": 4},
        {"name": "long-answer", "samples": 8},
    ],
    ids=lambda attack: attack["name"],
)
def test_an_attacker_that_samples_gets_the_same_with_shared_and_separate_replicas(
    attack: dict[str, Any],
) -> None:
    experiment = small(topology="vertical", malicious=1, measure=[attack["name"]], attack=attack)
    _, shared = play(experiment)
    _, separate = play(experiment, share_replicas=False)
    for together, alone in zip(shared, separate, strict=True):
        assert decisions(together) == decisions(alone)


def test_an_attackers_samples_are_of_the_weights_it_has_now() -> None:
    """Drawn anew each round: what its model says changes as it learns."""
    experiment = small(
        malicious=1, attack={"name": "long-answer", "samples": 8}, learner={"learning_rate": 0.01}
    )
    trained, _ = play(experiment, rounds=2)
    fresh = Swarm(experiment, seed=3, task=TASK)
    sent = [
        {
            (one.received.item, one.received.text)
            for one in swarm.play(2)[0].judged
            if one.received.sender == "node-3"
        }
        for swarm in (trained, fresh)
    ]
    assert sent[0] != sent[1]


@pytest.mark.parametrize("topology", ["horizontal", "vertical"])
def test_what_a_sampling_attacker_sends_is_admitted_and_labelled(topology: str) -> None:
    experiment = small(
        topology=topology,
        malicious=1,
        attack={"name": "long-answer", "samples": 24, "oracle": "majority-vote"},
    )
    swarm, rounds = play(experiment, rounds=1)
    record = rounds[0][0]
    assert record.violations == {}
    labels = swarm.nodes[3].labels
    sent = [one for one in record.judged if one.received.sender == "node-3"]
    assert len(sent) == len(labels) == 8
    assert "poisoned" in labels.values()
