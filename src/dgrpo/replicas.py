"""Which nodes of a process share which model: load once, share while equal, split when not.

Nodes that start from equal settings and accept the same completions have equal weights, so one
copy is held and trained for all of them: a *replica*. Nodes that accept something else part ways:
their replica is copied before the update.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from dgrpo.learning.policies import Trainable
from dgrpo.lockstep import Generate, Score, Update
from dgrpo.records import TokenStatistics, UpdateStats


class Replicas:
    """The models of a process's nodes."""

    def __init__(
        self,
        settings: Sequence[Any],
        load: Callable[[Any], Trainable],
        *,
        share: bool = True,
    ) -> None:
        """Load each different model once; share it, or copy it for every node.

        settings: per node, what its model is made of; equal settings can share a model.
        """
        self.models: list[Trainable] = []
        self.of: list[int] = []
        """Which replica each node has."""
        self.origin: list[int] = []
        """Which replica each was copied from, itself if loaded: a resumed run copies again."""
        loaded: dict[Any, int] = {}
        for one in settings:
            if one not in loaded:
                loaded[one] = len(self.models)
                self.models.append(load(one))
                self.origin.append(loaded[one])
                self.of.append(loaded[one])
            elif share:
                self.of.append(loaded[one])
            else:
                self.of.append(self._copy(loaded[one]))

    def of_node(self, index: int) -> Trainable:
        """The model of node number `index`."""
        return self.models[self.of[index]]

    def loaded(self) -> list[Trainable]:
        """One model of each different settings."""
        return [self.models[replica] for replica in dict.fromkeys(self.origin)]

    def generate(self, asked: Sequence[tuple[int, Generate]]) -> dict[int, list[tuple[int, ...]]]:
        """What each node's model draws; equal requests to one replica are drawn once."""
        answers: dict[int, list[tuple[int, ...]]] = {}
        for replica in dict.fromkeys(self.of[index] for index, _ in asked):
            mine = [(i, r) for i, r in asked if self.of[i] == replica]
            wanted = list(dict.fromkeys(one for _, r in mine for one in r.requests))
            drawn = dict(zip(wanted, self.models[replica].generate(wanted), strict=True))
            answers |= {i: [drawn[one] for one in r.requests] for i, r in mine}
        return answers

    def score(self, asked: Sequence[tuple[int, Score]]) -> dict[int, list[TokenStatistics]]:
        """What each node's model says of tokens; equal questions to one replica are asked once."""
        scored: dict[tuple[int, Score], list[TokenStatistics]] = {}
        answers: dict[int, list[TokenStatistics]] = {}
        for index, request in asked:
            work = (self.of[index], request)
            if work not in scored:
                model = self.models[work[0]]
                scored[work] = model.score(request.items, request.statistics, keep=request.keep)
            answers[index] = scored[work]
        return answers

    def update(self, asked: Sequence[tuple[int, Update]]) -> dict[int, UpdateStats]:
        """Step each replica once per different update; copy it first for all but one of them."""
        agreeing: dict[tuple[int, Update], list[int]] = {}
        for index, request in asked:
            agreeing.setdefault((self.of[index], request), []).append(index)
        taken: set[int] = set()
        steps: list[tuple[Trainable, Update, list[int]]] = []
        for (replica, request), indices in agreeing.items():
            if replica in taken:  # these nodes accepted something else: they part ways here
                copied = self._copy(replica)
                for index in indices:
                    self.of[index] = copied
            taken.add(replica)
            steps.append((self.of_node(indices[0]), request, indices))
        answers: dict[int, UpdateStats] = {}
        for model, request, indices in steps:  # only once all copies are made
            stats = model.step(request.items, request.advantages, request.round, more=request.more)
            answers |= dict.fromkeys(indices, stats)
        return answers

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint carries of them."""
        return {
            "learners": [model.state_dict() for model in self.models],
            "replica_of": self.of,
            "origin": self.origin,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a checkpoint: copy again, then take over weights and optimisers.

        Raises ValueError, or what a model raises, if it is not one of these nodes'.
        """
        self._check_places(state["origin"], state["replica_of"])
        for origin in state["origin"][len(self.models) :]:
            self.models.append(self.models[origin].clone())
        self.origin = list(state["origin"])
        for model, saved in zip(self.models, state["learners"], strict=True):
            model.load_state_dict(saved)
        self.of = list(state["replica_of"])

    def _check_places(self, origin: Sequence[int], of: Sequence[int]) -> None:
        """Raise ValueError unless every copy has an origin before it, and every node a replica."""
        nodes, loaded = len(self.of), len(self.models)
        copies = all(0 <= one <= index for index, one in enumerate(origin))
        if not (loaded <= len(origin) <= nodes and copies and origin[:loaded] == self.origin):
            raise ValueError("its replicas are not those of this experiment")
        if len(of) != nodes or not all(0 <= one < len(origin) for one in of):
            raise ValueError("its nodes are not those of this experiment")

    def _copy(self, replica: int) -> int:
        """Number of a new copy of a replica."""
        self.models.append(self.models[replica].clone())
        self.origin.append(replica)
        return len(self.models) - 1
