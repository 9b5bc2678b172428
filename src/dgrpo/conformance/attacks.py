"""What every attack promises, with the dataset's oracle and voting where it can.

What an attack may do otherwise than the rest is said here by name.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import replace
from random import Random

import pytest

from dgrpo.attacks import Attack, RewardedAttack
from dgrpo.conformance.hostile import HOSTILE
from dgrpo.conformance.stages import MAX_TOKENS, Fields, poison
from dgrpo.exchange.admission import Admission
from dgrpo.records import (
    Completion,
    Judged,
    Prompt,
    Received,
    RoundRecord,
    UpdateStats,
    Verdict,
)
from dgrpo.tasks import LoadedTask
from dgrpo.tasks.assignment import Assignment, Slot, Topology

SENDS_NOTHING = {"silent"}
"""Attacks that send no completion at all; every other one sends all that it owes."""
SPELLS_OTHERWISE = {"spelling"}
"""Attacks whose texts are received, and whose ids are not believed."""

both_topologies = pytest.mark.parametrize("topology", ["horizontal", "vertical"])


@both_topologies
def test_it_is_not_refused_where_it_can_work(
    attack: Attack, topology: Topology, fields: Fields
) -> None:
    """`check` accepts a task whose solutions hold 2+2=4, or one of programs."""
    attack.check(fields(attack).task, topology, 4)


@both_topologies
def test_it_sends_exactly_the_samples_it_owes(
    attack: Attack, topology: Topology, fields: Fields
) -> None:
    """One completion per slot of the turn, in the order of the slots."""
    field = fields(attack)
    turn = field.owing(attack, topology)
    sent = poison(attack, field.own(attack, turn), turn)
    owed = [] if attack.name in SENDS_NOTHING else [(s.prompt.key, s.sample) for s in turn.slots]
    assert [(s.completion.prompt_key, s.completion.sample) for s in sent] == owed


@both_topologies
def test_its_labels_say_what_it_sent(attack: Attack, topology: Topology, fields: Fields) -> None:
    """Poison is right and shows the attack, decoys are wrong, the rest is the model's own."""
    field = fields(attack)
    turn = field.owing(attack, topology)
    own = field.own(attack, turn)
    sent = poison(attack, own, turn)
    for one in sent:
        prompt, text = field.task.by_key[one.completion.prompt_key], one.completion.text
        if one.label == "honest":
            assert one in own
        else:
            assert field.task.reward(prompt, text) == float(one.label == "poisoned")
        if one.label == "poisoned":
            assert attack.succeeded(prompt, text) is not False
    labels = {one.label for one in sent}
    if isinstance(attack, RewardedAttack):
        assert "poisoned" in labels
        assert ("decoy" in labels) is (topology == "vertical")


@both_topologies
def test_receivers_admit_all_that_it_sends(
    attack: Attack, topology: Topology, fields: Fields
) -> None:
    """Ids that decode to the text, not too long, of a prompt and a sample that it owes."""
    field = fields(attack)
    turn = field.owing(attack, topology)
    sent = poison(attack, field.own(attack, turn), turn)
    nodes, prompts = (2, 6) if topology == "horizontal" else (4, 24)
    assignment = Assignment(topology, nodes, prompts, 4, seed=0)
    admission = Admission(assignment, field.task.by_key, field.model, MAX_TOKENS)
    claims = [one.completion for one in sent]
    admitted, violations = admission.admit("node", 1, claims, same_tokenizer=True)
    if attack.name in SPELLS_OTHERWISE:
        assert violations.pop("spelling") == sum(one.label == "poisoned" for one in sent)
    missing = 0 if sent else len(turn.slots)
    assert violations == ({"missing": missing} if missing else {})
    assert len(admitted) == len(sent)


@both_topologies
def test_the_turns_key_decides_everything_it_sends(
    attack: Attack, topology: Topology, fields: Fields
) -> None:
    """A run can be repeated: whatever is random is drawn from the turn's key."""
    field = fields(attack)
    turns = [field.owing(attack, topology, key) for key in ("a", "a", "b")]
    first, again, other = (poison(attack, field.own(attack, t), t) for t in turns)
    assert turns[0] == turns[1]
    assert first == again
    assert len(other) == len(first)


def test_an_attack_goes_on_from_a_checkpoint_as_if_it_had_never_stopped(
    attack: Attack, fields: Fields
) -> None:
    """Its `state_dict` is JSON, and holds what it learned from a round whose poison was refused."""
    field = fields(attack)
    turn = field.owing(attack, "horizontal")
    own = field.own(attack, turn)
    going_on, resumed = attack.start(), attack.start()

    async def refused_round() -> None:
        sent = await going_on.poison(own, turn)
        await going_on.after_round(refusal(field.task, [one.completion for one in sent]))

    asyncio.run(refused_round())
    resumed.load_state_dict(json.loads(json.dumps(going_on.state_dict())))
    later = replace(turn, round=1, key="later")
    first, second = (asyncio.run(one.poison(own, later)) for one in (going_on, resumed))
    assert first == second
    assert resumed.state_dict() == going_on.state_dict()


def refusal(task: LoadedTask, claims: Sequence[Completion]) -> RoundRecord:
    """A round of the attacker's own node that rejects all of its completions."""
    judged = []
    for claim in claims:
        prompt = task.by_key[claim.prompt_key]
        received = Received("node-1", prompt, claim.sample, claim.text, claim.token_ids)
        verdict = Verdict(accepted=False, score=1.0, reason="all is refused")
        judged.append(Judged(received, {"all": verdict}, False, 0.0, None))
    update = UpdateStats(loss=0.0, gradient_norm=0.0, tokens=0)
    return RoundRecord("node-1", 0, tuple(judged), {}, 0, update, None)


