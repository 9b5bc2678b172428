"""What a node learns with: advantages, losses, and policies: models that sample, score and learn.

* `advantages.py`: rewards → advantages, within groups
* `losses.py`: the paper's loss and its relatives
* `learner.py`: `LearnerSettings`, `Learner` (optimiser, warm-up, several updates per round)
* `base.py`: `Policy` (the plug-in), `Trainable` (what it makes), `NodePolicy` (a round's view)
* `local.py`: a model in this process, trained whole; `LocalPolicy`, a node's view of one
* `frozen.py`: a model that never learns

To add a policy: a file here, or anywhere (`[policy] name = "my_policy.py:MyPolicy"` in an
experiment), or in your own package with an entry point in `dgrpo.policies`.
"""

from dgrpo.learning.base import NodePolicy, Policy, PolicySettings, Trainable

BASE = Policy

__all__ = ["BASE", "NodePolicy", "Policy", "PolicySettings", "Trainable"]
