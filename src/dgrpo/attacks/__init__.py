"""Attacks: what a malicious node sends. One file per technique.

* `base.py`: `Attack` (the plug-in, and a measure), `RunningAttack` (it at work), `StatelessAttack`,
  `Turn` (what it is told)
* `rewarded.py`: `RewardedAttack` (payloads of full reward, decoys), `ThinkingAttack` (payload in
  the reasoning)
* `oracles.py`: where right solutions come from
* `decoys.py`: completions of reward 0 for vertical groups
* `honest.py`, `silent.py`: the two controls
* `text.py`: TEXT, out-of-context phrases
* `equation.py`: MATH, a wrong result inside right reasoning
* `long_answer.py`: DoS, the longest right answers
* `code_import.py`: CODE, an import of the attacker's library
* `spelling.py`: right solutions in other tokens

To add one: a file here, or anywhere (`name = "my_attack.py:MyAttack"` in an experiment), or in your
own package with an entry point in `dgrpo.attacks`. See `examples/my_attack.py`.
"""

from dgrpo.attacks.base import Attack, RunningAttack, StatelessAttack, Turn
from dgrpo.attacks.rewarded import RewardedAttack, ThinkingAttack

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
