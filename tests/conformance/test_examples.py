"""What the examples do beyond what every plug-in promises."""

from __future__ import annotations

from tests.conformance.named import CHORUS, REPLAY, SIGNATURE

from dgrpo.attacks import Attack
from dgrpo.conformance.stages import Drawn, Field, Receiving, poison, verdicts_of
from dgrpo.plugins import build
from dgrpo.records import Received
from dgrpo.tasks import LoadedTask


def test_the_example_defense_stops_the_example_attack_and_nothing_honest(
    node: Receiving, pools: LoadedTask, drawn: Drawn
) -> None:
    attack = build("attacks", {"name": SIGNATURE}, "attack")
    assert isinstance(attack, Attack)
    turn = Field(pools, node.model, drawn).owing(attack, "horizontal")
    claims = [("node-3", s.completion) for s in poison(attack, [], turn)]
    claims += [("node-0", drawn[slot.prompt.key, slot.sample - 2]) for slot in turn.slots]
    received = [
        Received(sender, pools.by_key[c.prompt_key], c.sample, c.text, c.token_ids)
        for sender, c in claims
    ]
    verdicts = verdicts_of(node.with_defense({"name": CHORUS}), received)
    assert [v.accepted for v in verdicts] == [one.sender == "node-0" for one in received]
    assert "'Signed, Ada.' stands under 6 of the sender's 6 prompts" in verdicts[0].reason


def test_the_example_with_a_memory_refuses_what_an_earlier_round_heard(
    node: Receiving, round_of_completions: list[Received]
) -> None:
    guard = node.with_defense({"name": REPLAY})
    first, rest = round_of_completions[:4], round_of_completions[4:]
    for received, accepted in ((first, True), (rest, True), (first, False)):
        verdicts = verdicts_of(guard, received)
        assert [v.accepted for v in verdicts] == [accepted] * len(received)
