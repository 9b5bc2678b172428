"""Promises of the simulation: sharing, splitting, exchange, and what defenses may see."""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from dgrpo.errors import DgrpoError
from dgrpo.experiment import Experiment, experiment_from
from dgrpo.node import Node
from dgrpo.policy.model import load_model
from dgrpo.policy.noise import sampling_key
from dgrpo.policy.sampling import SampleRequest
from dgrpo.policy.scoring import forward_pass
from dgrpo.policy.settings import ModelSettings
from dgrpo.records import RoundRecord
from dgrpo.swarm import Swarm
from dgrpo.tasks.assignment import Slot
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


def digests_of(swarm: Swarm) -> list[str]:
    """Of each replica's weights."""
    return [replica.model.weights_digest() for replica in swarm.replicas.models]


def defense(folder: Path, body: str, per_completion: bool = False) -> list[dict[str, str]]:
    """A defense whose `screen` is `body`, as an experiment names it."""
    file = folder / "defense.py"
    file.write_text(
        f'''
from typing import ClassVar
from dgrpo.defenses import StatelessDefense
from dgrpo.policy.scoring import ScoreItem
from dgrpo.records import Verdict


class Check(StatelessDefense):
    """Made for a test."""

    name: ClassVar[str] = "check"
    per_completion: ClassVar[bool] = {per_completion}

    async def screen(self, batch, node):
        received = batch.received
        {body.strip()}
'''
    )
    return [{"name": f"{file}:Check"}]


PICKY = """
        bad = [node.name == "node-0" and r.sender == "node-1" for r in received]
        return [Verdict(not b, float(b), "from node-1" if b else "") for b in bad]
"""
ASKS_ONCE_MORE = """
        if node.name == "node-0":
            await node.policy.score([ScoreItem(r.prompt.text, r.token_ids) for r in received])
        return [Verdict(True, 0.0) for r in received]
"""

COUNTS = '''
from typing import ClassVar
from dgrpo.defenses import Defense, RunningDefense
from dgrpo.records import Verdict


class Counts(Defense):
    """Remembers how much it has seen; node-0 rejects what node-1 sends."""

    name: ClassVar[str] = "counts"

    def start(self, node):
        return Counting()


class Counting(RunningDefense):
    seen = 0

    async def screen(self, batch, node):
        self.seen += len(batch.received)
        told = [(node.name, r.sender) for r in batch.received]
        return [Verdict(pair != ("node-0", "node-1"), 0.0) for pair in told]

    def state_dict(self):
        return {"seen": self.seen}

    def load_state_dict(self, state):
        self.seen = state["seen"]
'''
FORGES = '''
from dataclasses import replace
from typing import ClassVar
from dgrpo.attacks import StatelessAttack
from dgrpo.records import Completion, Sent


class Forges(StatelessAttack):
    """Breaks three rules of the exchange once each, and sends the rest as it is."""

    name: ClassVar[str] = "forges"

    async def poison(self, own, turn):
        forged = replace(own[0].completion, token_ids=own[0].completion.token_ids[1:])
        asked = {p.key for p in turn.prompts}
        elsewhere = next(p.key for p in turn.task.train if p.key not in asked)
        surplus = replace(own[0].completion, sample=0)  # node-0's to give
        more = [forged, replace(own[0].completion, prompt_key=elsewhere), surplus]
        return [*own[1:], *(Sent(one, "poisoned") for one in more)]
'''


def assert_sharing_changes_nothing(experiment: Experiment) -> Swarm:
    """Two rounds with shared replicas end as two with a replica per node; returns the shared."""
    shared, shared_rounds = play(experiment)
    separate, separate_rounds = play(experiment, share_replicas=False)
    assert len(separate.replicas.models) == experiment.nodes
    for together, alone in zip(shared_rounds, separate_rounds, strict=True):
        assert decisions(together) == decisions(alone)
    for index in range(experiment.nodes):
        ours = shared.replicas.models[shared.replicas.of[index]].model.network.state_dict()
        theirs = separate.replicas.models[separate.replicas.of[index]].model.network.state_dict()
        for name, weights in ours.items():
            torch.testing.assert_close(weights, theirs[name], rtol=0, atol=1e-5)
    return shared


