"""A model in this process, trained whole."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from dgrpo.learning.policies.base import Policy, PolicySettings

if TYPE_CHECKING:
    from dgrpo.learning.learner import Learner


class Local(Policy):
    """A model in this process; all of its weights are trained."""

    name: ClassVar[str] = "local"

    def load(self, settings: PolicySettings) -> Learner:
        """See `Policy.load`."""
        from dgrpo.learning.learner import Learner
        from dgrpo.policy.model import load_model

        model = load_model(settings.model, trained=True)
        return Learner(model, settings.learner, settings.sampling, completions=settings.completions)
