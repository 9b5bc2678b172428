"""What a node learns with: advantages, losses, and models that sample, score and learn.

* `settings.py`: `LearnerSettings`
* `advantages.py`: rewards → advantages, within groups
* `losses.py`: the paper's loss and its relatives
* `learner.py`: `Learner` (optimiser, warm-up, several updates per round)
* `still.py`: a model that never learns
* `alone.py`: a node's view of its model without a swarm around it
* `policies/`: the plug-ins that an experiment names in `[policy]`
"""
