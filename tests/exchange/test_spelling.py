"""Claimed ids are believed near the tokenizer's own encoding, and nowhere else unless asked."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache
from typing import ClassVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers.normalizers import NFC

from dgrpo.defenses.base import Receiver, RunningDefense, StatelessDefense
from dgrpo.errors import DgrpoError
from dgrpo.exchange.admission import Admission
from dgrpo.exchange.spelling import Belief, foreign_tokens
from dgrpo.experiment import Experiment, NamedDefense, experiment_from
from dgrpo.policy.model import LanguageModel, load_model
from dgrpo.policy.noise import sampling_key
from dgrpo.policy.sampling import SampleRequest, sample
from dgrpo.policy.settings import ModelSettings, Sampling
from dgrpo.records import Batch, Completion, Prompt, Verdict
from dgrpo.swarm import Swarm
from dgrpo.tasks.assignment import Assignment
from dgrpo.tasks.gsm_python import GsmPython
from dgrpo.tasks.gsm_symbolic import GsmSymbolic

PROMPT = Prompt("a", "Question: a?\nAnswer:\n", "4", "2+2=4")
TEXT = "<think> There are 4 apples. </think> <answer> 4 </answer>"


@pytest.fixture(scope="module")
def model() -> LanguageModel:
    return load_model(ModelSettings())


def letters(model: LanguageModel, text: str) -> tuple[int, ...]:
    """The text letter by letter, with an end."""
    return (*(i for letter in text for i in model.encode(letter)), model.end_id)


def received_as(
    model: LanguageModel, text: str, ids: tuple[int, ...], belief: Belief | None = None
) -> tuple[tuple[int, ...] | None, dict[str, int]]:
    """(ids that the receiver goes on with, violations) of one claim; None where it is dropped."""
    rules = Admission(Assignment("horizontal", 1, 1, 2, 0), {"a": PROMPT}, model, 96)
    if belief is not None:
        rules = Admission(rules.assignment, rules.prompts, model, 96, belief)
    claims = [Completion("a", 0, text, ids, model.ended(ids)), Completion("a", 1, "")]
    received, violations = rules.admit("node-0", 0, claims, True)
    (ours,) = [one.token_ids for one in received if one.sample == 0] or [None]
    return ours, dict(violations)


def test_a_text_spelt_letter_by_letter_is_received_in_the_receivers_own_tokens(
    model: LanguageModel,
) -> None:
    spelt = letters(model, TEXT)
    assert model.decode(spelt) == TEXT
    assert len(spelt) > 2 * len(model.encode_completion(TEXT))
    ours, violations = received_as(model, TEXT, spelt)
    assert ours == model.encode_completion(TEXT)
    assert violations == {"spelling": 1}


def test_a_defense_that_proves_ids_or_the_experiment_has_them_believed(
    model: LanguageModel,
) -> None:
    spelt = letters(model, TEXT)
    assert received_as(model, TEXT, spelt, Belief(believe="claimed")) == (spelt, {})


@cache
def cut(text: str, tokens: frozenset[str]) -> list[tuple[str, ...]]:
    """Every way to cut `text` into tokens."""
    if not text:
        return [()]
    heads = [text[:n] for n in range(1, len(text) + 1) if text[:n] in tokens]
    return [(head, *rest) for head in heads for rest in cut(text[len(head) :], tokens)]


def test_a_text_that_was_cut_off_gets_no_end_in_the_receivers_own_tokens(
    model: LanguageModel,
) -> None:
    spelt = letters(model, 2 * TEXT)[:96]
    ours, violations = received_as(model, model.decode(spelt), spelt)
    assert ours == tuple(model.encode(model.decode(spelt)))
    assert violations == {"spelling": 1}


def test_of_all_ways_to_cut_a_text_only_near_ones_are_believed(model: LanguageModel) -> None:
    vocabulary = model.tokenizer.get_vocab()
    text = "There are apples"
    ways = cut(text.replace(" ", "Ġ"), frozenset(vocabulary))
    claims = [(*(vocabulary[piece] for piece in way), model.end_id) for way in ways]
    assert len(claims) > 50
    strict = Belief(foreign_share=0.0, foreign_least=0)
    one_pair = Belief(foreign_share=0.0, foreign_least=2)
    own = model.encode_completion(text)
    assert {received_as(model, text, ids, strict)[0] for ids in claims} == {own}
    near = {received_as(model, text, ids, one_pair)[0] for ids in claims}
    assert near == {ids for ids in claims if foreign_tokens(ids, own) <= 2}
    assert 1 < len(near) < len(claims)


def test_the_same_number_of_other_tokens_is_no_way_around(model: LanguageModel) -> None:
    """A bound on the length alone would believe it."""
    vocabulary = model.tokenizer.get_vocab()
    text = "There are many apples in the box for the boys and the girls"
    own = model.encode(text)
    best: tuple[int, ...] = tuple(own)
    words = [f"Ġ{word}" if at else word for at, word in enumerate(text.split(" "))]
    pieces: list[str] = []
    for word in words:
        usual = tuple(model.tokenizer.tokenize(word.replace("Ġ", " ")))
        ways = [way for way in cut(word, frozenset(vocabulary)) if len(way) == len(usual)]
        pieces += max(ways, key=lambda way: len(set(way) - set(usual)))
    best = tuple(vocabulary[piece] for piece in pieces)
    assert len(best) == len(own)
    assert model.decode((*best, model.end_id)) == text
    foreign = foreign_tokens(best, own)
    assert foreign > 0
    belief = Belief(foreign_share=0.0, foreign_least=foreign - 1)
    ours, violations = received_as(model, text, (*best, model.end_id), belief)
    assert (ours, violations) == ((*own, model.end_id), {"spelling": 1})


def test_a_text_that_the_tokenizer_changes_is_no_way_around() -> None:
    """It is received as the tokenizer has it: text and tokens belong together."""
    normalising = load_model(ModelSettings())
    normalising.tokenizer.backend_tokenizer.normalizer = NFC()
    text = TEXT.replace("apples", "apples (5 \u212a)")
    kelvin = [i for byte in "âĦª" for i in [normalising.tokenizer.get_vocab()[byte]]]
    before, _, after = text.partition("\u212a")
    near = (*normalising.encode(before), *kelvin, *normalising.encode(after), normalising.end_id)
    spelt = (*letters(normalising, before)[:-1], *kelvin, *letters(normalising, after))
    assert normalising.decode(near) == normalising.decode(spelt) == text
    assert received_as(normalising, text, near) == (near, {})
    own = normalising.encode_completion(text)
    assert normalising.decode(own) == text.replace("\u212a", "K") != text
    rules = Admission(Assignment("horizontal", 1, 1, 2, 0), {"a": PROMPT}, normalising, 96)
    claims = [Completion("a", 0, text, spelt), Completion("a", 1, "")]
    (ours, _), violations = rules.admit("node-0", 0, claims, True)
    assert (ours.text, ours.token_ids) == (normalising.decode(own), own)
    assert violations == {"spelling": 1}


def test_spelling_the_end_token_out_or_more_than_fits_is_no_way_around(
    model: LanguageModel,
) -> None:
    """Without its letters the own encoding would hold an end inside, or be too long."""
    for text, ours in ((f"{TEXT}<|endoftext|>", TEXT), ("\ufffd" * 90, "\ufffd" * 32)):
        spelt = letters(model, text) if text.startswith(TEXT) else (*[160] * 90, model.end_id)
        if model.decode(spelt) != text:
            spelt = spelt[:96]
        received, violations = received_as(model, text, spelt)
        assert received is not None
        assert model.decode(received) == ours
        assert violations == {"spelling": 1}


@pytest.mark.parametrize("name", ["gsm-nano", "code-nano"])
def test_what_honest_nodes_sample_is_received_as_they_drew_it(name: str) -> None:
    """A receiver's own encoding would have changed a few of them."""
    model = load_model(ModelSettings(name=name))
    task = (GsmPython if name == "code-nano" else GsmSymbolic)(train=64, held_out=8).load()
    asked = [
        SampleRequest(p.text, sampling_key("honest", p.key, s)) for p in task.train for s in (0, 1)
    ]
    drawn = sample(model, asked, Sampling(top_k=20))
    for ids in drawn:
        assert received_as(model, model.decode(ids), ids) == (ids, {})
    differ = [ids for ids in drawn if model.encode_completion(model.decode(ids)) != ids]
    assert differ or name == "gsm-nano"


