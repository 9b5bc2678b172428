"""Room for prompt and completion in the positions that a model was made for."""

from __future__ import annotations

import logging
from typing import Any

import pytest
import torch
from tests.policy.tiny_models import of_family

from dgrpo.errors import DgrpoError
from dgrpo.policy.model import LanguageModel, load_model
from dgrpo.policy.room import check_room, hold_rope, positions
from dgrpo.policy.sampling import SampleRequest, sample
from dgrpo.policy.scoring import ScoreItem, forward_pass
from dgrpo.policy.settings import ModelSettings, Sampling

PROMPTS = ["Question: Tom has 3 cows.\nAnswer:\n", "Q"]
DYNAMIC = {"rope_type": "dynamic", "factor": 4.0, "rope_theta": 1e4}
LONG = {
    "rope_type": "longrope",
    "short_factor": [1.0] * 4,
    "long_factor": [8.0] * 4,
    "rope_theta": 1e4,
    "original_max_position_embeddings": 48,
}
YARN = {"rope_type": "yarn", "factor": 4.0, "rope_theta": 1e4}


@pytest.fixture(scope="module")
def shipped() -> LanguageModel:
    return load_model(ModelSettings())


def changing(shipped: LanguageModel, family: str, rope: dict[str, Any]) -> LanguageModel:
    """A tiny model whose rope changes beyond 48 tokens."""
    most = 48 if rope is DYNAMIC else 256
    more = {"max_position_embeddings": most, "pad_token_id": 0}
    if family == "phi3":
        more["original_max_position_embeddings"] = 48
    return of_family(shipped, family, rope_parameters=dict(rope), **more)


@pytest.mark.parametrize(
    "family", ["gpt2", "opt", "gptj", "codegen", "ctrl", "mpt", "llama-dynamic"]
)
def test_a_completion_that_could_leave_the_positions_is_refused(
    shipped: LanguageModel, family: str
) -> None:
    sizes: dict[str, Any] = {"max_position_embeddings": 64, "ffn_dim": 16}
    if family == "llama-dynamic":
        sizes["rope_parameters"] = dict(DYNAMIC)
    if family == "mpt":
        sizes = {"max_seq_len": 64, "max_position_embeddings": None, "n_layers": 1, "n_heads": 4}
    model = of_family(shipped, family.partition("-")[0], **sizes, word_embed_proj_dim=32)
    assert positions(model) == 64
    longest = len(model.encode(PROMPTS[0]))
    check_room(model, PROMPTS, 64 - longest)
    with pytest.raises(DgrpoError, match=f"sampling.max_tokens = {65 - longest}: .* 64") as caught:
        check_room(model, PROMPTS, 65 - longest)
    assert f"at most {64 - longest}" in caught.value.remedy
    with pytest.raises(DgrpoError) as caught:
        check_room(model, ["cow " * 70], 1)
    assert "shorter prompts" in caught.value.remedy


def test_a_rotary_model_is_not_taken_beyond_its_training(
    shipped: LanguageModel, caplog: pytest.LogCaptureFixture
) -> None:
    assert positions(shipped) == 256
    longest = len(shipped.encode(PROMPTS[0]))
    with pytest.raises(DgrpoError, match=r"sampling\.max_tokens = 257: .* 256 positions") as caught:
        check_room(shipped, PROMPTS, 257)
    assert f"at most {256 - longest}" in caught.value.remedy
    with pytest.raises(DgrpoError, match="256 positions") as caught:
        check_room(shipped, ["cow " * 256], 1)
    assert "shorter prompts" in caught.value.remedy
    with caplog.at_level(logging.WARNING, "dgrpo"):
        caplog.clear()
        check_room(shipped, PROMPTS, 256 - longest)
        assert not caplog.records
        check_room(shipped, PROMPTS, 256)  # two of the experiments need it, and few get that far
    assert "less reliable" in caplog.text


def test_models_without_a_known_limit_have_room(shipped: LanguageModel) -> None:
    model = of_family(shipped, "bloom", n_layer=2, n_head=4)
    model.network.config.max_position_embeddings = None  # as it is in its configurations
    assert positions(model) is None
    check_room(model, PROMPTS, 10**6)


@pytest.mark.parametrize(
    ("rope", "most"),
    [
        (YARN, 1024),
        ({**YARN, "original_max_position_embeddings": 128}, 512),
        ({**YARN, "rope_type": "linear"}, 256),
    ],
)
def test_a_stretched_rope_has_the_room_that_it_is_stretched_to(
    shipped: LanguageModel, rope: dict[str, Any], most: int
) -> None:
    """Where the configuration says from what; a linear one counts its positions stretched."""
    config = of_family(shipped, "qwen2").network.config
    config.rope_parameters = dict(rope)
    model = LanguageModel(shipped.network.__class__(config), shipped.tokenizer)
    assert positions(model) == most


def test_a_prompt_without_tokens_is_refused(shipped: LanguageModel) -> None:
    with pytest.raises(DgrpoError, match="no tokens"):
        check_room(shipped, ["", *PROMPTS], 8)


@pytest.mark.parametrize(("family", "rope"), [("llama", DYNAMIC), ("phi3", LONG)])
def test_a_rope_that_changes_with_the_length_is_held(
    shipped: LanguageModel, family: str, rope: dict[str, Any]
) -> None:
    """Otherwise the cache holds keys of one rope, and the pass that checks them has another."""
    model = changing(shipped, family, rope)
    assert positions(model) == 48
    asked = [SampleRequest(PROMPTS[0] + "cow " * i, (i, 2)) for i in range(9)]
    settings = Sampling(max_tokens=40, top_k=4)

    def rejected_by_itself() -> int:
        drawn = sample(model, asked, settings)
        items = [ScoreItem(a.prompt_text, ids) for a, ids in zip(asked, drawn, strict=True)]
        with torch.no_grad():
            scored = forward_pass(model, items, statistics=("rank",)).statistics()
            return sum(max(s["rank"]) >= 4 for s in scored)

    assert rejected_by_itself() > 0
    model = changing(shipped, family, rope)  # as it was: a dynamic rope remembers
    hold_rope(model.network)
    assert rejected_by_itself() == 0
    together = sample(model, asked, settings)
    assert [sample(model, [one], settings)[0] for one in asked] == together
