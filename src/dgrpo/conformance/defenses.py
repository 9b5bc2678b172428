"""What every defense promises. What one may do otherwise than the rest is said here by name."""

from __future__ import annotations

import json
from collections.abc import Callable

from dgrpo.conformance.hostile import HOSTILE
from dgrpo.conformance.stages import Receiving, verdicts_of
from dgrpo.guard import Guard
from dgrpo.plugins import find
from dgrpo.records import Received

READS_CONTENT = {"judge"}
"""Defenses that reject what is false, as much of the base model's own is: they see solutions."""

MakeGuard = Callable[[], Guard]
"""Makes a guard that has just started the defense."""


def test_every_completion_gets_a_verdict_and_every_rejection_a_reason(
    guard: MakeGuard, round_of_completions: list[Received]
) -> None:
    """One verdict per completion, in their order; an accepted one has no reason."""
    for received in ([], round_of_completions[:1], round_of_completions):
        verdicts = verdicts_of(guard(), received)
        assert len(verdicts) == len(received)
        for verdict in verdicts:
            assert isinstance(verdict.score, float)
            assert verdict.accepted is (verdict.reason == "")


def test_the_same_round_gets_the_same_verdicts(
    guard: MakeGuard, round_of_completions: list[Received]
) -> None:
    """A run can be repeated: nothing of the verdicts is random."""
    first, again = (verdicts_of(guard(), round_of_completions) for _ in range(2))
    assert first == again


def test_a_verdict_does_not_depend_on_where_in_the_round_a_completion_stands(
    guard: MakeGuard, round_of_completions: list[Received]
) -> None:
    """The same round backwards has the same completions accepted."""
    forwards = verdicts_of(guard(), round_of_completions)
    backwards = verdicts_of(guard(), round_of_completions[::-1])
    assert [v.accepted for v in backwards[::-1]] == [v.accepted for v in forwards]


def test_most_of_what_the_nodes_own_model_says_is_accepted(
    name: str, guard: MakeGuard, node: Receiving, round_of_completions: list[Received]
) -> None:
    """More than half of the receiver's own samples, right and wrong ones."""
    own = [one for one in round_of_completions if one.sender == node.name]
    if find("defenses", name).name in READS_CONTENT:
        texts = [(p, node.task.write(p.solution, p.answer)) for p in node.task.train]
        encode = node.model.encode_completion
        own = [Received(node.name, p, 0, text, encode(text)) for p, text in texts]
    verdicts = verdicts_of(guard(), own)
    assert sum(v.accepted for v in verdicts) > len(own) / 2


def test_no_text_of_a_peer_makes_it_raise(guard: MakeGuard, node: Receiving) -> None:
    """Neither in a round of such texts, nor alone; the peer's name may be hostile too."""
    received = [
        Received(sender, prompt, sample, text, node.model.encode_completion(text))
        for sender in ("node-1", "../../etc", "\x1b[31m")
        for prompt in node.task.train[:2]
        for sample, text in enumerate(HOSTILE)
    ]
    assert len(verdicts_of(guard(), received)) == len(received)
    for one in received[: len(HOSTILE)]:
        assert len(verdicts_of(guard(), [one])) == 1


def test_it_goes_on_from_a_checkpoint_as_if_it_had_never_stopped(
    guard: MakeGuard, round_of_completions: list[Received]
) -> None:
    """Its `state_dict` is JSON, and holds all that its next verdicts depend on."""
    going_on, resumed = (guard() for _ in range(2))
    verdicts_of(going_on, round_of_completions)
    resumed.load_state_dict(json.loads(json.dumps(going_on.state_dict())))
    later = round_of_completions[::-1]
    assert verdicts_of(resumed, later) == verdicts_of(going_on, later)
    assert resumed.state_dict() == going_on.state_dict()