@pytest.mark.parametrize("topology", ["horizontal", "vertical"])
@pytest.mark.parametrize("checks", [[], [{"name": "top-k", "k": 20}]])
def test_shared_replicas_give_what_separate_ones_give(topology: str, checks: Any) -> None:
    experiment = small(topology=topology, malicious=1, attack={"name": "text"}, defense=checks)
    assert len(assert_sharing_changes_nothing(experiment).replicas.models) == 1


def test_a_shared_replica_is_updated_once_where_one_node_verifies_longer(tmp_path: Path) -> None:
    checks = defense(tmp_path, ASKS_ONCE_MORE)
    swarm = assert_sharing_changes_nothing(small(nodes=2, defense=checks))
    steps = [s["step"] for s in swarm.replicas.models[0].optimiser.state_dict()["state"].values()]
    assert set(map(int, steps)) == {2}  # one per round
    assert len(swarm.replicas.models) == 1


def test_nodes_that_accept_different_completions_part_ways(tmp_path: Path) -> None:
    swarm = assert_sharing_changes_nothing(small(defense=defense(tmp_path, PICKY)))
    assert len(swarm.replicas.models) == 2
    assert [swarm.replicas.of[0] == r for r in swarm.replicas.of] == [True, False, False, False]


def test_what_a_node_raises_is_what_the_round_raises(tmp_path: Path) -> None:
    """Whatever the others are waiting for: here for something that cannot be computed."""
    faulty = """
        if node.name == "node-3":
            raise ZeroDivisionError("node-3's own")
        return await node.policy.score([ScoreItem("no tokens", ())])
"""
    swarm = Swarm(small(defense=defense(tmp_path, faulty)), seed=3, task=TASK)
    with pytest.raises(ZeroDivisionError, match="node-3's own"):
        swarm.play(0)


def test_a_node_that_asks_twice_at_once_is_told_so(tmp_path: Path) -> None:
    hasty = """
        import asyncio
        items = [ScoreItem(r.prompt.text, r.token_ids) for r in received]
        await asyncio.gather(*(node.policy.score(items[i::2]) for i in range(2)))
        return [Verdict(True, 0.0) for r in received]
"""
    with pytest.raises(DgrpoError, match="asked its model again before the last answer came"):
        Swarm(small(defense=defense(tmp_path, hasty)), seed=3, task=TASK).play(0)


def test_the_same_seed_gives_the_same_bytes_and_another_seed_does_not() -> None:
    experiment = small(malicious=1, attack={"name": "text"})
    first, first_rounds = play(experiment)
    again, again_rounds = play(experiment)
    assert [decisions(r) for r in first_rounds] == [decisions(r) for r in again_rounds]
    assert (
        first.replicas.models[0].model.weights_digest()
        == again.replicas.models[0].model.weights_digest()
    )
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


def test_broken_rules_are_counted_by_every_receiver_and_the_round_goes_on(tmp_path: Path) -> None:
    file = tmp_path / "forges.py"
    file.write_text(FORGES)
    _, rounds = play(small(malicious=1, attack={"name": f"{file}:Forges"}), rounds=1)
    for record in rounds[0]:
        assert record.violations == {"unknown-prompt": 1, "surplus": 1, "ids-mismatch": 1}
        senders = Counter(judged.received.sender for judged in record.judged)
        assert senders == {"node-0": 8, "node-1": 8, "node-2": 8, "node-3": 7}
        assert record.update == rounds[0][0].update


class Recorder:
    """A policy that says nothing and keeps what it was asked for."""

    def __init__(self) -> None:
        self.asked: list[SampleRequest] = []

    async def generate(self, requests: Sequence[SampleRequest]) -> list[tuple[int, ...]]:
        self.asked += requests
        return [(0,)] * len(requests)


