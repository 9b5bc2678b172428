"""Families that a batch or a cache computes otherwise are refused, and the right ones are kept."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from tests.policy.tiny_models import of_family
from transformers import AutoConfig, AutoModelForCausalLM

from dgrpo.errors import DgrpoError
from dgrpo.policy import passes
from dgrpo.policy.model import LanguageModel, load_model
from dgrpo.policy.passes import check_passes
from dgrpo.policy.room import hold_rope
from dgrpo.policy.settings import ModelSettings

EXPERTS = {
    "num_local_experts": 4,
    "num_experts": 4,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 16,
}
LATENT = {
    "num_key_value_heads": 4,
    "q_lora_rank": 8,
    "kv_lora_rank": 8,
    "qk_rope_head_dim": 8,
    "qk_nope_head_dim": 8,
    "v_head_dim": 8,
    "n_routed_experts": 4,
    "num_experts_per_tok": 2,
    "n_group": 1,
    "topk_group": 1,
    "moe_intermediate_size": 16,
    "head_dim": 8,
}
RIGHT: list[tuple[str, dict[str, Any]]] = [
    *((family, {}) for family in ("llama", "qwen2", "qwen3", "mistral", "gemma", "gemma2")),
    *((family, {}) for family in ("gemma3_text", "cohere2", "olmo2", "granite", "cohere", "xglm")),
    *((family, {}) for family in ("gpt_neox", "gpt_bigcode", "starcoder2", "stablelm")),
    *((family, EXPERTS) for family in ("mixtral", "qwen3_moe", "gpt_oss", "olmoe")),
    *((family, {"sliding_window": 4}) for family in ("mistral", "gemma2", "gemma3_text")),
    *((family, {"pad_token_id": 0}) for family in ("phi3", "glm4", "smollm3")),
    ("gptj", {"rotary_dim": 8}),
    ("gpt2", {"n_layer": 2}),
    ("opt", {"ffn_dim": 48, "word_embed_proj_dim": 32}),
    ("bloom", {"n_layer": 2, "n_head": 4}),
    ("deepseek_v3", LATENT),
    ("bert", {"is_decoder": True}),
    ("llama", {"rope_parameters": {"rope_type": "linear", "factor": 2.0, "rope_theta": 1e4}}),
]
BART = {
    "d_model": 32,
    "decoder_layers": 2,
    "decoder_attention_heads": 4,
    "decoder_ffn_dim": 48,
    "pad_token_id": 0,
}
WRONG: list[tuple[str, dict[str, Any], str]] = [
    ("bert", {}, "depend on the tokens that follow it, as in an encoder"),
    ("electra", {}, "depend on the tokens that follow it, as in an encoder"),
    ("roberta", {"is_decoder": True}, "in a padded batch gets other scores than alone"),
    ("bart", BART, r"in a padded batch .* \(its forward pass takes no positions\)"),
    ("mbart", BART, r"in a padded batch .* \(its forward pass takes no positions\)"),
    ("openai-gpt", {"n_layer": 2}, r"token by token \(its forward pass takes no cache\)"),
]


@pytest.fixture(scope="module")
def shipped() -> LanguageModel:
    return load_model(ModelSettings())


@pytest.mark.parametrize(("family", "more"), RIGHT, ids=lambda value: str(value)[:24])
def test_families_that_compute_alike_are_kept(
    shipped: LanguageModel, family: str, more: dict[str, Any]
) -> None:
    model = of_family(shipped, family, **more)
    hold_rope(model.network)
    check_passes(model, family)
    for dtype in (torch.bfloat16, torch.float16):
        check_passes(LanguageModel(model.network.to(dtype), model.tokenizer), family)


@pytest.mark.parametrize(("family", "more", "why"), WRONG, ids=lambda value: str(value)[:24])
def test_families_that_compute_otherwise_are_refused_with_the_difference(
    shipped: LanguageModel, family: str, more: dict[str, Any], why: str
) -> None:
    model = of_family(shipped, family, **more)
    with pytest.raises(DgrpoError, match=why) as caught:
        check_passes(model, "theirs")
    assert f"model.name = 'theirs' ({family})" in caught.value.problem
    assert "decoder" in caught.value.remedy


@pytest.mark.parametrize("family", ["bert", "electra", "bart"])
def test_untrained_weights_do_not_hide_it(shipped: LanguageModel, family: str) -> None:
    """A model to be trained from scratch: its tokens hardly look at one another yet."""
    model = of_family(shipped, family, **(BART if family == "bart" else {}))
    with torch.no_grad():
        for weight in model.network.parameters():
            weight.div_(3.0)
    with pytest.raises(DgrpoError, match=r"other scores|follow"):
        check_passes(model, family)


def test_scores_that_depend_on_another_texts_length_are_refused(
    shipped: LanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Should a rope change that `hold_rope` does not know."""
    rope = {"rope_type": "dynamic", "factor": 4.0, "rope_theta": 1e4}
    model = of_family(shipped, "llama", rope_parameters=rope, max_position_embeddings=48)
    check_passes(model, "x")
    monkeypatch.setattr(passes, "positions", lambda _: 192)
    with pytest.raises(DgrpoError, match="how long the others of its batch are"):
        check_passes(model, "x")
    hold_rope(model.network)
    check_passes(of_family(shipped, "llama"), "x")


def test_a_model_that_gives_no_numbers_is_refused(shipped: LanguageModel) -> None:
    model = shipped.clone()
    with torch.no_grad():
        for weight in model.network.parameters():
            weight.mul_(1e30)
    with pytest.raises(DgrpoError, match="logits are not finite"):
        check_passes(model, "x")


def test_a_token_that_the_model_cannot_read_is_refused(shipped: LanguageModel) -> None:
    """As the place of an image may be, in a text without one."""
    model = shipped.clone()
    model.network.config.image_token_id = 1023

    def refusing(_: torch.nn.Module, args: Any, kwargs: dict[str, torch.Tensor]) -> None:
        if (kwargs["input_ids"] == 1023).any():
            raise ValueError("no image for this place")

    model.network.register_forward_pre_hook(refusing, with_kwargs=True)
    with pytest.raises(DgrpoError, match=r"</answer>.*: no image for this place"):
        check_passes(model, "x")


def test_loading_refuses_what_the_passes_show(shipped: LanguageModel, tmp_path: Path) -> None:
    config = AutoConfig.for_model(
        "bert", vocab_size=1024, hidden_size=16, num_hidden_layers=1, num_attention_heads=2
    )
    AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path)
    shipped.tokenizer.save_pretrained(tmp_path)
    with pytest.raises(DgrpoError, match="encoder"):
        load_model(ModelSettings(name=str(tmp_path)))
