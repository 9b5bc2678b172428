"""A model that samples and scores, and never learns: of a frozen node, or of a guard."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import torch

from dgrpo.policy.model import LanguageModel
from dgrpo.policy.sampling import SampleRequest, sample
from dgrpo.policy.scoring import ScoreItem, forward_pass
from dgrpo.policy.settings import Sampling
from dgrpo.records import TokenStatistics, UpdateStats


class FrozenModel:
    """See `Trainable`; its step does nothing."""

    def __init__(self, model: LanguageModel, sampling: Sampling) -> None:
        self.model = model
        self.sampling = sampling

    def generate(self, requests: Sequence[SampleRequest]) -> list[tuple[int, ...]]:
        """One completion's ids per request. Raises DgrpoError if logits are not finite."""
        return sample(self.model, list(requests), self.sampling, finite=True)

    @torch.no_grad()
    def score(
        self, items: Sequence[ScoreItem], statistics: Collection[str] = (), *, keep: bool = False
    ) -> list[TokenStatistics]:
        """Statistics per token, in the items' order; nothing is kept, since nothing is learned."""
        if not items:
            return []
        temperature = self.sampling.temperature
        passed = forward_pass(
            self.model, list(items), temperature=temperature, statistics=statistics
        )
        return passed.statistics()

    def step(
        self,
        items: Sequence[ScoreItem],
        advantages: Sequence[float | None],
        round_index: int,
        *,
        more: bool = False,
    ) -> UpdateStats:
        """No update, whatever was received."""
        return UpdateStats(loss=0.0, gradient_norm=0.0, tokens=0)

    def clone(self) -> FrozenModel:
        """The same model: copies of it could not part ways."""
        return self

    def state_dict(self) -> dict[str, Any]:
        """Nothing changes."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Nothing changed."""
