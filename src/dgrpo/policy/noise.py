"""Gumbel noise from a counter-based hash of (key, position, token): no global random state.

The noise has the same bits on every device. The hash is 32-bit integer operations, which wrap the
same way everywhere. Each of the two logarithms is taken in float64, where devices differ in the
last bits, and rounded to float32, which removes those bits: none of the 2²³ possible numbers lies
close enough to a rounding boundary (tests/policy/test_noise.py).
"""

from __future__ import annotations

import hashlib

import torch

Key = tuple[int, int]
"""Two 32-bit words that name one completion's random stream."""


def sampling_key(*parts: str | int) -> Key:
    """Key of one completion from what names it: (beacon, round, node, prompt key, sample)."""
    digest = hashlib.sha256("\x1f".join(map(str, parts)).encode()).digest()
    return (
        int.from_bytes(digest[:4], "little", signed=True),
        int.from_bytes(digest[4:8], "little", signed=True),
    )


def key_tensor(keys: list[Key], device: torch.device) -> torch.Tensor:
    """Keys as a (rows, 2) int32 tensor."""
    return torch.tensor(keys, dtype=torch.int32, device=device).reshape(-1, 2)


def gumbel(keys: torch.Tensor, position: torch.Tensor | int, tokens: torch.Tensor) -> torch.Tensor:
    """Standard Gumbel noise g = −log(−log u), one per (row, candidate token).

    keys: (rows, 2) int32; position: index of the token within the completion, a number or
    (rows,) int32; tokens: (rows, candidates) integer ids. Returns (rows, candidates) float32.
    """
    at = torch.as_tensor(position, dtype=torch.int32, device=keys.device)
    row = _mix(keys[:, 0] ^ _mix(at * _ODD_1 + keys[:, 1]))
    bits = _mix(_mix(row[:, None] ^ (tokens.to(torch.int32) * _ODD_2)) + keys[:, 1:])
    return noise_of((bits >> 9) & (STEPS - 1))


STEPS = 2**23
"""How many different numbers the noise is made of."""


def noise_of(step: torch.Tensor) -> torch.Tensor:
    """Gumbel noise (float32) at the uniform number (step + ½) / STEPS; step: int32, 0 to STEPS − 1.

    The numbers are centred, so that neither 0 nor 1 occurs.
    """
    if step.device.type == "mps":  # has no float64
        return noise_of(step.cpu()).to(step.device)
    surprise = -torch.log((step.to(torch.float64) + 0.5) / STEPS).to(torch.float32)
    return -torch.log(surprise.to(torch.float64)).to(torch.float32)


_ODD_1 = -1640531527
"""2³² / golden ratio, as a signed word: spreads successive positions."""
_ODD_2 = -2048144789
"""An odd constant (murmur3's finaliser): spreads successive token ids."""


def _mix(x: torch.Tensor) -> torch.Tensor:
    """lowbias32, a measured 32-bit finaliser (C. Wellons, hash-prospector), on int32 tensors."""
    x = (x ^ ((x >> 16) & 0xFFFF)) * 0x21F0AAAD
    x = (x ^ ((x >> 15) & 0x1FFFF)) * -749064809  # 0xd35a2d97 as a signed word
    return x ^ ((x >> 15) & 0x1FFFF)
