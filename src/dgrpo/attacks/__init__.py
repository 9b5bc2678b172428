"""Attacks: what a malicious node sends. One file per technique.

* `base.py`: `Attack` (two hooks and a measure), `ThinkingAttack` (payload in the reasoning), `Turn`
* `honest.py`, `silent.py`: the two controls
* `text.py`: TEXT, out-of-context phrases

To add one: a file here, or anywhere (`name = "my_attack.py:MyAttack"` in an experiment), or in your
own package with an entry point in `dgrpo.attacks`. See `examples/my_attack.py`.
"""

from dgrpo.attacks.base import Attack, ThinkingAttack, Turn

BASE = Attack

__all__ = ["BASE", "Attack", "ThinkingAttack", "Turn"]
