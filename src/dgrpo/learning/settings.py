"""How a node learns: settings that can be read without loading torch."""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, PlainSerializer

from dgrpo.learning.advantages import Scaling

Normalisation = Literal["grpo", "dr_grpo", "dapo"]
Decay = Annotated[float, Field(ge=0, lt=1)]
"""A decay rate of a running mean."""
Bound = Annotated[
    float,
    Field(gt=0, allow_inf_nan=True),
    PlainSerializer(lambda bound: bound if math.isfinite(bound) else "inf", when_used="json"),
]
"""A positive number or `inf`, which JSON has no number for."""


class LearnerSettings(BaseModel):
    """How a node learns. The loss is the paper's; rates are those of the small models."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False
    )

    learning_rate: float = Field(7e-4, gt=0)
    """Adam's rate after warm-up (paper: 2e-5 for 1.5 B parameters)."""
    warmup_rounds: int = Field(5, ge=0)
    """Rounds of linear warm-up."""
    adam_betas: tuple[Decay, Decay] = (0.9, 0.999)
    """Adam's decay rates."""
    max_gradient_norm: Bound = 1.0
    """Gradients are scaled down to this L2 norm; inf: never (paper)."""
    advantage_scaling: Scaling = "group"
    """What advantages are divided by: `group` (paper), `batch`, `none` (Dr. GRPO)."""
    normalisation: Normalisation = "grpo"
    """Length normalisation of the loss: `grpo` (paper), `dr_grpo`, `dapo`."""
    updates_per_round: int = Field(1, ge=1)
    """Optimiser steps on each round's completions (paper: 1)."""
    clip_low: float | None = Field(None, gt=0, lt=1)
    """PPO clipping below 1; only matters with several updates per round (paper: none)."""
    clip_high: float | None = Field(None, gt=0)
    """PPO clipping above 1."""
    beta: float = Field(0.0, ge=0)
    """Weight of the KL to the starting weights, k3 estimate (paper: 0; its baseline: 0.01, 0.1)."""
    groups_per_pass: int | None = Field(None, ge=1)
    """Prompts per forward and backward pass; gradients accumulate. None: all at once."""
    keep_forward: bool = True
    """Use the defenses' forward pass for the update too. This takes less time and more memory,
    since the pass is then made with gradients."""

    @property
    def groups_per_part(self) -> int | None:
        """Prompts after whose screening a part of the round can be learned from; None: the round's.

        Not `groups_per_pass` if the update needs the whole round first: several updates, advantages
        scaled over the batch, or a loss that is divided by the batch's tokens.
        """
        whole = (
            self.updates_per_round > 1
            or self.advantage_scaling == "batch"
            or self.normalisation == "dapo"
        )
        return None if whole or not self.keep_forward else self.groups_per_pass
