"""What can be refused before a model is loaded: a task that cannot serve its experiment."""

from __future__ import annotations

from dgrpo.errors import DgrpoError
from dgrpo.experiment import Experiment
from dgrpo.tasks.base import LoadedTask
from dgrpo.tasks.checked import try_rewards


def check_start(experiment: Experiment, task: LoadedTask) -> None:
    """Raise DgrpoError where the task cannot serve the experiment; before models are loaded."""
    if experiment.prompts_per_round > len(task.train):
        raise DgrpoError(
            f"prompts_per_round = {experiment.prompts_per_round}: the training pool of "
            f"{task.name} has only {len(task.train)} prompts",
            remedy="lower prompts_per_round or enlarge the pool (task.train)",
        )
    if not task.held_out:
        raise DgrpoError(f"task {task.name} has no held-out prompts", remedy="set task.held_out")
    try_rewards(task)
    for attack in experiment.attack:
        attack.check(task, experiment.topology, experiment.group_size)
    mounted = {type(attack) for attack in experiment.attack}
    for measure in experiment.measure:
        if type(measure) in mounted and not measure.measured_on(task.held_out):
            raise DgrpoError(
                f"measure: on none of the {len(task.held_out)} held-out prompts of {task.name} "
                f"would it show whether the mounted attack {measure.name} took",
                remedy="enlarge task.held_out, or set measure = [] to measure nothing",
            )
