"""Noise and draws on the device and on the CPU: equal bits, given equal logits.

With the model's own logits, which the devices round differently, some completions part ways.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch

from dgrpo.policy.noise import STEPS, gumbel, key_tensor, noise_of, sampling_key
from dgrpo.policy.sampling import SampleRequest, choose, sample
from dgrpo.policy.settings import Sampling
from gpu_sections.models import questions, shipped
from gpu_sections.plan import Part, Plan

CPU = torch.device("cpu")
SAMPLINGS = {
    "k = 20": Sampling(top_k=20),
    "k = 50": Sampling(top_k=50),
    "all tokens, temperature 0.7": Sampling(top_k=0, temperature=0.7),
    "top-p 0.95": Sampling(top_k=0, top_p=0.95),
    "k = 50, top-p 0.9": Sampling(top_k=50, top_p=0.9),
    "the likeliest": Sampling(temperature=0),
}


def run(plan: Plan, part: Part) -> None:
    """Numbers, hashes, draws, whole completions."""
    part.measure("every number that noise is made of", 2, lambda: all_numbers(plan))
    part.measure("noise of keys, positions and ids", 3, lambda: hashes(plan))
    for vocabulary, rows, positions in ((1024, 2000, 16), (151_936, 32, 4)):
        rows, positions = (4, 2) if plan.dry else (rows, positions)
        for name, sampling in SAMPLINGS.items():
            part.measure(
                f"draws, vocabulary {vocabulary}, {name}",
                3,
                partial(draws, plan, vocabulary, rows, positions, sampling),
            )
    part.measure(
        "draws from logits rounded to bfloat16, with ties at the edge of the k likeliest, k = 50",
        3,
        lambda: draws(plan, 1024, 20 if plan.dry else 2000, 16, Sampling(), rounded=True),
    )
    for name in ("k = 20", "k = 50", "top-p 0.95"):
        part.measure(
            f"completions of gsm-nano by its own logits, {name}",
            6,
            partial(completions, plan, SAMPLINGS[name]),
        )


def all_numbers(plan: Plan) -> dict[str, int]:
    """The noise at each of its 2²³ uniform numbers."""
    steps = torch.arange(STEPS, dtype=torch.int32)
    return compared(noise_of(steps), noise_of(steps.to(plan.device)).cpu())


def hashes(plan: Plan) -> dict[str, int]:
    """Noise by key, position and token id, ends of their ranges included."""
    keys = [sampling_key("gpu", row) for row in range(62)] + [(0, 0), (-(2**31), 2**31 - 1)]
    tokens = torch.arange(0, 151_936, 997 if plan.dry else 7).expand(len(keys), -1)
    total = {"compared": 0, "different": 0}
    for position in (0, 1, 1023, 2**31 - 1):
        here = gumbel(key_tensor(keys, CPU), position, tokens)
        there = gumbel(key_tensor(keys, plan.device), position, tokens.to(plan.device))
        total = {k: total[k] + v for k, v in compared(here, there.cpu()).items()}
    return total


def draws(
    plan: Plan,
    vocabulary: int,
    rows: int,
    positions: int,
    sampling: Sampling,
    rounded: bool = False,
) -> dict[str, int]:
    """Tokens drawn from the same random logits."""
    generator = torch.Generator().manual_seed(vocabulary)
    keys = [sampling_key("gpu draws", row) for row in range(rows)]
    total = {"compared": 0, "different": 0}
    for position in range(positions):
        logits = 3 * torch.randn(rows, vocabulary, generator=generator)
        logits = logits.bfloat16().float() if rounded else logits
        here = choose(logits, key_tensor(keys, CPU), position, sampling)
        on_device = logits.to(plan.device), key_tensor(keys, plan.device)
        there = choose(*on_device, position, sampling)
        total = {k: total[k] + v for k, v in compared(here, there.cpu()).items()}
    return total


def completions(plan: Plan, sampling: Sampling) -> dict[str, Any]:
    """Whole completions, float32 on both sides; tokens count up to where the first two differ."""
    prompts, samples, length = (3, 2, 8) if plan.dry else (32, 8, 96)
    requests = [
        SampleRequest(prompt.text, sampling_key("gpu completions", prompt.key, n))
        for prompt in questions(prompts)
        for n in range(samples)
    ]
    limited = sampling.model_copy(update={"max_tokens": length})
    here = sample(shipped(CPU), requests, limited)
    there = sample(shipped(plan.device), requests, limited)
    parted = [same_tokens(a, b) for a, b in zip(here, there, strict=True)]
    different = sum(a != b for a, b in zip(here, there, strict=True))
    return {"compared": sum(parted) + different, "different": different, "of": len(requests)}


def same_tokens(one: tuple[int, ...], other: tuple[int, ...]) -> int:
    """Tokens that both begin with."""
    pairs = zip(one, other, strict=False)
    return next((place for place, (a, b) in enumerate(pairs) if a != b), min(len(one), len(other)))


def compared(here: torch.Tensor, there: torch.Tensor) -> dict[str, int]:
    """How many entries were compared, and how many differ in any bit."""
    return {"compared": here.numel(), "different": int((here != there).sum())}