class Proof(StatelessDefense):
    """Accepts everything, and says that it proves ids."""

    name: ClassVar[str] = "proof"
    proves_ids: ClassVar[bool] = True

    async def screen(self, batch: Batch, node: Receiver) -> list[Verdict]:
        return [Verdict(True, 0.0) for _ in batch.received]


def small(**settings: object) -> Experiment:
    """An experiment of two nodes."""
    table = {"name": "small", "nodes": 2, "prompts_per_round": 2, "group_size": 4}
    task = {"name": "gsm-symbolic", "train": 8, "held_out": 4}
    return experiment_from({**table, "task": task, **settings})


def test_nodes_believe_what_the_experiment_says_or_all_of_it_where_a_defense_proves_it() -> None:
    knob = Belief(foreign_least=7)
    assert [n.belief for n in Swarm(small(admission=knob), 0).nodes] == [knob] * 2
    proven = small(admission=knob, defense=(NamedDefense(label="proof", check=Proof()),))
    assert [n.belief.believe for n in Swarm(proven, 0).nodes] == ["claimed"] * 2
    assert isinstance(Proof(), RunningDefense)


def test_only_a_belief_that_is_not_the_usual_one_makes_another_run() -> None:
    usual = small()
    assert "admission" not in usual.identity()
    assert small(admission={"believe": "near"}).digest == usual.digest
    assert Experiment(**usual.resolved()) == usual
    for knob in ({"believe": "claimed"}, {"foreign_share": 0.2}, {"foreign_least": 0}):
        other = small(admission=knob)
        assert other.digest != usual.digest
        assert Experiment(**other.resolved()) == other


@pytest.mark.parametrize("knob", [{"foreign_share": 0.2}, {"foreign_least": 0}])
def test_a_limit_that_nothing_reads_is_refused(knob: dict[str, float]) -> None:
    with pytest.raises(DgrpoError, match=f"admission.{next(iter(knob))} is set"):
        small(admission={"believe": "claimed", **knob})


def subsequences(of: Sequence[int]) -> Iterator[tuple[int, ...]]:
    """Every subsequence."""
    for chosen in range(2 ** len(of)):
        yield tuple(one for at, one in enumerate(of) if chosen >> at & 1)


@settings(max_examples=200)
@given(st.lists(st.integers(0, 4), max_size=8), st.lists(st.integers(0, 4), max_size=8))
def test_foreign_tokens_are_those_outside_the_longest_common_subsequence(
    claimed: list[int], own: list[int]
) -> None:
    common = max(len(one) for one in set(subsequences(claimed)) & set(subsequences(own)))
    assert foreign_tokens(claimed, own) == len(claimed) - common
