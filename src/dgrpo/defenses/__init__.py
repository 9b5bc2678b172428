"""Defenses: what a node checks before it learns from a completion. One file per check.

* `base.py`: `Defense` (the plug-in), `RunningDefense` (it at work), `StatelessDefense`,
  `Receiver`
* `top_k.py`: the paper's logit check
* `judge.py`: a language model reads the completion (its parts are in `dgrpo.judging`)
* `self_judge.py`: the receiver's own model as judge, a baseline
* `reward_outlier.py`: unusual rewards, a baseline

To add one: a file here, or anywhere (`name = "my_defense.py:MyDefense"` in an experiment), or in
your own package with an entry point in `dgrpo.defenses`. See `examples/my_defense.py`,
and `examples/my_stateful_defense.py` for one that remembers.
"""

from dgrpo.defenses.base import Defense, Need, Receiver, RunningDefense, StatelessDefense

BASE = Defense

__all__ = ["BASE", "Defense", "Need", "Receiver", "RunningDefense", "StatelessDefense"]
