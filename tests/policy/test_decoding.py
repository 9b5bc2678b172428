"""Decoding with shared prompts gives what decoding with repeated prompts gives."""

from __future__ import annotations

import pytest
import torch
from tests.policy.tiny_models import of_family
from transformers import Gemma2Config

from dgrpo.policy.cache import all_full_attention
from dgrpo.policy.decoding import (
    PLAIN_ATTENTION,
    Decoder,
    RepeatedPrompts,
    SharedPrompts,
    start_decoding,
)
from dgrpo.policy.model import LanguageModel, load_model
from dgrpo.policy.padding import PaddedPrompts
from dgrpo.policy.settings import ModelSettings

PROMPTS = ["Question: Tom has 3 cows.\nAnswer:\n", "Q", "Question: 12 pens cost 4 dollars.\n"]
SPREAD = [2, 0, 0, 1, 0, 2, 0, 0]
"""Five completions of one prompt, one of another, two of the third, in no order."""


@pytest.fixture(scope="module")
def shipped() -> LanguageModel:
    return load_model(ModelSettings())


@torch.inference_mode()
def played(model: LanguageModel, decoder: type[Decoder]) -> list[torch.Tensor]:
    """Logits of six steps; from the third on two prompts have rows, from the fifth a single one."""
    spread = torch.tensor(SPREAD)
    going = decoder(model, PaddedPrompts.of(model, PROMPTS), spread)  # type: ignore[call-arg]
    seen, rows = [going.opening], torch.arange(len(SPREAD))
    for step in range(6):
        if step in (2, 4):
            kept = torch.tensor([5, 4, 1, 0]) if step == 2 else torch.tensor([1])
            rows = rows[kept]
            going.keep(kept)
        seen.append(going.step(7 * rows + 11 * step + 5))
    return seen


@pytest.mark.parametrize("family", PLAIN_ATTENTION)
def test_shared_prompts_give_the_logits_of_repeated_ones(
    shipped: LanguageModel, family: str
) -> None:
    model = of_family(shipped, family)
    shared, repeated = played(model, SharedPrompts), played(model, RepeatedPrompts)
    assert [len(logits) for logits in shared] == [8, 8, 8, 4, 4, 1, 1]
    for ours, theirs in zip(shared, repeated, strict=True):
        assert torch.allclose(ours, theirs, atol=1e-4)
    # rows of one prompt differ, and so do prompts: otherwise a wrong row would not be noticed
    assert (shared[2][1] - shared[2][2]).abs().max() > 0.1
    assert (shared[0][0] - shared[0][1]).abs().max() > 0.1


def test_the_network_attends_as_before_when_decoding_is_over(shipped: LanguageModel) -> None:
    before = shipped.network.config._attn_implementation
    ids = torch.tensor([[5, 6, 7]])
    with torch.inference_mode():
        logits = shipped.network(input_ids=ids).logits
        played(shipped, SharedPrompts)
        assert shipped.network.config._attn_implementation == before
        assert torch.equal(shipped.network(input_ids=ids).logits, logits)


@pytest.mark.parametrize("family", PLAIN_ATTENTION)
def test_known_families_share_their_prompts(shipped: LanguageModel, family: str) -> None:
    model = of_family(shipped, family)
    prompts = PaddedPrompts.of(model, PROMPTS)
    with torch.inference_mode():
        assert isinstance(start_decoding(model, prompts, torch.tensor(SPREAD)), SharedPrompts)


def test_attention_with_caps_or_windows_is_left_to_transformers(shipped: LanguageModel) -> None:
    assert Gemma2Config().attn_logit_softcapping  # why the family must not be shared
    capped = of_family(shipped, "gemma2", layer_types=["full_attention"] * 2)
    assert all_full_attention(capped.network.config)  # its caps alone keep it out
    windowed = of_family(
        shipped,
        "qwen2",
        use_sliding_window=True,
        sliding_window=12,
        layer_types=["full_attention", "sliding_attention"],
    )
    for model in (capped, windowed):
        prompts = PaddedPrompts.of(model, PROMPTS)
        with torch.inference_mode():
            decoder = start_decoding(model, prompts, torch.tensor(SPREAD))
        assert isinstance(decoder, RepeatedPrompts)
