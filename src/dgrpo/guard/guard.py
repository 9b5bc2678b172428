"""A receiver that is no node: it screens completions by the same rule, for a model of one's own.

Leaves out: adapters to trainers and to files of rollouts.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Collection, Coroutine, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from dgrpo.errors import DgrpoError
from dgrpo.experiment import named_defenses
from dgrpo.learning.alone import LocalPolicy
from dgrpo.learning.still import FrozenModel
from dgrpo.policy.model import LanguageModel
from dgrpo.policy.scoring import score_items
from dgrpo.policy.settings import Sampling
from dgrpo.policy.statistics import known_statistics
from dgrpo.records import Batch, Prompt, Received, TokenStatistics
from dgrpo.screening import MODEL, REWARDS, Screened, rewards_of, screen, start_defenses
from dgrpo.tasks.assignment import Topology
from dgrpo.tasks.base import LoadedTask


class Guard:
    """Screens completions for a model of one's own.

    >>> guard = Guard(["judge"])
    >>> question = "Question: Tom has 3 cows and buys 4. How many has he?"
    >>> guard.screen([(question, "3 + 4 = 7", "peer")]).accepted  # doctest: +SKIP
    (True,)
    """

    def __init__(
        self,
        defenses: Sequence[str | Mapping[str, Any]],
        *,
        model: LanguageModel | None = None,
        task: LoadedTask | None = None,
        name: str = "guard",
        topology: Topology = "horizontal",
        sampling: Sampling | None = None,
    ) -> None:
        """Start the defenses, named as in an experiment file.

        model: for defenses that look at probabilities; its weights may go on changing. task: for
        defenses that look at rewards. sampling: how honest completions are drawn. Raises DgrpoError
        for a defense that needs a model or a task when none is given.
        """
        self.name = name
        self.topology: Topology = topology
        self._model = model
        self.task = task
        self._policy = FrozenModel(model, sampling or Sampling()) if model else None
        self.offers = (frozenset({REWARDS}) if task else frozenset()) | (
            known_statistics() | {MODEL} if model else frozenset()
        )
        self._defenses = start_defenses(named_defenses(defenses), self)
        self._batches = 0

    @property
    def model(self) -> LanguageModel:
        """The model that it screens for."""
        if self._model is None:
            raise DgrpoError("this guard was made without a model", remedy="Guard(…, model=…)")
        return self._model

    @property
    def vocabulary(self) -> int:
        """Entries of the model's output distribution."""
        return self.model.vocabulary

    @property
    def policy(self) -> LocalPolicy:
        """The model as it is now."""
        if self._policy is None:
            raise DgrpoError("this guard was made without a model", remedy="Guard(…, model=…)")
        return LocalPolicy(self._policy)

    async def token_statistics(
        self, received: Sequence[Received], names: Collection[str]
    ) -> list[TokenStatistics]:
        """How the model sees each completion."""
        return await self.policy.score(score_items(received), names)

    def screen(self, completions: Sequence[tuple[str, str, str]]) -> Screened:
        """Screen (prompt, completion, sender) together; each call is a round of its own.

        With a task, a prompt must be one of the task's. Raises DgrpoError for one that is not.
        """
        return self.screen_received([self._received(i, *c) for i, c in enumerate(completions)])

    def screen_received(self, received: Sequence[Received]) -> Screened:
        """The same for completions that are records already."""
        rewards = rewards_of(self.task, received) if self.task is not None else ()
        batch = Batch(self._batches, tuple(received), rewards)
        self._batches += 1
        return _run(screen(self._defenses, batch, self))

    def state_dict(self) -> dict[str, Any]:
        """What changes: the memories of its defenses, as plain JSON values."""
        memories = {one.label: one.running.state_dict() for one in self._defenses}
        return {"batches": self._batches, "defenses": memories}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what `state_dict` gave."""
        self._batches = state["batches"]
        for one in self._defenses:
            one.running.load_state_dict(state["defenses"][one.label])

    def _received(self, index: int, prompt: str, completion: str, sender: str) -> Received:
        ids = self._model.encode_completion(completion) if self._model else ()
        return Received(sender, self._prompt(prompt), index, completion, ids)

    def _prompt(self, text: str) -> Prompt:
        if self.task is None:
            return Prompt(hashlib.sha256(text.encode(errors="replace")).hexdigest()[:16], text)
        for prompt in self.task.train:
            if prompt.text == text:
                return prompt
        raise DgrpoError(
            f"the prompt {text[:80]!r} is none of task {self.task.name}",
            remedy="give prompts as the task writes them, or make the guard without a task",
        )


def _run(work: Coroutine[Any, Any, Screened]) -> Screened:
    """Its result, also for a caller inside an event loop of its own (a notebook)."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(work)
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, work).result()
