"""Score given completions in one forward pass that pays for each prompt once.

The prompt's keys and values are computed once and shared, with gradient, by all of its
completions; completions are cut into buckets of similar length so that padding costs little.
Without gradients a bucket's logits live only as long as the bucket; with gradients all of them live
until the backward pass (`learner.groups_per_pass` bounds that).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import torch
from torch.nn.functional import cross_entropy
from transformers import Cache, DynamicCache
from transformers.cache_utils import DynamicLayer

from dgrpo.policy.cache import all_full_attention
from dgrpo.policy.language_model import LanguageModel
from dgrpo.policy.padding import PaddedPrompts
from dgrpo.policy.statistics import LOGPROB, STATISTICS, Bucket, check_statistics
from dgrpo.records import Received, TokenStatistics

BUCKET_TOKENS = {"cpu": 1024}
"""Completion tokens per bucket, padding included, by type of device. On a CPU a bucket's logits
should stay in its cache: best of 512 … 16384 with the small models (benchmarks/README.md)."""
BUCKET_TOKENS_ELSEWHERE = 16384
"""For accelerators, which want large products; not measured."""


@dataclass(frozen=True, slots=True)
class ScoreItem:
    """One completion to score under one prompt."""

    prompt_text: str
    token_ids: tuple[int, ...]


def score_items(received: Sequence[Received]) -> list[ScoreItem]:
    """What scoring needs of received completions."""
    return [ScoreItem(one.prompt.text, one.token_ids) for one in received]


@dataclass(frozen=True)
class ForwardPass:
    """Per-token results for a list of items, still attached to the graph if gradients were on."""

    logprobs: torch.Tensor
    """(items, longest) float32, 0 beyond an item's length."""
    lengths: torch.Tensor
    """(items,) int64."""
    others: dict[str, torch.Tensor]
    """The other statistics that were asked for, each (items, longest), 0 beyond the length."""

    def statistics(self) -> list[TokenStatistics]:
        """The same as plain records, one per item."""
        tensors = {LOGPROB: self.logprobs.detach(), **self.others}
        rows = {name: tensor.tolist() for name, tensor in tensors.items()}
        return [
            TokenStatistics({name: tuple(of[i][:n]) for name, of in rows.items()})
            for i, n in enumerate(self.lengths.tolist())
        ]

    @property
    def mask(self) -> torch.Tensor:
        """(items, longest) bool: True on the items' tokens."""
        width = self.logprobs.shape[1]
        return torch.arange(width, device=self.lengths.device)[None] < self.lengths[:, None]


def forward_pass(
    model: LanguageModel,
    items: list[ScoreItem],
    *,
    temperature: float = 1.0,
    statistics: Collection[str] = (),
    bucket_tokens: int | None = None,
) -> ForwardPass:
    """Log-probabilities of every item's tokens at `temperature`, and other statistics of them.

    Differentiable in the weights unless called under no_grad. Items need at least one token.
    statistics: names of `policy/statistics.py`; `logprob` is always there.
    bucket_tokens: completion tokens computed together; None: what suits the device.
    Raises DgrpoError for a name that is no statistic.
    """
    check_statistics(statistics)
    wanted = {name: STATISTICS[name] for name in sorted(set(statistics) - {LOGPROB})}
    device = model.device
    size = bucket_tokens or BUCKET_TOKENS.get(device.type, BUCKET_TOKENS_ELSEWHERE)
    each = {item: place for place, item in enumerate(dict.fromkeys(items))}
    places = torch.tensor([each[item] for item in items], device=device)
    items = list(each)  # attackers send copies: equal items are computed once
    texts = list(dict.fromkeys(item.prompt_text for item in items))
    row_of = {text: row for row, text in enumerate(texts)}
    prompts = PaddedPrompts.of(model, texts)
    lengths = torch.tensor([len(item.token_ids) for item in items], device=device)
    logprob_rows: list[torch.Tensor] = []
    other_rows: dict[str, list[torch.Tensor]] = {name: [] for name in wanted}
    order: list[int] = []
    width = int(lengths.max())
    with model.precision():
        shared = _SharedPrompts.of(model, prompts)
        for bucket in _buckets(lengths.tolist(), size):
            order += bucket
            rows = torch.tensor([row_of[items[i].prompt_text] for i in bucket], device=device)
            longest = max(len(items[i].token_ids) for i in bucket)
            ids = torch.tensor(
                [
                    [*items[i].token_ids, *[model.end_id] * (longest - len(items[i].token_ids))]
                    for i in bucket
                ],
                device=device,
            )
            logits = (
                shared.completion_logits(rows, ids)
                if shared
                else _whole_logits(model, prompts, rows, ids)
            )
            seen = Bucket(logits.flatten(0, 1).float(), ids.flatten(), temperature)
            logprobs = -cross_entropy(seen.scaled, seen.targets, reduction="none")
            outside = torch.arange(longest, device=device)[None] >= lengths[bucket][:, None]
            logprob_rows.append(_widen(logprobs.view_as(ids).masked_fill(outside, 0.0), width))
            with torch.no_grad():
                for name, statistic in wanted.items():
                    values = statistic(seen).view_as(ids).masked_fill(outside, 0)
                    other_rows[name].append(_widen(values, width))
    row_in_order = torch.empty(len(items), dtype=torch.long, device=device)
    row_in_order[torch.tensor(order, device=device)] = torch.arange(len(items), device=device)
    back = row_in_order[places]
    logprob = torch.cat(logprob_rows).index_select(0, back)  # on a CPU its backward adds in order
    others = {name: torch.cat(rows)[back] for name, rows in other_rows.items()}
    return ForwardPass(logprob, lengths[places], others)


