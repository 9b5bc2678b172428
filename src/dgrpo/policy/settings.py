"""Which model, and how completions are drawn: settings that can be read without loading torch."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

SHIPPED = Path(__file__).parent.parent / "shipped"
"""Where the package keeps its own small models, one folder each."""


class ModelSettings(BaseModel):
    """Which model a node trains."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    name: str = "gsm-nano"
    """A shipped model, a local folder in Hugging Face format, or a name on a model hub."""
    device: str = "cpu"
    """torch device: `cpu`, `cuda`, `cuda:1`, …"""
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    """What forward passes are computed in. Weights are kept and stepped in float32: in less, Adam's
    small steps vanish. `bfloat16` is autocast; `float16` is refused in training, since gradients
    leave its range. A judge's weights are of its own `dtype`."""


class Sampling(BaseModel):
    """How completions are sampled, in training and in evaluation."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False
    )

    max_tokens: int = Field(96, ge=1)
    """Longest completion in its sender's tokens, end token included (paper: 1024 for Qwen2.5)."""
    temperature: float = Field(1.0, ge=0)
    """0 takes the most likely token."""
    top_k: int = Field(50, ge=0)
    """Only the k most likely tokens can be drawn; 0: all of them (paper: 50 of 151,936)."""
    top_p: float = Field(1.0, gt=0, le=1)
    """Only the smallest set of tokens with this much probability can be drawn; 1: all."""