def recorded(node: Node) -> Recorder:
    """What `node` asks of its policy from here on."""
    recorder = Recorder()
    node.policy = recorder  # type: ignore[assignment]
    return recorder


def test_every_draw_has_a_key_of_its_own() -> None:
    """Named by seed, round, node, prompt and sample, and by nothing else."""
    nodes = Swarm(small(), seed=3, task=TASK).nodes[:2]
    prompt = TASK.train[0]
    keys = []
    for node in nodes:
        recorder = recorded(node)
        for round_index in (0, 1):
            slots = [Slot(prompt, sample) for sample in (0, 1)]
            asyncio.run(node.generate(slots, round_index))
            asyncio.run(node.turn(slots, round_index).draw([prompt], 2))
        keys += [request.key for request in recorder.asked]
    assert len(set(keys)) == len(keys) == 16
    assert keys[1] == sampling_key(3, 0, 0, prompt.key, 1)  # node-0's second sample in round 0


def test_an_attacker_that_draws_again_gets_fresh_samples() -> None:
    node = Swarm(small(), seed=3, task=TASK).nodes[0]
    one, other = TASK.train[:2]
    recorder = recorded(node)
    turn = node.turn([], 0)
    for prompts in ([one], [one, other]):
        drawn = asyncio.run(turn.draw(prompts, 3))
        assert {key: len(of) for key, of in drawn.items()} == {p.key: 3 for p in prompts}
    assert len({request.key for request in recorder.asked}) == 9
    asyncio.run(node.turn([], 0).draw([one], 3))  # another turn of the same name: the same
    assert recorder.asked[:3] == recorder.asked[-3:]


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


def test_a_model_per_node_trains_apart(tmp_path: Path) -> None:
    other = load_model(ModelSettings())
    with torch.no_grad():
        other.network.get_input_embeddings().weight.mul_(1.01)
    other.network.save_pretrained(tmp_path)
    other.tokenizer.save_pretrained(tmp_path)
    models = [{"name": "gsm-nano"}] * 2 + [{"name": str(tmp_path)}] * 2
    experiment = small(model=models)
    swarm = assert_sharing_changes_nothing(experiment)
    assert swarm.replicas.of == [0, 0, 1, 1]
    start = Swarm(experiment, seed=3, task=TASK)
    digests = {
        one.model.weights_digest() for one in (*swarm.replicas.models, *start.replicas.models)
    }
    assert len(digests) == 4  # both moved, and neither to where the other is


def test_models_with_different_tokenizers_read_one_another() -> None:
    """Without ids that both know a receiver encodes the text itself; nothing is a violation."""
    models = [{"name": "gsm-nano"}, {"name": "code-nano"}]
    experiment = small(nodes=2, model=models, sampling={"max_tokens": 256})
    swarm, rounds = play(experiment, rounds=1)
    assert len({node.model.tokenizer_digest for node in swarm.nodes}) == 2
    for record in rounds[0]:
        assert record.violations == {}
        assert len(record.judged) == 4 * 8


@pytest.mark.parametrize("topology", ["horizontal", "vertical"])
def test_of_peers_with_different_tokenizers_nothing_is_lost_at_any_length(topology: str) -> None:
    """Each counts in its own tokens, and what one cut off the other learns without an end."""
    models = [{"name": "gsm-nano"}, {"name": "code-nano"}]
    experiment = small(
        nodes=2,
        topology=topology,
        model=models,
        sampling={"max_tokens": 48},
        learner={"normalisation": "dr_grpo"},
    )
    swarm, rounds = play(experiment, rounds=2)
    lengths, ends = list[int](), set[bool]()
    for record in (one for of_round in rounds for one in of_round):
        assert record.violations == {}
        assert len(record.judged) == 4 * 8
        assert record.update.tokens == 0 or math.isfinite(record.update.gradient_norm)
        model = swarm.nodes[0 if record.node == "node-0" else 1].model
        foreign = [j.received for j in record.judged if j.received.sender != record.node]
        ends |= {model.ended(one.token_ids) for one in foreign}
        lengths += [len(one.token_ids) for one in foreign]
    assert max(lengths) > 48
    assert ends == {True, False}


