"""Decentralised GRPO: the training system, the attacks on it, the defenses, and the measurements.

`from dgrpo import Experiment, run, Guard` works. Each name is imported when it is asked for, so
reading an experiment file loads no torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dgrpo.attacks import Attack, RewardedAttack, StatelessAttack, ThinkingAttack
    from dgrpo.defenses import Defense, StatelessDefense
    from dgrpo.errors import DgrpoError
    from dgrpo.experiment import Experiment, load_experiment
    from dgrpo.guard import Guard
    from dgrpo.node import Node
    from dgrpo.round import play_round
    from dgrpo.runs.running import run
    from dgrpo.swarm import Swarm
    from dgrpo.tasks import Task

_HOME = {
    "Attack": "dgrpo.attacks",
    "RewardedAttack": "dgrpo.attacks",
    "StatelessAttack": "dgrpo.attacks",
    "ThinkingAttack": "dgrpo.attacks",
    "Defense": "dgrpo.defenses",
    "StatelessDefense": "dgrpo.defenses",
    "DgrpoError": "dgrpo.errors",
    "Experiment": "dgrpo.experiment",
    "load_experiment": "dgrpo.experiment",
    "Guard": "dgrpo.guard",
    "Node": "dgrpo.node",
    "play_round": "dgrpo.round",
    "run": "dgrpo.runs.running",
    "Swarm": "dgrpo.swarm",
    "Task": "dgrpo.tasks",
}
"""Where each public name lives."""

__all__ = [
    "Attack",
    "Defense",
    "DgrpoError",
    "Experiment",
    "Guard",
    "Node",
    "RewardedAttack",
    "StatelessAttack",
    "StatelessDefense",
    "Swarm",
    "Task",
    "ThinkingAttack",
    "load_experiment",
    "play_round",
    "run",
]


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return __all__
