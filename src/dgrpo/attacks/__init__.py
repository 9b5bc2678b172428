"""Attacks: what a malicious node sends. One file per technique.

* `base.py`: `Attack` (the plug-in, and a measure), `RunningAttack` (it at work), `StatelessAttack`,
  `RewardedAttack` (payloads of full reward, decoys, the oracle), `ThinkingAttack` (payload in the
  reasoning), `Turn`
* `decoys.py`: completions of reward 0 for vertical groups
* `honest.py`, `silent.py`: the two controls
* `text.py`: TEXT, out-of-context phrases
* `equation.py`: MATH, a wrong result inside right reasoning
* `long_answer.py`: DoS, the longest right answers
* `code_import.py`: CODE, an import of the attacker's library

To add one: a file here, or anywhere (`name = "my_attack.py:MyAttack"` in an experiment), or in your
own package with an entry point in `dgrpo.attacks`. See `examples/my_attack.py`.
"""

from dgrpo.attacks.base import (
    Attack,
    RewardedAttack,
    RunningAttack,
    StatelessAttack,
    ThinkingAttack,
    Turn,
)

BASE = Attack

__all__ = [
    "BASE",
    "Attack",
    "RewardedAttack",
    "RunningAttack",
    "StatelessAttack",
    "ThinkingAttack",
    "Turn",
]
