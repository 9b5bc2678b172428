"""A node on its own: no swarm around it, another exchange under it, another policy in it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dgrpo.attacks import Attack, RunningAttack, Turn
from dgrpo.defenses import Defense, Receiver, RunningDefense
from dgrpo.errors import DgrpoError
from dgrpo.exchange import Exchange, Message
from dgrpo.experiment import Experiment, NamedDefense, experiment_from
from dgrpo.learning.alone import LocalPolicy
from dgrpo.learning.policies.frozen import Frozen
from dgrpo.learning.policies.local import Local
from dgrpo.node import Node
from dgrpo.plugins import find
from dgrpo.records import Batch, Completion, RoundRecord, Sent, Verdict
from dgrpo.round import play_round
from dgrpo.swarm import Swarm
from dgrpo.tasks.gsm_symbolic import GsmSymbolic

MAILBOXES = f"{Path(__file__).parents[1] / 'examples' / 'my_exchange.py'}:Mailboxes"
TASK = GsmSymbolic(train=16, held_out=8).load()


def small(**settings: Any) -> Experiment:
    return experiment_from(
        {
            "name": "small",
            "rounds": 2,
            "prompts_per_round": 2,
            "group_size": 4,
            "nodes": 2,
            "measure": [],
            "task": {"name": "gsm-symbolic", "train": 16, "held_out": 8},
            "sampling": {"max_tokens": 48},
            "evaluation": {"samples": 4, "final_samples": 4},
            **settings,
        }
    )


def nodes_without_a_swarm(experiment: Experiment, kinds: Sequence[Any]) -> list[Node]:
    """One node per policy of `kinds`, connected by mailboxes."""
    exchange = find("exchanges", MAILBOXES)()
    assert isinstance(exchange, Exchange)
    connection = exchange.connect(experiment.roster)
    nodes = []
    for index, kind in enumerate(kinds):
        trainable = kind.load(experiment.policy_settings(index))
        nodes.append(
            Node.of(
                experiment,
                index,
                seed=0,
                task=TASK,
                model=trainable.model,
                policy=LocalPolicy(trainable),
                exchange=connection.at(index),
            )
        )
    return nodes


async def together(nodes: Sequence[Node], round_index: int) -> list[RoundRecord]:
    return list(await asyncio.gather(*(play_round(node, round_index) for node in nodes)))


def decisions(record: RoundRecord) -> list[Any]:
    return [(j.received.item, j.received.text, j.accepted, j.reward) for j in record.judged]


def test_two_nodes_play_a_round_over_another_exchange_without_a_swarm() -> None:
    experiment = small(defense=[{"name": "top-k", "k": 50}])
    nodes = nodes_without_a_swarm(experiment, [Local(), Local()])
    alone = asyncio.run(together(nodes, 0))
    with Swarm(experiment, 0, task=TASK) as swarm:
        expected = swarm.play(0)
    assert [decisions(r) for r in alone] == [decisions(r) for r in expected]
    assert all(r.violations == {} for r in alone)
    assert len(alone[0].judged) == 8


def test_a_node_of_another_policy_takes_part_and_keeps_its_weights() -> None:
    nodes = nodes_without_a_swarm(
        small(prompts_per_round=4, group_size=12, sampling={"max_tokens": 96}), [Local(), Frozen()]
    )
    before = [node.model.weights_digest() for node in nodes]
    records = asyncio.run(together(nodes, 0))
    after = [node.model.weights_digest() for node in nodes]
    assert decisions(records[0]) == decisions(records[1])
    assert [x == y for x, y in zip(before, after, strict=True)] == [False, True]
    assert records[1].update.tokens == 0


def test_an_experiment_names_its_policy() -> None:
    frozen = small(policy={"name": "frozen"})
    assert frozen.digest != small().digest
    assert experiment_from(frozen.resolved()) == frozen
    with Swarm(frozen, 0, task=TASK) as swarm:
        before = swarm.replicas.models[0].model.weights_digest()
        swarm.play(0)
        assert swarm.replicas.models[0].model.weights_digest() == before


def test_a_swarm_plays_the_same_over_another_exchange() -> None:
    elsewhere = small(exchange={"name": MAILBOXES}, defense=[{"name": "top-k", "k": 50}])
    assert elsewhere.digest != small(defense=[{"name": "top-k", "k": 50}]).digest
    with Swarm(elsewhere, 0, task=TASK) as swarm:
        ours = [swarm.play(index) for index in range(2)]
    with Swarm(small(defense=[{"name": "top-k", "k": 50}]), 0, task=TASK) as swarm:
        usual = [swarm.play(index) for index in range(2)]
    for here, there in zip(ours, usual, strict=True):
        assert [decisions(r) for r in here] == [decisions(r) for r in there]
        assert [r.update for r in here] == [r.update for r in there]


def test_defaults_that_came_late_do_not_change_a_digest() -> None:
    named = small(policy={"name": "local"}, exchange={"name": "memory"})
    assert named.digest == small().digest
    assert "policy" not in small().identity()


# Messages


def played_with(messages: Any) -> RoundRecord:
    """A round of node-0 in which `messages(own)` arrives."""

    class Lies:
        async def all_gather(self, round_index: int, message: Message) -> list[Any]:
            return list(messages(message))

    node = nodes_without_a_swarm(small(), [Frozen()])[0]
    node.exchange = Lies()
    return asyncio.run(play_round(node, 0))


def of_peer(own: Message, **settings: Any) -> Message:
    fields = {"sender": "node-1", "sender_index": 1, "tokenizer_digest": own.tokenizer_digest}
    return Message(**{**fields, "completions": (), **settings})


def test_an_absent_peer_is_counted_and_the_round_goes_on() -> None:
    record = played_with(lambda own: [own])
    assert record.violations == {"absent": 1, "missing": 4}
    assert len(record.judged) == 4


def test_a_peers_empty_message_is_missing_but_not_absent() -> None:
    record = played_with(lambda own: [own, of_peer(own)])
    assert record.violations == {"missing": 4}


def test_the_same_message_twice_counts_once() -> None:
    record = played_with(lambda own: [own, own, of_peer(own)])
    assert record.violations == {"duplicate-message": 1, "missing": 4}
    assert len(record.judged) == 4


@pytest.mark.parametrize(
    "envelope",
    [
        {"sender": "node-0"},  # another's name
        {"sender": "node-7"},
        {"sender_index": 0},  # another's number
        {"sender_index": -1},
        {"sender_index": 99},
    ],
)
def test_a_sender_that_the_roster_does_not_have_is_dropped(envelope: dict[str, Any]) -> None:
    record = played_with(lambda own: [of_peer(own, **envelope), own])
    assert record.violations == {"unknown-sender": 1, "absent": 1, "missing": 4}
    assert len(record.judged) == 4


@pytest.mark.parametrize(
    "envelope",
    [
        {"sender_index": "1"},
        {"sender_index": True},
        {"sender_index": 1.0},
        {"sender": 5},
        {"sender": ["node-1"]},
        {"tokenizer_digest": None},
        {"completions": None},
        {"completions": "abc"},
        {"completions": 5},
    ],
)
def test_nothing_in_an_envelope_raises(envelope: dict[str, Any]) -> None:
    record = played_with(lambda own: [own, of_peer(own, **envelope)])
    assert record.violations == {"malformed-message": 1, "absent": 1, "missing": 4}


@pytest.mark.parametrize("message", [None, 5, "node-1", {"sender": "node-1"}, ()])
def test_what_is_no_message_is_dropped(message: Any) -> None:
    record = played_with(lambda own: [message, own])
    assert record.violations == {"malformed-message": 1, "absent": 1, "missing": 4}


# What defenses and attacks are told


class Diary(Defense):
    """Writes down what it is told."""

    name = "diary"

    def start(self, node: Receiver) -> RunningDefense:
        return Writing()

    def needs(self) -> frozenset[Any]:
        return frozenset({"rewards", "rank", "entropy"})


class Writing(RunningDefense):
    def __init__(self) -> None:
        self.rounds: list[int] = []
        self.batches: list[Batch] = []
        self.records: list[RoundRecord] = []

    async def screen(self, batch: Batch, node: Receiver) -> list[Verdict]:
        self.rounds.append(batch.round)
        self.batches.append(batch)
        return [Verdict(True, 0.0) for _ in batch.received]

    async def after_round(self, record: RoundRecord) -> None:
        self.records.append(record)

    def state_dict(self) -> dict[str, Any]:
        return {"rounds": self.rounds}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.rounds = list(state["rounds"])


def with_defense(check: Defense, **settings: Any) -> Experiment:
    named = NamedDefense(label=check.name, check=check)
    return small(**settings).model_copy(update={"defense": (named,)})


def test_a_defense_gets_the_round_the_rewards_and_the_statistics_it_asks_for() -> None:
    with Swarm(with_defense(Diary()), 0, task=TASK) as swarm:
        played = [swarm.play(index) for index in range(2)]
        diary = swarm.nodes[0].defenses[0].running
    assert isinstance(diary, Writing)
    assert diary.rounds == [0, 1]
    for batch, records in zip(diary.batches, played, strict=True):
        assert list(batch.rewards) == [one.reward for one in records[0].judged]
        for one, seen in zip(batch.received, batch.statistics, strict=True):
            assert set(seen.by_name) == {"logprob", "rank", "entropy"}
            assert {len(of) for of in seen.by_name.values()} == {len(one.token_ids)}
            assert max(seen["rank"]) < 50  # honest nodes of equal weights, top_k = 50
    assert diary.records == [records[0] for records in played]


def test_statistics_that_nobody_needs_cost_no_forward_pass() -> None:
    with Swarm(small(), 0, task=TASK) as swarm:
        scored = []
        model = swarm.replicas.models[0]
        model.score = lambda *asked, **how: scored.append(asked)  # type: ignore[method-assign]
        swarm.play(0)
    assert scored == []


class Learns(Attack):
    """Sends its own samples, remembers what became of them, and what its model thinks of them."""

    name = "learns"

    def start(self) -> RunningAttack:
        return Learning()


class Learning(RunningAttack):
    def __init__(self) -> None:
        self.accepted: list[int] = []
        self.ranks: list[float] = []

    async def poison(self, own: list[Sent], turn: Turn) -> list[Sent]:
        mine = [one.completion for one in own]
        typed = Completion(mine[0].prompt_key, 0, "xyzzy")  # no ids: encoded first
        cut = replace(typed, ended=False)
        seen = await turn.score([*mine, typed, cut], ("rank",))
        assert len(seen[-1]["rank"]) == len(seen[-2]["rank"]) - 1
        self.ranks = [max(one["rank"]) for one in seen]
        return own

    async def after_round(self, record: RoundRecord) -> None:
        mine = [one for one in record.judged if one.received.sender == record.node]
        self.accepted.append(sum(one.accepted for one in mine))

    def state_dict(self) -> dict[str, Any]:
        return {"accepted": self.accepted}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.accepted = list(state["accepted"])


def test_an_attack_has_a_memory_that_checkpoints_carry_and_can_score() -> None:
    experiment = small(malicious=1, attack={"name": "honest"})
    experiment = experiment.model_copy(update={"attack": (Learns(),)})
    with Swarm(experiment, 0, task=TASK) as swarm:
        swarm.play(0)
        attack = swarm.nodes[1].attack
        assert isinstance(attack, Learning)
        assert attack.accepted == [4]
        *drawn, typed, _ = attack.ranks
        assert len(drawn) == 4
        assert max(drawn) < 50 < typed
        state = swarm.state_dict()
    with Swarm(experiment, 0, task=TASK) as resumed:
        resumed.load_state_dict(state)
        resumed.play(1)
        again = resumed.nodes[1].attack
        assert isinstance(again, Learning)
        assert again.accepted == [4, 4]


def test_a_defense_that_needs_what_is_not_offered_is_refused_at_the_start() -> None:
    class Odd(Diary):
        """Needs something that does not exist."""

        name = "odd"

        def needs(self) -> frozenset[Any]:
            return frozenset({"rnak"})

    with pytest.raises(DgrpoError, match="defense odd needs 'rnak'") as caught:
        Swarm(with_defense(Odd()), 0, task=TASK)
    assert "'rank'" in caught.value.remedy