@pytest.mark.parametrize("topology", ["horizontal", "vertical"])
def test_each_node_may_draw_as_many_tokens_as_it_likes(topology: str) -> None:
    """Its peers know how many those are, whether their tokenizer is its own or not."""
    experiment = small(
        nodes=3,
        topology=topology,
        prompts_per_round=3,
        group_size=6,
        model=[{"name": "gsm-nano"}, {"name": "gsm-nano"}, {"name": "code-nano"}],
        sampling=[{"max_tokens": most} for most in (24, 48, 96)],
        admission={"believe": "claimed"},
    )
    _, rounds = play(experiment, rounds=1)
    assert all(record.violations == {} for record in rounds[0])
    for record in rounds[0][:2]:
        drawn = [j.received for j in record.judged]
        first, second = (
            max(len(one.token_ids) for one in drawn if one.sender == sender)
            for sender in ("node-0", "node-1")
        )
        assert first == 24 < second <= 48


def test_models_need_positions_for_the_longest_completions_of_all() -> None:
    with pytest.raises(DgrpoError, match=r"sampling\.max_tokens = 300: .* 256 positions"):
        Swarm(small(nodes=2, sampling=[{}, {"max_tokens": 300}]), seed=0, task=TASK)


def test_an_attack_on_peers_with_another_tokenizer_is_measured_in_its_own_tokens(
    caplog: pytest.LogCaptureFixture,
) -> None:
    models = [{"name": "code-nano"}, {"name": "gsm-nano"}]
    experiment = small(
        nodes=2,
        malicious=1,
        model=models,
        sampling={"max_tokens": 64},
        attack={"name": "text"},
    )
    swarm, rounds = play(experiment, rounds=1)
    assert caplog.records == []
    assert all(record.violations == {} for record in rounds[0])
    sent = [j.received for j in rounds[0][0].judged if j.received.sender == "node-1"]
    assert any(len(one.token_ids) > 64 for one in sent)
    assert all(len(swarm.nodes[1].model.encode_completion(one.text)) <= 65 for one in sent)


def test_a_clean_run_whose_weights_blow_up_is_stopped() -> None:
    """Not evaluated and checkpointed as one that answers nothing."""
    swarm = Swarm(small(nodes=1, learner={"learning_rate": 1e30}), seed=3, task=TASK)
    with pytest.raises(DgrpoError, match="not finite"):
        swarm.play(0)


def test_completions_longer_than_learned_positions_are_refused_before_training(
    tmp_path: Path,
) -> None:
    shipped = load_model(ModelSettings())
    config = AutoConfig.for_model(
        "gpt2", vocab_size=shipped.vocabulary, n_embd=16, n_layer=1, n_head=2, n_positions=96
    )
    AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path)
    shipped.tokenizer.save_pretrained(tmp_path)
    with pytest.raises(DgrpoError, match=r"sampling\.max_tokens = 64"):
        Swarm(small(model={"name": str(tmp_path)}), seed=0, task=TASK)
    with pytest.raises(DgrpoError, match=r"sampling\.max_tokens = 300: .* 256 positions"):
        Swarm(small(sampling={"max_tokens": 300}), seed=0, task=TASK)


def test_a_pool_smaller_than_a_round_is_refused_before_training() -> None:
    with pytest.raises(DgrpoError, match="prompts_per_round = 128"):
        Swarm(small(prompts_per_round=128), seed=0, task=TASK)


