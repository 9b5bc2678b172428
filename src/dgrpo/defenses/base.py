"""What every defense offers: verdicts on received completions, the node's own included.

A defense sees what any receiver sees: texts, ids, its own ground truth, its own model. It never
sees which completions are poisoned.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, Protocol

from dgrpo.plugins import Plugin
from dgrpo.policy.model import LanguageModel
from dgrpo.policy.sampling import SampleRequest
from dgrpo.policy.scoring import ScoreItem
from dgrpo.records import Received, TokenScores, Verdict
from dgrpo.tasks.assignment import Topology
from dgrpo.tasks.base import LoadedTask


class OwnModel(Protocol):
    """The receiver's current weights, for texts of a defense's own; batched over nodes.

    One call at a time: a node has one request out, so await each before the next.
    """

    async def generate(self, requests: Sequence[SampleRequest]) -> list[tuple[int, ...]]:
        """One continuation's ids per request, under the experiment's sampling."""
        ...

    async def score(self, items: Sequence[ScoreItem]) -> list[TokenScores]:
        """Log-probabilities and ranks at the experiment's temperature."""
        ...


class Receiver(Protocol):
    """What a defense may ask of the node it guards."""

    @property
    def name(self) -> str:
        """The node's own name."""
        ...

    @property
    def topology(self) -> Topology:
        """Whether a group is a prompt's, or a prompt's from one sender."""
        ...

    @property
    def task(self) -> LoadedTask:
        """Its prompts, ground truth and reward."""
        ...

    @property
    def vocabulary(self) -> int:
        """Entries of its model's output distribution."""
        ...

    @property
    def model(self) -> LanguageModel:
        """For its tokenizer; the weights that count are behind `policy`."""
        ...

    @property
    def policy(self) -> OwnModel:
        """Its own model as it is now."""
        ...

    async def token_scores(self, received: Sequence[Received]) -> list[TokenScores]:
        """Its own model's view of each completion; computed once per round for all defenses."""
        ...


class Running:
    """A defense at work in one run: keeps what changes (calibration, reputation, a judge)."""

    async def check(self, received: Sequence[Received], node: Receiver) -> list[Verdict]:
        """One verdict per completion, in the same order."""
        raise NotImplementedError

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint must carry; plain JSON values."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what `state_dict` gave."""


class Defense(Plugin):
    """One check. `start` returns the object that does the work during a run."""

    name: ClassVar[str]

    def models(self) -> tuple[str, ...]:
        """Models that it loads into this process: experiment.json records their digests."""
        return ()

    @abstractmethod
    def start(self, node: Receiver) -> Running:
        """Make ready for a run of `node`; raises DgrpoError if that cannot be done."""


class StatelessDefense(Defense, Running):
    """A defense that remembers nothing: the plug-in is its own runtime object."""

    @abstractmethod
    async def check(self, received: Sequence[Received], node: Receiver) -> list[Verdict]:
        """As `Running.check`."""

    def start(self, node: Receiver) -> Running:
        """Nothing to prepare."""
        return self
