"""Score given completions in one forward pass that pays for each prompt once.

The prompt's keys and values are computed once and shared, with gradient, by all of its
completions; completions are cut into buckets of similar length so that padding costs little; logits
live only as long as their bucket.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from transformers import Cache, DynamicCache

from dgrpo.policy.model import LanguageModel
from dgrpo.policy.sampling import PaddedPrompts
from dgrpo.records import TokenScores

BUCKET_TOKENS = 4096
"""Completion tokens per bucket, padding included: keeps logits in a CPU's cache; measured best
among 2048 … 16384 with the small models (benchmarks/). GPUs take `bucket_tokens` from the run."""


@dataclass(frozen=True, slots=True)
class ScoreItem:
    """One completion to score under one prompt."""

    prompt_text: str
    token_ids: tuple[int, ...]


@dataclass(frozen=True)
class ForwardPass:
    """Per-token results for a list of items, still attached to the graph if gradients were on."""

    logprobs: torch.Tensor
    """(items, longest) float32, 0 beyond an item's length."""
    ranks: torch.Tensor
    """(items, longest) int64: entries with a strictly larger logit; 0 beyond the length."""
    lengths: torch.Tensor
    """(items,) int64."""

    def scores(self) -> list[TokenScores]:
        """The same as plain records."""
        logprobs, ranks = self.logprobs.detach().tolist(), self.ranks.tolist()
        return [
            TokenScores(tuple(logprobs[i][:n]), tuple(ranks[i][:n]))
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
    ranks: bool = True,
    bucket_tokens: int = BUCKET_TOKENS,
) -> ForwardPass:
    """Log-probabilities (at `temperature`) and ranks of every item's tokens.

    Differentiable in the weights unless called under no_grad. Items need at least one token.
    """
    device = model.device
    texts = list(dict.fromkeys(item.prompt_text for item in items))
    row_of = {text: row for row, text in enumerate(texts)}
    prompts = PaddedPrompts.of(model, texts)
    shared = DynamicCache(config=model.network.config)
    first = model.network(
        **prompts.inputs(), past_key_values=shared, use_cache=True, logits_to_keep=1
    ).logits[:, -1:]
    lengths = torch.tensor([len(item.token_ids) for item in items], device=device)
    logprob_rows: list[torch.Tensor] = []
    rank_rows: list[torch.Tensor] = []
    order: list[int] = []
    width = int(lengths.max())
    for bucket in _buckets(lengths.tolist(), bucket_tokens):
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
        logits = _completion_logits(model, prompts, shared, first, rows, ids)
        flat, targets = logits.flatten(0, 1).float(), ids.flatten()
        scaled = flat if temperature in (0.0, 1.0) else flat / temperature
        logprobs = -torch.nn.functional.cross_entropy(scaled, targets, reduction="none")
        inside = torch.arange(longest, device=device)[None] < lengths[bucket][:, None]
        logprob_rows.append(_widen(logprobs.view_as(ids).masked_fill(~inside, 0.0), width))
        if ranks:
            with torch.no_grad():
                own = flat.gather(1, targets[:, None])
                counted = (flat > own).sum(dim=-1).view_as(ids).masked_fill(~inside, 0)
                rank_rows.append(_widen(counted, width))
    back = torch.empty(len(items), dtype=torch.long, device=device)
    back[torch.tensor(order, device=device)] = torch.arange(len(items), device=device)
    logprob = torch.cat(logprob_rows)[back]
    rank = torch.cat(rank_rows)[back] if ranks else torch.zeros_like(logprob, dtype=torch.long)
    return ForwardPass(logprob, rank, lengths)


def _completion_logits(
    model: LanguageModel,
    prompts: PaddedPrompts,
    shared: DynamicCache,
    first: torch.Tensor,
    rows: torch.Tensor,
    ids: torch.Tensor,
) -> torch.Tensor:
    """Logits (rows, longest, vocabulary) that predict `ids` (rows, longest)."""
    opening = first.index_select(0, rows)
    if ids.shape[1] == 1:
        return opening
    fed = ids[:, :-1]
    steps = torch.arange(fed.shape[1], device=ids.device)[None]
    rest = model.network(
        input_ids=fed,
        # padding at the end of a row is only seen by padding, so it needs no mask
        attention_mask=torch.cat([prompts.mask[rows], torch.ones_like(fed)], dim=1),
        position_ids=prompts.lengths[rows][:, None] + steps,
        past_key_values=_selected(shared, rows, model),
        use_cache=True,
    ).logits
    return torch.cat([opening, rest], dim=1)


def _selected(shared: DynamicCache, rows: torch.Tensor, model: LanguageModel) -> Cache:
    """A cache whose rows are the given rows of `shared`; `shared` itself stays as it is."""
    picked = DynamicCache(config=model.network.config)
    for index, layer in enumerate(shared.layers):
        # index_select, not keys[rows]: the latter's backward adds in no fixed order
        keys, values = layer.keys.index_select(0, rows), layer.values.index_select(0, rows)
        picked.update(keys, values, index)
    return picked


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