def test_a_checkpointed_swarm_goes_on_to_the_same_weights(tmp_path: Path) -> None:
    """With replicas that have parted and defenses that remember: in bytes, as on disk."""
    file = tmp_path / "counting.py"
    file.write_text(COUNTS)
    experiment = small(defense=[{"name": f"{file}:Counts"}])
    swarm, _ = play(experiment, rounds=2)
    assert len(swarm.replicas.models) == 2
    saved = tmp_path / "state.pt"
    torch.save(swarm.state_dict(), saved)
    resumed = Swarm(experiment, seed=3, task=TASK)
    resumed.load_state_dict(torch.load(saved, weights_only=True))
    for one in (swarm, resumed):
        one.play(2)
    digests, again = (
        [learner.model.weights_digest() for learner in one.replicas.models]
        for one in (swarm, resumed)
    )
    assert digests == again
    assert len(set(digests)) == 2
    assert resumed.replicas.of == swarm.replicas.of
    states = swarm.state_dict()["defenses"]
    assert resumed.state_dict()["defenses"] == states
    assert [state["counts"]["seen"] for state in states] == [3 * 32] * 4


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


# Rounds in parts


def passes_of(experiment: Experiment, monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, bool]]:
    """(completions, whether for learning) of each forward pass of a round."""
    passes = []

    def counted(model: Any, items: Any, **options: Any) -> Any:
        passes.append((len(items), torch.is_grad_enabled()))
        return forward_pass(model, items, **options)

    monkeypatch.setattr("dgrpo.learning.learner.forward_pass", counted)
    play(experiment, 1)
    return passes


TOP_K = [{"name": "top-k", "k": 20}]


@pytest.mark.parametrize("groups", [None, 1, 2, 4])
def test_screening_and_learning_share_each_forward_pass(
    groups: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    experiment = small(defense=TOP_K, learner={"groups_per_pass": groups})
    passes = passes_of(experiment, monkeypatch)
    cut = 4 // (groups or 4)
    assert passes == [(32 // cut, True)] * cut


@pytest.mark.parametrize(
    "whole",
    [
        {"advantage_scaling": "batch"},
        {"normalisation": "dapo"},
        {"updates_per_round": 2},
        {"keep_forward": False},
    ],
)
def test_an_update_that_needs_the_whole_round_first_is_screened_by_passes_of_its_own(
    whole: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    experiment = small(defense=TOP_K, learner={"groups_per_pass": 2, **whole})
    passes = passes_of(experiment, monkeypatch)
    assert passes[:2] == [(16, False)] * 2
    assert all(learning for _, learning in passes[2:])


def test_a_round_in_parts_learns_what_a_round_in_one_piece_does() -> None:
    attacked = {"malicious": 1, "attack": {"name": "text"}, "defense": TOP_K}
    whole, cut = (
        play(small(**attacked, learner={"groups_per_pass": groups}), 1) for groups in (None, 2)
    )
    for one, other in zip(whole[1][0], cut[1][0], strict=True):
        assert [j.received.item for j in one.judged] == [j.received.item for j in other.judged]
        assert [j.verdicts for j in one.judged] == [j.verdicts for j in other.judged]
        assert [j.advantage for j in one.judged] == [j.advantage for j in other.judged]
        assert one.idle_groups == other.idle_groups
        assert one.update.tokens == other.update.tokens
        assert one.update.loss == pytest.approx(other.update.loss, abs=1e-5)
        assert one.update.gradient_norm == pytest.approx(other.update.gradient_norm, rel=1e-3)


@pytest.mark.parametrize("alone", [True, False])
def test_nodes_that_disagree_in_a_part_part_ways_with_its_gradients(
    tmp_path: Path, alone: bool
) -> None:
    """Whether the defense judges each completion by itself, or sees the whole round first."""
    late = """
        bad = [node.name == "node-0" and r.sender == "node-1" and r.sample % 8 == 2
               for r in received]
        return [Verdict(not b, float(b), "from node-1" if b else "") for b in bad]
"""
    checks = defense(tmp_path, late, per_completion=alone)
    experiment = small(defense=[*checks, *TOP_K], learner={"groups_per_pass": 2})
    swarm = assert_sharing_changes_nothing(experiment)
    assert len(swarm.replicas.models) == 2
