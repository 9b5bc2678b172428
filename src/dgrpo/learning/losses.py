"""GRPO losses on per-token log-probabilities.

The paper takes one update per generation phase, so the ratio π/π_old is 1 in value and only its
gradient matters: loss = −1/G Σ_i 1/|a_i| Σ_t ratio_{i,t} Â_i, no clipping, no KL.
"""

from __future__ import annotations

import torch

from dgrpo.learning.settings import Normalisation


def policy_loss(
    logprobs: torch.Tensor,
    mask: torch.Tensor,
    advantages: torch.Tensor,
    *,
    completions: int,
    max_tokens: int,
    normalisation: Normalisation = "grpo",
    tokens_in_batch: int | None = None,
    old_logprobs: torch.Tensor | None = None,
    clip_low: float | None = None,
    clip_high: float | None = None,
    reference_logprobs: torch.Tensor | None = None,
    beta: float = 0.0,
) -> torch.Tensor:
    """Scalar loss of a batch (or of a part of it: parts add up).

    logprobs, old_logprobs, reference_logprobs: (completions here, tokens) float32; mask: the same
    shape, bool; advantages: (completions here,).

    completions: the configured number per round, which the loss divides by even when a defense
    left some out. normalisation: `grpo` divides each completion by its length (the paper),
    `dr_grpo` by `max_tokens` (Liu et al. 2025), `dapo` divides the batch by its `tokens_in_batch`
    (Yu et al. 2025). Clipping is PPO's, with separate bounds; β weighs the k3 estimate of
    KL(π ‖ reference) per token (Schulman 2020), whose exponent is not bounded, as in TRL: a counted
    token that the reference holds for e⁸⁸ times likelier gives an infinite loss. Masked tokens
    contribute nothing, whatever they are. A text of another tokenizer may have more tokens than
    `max_tokens`; under `dr_grpo` each weighs the same still.
    """
    old = logprobs.detach() if old_logprobs is None else old_logprobs
    # masked before exp: what overflows there stays NaN when it is multiplied by 0
    ratio = (logprobs - old).masked_fill(~mask, 0.0).exp()
    gain = ratio * advantages[:, None]
    if clip_low is not None or clip_high is not None:
        bounded = ratio.clamp(
            1 - clip_low if clip_low is not None else None,
            1 + clip_high if clip_high is not None else None,
        )
        gain = torch.minimum(gain, bounded * advantages[:, None])
    per_token = -gain
    if beta and reference_logprobs is not None:
        behind = (reference_logprobs - logprobs).masked_fill(~mask, 0.0)
        per_token = per_token + beta * (behind.exp() - behind - 1)
    per_token = per_token * mask
    if normalisation == "grpo":
        return (per_token.sum(1) / mask.sum(1).clamp(min=1)).sum() / completions
    if normalisation == "dr_grpo":
        return per_token.sum() / (completions * max_tokens)
    tokens = int(mask.sum()) if tokens_in_batch is None else tokens_in_batch
    return per_token.sum() / max(tokens, 1)
