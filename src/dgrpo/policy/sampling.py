"""Batched sampling with the key-value cache and keyed Gumbel-max noise.

Token y_t = argmax over the allowed set of ℓ_t(v) + T·g(key, t, v): exactly a draw from the
temperature-T distribution over that set, and repeatable by anyone who has the key.

A prompt is processed once however many samples it gets; rows that ended leave the batch.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from dgrpo.errors import DgrpoError
from dgrpo.policy.decoding import start_decoding
from dgrpo.policy.language_model import LanguageModel
from dgrpo.policy.noise import Key, gumbel, key_tensor
from dgrpo.policy.padding import PaddedPrompts
from dgrpo.policy.settings import Sampling

COMPACT_AT = 0.2
"""Share of ended rows at which the batch is compacted: not for each, the cache is copied then."""
BLOWN_UP = (
    "lower learner.learning_rate, set learner.max_gradient_norm, or use model.dtype = "
    '"float32"; the last checkpoint is intact'
)
"""What to do about a model whose numbers are not finite."""


@dataclass(frozen=True, slots=True)
class SampleRequest:
    """One completion to draw."""

    prompt_text: str
    key: Key


@torch.inference_mode()
def sample(
    model: LanguageModel,
    requests: list[SampleRequest],
    sampling: Sampling,
    *,
    rows: int = 512,
    finite: bool = False,
) -> list[tuple[int, ...]]:
    """Draw one completion per request; ids with the token that ended it, if one did.

    `rows` bounds how many are decoded at once (memory). Results do not depend on how requests are
    batched, up to rounding in the matrix products.

    finite: raise DgrpoError at logits that are not, as of a model that training has ruined. A judge
    goes without: no text that a peer sends may end a run.
    """
    drawn: list[tuple[int, ...]] = []
    with model.precision():
        for start in range(0, len(requests), rows):
            drawn += _sample_batch(model, requests[start : start + rows], sampling, finite)
    return drawn


def _sample_batch(
    model: LanguageModel, requests: list[SampleRequest], sampling: Sampling, finite: bool
) -> list[tuple[int, ...]]:
    device = model.device
    texts = list(dict.fromkeys(r.prompt_text for r in requests))
    row_of = {text: row for row, text in enumerate(texts)}
    spread = torch.tensor([row_of[r.prompt_text] for r in requests], device=device)
    decoder = start_decoding(model, PaddedPrompts.of(model, texts), spread)
    logits = decoder.opening
    keys = key_tensor([r.key for r in requests], device)

    ends = torch.tensor(model.end_ids, device=device)
    ids = torch.full((len(requests), sampling.max_tokens), model.end_id, device=device)
    lengths = torch.full((len(requests),), sampling.max_tokens, device=device)
    alive = torch.arange(len(requests), device=device)
    for step in range(sampling.max_tokens):
        token = choose(logits, keys, step, sampling)
        # of logits that are not finite one such is chosen
        if finite and not torch.isfinite(logits.gather(1, token[:, None])).all():
            raise DgrpoError("the model's logits are not finite: it draws nothing", remedy=BLOWN_UP)
        ids[alive, step] = token
        # a row that ended may stay for a while; what it draws then lies beyond its length
        ended = torch.isin(token, ends) & (lengths[alive] > step)
        lengths[alive[ended]] = step + 1
        going = lengths[alive] > step + 1
        left = int(going.sum())
        if step + 1 == sampling.max_tokens or left == 0:
            break
        if left <= (1 - COMPACT_AT) * len(alive):
            kept = going.nonzero().squeeze(1)
            alive, token, keys = alive[kept], token[kept], keys[kept]
            decoder.keep(kept)
        logits = decoder.step(token)
    return [tuple(row[:n]) for row, n in zip(ids.tolist(), lengths.tolist(), strict=True)]


def choose(
    logits: torch.Tensor, keys: torch.Tensor, position: int, sampling: Sampling
) -> torch.Tensor:
    """Gumbel-max choice per row. logits (rows, vocabulary) float32 → ids (rows,) int64."""
    if sampling.temperature == 0:
        return logits.argmax(dim=-1)
    if sampling.top_p < 1:
        kept = min(sampling.top_k or logits.shape[-1], logits.shape[-1])
        values, candidates = logits.topk(kept, dim=-1)  # largest first
        probabilities = (values / sampling.temperature).softmax(dim=-1)
        before = probabilities.cumsum(dim=-1) - probabilities
        values = values.masked_fill(before >= sampling.top_p, -torch.inf)
    elif 0 < sampling.top_k < logits.shape[-1]:
        values, candidates = logits.topk(sampling.top_k, dim=-1, sorted=False)
    else:
        values, candidates = logits, torch.arange(logits.shape[-1], device=logits.device)[None]
        candidates = candidates.expand_as(logits)
    noisy = values + sampling.temperature * gumbel(keys, position, candidates)
    # of equal ones the smallest id: topk's order among its candidates is each device's own
    best = (noisy == noisy.amax(dim=-1, keepdim=True)) | noisy.isnan()
    return candidates.where(best, logits.shape[-1]).amin(dim=-1)
