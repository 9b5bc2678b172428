"""Whatever a peer writes, the tokenizer can encode it and the weights can read it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from transformers import PreTrainedTokenizerFast

from dgrpo.errors import DgrpoError
from dgrpo.exchange.admission import Admission
from dgrpo.policy.model import load_model
from dgrpo.policy.scoring import ScoreItem, forward_pass
from dgrpo.policy.settings import SHIPPED, ModelSettings
from dgrpo.policy.vocabulary import check_tokenizer
from dgrpo.records import Completion, Prompt
from dgrpo.tasks.assignment import Assignment

PROMPT = Prompt("a", "Q\n", "5", "3 + 2 = 5")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the shipped model, whose tokenizer is to be changed."""
    return Path(shutil.copytree(SHIPPED / "gsm-nano", tmp_path / "copy"))


def add_token(folder: Path, role: str = "additional_special_tokens") -> None:
    """As people add `[PAD]` to Llama-2, without rows for it."""
    tokenizer = load_model(ModelSettings(name=str(folder))).tokenizer
    token = "[PAD]" if role != "additional_special_tokens" else ["[PAD]"]
    tokenizer.add_special_tokens({role: token})
    tokenizer.save_pretrained(folder)


def refusal(folder: Path) -> str:
    with pytest.raises(DgrpoError) as caught:
        load_model(ModelSettings(name=str(folder)))
    assert f"model.name = {str(folder)!r}" in caught.value.problem
    return str(caught.value)


@pytest.mark.parametrize("role", ["additional_special_tokens", "pad_token"])
def test_an_added_token_without_weights_becomes_plain_text(folder: Path, role: str) -> None:
    add_token(folder, role)
    model = load_model(ModelSettings(name=str(folder)), trained=True)
    shipped = load_model(ModelSettings())
    text = "[PAD] hi[PAD]"
    assert model.encode(text) == shipped.encode(text)
    assert model.tokenizer_digest == shipped.tokenizer_digest
    rules = Admission(Assignment("horizontal", 2, 1, 8, 0), {"a": PROMPT}, model, 48)
    sent = [
        Completion("a", 4, text),
        Completion("a", 5, "hi", (1024, *model.encode_completion("hi"))),
        Completion("a", 6, text, (1024, *model.encode(" hi"), 1024, 0)),
    ]
    received, violations = rules.admit("peer", 1, sent, same_tokenizer=True)
    assert [one.sample for one in received] == [4]
    assert violations["ids-mismatch"] == 2
    items = [ScoreItem(PROMPT.text, one.token_ids) for one in received]
    assert torch.isfinite(forward_pass(model, items).logprobs).all()


def test_a_token_of_the_vocabulary_without_weights_is_refused(folder: Path) -> None:
    table = json.loads((folder / "tokenizer.json").read_text())
    table["model"]["vocab"]["Ġcowboy"] = 1024
    (folder / "tokenizer.json").write_text(json.dumps(table))
    told = refusal(folder)
    assert "the id 1024" in told
    assert "1024 rows" in told
    assert "resize_token_embeddings" in told


def test_an_end_token_without_weights_is_refused(folder: Path) -> None:
    add_token(folder, "eos_token")
    assert "'[PAD]' the id 1024" in refusal(folder)


def test_a_tokenizer_that_raises_at_unknown_characters_is_refused() -> None:
    words = Tokenizer(WordLevel({"</s>": 0, "cow": 1, "a": 2, "[UNK]": 3}))
    words.pre_tokenizer = Whitespace()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, eos_token="</s>")
    with pytest.raises(DgrpoError, match=r"'theirs': .* cannot encode every text") as caught:
        check_tokenizer(tokenizer, "theirs")
    assert "unk_token" in caught.value.remedy
    words.model.unk_token = "[UNK]"
    check_tokenizer(PreTrainedTokenizerFast(tokenizer_object=words, eos_token="</s>"), "theirs")


@pytest.mark.parametrize("rows", [0, 64])
def test_every_id_that_is_admitted_can_be_computed(rows: int) -> None:
    """With rows beyond the tokenizer too, which no text has."""
    model = load_model(ModelSettings()).clone()
    model.network.resize_token_embeddings(1024 + rows)
    assert model.text_ids == frozenset(range(1024))
    whole = tuple(sorted(model.text_ids))
    items = [ScoreItem(PROMPT.text, whole[i : i + 64]) for i in range(0, 1024, 64)]
    with torch.no_grad():
        assert torch.isfinite(forward_pass(model, items).logprobs).all()
