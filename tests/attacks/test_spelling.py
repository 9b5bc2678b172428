"""Spelling: the text is the right solution, only its tokens are others."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest
from tests.attacks.turns import poison

from dgrpo.attacks.base import Turn
from dgrpo.attacks.spelling import Order, Pieces, Speller, Spelling
from dgrpo.exchange.spelling import USUAL, foreign_tokens
from dgrpo.experiment import Experiment, experiment_from
from dgrpo.policy.model import LanguageModel, load_model
from dgrpo.policy.settings import ModelSettings
from dgrpo.records import Sent
from dgrpo.swarm import Swarm
from dgrpo.tasks.assignment import Slot
from dgrpo.tasks.base import LoadedTask
from dgrpo.tasks.gsm_symbolic import GsmSymbolic

TEXT = "<think> There are 34 girls and 12 boys: 34+12=46. </think> <answer> 46 </answer>"
PIECES: tuple[Pieces, ...] = ("letters", "halves")


@pytest.fixture(scope="module")
def model() -> LanguageModel:
    return load_model(ModelSettings())


@pytest.fixture(scope="module")
def task() -> LoadedTask:
    return GsmSymbolic(train=16, held_out=4).load()


def respelt(
    model: LanguageModel, pieces: Pieces, most: int = 96, first: Order = "opening"
) -> tuple[int, ...]:
    """The text in other tokens."""
    ids, foreign = Speller(model, pieces, first).respell(TEXT, 96, most, Random(0))
    assert foreign == foreign_tokens(ids[:-1], model.encode(TEXT)) > 0
    return ids


@pytest.mark.parametrize("pieces", PIECES)
def test_the_text_is_kept_and_the_tokens_are_others(model: LanguageModel, pieces: Pieces) -> None:
    own, ids = model.encode_completion(TEXT), respelt(model, pieces)
    assert model.decode(ids) == TEXT
    assert foreign_tokens(ids, own) > len(own) / 4
    assert (ids[-1], ids.count(model.end_id)) == (model.end_id, 1)


def test_letters_are_single_characters_as_far_as_the_room_goes(model: LanguageModel) -> None:
    assert len(respelt(model, "letters")) == len(TEXT) + 1
    narrow = len(model.encode_completion(TEXT)) + 4
    ids, _ = Speller(model, "letters", "opening").respell(TEXT, narrow, 96, Random(0))
    assert len(model.encode_completion(TEXT)) < len(ids) <= narrow


@pytest.mark.parametrize("pieces", PIECES)
@pytest.mark.parametrize("first", ["opening", "closing", "random"])
def test_a_completion_gets_no_more_foreign_tokens_than_it_may(
    model: LanguageModel, pieces: Pieces, first: Order
) -> None:
    ids = respelt(model, pieces, 5, first)
    assert 0 < foreign_tokens(ids[:-1], model.encode(TEXT)) <= 5
    assert Speller(model, pieces, first).respell(TEXT, 96, 0, Random(0)) == ((), 0)


def test_it_begins_at_the_end_that_it_is_told_to(model: LanguageModel) -> None:
    own = model.encode(TEXT)
    begun = respelt(model, "halves", 4, "opening")
    ended = respelt(model, "halves", 4, "closing")
    assert tuple(own[-20:]) == begun[-21:-1]
    assert begun[:3] != ended[:3] == tuple(own[:3])


def sent(model: LanguageModel, task: LoadedTask, attack: Spelling, key: str) -> list[Sent]:
    """What it sends as two samples of each of four prompts."""
    slots = tuple(Slot(prompt, sample) for prompt in task.train[:4] for sample in (0, 1))
    turn = Turn(0, "horizontal", slots, task, ("node-3",), key, max_tokens=200, model=model)
    turn = replace(turn, count_tokens=lambda text: len(model.encode_completion(text)))
    return poison(attack, [], turn)


def test_it_sends_the_datasets_solutions(model: LanguageModel, task: LoadedTask) -> None:
    for one in sent(model, task, Spelling(), "key"):
        prompt = task.by_key[one.completion.prompt_key]
        assert one.label == "poisoned"
        assert one.completion.text == task.write(prompt.solution, prompt.answer)
        assert model.decode(one.completion.token_ids) == one.completion.text


def test_at_random_places_the_turns_key_decides(model: LanguageModel, task: LoadedTask) -> None:
    attack = Spelling(pieces="halves", first="random", evasive=True)
    first, again, other = (sent(model, task, attack, key) for key in ("a", "a", "b"))
    assert first == again
    assert [one.completion.text for one in other] == [one.completion.text for one in first]
    assert [one.completion.token_ids for one in other] != [o.completion.token_ids for o in first]


@pytest.mark.parametrize("pieces", PIECES)
def test_an_evasive_one_sends_what_receivers_believe_and_as_much_as_that(
    model: LanguageModel, task: LoadedTask, pieces: Pieces
) -> None:
    completions = [o.completion for o in sent(model, task, Spelling(evasive=True), "key")]
    own = [model.encode(one.text) for one in completions]
    foreign = sum(
        foreign_tokens(c.token_ids[:-1], o) for c, o in zip(completions, own, strict=True)
    )
    allowed = USUAL.allowed(sum(map(len, own)))
    assert allowed - 4 < foreign <= allowed
    swarm = Swarm(attacked(attack={"name": "spelling", "evasive": True, "pieces": pieces}), 0)
    (record, _) = swarm.play(0)
    assert record.violations == {}


def attacked(**settings: object) -> Experiment:
    """One round of one malicious node of two."""
    return experiment_from(
        {
            "name": "spelt",
            "nodes": 2,
            "malicious": 1,
            "prompts_per_round": 2,
            "group_size": 4,
            "rounds": 1,
            "attack": {"name": "spelling"},
            "task": {"name": "gsm-symbolic", "train": 8, "held_out": 4},
            "evaluation": {"samples": 1, "final_samples": 1},
            **settings,
        }
    )


def test_by_default_receivers_learn_the_text_in_their_own_tokens() -> None:
    swarm = Swarm(attacked(), 0)
    (record, _) = swarm.play(0)
    model = swarm.nodes[0].model
    peer = [one.received for one in record.judged if one.received.sender == "node-1"]
    assert record.violations == {"spelling": len(peer)} == {"spelling": 4}
    assert all(one.token_ids == model.encode_completion(one.text) for one in peer)


def test_a_receiver_that_believes_all_claims_learns_the_letters() -> None:
    swarm = Swarm(attacked(admission={"believe": "claimed"}), 0)
    (record, _) = swarm.play(0)
    model = swarm.nodes[0].model
    peer = [one.received for one in record.judged if one.received.sender == "node-1"]
    assert record.violations == {}
    for one in peer:
        assert len(one.token_ids) > 1.5 * len(model.encode_completion(one.text))
