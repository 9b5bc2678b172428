"""One token after another for many completions of few prompts: two ways to hold the prompts.

* `RepeatedPrompts`: every completion has its prompt's keys and values in its own row of the cache,
  as transformers expects; serves every model that `load_model` takes.
* `SharedPrompts`: a prompt's keys and values are held once, and all of its completions look at
  them together. On a CPU that is where the time goes: decoding is bound by the memory that
  attention reads (benchmarks/README.md). Serves the families in `PLAIN_ATTENTION`.

Both give the same logits up to rounding. Leaves out: choosing tokens (`sampling.py`), gradients
(`scoring.py`).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from transformers import AttentionInterface, Cache, DynamicCache
from transformers.cache_utils import DynamicLayer

from dgrpo.policy.cache import AppendingLayer, all_full_attention, generation_cache
from dgrpo.policy.language_model import LanguageModel
from dgrpo.policy.padding import PaddedPrompts

PLAIN_ATTENTION = ("llama", "qwen2", "qwen3")
"""Model families known to do nothing but softmax(scaled q·k) over keys and values: no soft caps, no
sinks. `tests/policy/test_decoding.py` compares each with its own attention."""
_NAME = "dgrpo_shared_prompts"


class Decoder(Protocol):
    """Completions in progress, a row each."""

    opening: torch.Tensor
    """(rows, vocabulary) logits of the first token."""

    def step(self, tokens: torch.Tensor) -> torch.Tensor:
        """Append tokens (rows,); returns the next token's logits (rows, vocabulary)."""
        ...

    def keep(self, rows: torch.Tensor) -> None:
        """Go on with these rows alone, in this order."""
        ...


def start_decoding(model: LanguageModel, prompts: PaddedPrompts, spread: torch.Tensor) -> Decoder:
    """Process the prompts once; row i of the decoder continues prompt `spread[i]`."""
    shared = (
        model.device.type == "cpu"  # where it was measured
        and model.network.config.model_type in PLAIN_ATTENTION
        and all_full_attention(model.network.config)
    )
    return (SharedPrompts if shared else RepeatedPrompts)(model, prompts, spread)


class RepeatedPrompts:
    """Each row's cache holds its prompt and its completion."""

    def __init__(self, model: LanguageModel, prompts: PaddedPrompts, spread: torch.Tensor) -> None:
        self._network = model.network
        self._cache: Cache = generation_cache(model.network.config)
        output = model.network(
            **prompts.inputs(), past_key_values=self._cache, use_cache=True, logits_to_keep=1
        )
        self._cache.batch_select_indices(spread)
        self.opening = output.logits[:, -1].float()[spread]
        self._mask, self._positions = prompts.mask[spread], prompts.lengths[spread]

    def step(self, tokens: torch.Tensor) -> torch.Tensor:
        """See `Decoder`."""
        self._mask = torch.cat([self._mask, self._mask.new_ones(len(tokens), 1)], dim=1)
        logits: torch.Tensor = self._network(
            input_ids=tokens[:, None],
            attention_mask=self._mask,
            position_ids=self._positions[:, None],
            past_key_values=self._cache,
            use_cache=True,
        ).logits
        self._positions = self._positions + 1
        return logits[:, -1].float()

    def keep(self, rows: torch.Tensor) -> None:
        """See `Decoder`."""
        self._mask, self._positions = self._mask[rows], self._positions[rows]
        self._cache.batch_select_indices(rows)


class SharedPrompts:
    """Each row's cache holds its completion; prompts stand beside it, once each."""

    def __init__(self, model: LanguageModel, prompts: PaddedPrompts, spread: torch.Tensor) -> None:
        self._network = model.network
        cache = DynamicCache(config=model.network.config)
        output = model.network(
            **prompts.inputs(), past_key_values=cache, use_cache=True, logits_to_keep=1
        )
        self.opening = output.logits[:, -1].float()[spread]
        self._cache = Cache(layer_class_to_replicate=AppendingLayer)
        self._positions = prompts.lengths[spread]
        outside = (prompts.mask == 0)[:, None, None]
        bias = torch.zeros_like(outside, dtype=self.opening.dtype)
        bias = bias.masked_fill(outside, torch.finfo(bias.dtype).min)
        self._held = _Held.of([_held_layer(one) for one in cache.layers], bias, spread)

    def step(self, tokens: torch.Tensor) -> torch.Tensor:
        """See `Decoder`."""
        with _shared_attention(self._network.config):
            logits: torch.Tensor = self._network(
                input_ids=tokens[:, None],
                position_ids=self._positions[:, None],
                past_key_values=self._cache,
                use_cache=True,
                shared_prompts=self._held,
            ).logits
        self._positions = self._positions + 1
        return logits[:, -1].float()

    def keep(self, rows: torch.Tensor) -> None:
        """See `Decoder`."""
        self._positions = self._positions[rows]
        self._cache.batch_select_indices(rows)
        self._held = _Held.of(self._held.layers, self._held.bias, self._held.prompt_of[rows])


