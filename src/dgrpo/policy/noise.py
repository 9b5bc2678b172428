"""Gumbel noise from a counter-based hash of (key, position, token): no global random state.

Only 32-bit integer operations that wrap the same way on every device are used up to the uniform
number; its two logarithms may differ in the last bit between devices.
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
    # 23 bits, centred, so that neither 0 nor 1 occurs after rounding to float32
    uniform = (((bits >> 9) & 0x7FFFFF).to(torch.float32) + 0.5) * 2.0**-23
    return -torch.log(-torch.log(uniform))


_ODD_1 = -1640531527
"""2³² / golden ratio, as a signed word: spreads successive positions."""
_ODD_2 = -2048144789
"""An odd constant (murmur3's finaliser): spreads successive token ids."""


def _mix(x: torch.Tensor) -> torch.Tensor:
    """lowbias32, a measured 32-bit finaliser (C. Wellons, hash-prospector), on int32 tensors."""
    x = (x ^ ((x >> 16) & 0xFFFF)) * 0x21F0AAAD
    x = (x ^ ((x >> 15) & 0x1FFFF)) * -749064809  # 0xd35a2d97 as a signed word
    return x ^ ((x >> 15) & 0x1FFFF)
