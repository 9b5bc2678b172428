"""Policies: how a node's model is held, sampled and trained. One file per kind.

* `base.py`: `Policy` (the plug-in), `Trainable` (what it makes), `NodePolicy` (a round's view)
* `local.py`: a model in this process, trained whole
* `frozen.py`: a model that never learns

To add one: a file here, or anywhere (`[policy] name = "my.py:MyPolicy"` in an experiment), or
in your own package with an entry point in `dgrpo.policies`. Load torch in `load`, not on import:
plug-ins are listed and checked without it.
"""

from dgrpo.learning.policies.base import NodePolicy, Policy, PolicySettings, Trainable

BASE = Policy

__all__ = ["BASE", "NodePolicy", "Policy", "PolicySettings", "Trainable"]