@both_topologies
@pytest.mark.parametrize("slots", [0, 1])
def test_it_can_owe_nothing_or_one_completion(
    attack: Attack, topology: Topology, slots: int, fields: Fields
) -> None:
    """A turn may have few slots."""
    field = fields(attack)
    turn = field.turn([Slot(field.task.train[0], 0)][:slots], topology)
    sent = poison(attack, field.own(attack, turn), turn)
    assert len(sent) == (0 if attack.name in SENDS_NOTHING else slots)


@both_topologies
def test_what_its_own_model_says_never_makes_it_raise(
    attack: Attack, topology: Topology, fields: Fields
) -> None:
    """Its model's samples may be any text, and never change what it owes."""
    task = fields(attack).task
    right = task.write("right", task.train[0].answer)
    for text in (*HOSTILE, task.write("", ""), task.write("", "4"), right):
        field = fields(attack).saying(text)
        turn = field.owing(attack, topology)
        sent = poison(attack, field.own(attack, turn), turn)
        assert len(sent) == (0 if attack.name in SENDS_NOTHING else len(turn.slots))
        for one in sent:
            if one.label != "honest" and getattr(attack, "oracle", "") != "majority-vote":
                reward = task.reward(task.by_key[one.completion.prompt_key], one.completion.text)
                assert reward == float(one.label == "poisoned")


@both_topologies
def test_without_the_oracle_nothing_it_sends_depends_on_answers_and_solutions(
    voter: Attack, topology: Topology, fields: Fields
) -> None:
    """Other answers and solutions in the pools, and it sends the same."""
    field = fields(voter)
    turn = field.owing(voter, topology)
    own = field.own(voter, turn)

    def forged(prompt: Prompt) -> Prompt:
        return replace(prompt, answer="31337", solution="So 2+2=4 and print(31337)")

    async def draw(prompts: Sequence[Prompt], count: int) -> dict[str, list[Completion]]:
        return await field.draw([field.task.by_key[p.key] for p in prompts], count)

    train, held_out = (tuple(map(forged, of)) for of in (field.task.train, field.task.held_out))
    usual = field.task.train[:6]
    chosen = voter.start().choose_prompts(field.task.train, 6, usual, Random("key"))
    without = voter.start().choose_prompts(train, 6, train[:6], Random("key"))
    assert without == list(map(forged, chosen))
    forged_turn = replace(
        turn,
        task=replace(field.task, train=train, held_out=held_out),
        slots=tuple(replace(slot, prompt=forged(slot.prompt)) for slot in turn.slots),
        draw=draw,
    )
    assert poison(voter, own, forged_turn) == poison(voter, own, turn)


@both_topologies
def test_a_prompt_that_the_model_never_answers_gets_its_own_samples(
    voter: Attack, topology: Topology, fields: Fields
) -> None:
    """Without an answer to vote on there is nothing to poison."""
    field = fields(voter).saying("I do not know.")
    turn = field.owing(voter, topology)
    own = field.own(voter, turn)
    assert poison(voter, own, turn) == own


@pytest.mark.parametrize("count", [0, 1, 6])
def test_it_chooses_as_many_prompts_as_it_may(attack: Attack, count: int, fields: Fields) -> None:
    """In vertical it chooses prompts of the pool, each once, and the same for the same seed."""
    pools = fields(attack).task
    usual = list(pools.train[:count])
    chosen, again = (
        attack.start().choose_prompts(pools.train, count, usual, Random("key")) for _ in range(2)
    )
    assert chosen == again
    assert len({p.key for p in chosen}) == len(chosen) == count
    assert set(chosen) <= set(pools.train)


def test_no_text_makes_its_measure_raise(attack: Attack, fields: Fields) -> None:
    """Rates lie between 0 and 1, and are None where nothing was measured."""
    task = fields(attack).task
    for text in HOSTILE:
        assert attack.succeeded(task.train[0], text) in (True, False, None)
    assert attack.succeeded(task.train[0], "") is not True
    assert attack.succeeded(Prompt("key", "", "", ""), "") is not True
    rates = attack.measure(task, [(task.train[0], text) for text in HOSTILE])
    assert all(rate is None or 0 <= rate <= 1 for rate in rates.values())
    assert set(attack.measure(task, [])) == set(rates)
    assert set(attack.measure(task, []).values()) == {None}


def test_the_oracles_clean_solution_is_no_success(attack: Attack, fields: Fields) -> None:
    """Its measure finds nothing in the completions of an honest oracle."""
    task = fields(attack).task
    for prompt in task.train:
        clean = task.write(prompt.solution, prompt.answer)
        assert attack.succeeded(prompt, clean) is not True
    clean_pairs = [(p, task.write(p.solution, p.answer)) for p in task.train]
    assert not attack.measure(task, clean_pairs)[""]


def test_it_is_measured_on_held_out_prompts_or_on_some_of_them(
    attack: Attack, fields: Fields
) -> None:
    """`measured_on` selects, and adds nothing."""
    held_out = fields(attack).task.held_out
    assert set(attack.measured_on(held_out)) <= set(held_out)
    assert list(attack.measured_on(())) == []
