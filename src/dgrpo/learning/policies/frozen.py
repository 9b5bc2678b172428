"""A node that keeps its first weights: it takes part, and never learns."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from dgrpo.learning.policies.base import Policy, PolicySettings

if TYPE_CHECKING:
    from dgrpo.learning.still import FrozenModel


class Frozen(Policy):
    """A model that keeps its first weights: it samples, scores and screens, and never learns."""

    name: ClassVar[str] = "frozen"

    def load(self, settings: PolicySettings) -> FrozenModel:
        """See `Policy.load`."""
        from dgrpo.learning.still import FrozenModel
        from dgrpo.policy.model import load_model

        return FrozenModel(load_model(settings.model), settings.sampling)
