"""Load a causal language model with everything the rest needs to know about it.

A name is one of: a shipped model (`gsm-nano`), a local folder in Hugging Face format, or a name on
a model hub. The same code serves all three.
"""

from __future__ import annotations

import json
import math
from typing import Any

import torch
from transformers import AutoModelForCausalLM, PreTrainedModel
from transformers.utils.logging import disable_progress_bar

from dgrpo.errors import DgrpoError, first_line
from dgrpo.policy.cache import foreign_layers
from dgrpo.policy.language_model import LanguageModel
from dgrpo.policy.passes import TOLERANCE, check_passes
from dgrpo.policy.room import hold_rope
from dgrpo.policy.settings import ModelSettings
from dgrpo.policy.source import digest_of, loading_options, locate
from dgrpo.policy.tokenizer import FiledTokenizer
from dgrpo.policy.vocabulary import check_tokenizer, keep_to_weights

__all__ = ["LanguageModel", "digest_of", "load_model", "locate"]


def load_model(settings: ModelSettings, *, trained: bool = False) -> LanguageModel:
    """Load model and tokenizer, in evaluation mode (no dropout, in training either).

    trained: whether the weights are to be stepped, and so must be float32.

    Raises DgrpoError: no such model, a folder that is not one, no tokenizer or no end token,
    tokens without weights, weights that lack something (transformers would draw it at random) or
    are not finite, recurrent layers, unknown dtype or device, a dtype that cannot be trained in,
    and passes that differ (`passes.py`).
    """
    if trained and settings.dtype == "float16":
        raise DgrpoError(
            'model.dtype = "float16": gradients leave its range, and the weights are ruined',
            remedy='use "float32", or "bfloat16" (float32 weights, forward passes in bfloat16)',
        )
    dtype = torch.float32 if trained else getattr(torch, settings.dtype)
    disable_progress_bar()  # type: ignore[no-untyped-call]
    source = locate(settings.name)
    options = loading_options(source)
    tokenizer = _load(FiledTokenizer, source, settings.name, **options)
    check_tokenizer(tokenizer, settings.name)
    network, report = _load(
        AutoModelForCausalLM,
        source,
        settings.name,
        dtype=dtype,
        output_loading_info=True,
        **options,
    )
    if report["missing_keys"]:
        lacking = sorted(report["missing_keys"])
        raise DgrpoError(
            f"model.name = {settings.name!r}: its weights lack {lacking[0]}"
            + (f" and {len(lacking) - 1} more" if len(lacking) > 1 else ""),
            remedy="its config.json describes another model; fetch or make both again",
        )
    if foreign := foreign_layers(network):
        raise DgrpoError(
            f"model.name = {settings.name!r}: it has {foreign} layers, whose state cannot be "
            "dealt out to the completions of a prompt",
            remedy="take one of attention layers alone (Llama, Qwen2.5, Qwen3, Gemma, Mistral)",
        )
    keep_to_weights(tokenizer, network, settings.name)
    _check_finite(network, settings)
    try:
        network = network.to(settings.device)
    except (RuntimeError, AssertionError) as error:
        raise DgrpoError(
            f"model.device = {settings.device!r} cannot be used: {first_line(error)}",
            remedy='"cpu" always works; "cuda" needs a GPU build of torch',
        ) from error
    mixed = trained and settings.dtype == "bfloat16"
    model = LanguageModel(network.eval(), tokenizer, autocast=mixed)
    hold_rope(network)
    check_passes(model, settings.name)
    return model


def _check_finite(network: PreTrainedModel, settings: ModelSettings) -> None:
    for place, weights in network.named_parameters():
        if weights.dtype not in TOLERANCE or not weights.numel():
            continue
        # no mask of the weights' size: a NaN is both the least and the largest
        least, largest = weights.detach().aminmax()
        if not (math.isfinite(least) and math.isfinite(largest)):
            raise DgrpoError(
                f"model.name = {settings.name!r}: its weights hold NaN or infinity in "
                f"{settings.dtype}, first in {place}",
                remedy="fetch or make it again, or take a checkpoint from before its training blew "
                "up; float16 cannot hold numbers beyond 65504",
            )


def _load(loader: Any, source: str, name: str, **options: Any) -> Any:
    part = "tokenizer" if loader is FiledTokenizer else "model"
    try:
        return loader.from_pretrained(source, **options)
    except (OSError, ValueError, KeyError, ImportError, json.JSONDecodeError) as error:
        needed = ", tokenizer.json among them" if part == "tokenizer" else ""
        raise DgrpoError(
            f"model.name = {name!r}: the {part} cannot be loaded: {first_line(error)}",
            remedy=f"check the folder's files{needed}, or the name and your access to the hub",
        ) from error
    except Exception as error:
        # safetensors and tokenizers raise bare exceptions of their own for damaged files
        if type(error).__module__.partition(".")[0] not in (
            "safetensors",
            "safetensors_rust",
            "builtins",
            "tokenizers",
        ):
            raise
        raise DgrpoError(
            f"model.name = {name!r} has a damaged file: {error}", remedy="fetch or make it again"
        ) from error