@dataclass(frozen=True)
class _Held:
    """The prompts' keys and values, and which rows look at which."""

    layers: list[tuple[torch.Tensor, torch.Tensor]]
    """Per layer: keys (prompts, heads, head size, length), values (prompts, heads, length, head
    size)."""
    bias: torch.Tensor
    """(prompts, 1, 1, length): added to the scores, the lowest number on padding."""
    prompt_of: torch.Tensor
    """(rows,): the prompt that each row continues."""
    seats: torch.Tensor
    """(prompts, most rows of a prompt): the rows of each prompt; empty seats hold row 0."""
    seat_of: torch.Tensor
    """(rows,): each row's place in `seats`, flattened."""

    @classmethod
    def of(
        cls,
        layers: list[tuple[torch.Tensor, torch.Tensor]],
        bias: torch.Tensor,
        prompt_of: torch.Tensor,
    ) -> _Held:
        """Seat the rows; prompts that have none left are let go."""
        asked, prompt_of, counts = torch.unique(prompt_of, return_inverse=True, return_counts=True)
        if len(asked) < len(bias):
            layers = [(keys[asked], values[asked]) for keys, values in layers]
            bias = bias[asked]
        order = prompt_of.argsort(stable=True)
        first = counts.cumsum(0) - counts
        place = torch.empty_like(prompt_of)
        place[order] = torch.arange(len(prompt_of), device=order.device) - first[prompt_of[order]]
        width = int(counts.max())
        seat_of = prompt_of * width + place
        seats = torch.zeros(len(asked) * width, dtype=torch.long, device=order.device)
        seats[seat_of] = torch.arange(len(prompt_of), device=order.device)
        return cls(layers, bias, prompt_of, seats.view(len(asked), width), seat_of)


def _attend(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    *,
    scaling: float,
    shared_prompts: _Held,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    """One token per row attends to its prompt and to its own completion.

    query: (rows, heads, 1, size); key, value: (rows, key heads, tokens, size), of the completion
    alone, so nothing in it is masked. Returns (rows, 1, heads, size), as transformers expects.
    """
    rows, heads, _one, size = query.shape
    key_heads = key.shape[1]
    keys, values = shared_prompts.layers[int(module.layer_idx)]  # type: ignore[arg-type]
    own = (query * scaling).view(rows, key_heads, heads // key_heads, size)
    on_prompt = _unseated(
        _seated(own, shared_prompts) @ keys + shared_prompts.bias, own, shared_prompts
    )
    scores = torch.cat([on_prompt, own @ key.transpose(2, 3)], dim=-1)
    weights = scores.softmax(dim=-1, dtype=torch.float32).to(query.dtype)
    length = keys.shape[-1]
    of_prompt = _seated(weights[..., :length], shared_prompts) @ values
    mixed = _unseated(of_prompt, own, shared_prompts) + weights[..., length:] @ value
    return mixed.reshape(rows, 1, heads, size), None


def _seated(rows: torch.Tensor, held: _Held) -> torch.Tensor:
    """(rows, key heads, queries, n) → (prompts, key heads, seats · queries, n)."""
    prompts, width = held.seats.shape
    _rows, key_heads, queries, n = rows.shape
    seated = rows[held.seats].transpose(1, 2)
    return seated.reshape(prompts, key_heads, width * queries, n)


def _unseated(seated: torch.Tensor, like: torch.Tensor, held: _Held) -> torch.Tensor:
    """(prompts, key heads, seats · queries, n) → (rows, key heads, queries, n)."""
    prompts, width = held.seats.shape
    _rows, key_heads, queries, _size = like.shape
    n = seated.shape[-1]
    by_seat = seated.view(prompts, key_heads, width, queries, n).transpose(1, 2)
    return by_seat.reshape(prompts * width, key_heads, queries, n)[held.seat_of]


def _held_layer(layer: Any) -> tuple[torch.Tensor, torch.Tensor]:
    assert isinstance(layer, DynamicLayer)
    assert layer.keys is not None
    assert layer.values is not None
    return layer.keys.transpose(2, 3).contiguous(), layer.values


@contextmanager
def _shared_attention(config: Any) -> Iterator[None]:
    """The network attends by `_attend` inside.

    transformers makes no mask for an attention that has no mask function, and none is needed.
    """
    before = config._attn_implementation
    config._attn_implementation_internal = _NAME
    try:
        yield
    finally:
        config._attn_implementation_internal = before


AttentionInterface.register(_NAME, _attend)
