"""A model that declares several end tokens stops at each, and a completion keeps the one it has."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
import torch
from tests.policy.tiny_models import of_family

from dgrpo.exchange.admission import Admission
from dgrpo.policy.model import LanguageModel, load_model
from dgrpo.policy.sampling import SampleRequest, sample
from dgrpo.policy.scoring import ScoreItem, forward_pass
from dgrpo.policy.settings import ModelSettings, Sampling
from dgrpo.records import Completion, Prompt
from dgrpo.tasks.assignment import Assignment

PROMPT = Prompt(
    "a", "Question: Tom has 3 cows and buys 2 more. How many has he?\nAnswer:\n", "5", "3 + 2 = 5"
)
TURN, TEXT = 0, 1024
"""The shipped model's own end, and the end token that the tokenizer of `two_ends` has instead."""


@pytest.fixture(scope="module")
def shipped() -> LanguageModel:
    return load_model(ModelSettings())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As Gemma's chat models are: the tokenizer names `<eos>`, and turns end with another token."""
    model, folder = load_model(ModelSettings()), tmp_path_factory.mktemp("two-ends")
    model.tokenizer.add_special_tokens({"eos_token": "<eos>"})
    model.network.resize_token_embeddings(TEXT + 1)
    with torch.no_grad():
        model.network.get_input_embeddings().weight[TEXT] = 0
    model.network.generation_config.eos_token_id = [TURN, TEXT]
    model.network.save_pretrained(folder)
    model.tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def two_ends(folder: Path) -> LanguageModel:
    return load_model(ModelSettings(name=str(folder)), trained=True)


def admit(model: LanguageModel, *claims: tuple[int, ...], same: bool = True) -> list[object]:
    """Per claim its ids if it is admitted, else None."""
    rules = Admission(Assignment("horizontal", 2, 1, 64, 0), {"a": PROMPT}, model, 48)
    sent = [
        Completion("a", 32 + i, model.decode(ids), ids, model.ended(ids))
        for i, ids in enumerate(claims)
    ]
    received, _ = rules.admit("peer", 1, sent, same)
    taken = {one.sample: one.token_ids for one in received}
    return [taken.get(32 + i) for i in range(len(claims))]


def test_declared_ends_are_ends(shipped: LanguageModel, two_ends: LanguageModel) -> None:
    assert (two_ends.end_id, two_ends.end_ids) == (TEXT, (TEXT, TURN))
    assert (shipped.end_id, shipped.end_ids) == (TURN, (TURN,))


def test_a_completion_stops_at_any_end(shipped: LanguageModel, two_ends: LanguageModel) -> None:
    asked = [SampleRequest(PROMPT.text, (i, 7)) for i in range(12)]
    settings = Sampling(max_tokens=96, top_k=8)
    drawn = sample(two_ends, asked, settings)
    assert drawn == sample(shipped, asked, settings)
    assert sum(ids[-1] == TURN for ids in drawn) > 6
    assert not any(set(two_ends.end_ids) & set(ids[:-1]) for ids in drawn)
    assert [two_ends.decode(ids) for ids in drawn] == [shipped.decode(ids) for ids in drawn]


def test_a_completion_is_learned_with_the_end_that_it_was_drawn_with(
    two_ends: LanguageModel,
) -> None:
    body = tuple(two_ends.encode("<answer> 5 </answer>"))
    assert admit(two_ends, (*body, TURN), (*body, TEXT)) == [(*body, TURN), (*body, TEXT)]
    written = two_ends.encode_completion("<answer> 5 </answer>")
    assert written == (*body, TEXT)
    # without ids of its own it gets the tokenizer's end
    assert admit(two_ends, (*body, TURN), same=False) == [(*body, TEXT)]
    scores = forward_pass(two_ends, [ScoreItem(PROMPT.text, (*body, e)) for e in (TURN, TEXT)])
    assert (scores.logprobs[0, :-1] == scores.logprobs[1, :-1]).all()
    assert scores.logprobs[0, -1] > scores.logprobs[1, -1]


@pytest.mark.parametrize("same", [True, False])
@pytest.mark.parametrize("early", [TURN, TEXT])
def test_no_end_stands_within_a_text(two_ends: LanguageModel, early: int, same: bool) -> None:
    body = tuple(two_ends.encode("5 </answer>"))
    for last in (TURN, TEXT):
        assert admit(two_ends, (*body, early, *body, last), same=same) == [None]
        assert admit(two_ends, (*body, early, last), same=same) == [None]


def test_the_tokenizers_digest_names_the_ends_and_stays_as_it_was_with_one(
    shipped: LanguageModel, two_ends: LanguageModel
) -> None:
    """Committed runs hold digests of models with one end."""

    def of_one(model: LanguageModel) -> str:
        backend = model.tokenizer.backend_tokenizer.to_str()
        return hashlib.sha256(f"{backend}\x1f{model.end_id}".encode()).hexdigest()[:16]

    assert shipped.tokenizer_digest == of_one(shipped)
    assert two_ends.tokenizer_digest != of_one(two_ends)
    alone = two_ends.clone()
    alone.network.generation_config.eos_token_id = TEXT
    alone.network.config.eos_token_id = TEXT
    assert alone.tokenizer_digest == of_one(two_ends)


def test_an_end_that_is_ordinary_text_is_none(shipped: LanguageModel) -> None:
    """Llama's configuration says 2 where nothing is given; 2 is a letter for most tokenizers."""
    model = of_family(shipped, "llama")
    assert model.network.config.eos_token_id == 2
    assert shipped.decode((2,)).strip()
    assert model.end_ids == (TURN,)


def test_an_end_that_is_text_as_well_stays_in_the_text(shipped: LanguageModel) -> None:
    """Someone lets a model stop at `</answer>`: rewards must still see the tag."""
    model = shipped.clone()
    closing = shipped.tokenizer.convert_tokens_to_ids("</answer>")
    model.network.generation_config.eos_token_id = [TURN, closing]
    text = "<answer> 5 </answer>"
    ids = model.encode_completion(text)
    assert ids[-1] == closing
    assert model.decode(ids) == text
    assert admit(model, ids) == admit(model, ids, same=False) == [ids]
    letters = tuple(i for letter in "<answer> 5 </answer" for i in model.encode(letter))
    spelt = (*letters, *model.encode(">"), TURN)
    assert model.decode(spelt) == text
    assert admit(model, spelt) == [ids]  # in its own tokens, with the tag
    assert model.encode_completion("<answer> 5")[-1] == TURN
    asked = [SampleRequest(PROMPT.text, (i, 7)) for i in range(4)]
    drawn = sample(model, asked, Sampling(max_tokens=96, top_k=8))
    assert closing in {ids[-1] for ids in drawn}
    assert not any(closing in ids[:-1] for ids in drawn)


def test_ends_that_the_weights_lack_are_none(shipped: LanguageModel) -> None:
    model = shipped.clone()
    model.network.generation_config.eos_token_id = [TURN, 1024, -1]
    assert model.end_ids == (TURN,)
    model.network.generation_config = None
    assert model.end_ids == (TURN,)
