"""Prompts of different lengths as one batch, padded on the left."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from dgrpo.policy.language_model import LanguageModel


@dataclass(frozen=True)
class PaddedPrompts:
    """Prompts of different lengths as one left-padded batch."""

    ids: torch.Tensor
    """(prompts, longest) int64."""
    mask: torch.Tensor
    """(prompts, longest) int64, 0 on padding."""
    lengths: torch.Tensor
    """(prompts,) int64."""

    @classmethod
    def of(cls, model: LanguageModel, texts: list[str]) -> PaddedPrompts:
        """Encode and pad `texts`."""
        return cls.of_ids(model, [model.encode_prompt(text) for text in texts])

    @classmethod
    def of_ids(cls, model: LanguageModel, encoded: list[list[int]]) -> PaddedPrompts:
        """Pad prompts that are encoded already."""
        width = max(map(len, encoded))
        rows = [[model.end_id] * (width - len(row)) + row for row in encoded]
        lengths = torch.tensor([len(row) for row in encoded], device=model.device)
        ids = torch.tensor(rows, device=model.device)
        first = width - lengths[:, None]
        mask = (torch.arange(width, device=model.device)[None] >= first).long()
        return cls(ids, mask, lengths)

    def inputs(self) -> dict[str, torch.Tensor]:
        """Keyword arguments of a forward pass over the prompts alone."""
        positions = (self.mask.cumsum(dim=1) - 1).clamp(min=0)
        return {"input_ids": self.ids, "attention_mask": self.mask, "position_ids": positions}
