"""A key-value cache that appends in place.

transformers' `DynamicCache` copies the whole cache for every new token; for the small models here
that copy costs more than the model. This one over-allocates and hands out views. It is used for
generation only, and only where every layer is full attention; other models keep `DynamicCache`.
"""

from __future__ import annotations

from typing import Any

import torch
from transformers import Cache, DynamicCache, PreTrainedConfig
from transformers.cache_utils import DynamicLayer

_SLACK = 32
"""Tokens of room added whenever the buffer is full."""


class AppendingLayer(DynamicLayer):  # type: ignore[no-untyped-call]
    """One layer's keys and values in buffers of (batch, heads, capacity, head size)."""

    _key_buffer: torch.Tensor
    _value_buffer: torch.Tensor

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Append (batch, heads, new, head size) and return everything seen so far, as views."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        held = self.get_seq_length()
        total = held + key_states.shape[-2]
        if held == 0:
            self._key_buffer = _with_room(key_states[..., :0, :], total)
            self._value_buffer = _with_room(value_states[..., :0, :], total)
        elif total > self._key_buffer.shape[-2]:
            self._key_buffer = _with_room(self._key_buffer[..., :held, :], total)
            self._value_buffer = _with_room(self._value_buffer[..., :held, :], total)
        self._key_buffer[..., held:total, :] = key_states
        self._value_buffer[..., held:total, :] = value_states
        self.keys = self._key_buffer[..., :total, :]
        self.values = self._value_buffer[..., :total, :]
        return self.keys, self.values

    def batch_select_indices(self, indices: torch.Tensor) -> None:
        """Keep the given rows, in that order; rows may repeat."""
        held = self.get_seq_length()
        if held:
            self._key_buffer = _with_room(self._key_buffer[indices, :, :held], held)
            self._value_buffer = _with_room(self._value_buffer[indices, :, :held], held)
            self.keys = self._key_buffer[..., :held, :]
            self.values = self._value_buffer[..., :held, :]


def all_full_attention(config: PreTrainedConfig) -> bool:
    """Whether no layer is windowed, recurrent or otherwise special."""
    text_config = config.get_text_config(decoder=True)
    return set(getattr(text_config, "layer_types", None) or ["full_attention"]) == {
        "full_attention"
    }


def generation_cache(config: PreTrainedConfig) -> Cache:
    """The appending cache where the model allows it, else transformers' own."""
    if all_full_attention(config):
        return Cache(layer_class_to_replicate=AppendingLayer)
    return DynamicCache(config=config)


def _with_room(held: torch.Tensor, tokens: int) -> torch.Tensor:
    batch, heads, length, size = held.shape
    buffer = held.new_empty(batch, heads, tokens + _SLACK, size)
    buffer[..., :length, :] = held
    return buffer
