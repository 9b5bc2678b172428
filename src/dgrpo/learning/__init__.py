"""What a node learns with: group advantages, GRPO losses, and the learner that steps the optimiser.

* `advantages.py`: rewards → advantages, within groups
* `losses.py`: the paper's loss and its relatives
* `learner.py`: `LearnerSettings`, `Learner` (optimiser, warm-up, several updates per round)
"""
