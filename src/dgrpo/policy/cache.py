"""A key-value cache that appends in place.

transformers' `DynamicCache` copies the whole cache for every new token; for the small models here
that copy costs more than the model. This one over-allocates and hands out views. It is used for
generation only, and only where every layer is full attention; windowed models keep `DynamicCache`.
"""

from __future__ import annotations

from typing import Any

import torch
from transformers import Cache, DynamicCache, PreTrainedConfig, PreTrainedModel
from transformers.cache_utils import DynamicLayer

_SLACK = 32
"""Tokens of room added whenever the buffer is full."""
_ATTENTION = {"full_attention", "sliding_attention", "chunked_attention"}
"""Layers that keep keys and values, which can be repeated and selected by row."""


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
    """Whether every layer keeps all keys and values, as transformers reads the configuration.

    Windows are told by `layer_types`, or for all layers by `sliding_window` alone (Mistral).
    """
    layers = DynamicCache(config=config).layers
    return all(type(layer) is DynamicLayer for layer in layers)


def foreign_layers(network: PreTrainedModel) -> str:
    """The first kind of layer that is not attention, whose state no cache here deals out; or ""."""
    config = network.config.get_text_config(decoder=True)
    kinds = sorted(set(getattr(config, "layer_types", None) or ()) - _ATTENTION)
    if kinds:
        return str(kinds[0])
    return "recurrent" if network._is_stateful else ""


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
