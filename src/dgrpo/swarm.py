"""Many nodes in one process: the default engine.

Every node plays `round.play_round` as a coroutine. When all of them wait, their requests are
computed together: once per *replica*, a model that several nodes share because their weights are
equal. Nodes that accept different completions stop being equal, and their replica is split: updates
wait until nobody asks for samples or scores, so that all nodes of a replica are there to compare.

Leaves out: processes and networks; running experiments and folders (`runs/`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from dgrpo.errors import DgrpoError
from dgrpo.exchange.base import Message
from dgrpo.experiment import Experiment
from dgrpo.learning.learner import Learner
from dgrpo.node import Node
from dgrpo.policy.model import LanguageModel, load_model
from dgrpo.policy.room import check_room
from dgrpo.policy.sampling import SampleRequest, sample
from dgrpo.policy.scoring import ScoreItem
from dgrpo.records import Completion, HeldOutScore, RoundRecord, TokenScores, UpdateStats
from dgrpo.round import play_round
from dgrpo.tasks.base import LoadedTask


@dataclass(frozen=True)
class Generate:
    """Draw completions from the node's replica."""

    requests: tuple[SampleRequest, ...]


@dataclass(frozen=True)
class Score:
    """Score completions under the node's replica."""

    items: tuple[ScoreItem, ...]
    keep: bool
    """Whether the update that follows may use the forward pass."""


@dataclass(frozen=True)
class Update:
    """Update the node's replica, splitting it if its nodes disagree."""

    items: tuple[ScoreItem, ...]
    advantages: tuple[float | None, ...]
    round: int


@dataclass(frozen=True)
class Gather:
    """Wait for everyone's message."""

    message: Message


Request = Generate | Score | Update | Gather
TURNS: tuple[tuple[type[Request], ...], ...] = ((Generate, Score), (Update,), (Gather,))
"""Which requests are answered first; the others wait until nobody asks for these."""


class Seat:
    """A node's place in the swarm: its `policy` and its `exchange`, by way of requests."""

    def __init__(self, swarm: Swarm, index: int) -> None:
        self._swarm = swarm
        self._index = index

    async def generate(self, requests: Sequence[SampleRequest]) -> list[tuple[int, ...]]:
        """See `node.Policy`."""
        return await self._ask(Generate(tuple(requests)))  # type: ignore[no-any-return]

    async def score(self, items: Sequence[ScoreItem], *, keep: bool = False) -> list[TokenScores]:
        """See `node.Policy`."""
        return await self._ask(Score(tuple(items), keep))  # type: ignore[no-any-return]

    async def update(
        self, items: Sequence[ScoreItem], advantages: Sequence[float | None], round_index: int
    ) -> UpdateStats:
        """See `node.Policy`."""
        return await self._ask(  # type: ignore[no-any-return]
            Update(tuple(items), tuple(advantages), round_index)
        )

    async def all_gather(
        self, round_index: int, completions: Sequence[Completion]
    ) -> list[Message]:
        """See `exchange.Exchange`. In memory nobody is late."""
        node = self._swarm.nodes[self._index]
        digest = node.model.tokenizer_digest
        message = Message(node.name, node.index, digest, tuple(completions))
        return await self._ask(Gather(message))  # type: ignore[no-any-return]

    async def _ask(self, request: Request) -> Any:
        return await self._swarm.submit(self._index, request)