def completion_logits(
    model: LanguageModel, prompts: PaddedPrompts, rows: torch.Tensor, ids: torch.Tensor
) -> torch.Tensor:
    """Logits (rows, longest, vocabulary) that predict `ids` (rows, longest) behind prompts `rows`.

    Computed as `forward_pass` computes a bucket.
    """
    shared = _SharedPrompts.of(model, prompts)
    if shared:
        return shared.completion_logits(rows, ids)
    return _whole_logits(model, prompts, rows, ids)


@dataclass(frozen=True)
class _SharedPrompts:
    """Prompts whose keys and values all of their completions use."""

    model: LanguageModel
    prompts: PaddedPrompts
    cache: DynamicCache
    last_logits: torch.Tensor
    """(prompts, 1, vocabulary): they predict each completion's first token."""

    @classmethod
    def of(cls, model: LanguageModel, prompts: PaddedPrompts) -> _SharedPrompts | None:
        """None for models with windowed layers, whose state cannot be dealt out."""
        if not all_full_attention(model.network.config):
            return None
        cache = DynamicCache(config=model.network.config)
        output = model.network(
            **prompts.inputs(), past_key_values=cache, use_cache=True, logits_to_keep=1
        )
        return cls(model, prompts, cache, output.logits[:, -1:])

    def completion_logits(self, rows: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
        """Logits (rows, longest, vocabulary) that predict `ids` (rows, longest)."""
        opening = self.last_logits.index_select(0, rows)
        if ids.shape[1] == 1:
            return opening
        fed = ids[:, :-1]
        steps = torch.arange(fed.shape[1], device=ids.device)[None]
        rest = self.model.network(
            input_ids=fed,
            # padding at the end of a row is only seen by padding, so it needs no mask
            attention_mask=torch.cat([self.prompts.mask[rows], torch.ones_like(fed)], dim=1),
            position_ids=self.prompts.lengths[rows][:, None] + steps,
            past_key_values=self._selected(rows),
            use_cache=True,
        ).logits
        return torch.cat([opening, rest], dim=1)

    def _selected(self, rows: torch.Tensor) -> Cache:
        """A cache whose rows are the given prompts; the shared one stays as it is."""
        picked = DynamicCache(config=self.model.network.config)
        for index, layer in enumerate(self.cache.layers):
            assert isinstance(layer, DynamicLayer)
            assert layer.keys is not None
            assert layer.values is not None
            # index_select, not keys[rows]: on a CPU its backward adds in a fixed order
            keys, values = layer.keys.index_select(0, rows), layer.values.index_select(0, rows)
            picked.update(keys, values, index)
        return picked


def _whole_logits(
    model: LanguageModel, prompts: PaddedPrompts, rows: torch.Tensor, ids: torch.Tensor
) -> torch.Tensor:
    """The same logits with every prompt repeated: for models that cannot share it."""
    mask = torch.cat([prompts.mask[rows], torch.ones_like(ids)], dim=1)
    logits: torch.Tensor = model.network(
        input_ids=torch.cat([prompts.ids[rows], ids], dim=1),
        attention_mask=mask,
        position_ids=(mask.cumsum(dim=1) - 1).clamp(min=0),
        use_cache=False,
    ).logits
    return logits[:, prompts.ids.shape[1] - 1 : -1]


def _buckets(lengths: list[int], bucket_tokens: int) -> list[list[int]]:
    """Item indices in buckets of similar length with at most `bucket_tokens` padded tokens."""
    order = sorted(range(len(lengths)), key=lambda i: lengths[i])
    buckets: list[list[int]] = []
    for index in order:
        if buckets and (len(buckets[-1]) + 1) * lengths[index] <= bucket_tokens:
            buckets[-1].append(index)
        else:
            buckets.append([index])
    return buckets


def _widen(rows: torch.Tensor, width: int) -> torch.Tensor:
    return torch.nn.functional.pad(rows, (0, width - rows.shape[1]))
