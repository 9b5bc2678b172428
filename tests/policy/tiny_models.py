"""Models of other families than the shipped ones, small and with random weights."""

from __future__ import annotations

from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM

from dgrpo.policy.model import LanguageModel


def of_family(shipped: LanguageModel, family: str, **more: Any) -> LanguageModel:
    """Two layers, two query heads per key head, sharp attention, and the shipped tokenizer."""
    sizes: dict[str, Any] = {
        "vocab_size": shipped.vocabulary,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 8,
        "max_position_embeddings": 256,
    }
    torch.manual_seed(3)
    network = AutoModelForCausalLM.from_config(AutoConfig.for_model(family, **{**sizes, **more}))
    with torch.no_grad():
        for weight in network.parameters():
            weight.mul_(3.0)
    return LanguageModel(network.eval(), shipped.tokenizer)
