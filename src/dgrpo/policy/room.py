"""How long a text may be for a model, and whether prompts and completions fit.

A table of positions ends. Rotary models compute positions and go on beyond those that they
were trained on, but not well. A rope that changes with a text's length (dynamic, longrope) would
change tokens that are in the cache already; it is held as it is for short texts.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any

import torch
from transformers import PreTrainedModel

from dgrpo.errors import DgrpoError
from dgrpo.policy.language_model import LanguageModel

_log = logging.getLogger(__name__)
_CHANGING = ("dynamic", "longrope")
"""Kinds of rope whose frequencies depend on the longest text of a batch."""
_STRETCHED = ("linear", "yarn")
"""Kinds of rope whose factor multiplies the original positions, where a configuration gives these.
Its `max_position_embeddings` may count before or after."""

_HARD = ("max_seq_len", "max_target_positions")
"""What MPT and Whisper call their positions; both raise beyond."""


def positions(model: LanguageModel) -> int | None:
    """Positions that the model was made for, prompt and completion together; None: no limit."""
    config = model.network.config.get_text_config(decoder=True)
    limits = [int(getattr(config, name, None) or 0) for name in ("max_position_embeddings", *_HARD)]
    for rope in _ropes(config):
        kind = rope.get("rope_type")
        given = getattr(config, "original_max_position_embeddings", None)
        original = int(rope.get("original_max_position_embeddings") or given or 0)
        if kind in _CHANGING:
            return original or limits[0] or None
        if kind in _STRETCHED:
            limits.append(int(original * (rope.get("factor") or 1)))
    return max(limits) or None


def hold_rope(network: PreTrainedModel) -> None:
    """Keep the frequencies of short texts where transformers would change them with the length."""
    for module in network.modules():
        kinds: Any = getattr(module, "rope_type", None)
        held: Any = None
        if isinstance(kinds, dict):
            held = {
                layer: "default" if kind in _CHANGING else kind for layer, kind in kinds.items()
            }
        elif kinds in _CHANGING:
            held = "default"
        if held:
            module.rope_type = held


def check_room(model: LanguageModel, prompts: Iterable[str], max_tokens: int) -> None:
    """Raise DgrpoError if prompts or completions do not fit into the model's positions.

    Completions of a plain rotary model may end beyond them, with a warning, if prompts do not.
    """
    lengths = [len(model.encode_prompt(text)) for text in prompts]
    if not min(lengths):
        raise DgrpoError(
            "a prompt has no tokens: nothing predicts its completion's first token",
            remedy="give the prompt a text",
        )
    most, longest = positions(model), max(lengths)
    if most is None or longest + max_tokens <= most:
        return
    told = (
        f"sampling.max_tokens = {max_tokens}: the longest prompt has {longest} tokens, and the "
        f"model is made for {most} positions"
    )
    remedy = (
        f"set sampling.max_tokens to at most {most - longest}"
        if longest < most
        else "take shorter prompts, or a model of longer context"
    )
    if longest >= most or max_tokens > most or _ends_there(model, most):
        raise DgrpoError(told, remedy=remedy)
    _log.warning("%s; what lies beyond them is less reliable: %s", told, remedy)


def _ends_there(model: LanguageModel, most: int) -> bool:
    """Whether nothing is right beyond: a table ends, a changing rope changes."""
    config = model.network.config.get_text_config(decoder=True)
    if most in [getattr(config, name, None) for name in _HARD]:
        return True
    if any(rope.get("rope_type") in _CHANGING for rope in _ropes(config)):
        return True
    words = model.network.get_input_embeddings()
    tables = {
        module.num_embeddings
        for module in model.network.modules()
        if isinstance(module, torch.nn.Embedding) and module is not words
    }
    # sines and cosines that were computed beforehand, as GPT-J and CTRL have them
    tables |= {
        len(tensor)
        for module in model.network.modules()
        for tensor in (*module._buffers.values(), *vars(module).values())
        if isinstance(tensor, torch.Tensor) and tensor.dim() > 1
    }
    # tables of OPT and BioGPT begin with two rows that belong to no position
    return bool(tables & {most, most + 2})


def _ropes(config: Any) -> list[dict[str, Any]]:
    """The settings of each rope: one, or one per kind of layer."""
    settings = getattr(config, "rope_parameters", None) or {}
    if "rope_type" in settings:
        return [settings]
    return [rope for rope in settings.values() if isinstance(rope, dict)]