class Swarm:
    """The nodes of one run, and the replicas they share."""

    def __init__(
        self,
        experiment: Experiment,
        seed: int,
        *,
        task: LoadedTask | None = None,
        share_replicas: bool = True,
    ) -> None:
        """Load task and models. `share_replicas=False` keeps a copy per node: slower, same result.

        Raises DgrpoError when the data or a model cannot be used.
        """
        self.experiment = experiment
        self.task = (task or experiment.task.load()).with_libraries(experiment.libraries())
        check_start(experiment, self.task)
        self.learners: list[Learner] = []
        self.replica_of: list[int] = []
        self.origin: list[int] = []
        """Which replica each was copied from, itself if loaded: a resumed run copies again."""
        self._place_replicas(share_replicas)
        prompts = [prompt.text for prompt in (*self.task.train, *self.task.held_out)]
        for replica in dict.fromkeys(self.origin):
            check_room(self.learners[replica].model, prompts, experiment.sampling.max_tokens)
        self.nodes = [self._make_node(index, seed) for index in range(experiment.nodes)]
        self._waiting: list[tuple[int, Request, asyncio.Future[Any]]] = []
        self._playing = 0

    def play(self, round_index: int) -> list[RoundRecord]:
        """One round of every node, in node order."""
        return asyncio.run(self._together([play_round(n, round_index) for n in self.nodes]))

    def evaluate(self, updates: int) -> list[HeldOutScore | None]:
        """Held-out scores of every node; None for malicious ones."""
        return asyncio.run(self._together([n.evaluate(updates) for n in self.nodes]))

    def state_dict(self) -> dict[str, Any]:
        """Everything a checkpoint carries."""
        return {
            "learners": [learner.state_dict() for learner in self.learners],
            "replica_of": self.replica_of,
            "origin": self.origin,
            "defenses": [
                {label: check.state_dict() for label, check in node.defenses} for node in self.nodes
            ],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a checkpoint.

        Raises ValueError, or what its parts raise, if it is not one of this swarm.
        """
        self._check_places(state["origin"], state["replica_of"])
        for origin in state["origin"][len(self.learners) :]:
            self.learners.append(self.learners[origin].clone())
        self.origin = list(state["origin"])
        for learner, saved in zip(self.learners, state["learners"], strict=True):
            learner.load_state_dict(saved)
        self.replica_of = list(state["replica_of"])
        for node, saved in zip(self.nodes, state["defenses"], strict=True):
            for label, check in node.defenses:
                check.load_state_dict(saved[label])

    def _check_places(self, origin: Sequence[int], replica_of: Sequence[int]) -> None:
        """Raise ValueError unless every copy has an origin before it, and every node a replica."""
        nodes, loaded = len(self.nodes), len(self.learners)
        copies = all(0 <= one <= index for index, one in enumerate(origin))
        if not (loaded <= len(origin) <= nodes and copies and origin[:loaded] == self.origin):
            raise ValueError("its replicas are not those of this experiment")
        if len(replica_of) != nodes or not all(0 <= one < len(origin) for one in replica_of):
            raise ValueError("its nodes are not those of this experiment")

    async def submit(self, index: int, request: Request) -> Any:
        """Wait until every playing node waits, then for the answer.

        Raises DgrpoError for a node that has asked already, and not awaited the answer.
        """
        if any(asking == index for asking, _, _ in self._waiting):
            raise DgrpoError(
                f"node-{index} asked its model again before the last answer came",
                remedy="a defense or an attack must await each call of `node.policy` and "
                "`turn.draw` before the next",
            )
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting.append((index, request, future))
        self._answer_if_all_wait()
        return await future

    async def _together(self, coroutines: Sequence[Any]) -> list[Any]:
        self._waiting, self._playing = [], len(coroutines)

        async def playing(coroutine: Any) -> Any:
            answer = await coroutine
            # a node that raised ends the round: it still counts, so nothing is computed any more
            self._playing -= 1
            self._answer_if_all_wait()
            return answer

        return list(await asyncio.gather(*(playing(c) for c in coroutines)))

    def _answer_if_all_wait(self) -> None:
        """Once nobody can go on alone: answer the requests whose turn it is."""
        if not self._waiting or len(self._waiting) < self._playing:
            return
        by_turn = [[w for w in self._waiting if isinstance(w[1], turn)] for turn in TURNS]
        answered, *later = [waiting for waiting in by_turn if waiting]
        self._waiting = [w for waiting in later for w in waiting]
        answered.sort(key=lambda waiting: waiting[0])
        answers = self._compute([(i, r) for i, r, _ in answered])
        for (_, _, future), answer in zip(answered, answers, strict=True):
            if not future.done():
                future.set_result(answer)

    def _compute(self, asked: list[tuple[int, Request]]) -> list[Any]:
        """Answers in the order of `asked`: (node index, request)."""
        answers: dict[int, Any] = {}
        messages = [r.message for _, r in asked if isinstance(r, Gather)]
        answers |= {i: messages for i, r in asked if isinstance(r, Gather)}
        drawing = [(i, r) for i, r in asked if isinstance(r, Generate)]
        for replica in dict.fromkeys(self.replica_of[i] for i, _ in drawing):
            mine = [(i, r) for i, r in drawing if self.replica_of[i] == replica]
            wanted = list(dict.fromkeys(one for _, r in mine for one in r.requests))
            model = self.learners[replica].model
            ids = sample(model, wanted, self.experiment.sampling, finite=True)
            drawn = dict(zip(wanted, ids, strict=True))
            answers |= {i: [drawn[one] for one in r.requests] for i, r in mine}
        scored: dict[tuple[int, Score], list[TokenScores]] = {}
        for i, r in asked:
            if isinstance(r, Score):
                task = (self.replica_of[i], r)
                if task not in scored:
                    scored[task] = self.learners[task[0]].score(r.items, keep=r.keep)
                answers[i] = scored[task]
        answers |= self._update([(i, r) for i, r in asked if isinstance(r, Update)])
        return [answers[i] for i, _ in asked]

    def _update(self, asked: list[tuple[int, Update]]) -> dict[int, UpdateStats]:
        """Step each replica once per different update; copy it first for all but one of them."""
        agreeing: dict[tuple[int, Update], list[int]] = {}
        for index, request in asked:
            agreeing.setdefault((self.replica_of[index], request), []).append(index)
        steps: list[tuple[Learner, Update, list[int]]] = []
        taken: set[int] = set()
        for (replica, request), indices in agreeing.items():
            if replica in taken:  # these nodes accepted something else: they part ways here
                self.learners.append(self.learners[replica].clone())
                self.origin.append(replica)
                for index in indices:
                    self.replica_of[index] = len(self.learners) - 1
            taken.add(replica)
            steps.append((self.learners[self.replica_of[indices[0]]], request, indices))
        answers: dict[int, UpdateStats] = {}
        for learner, request, indices in steps:
            stats = learner.step(request.items, request.advantages, request.round)
            answers |= dict.fromkeys(indices, stats)
        return answers

    def _place_replicas(self, share: bool) -> None:
        """Load each different model once; share it, or copy it for every node."""
        loaded: dict[Any, int] = {}
        for index in range(self.experiment.nodes):
            settings = self.experiment.model_of(index)
            if settings not in loaded:
                loaded[settings] = len(self.learners)
                self.learners.append(self._learner(load_model(settings, trained=True)))
                self.origin.append(loaded[settings])
            elif not share:
                self.learners.append(self.learners[loaded[settings]].clone())
                self.origin.append(loaded[settings])
                self.replica_of.append(len(self.learners) - 1)
                continue
            self.replica_of.append(loaded[settings])

    def _learner(self, model: LanguageModel) -> Learner:
        settings = self.experiment
        return Learner(
            model,
            settings.learner,
            completions=settings.prompts_per_round * settings.group_size,
            max_tokens=settings.sampling.max_tokens,
            temperature=settings.sampling.temperature,
        )

    def _make_node(self, index: int, seed: int) -> Node:
        first_malicious = self.experiment.nodes - self.experiment.malicious
        seat = Seat(self, index)
        node = Node(
            name=f"node-{index}",
            index=index,
            experiment=self.experiment,
            seed=seed,
            task=self.task,
            model=self.learners[self.replica_of[index]].model,
            policy=seat,
            exchange=seat,
            attack=self.experiment.attack_of(index),
            malicious=index >= first_malicious,
            accomplices=tuple(f"node-{i}" for i in range(first_malicious, self.experiment.nodes)),
        )
        node.defenses = [(d.label, d.check.start(node)) for d in self.experiment.defense]
        return node


def check_start(experiment: Experiment, task: LoadedTask) -> None:
    """Raise DgrpoError where the task cannot serve the experiment; before models are loaded."""
    if experiment.prompts_per_round > len(task.train):
        raise DgrpoError(
            f"prompts_per_round = {experiment.prompts_per_round}: the training pool of "
            f"{task.name} has only {len(task.train)} prompts",
            remedy="lower prompts_per_round or enlarge the pool (task.train)",
        )
    if not task.held_out:
        raise DgrpoError(f"task {task.name} has no held-out prompts", remedy="set task.held_out")
    for attack in experiment.attack:
        attack.check(task, experiment.topology, experiment.group_size)
    mounted = {type(attack) for attack in experiment.attack}
    for measure in experiment.measure:
        if type(measure) in mounted and not measure.measured_on(task.held_out):
            raise DgrpoError(
                f"measure: on none of the {len(task.held_out)} held-out prompts of {task.name} "
                f"would it show whether the mounted attack {measure.name} took",
                remedy="enlarge task.held_out, or set measure = [] to measure nothing",
            )
