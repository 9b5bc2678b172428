"""Many nodes in one process: the default engine.

Every node plays `round.play_round` as a coroutine. `lockstep.py` computes their requests together,
and `replicas.py` holds one model for all nodes whose weights are equal.

Leaves out: processes and networks; running experiments and folders (`runs/`).
"""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Coroutine, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Any

from dgrpo.exchange.arrival import check_arrival
from dgrpo.experiment import Experiment
from dgrpo.lockstep import Generate, Lockstep, NodePort, Request, Score, Update
from dgrpo.node import Node
from dgrpo.policy.room import check_room
from dgrpo.records import HeldOutScore, RoundRecord
from dgrpo.replicas import Replicas
from dgrpo.round import play_round
from dgrpo.start import check_start
from dgrpo.tasks.base import LoadedTask


class Swarm:
    """The nodes of one run. Close it, or use it as a context, to let go of its event loop."""

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
        nodes = range(experiment.nodes)
        self.replicas = Replicas(
            [experiment.policy_settings(index) for index in nodes],
            experiment.policy.load,
            share=share_replicas,
        )
        prompts = [prompt.text for prompt in (*self.task.train, *self.task.held_out)]
        for trainable in self.replicas.loaded():
            check_room(trainable.model, prompts, experiment.longest)
        self._lockstep = Lockstep(self._compute)
        self._exchange = experiment.exchange.connect(experiment.roster)
        self.nodes = [self._node(index, seed) for index in nodes]
        self._check_arrival()
        self._runner = asyncio.Runner()  # one loop for the whole run: sockets outlive a round
        self._finalizer = weakref.finalize(self, _close_loop, self._runner)

    def play(self, round_index: int) -> list[RoundRecord]:
        """One round of every node, in node order."""
        return self.together([play_round(node, round_index) for node in self.nodes])

    def evaluate(self, updates: int) -> list[HeldOutScore | None]:
        """Held-out scores of every node; None for malicious ones."""
        return self.together([node.evaluate(updates) for node in self.nodes])

    def together(self, coroutines: Sequence[Coroutine[Any, Any, Any]]) -> list[Any]:
        """Results of one coroutine per node, whose models are asked in step."""
        return self._runner.run(self._lockstep.together(coroutines))

    def state_dict(self) -> dict[str, Any]:
        """Everything a checkpoint carries."""
        return {
            **self.replicas.state_dict(),
            "defenses": [
                {mounted.label: mounted.running.state_dict() for mounted in node.defenses}
                for node in self.nodes
            ],
            "attacks": [node.attack.state_dict() for node in self.nodes],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a checkpoint. Raises ValueError, or what its parts raise, for another's."""
        self.replicas.load_state_dict(state)
        for node, saved in zip(self.nodes, state["defenses"], strict=True):
            for mounted in node.defenses:
                mounted.running.load_state_dict(saved[mounted.label])
        for node, saved in zip(self.nodes, state.get("attacks", ()), strict=False):
            node.attack.load_state_dict(saved)

    def close(self) -> None:
        """Close the exchange and the event loop."""
        if self._finalizer.alive:
            self._runner.run(self._exchange.close())
            self._finalizer()

    def __enter__(self) -> Swarm:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _node(self, index: int, seed: int) -> Node:
        port = NodePort(self._lockstep, index, self._exchange.at(index))
        return Node.of(
            self.experiment,
            index,
            seed,
            task=self.task,
            model=self.replicas.of_node(index).model,
            policy=port,
            exchange=port,
        )

    def _check_arrival(self) -> None:
        """Raise DgrpoError if nothing that a mounted attack writes would be received."""
        honest = [node for node in self.nodes if not node.malicious]
        malicious = [node for node in self.nodes if node.malicious]
        for attack in self.experiment.attack:
            senders = [n for n in malicious if self.experiment.attack_of(n.index) == attack]
            roomiest = max(
                (node.index for node in senders),
                key=lambda index: self.experiment.sampling_of(index).max_tokens,
            )
            receivers = {
                self.experiment.model_of(node.index).name: node.admission(
                    self.task.by_key, roomiest
                )
                for node in honest
            }
            tokenizers = {node.model.tokenizer_digest for node in senders}
            check_arrival(attack, self.task, receivers, tokenizers)

    def _compute(self, asked: Sequence[tuple[int, Request]]) -> dict[int, Any]:
        """Answers by node to requests that are answered together."""
        return {
            **self.replicas.generate([(i, r) for i, r in asked if isinstance(r, Generate)]),
            **self.replicas.score([(i, r) for i, r in asked if isinstance(r, Score)]),
            **self.replicas.update([(i, r) for i, r in asked if isinstance(r, Update)]),
        }


def _close_loop(runner: asyncio.Runner) -> None:
    """Close the loop; also of a swarm that is collected while another loop runs."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        with suppress(KeyboardInterrupt):  # of a round that Ctrl-C stopped: it was raised there
            runner.close()
    else:
        runner.get_loop().close()
