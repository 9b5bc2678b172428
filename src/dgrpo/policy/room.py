"""Whether prompts and completions fit into the positions that a model has learned.

Rotary models compute their positions and go on beyond what they were trained on; a table ends.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch

from dgrpo.errors import DgrpoError
from dgrpo.policy.model import LanguageModel


def learned_positions(model: LanguageModel) -> int | None:
    """Positions of a learned table, as GPT-2 has one; None without one."""
    config = model.network.config.get_text_config(decoder=True)
    positions = int(getattr(config, "max_position_embeddings", None) or 0)
    words = model.network.get_input_embeddings()
    tables = {
        module.num_embeddings
        for module in model.network.modules()
        if isinstance(module, torch.nn.Embedding) and module is not words
    }
    # tables of OPT and BioGPT begin with two rows that belong to no position
    return positions if tables & {positions, positions + 2} else None


def check_room(model: LanguageModel, prompts: Iterable[str], max_tokens: int) -> None:
    """Raise DgrpoError where the longest prompt leaves no room for `max_tokens` more."""
    positions = learned_positions(model)
    if positions is None:
        return
    longest = max(len(model.encode_prompt(text)) for text in prompts)
    if longest + max_tokens > positions:
        raise DgrpoError(
            f"sampling.max_tokens = {max_tokens}: the longest prompt has {longest} tokens, and the "
            f"model has learned {positions} positions",
            remedy=f"set sampling.max_tokens to at most {positions - longest}"
            if longest < positions
            else "take shorter prompts, or a model of longer context",
        )
