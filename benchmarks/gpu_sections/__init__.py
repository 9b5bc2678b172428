"""The sections of `gpu.py`, each a `run(plan, part)` that notes results as they are there.

* `plan.py`: what a section is told, and where it notes results
* `models.py`: the models and prompts that sections share
* `suite.py`: the tests marked `gpu`
* `draws.py`: noise and draws on both devices
* `numerics.py`, `views.py`: honest completions under other numerics than their sender's
* `rounds.py`: seconds and memory of a round, beside TRL
* `table.py`: the results as Markdown

Nothing here says "cuda": a section computes on the device that its plan names, and the CPU.
"""
