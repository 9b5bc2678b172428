"""Seconds and memory of a round: dgrpo's swarm of one node, and TRL's GRPOTrainer.

Both have the random model of Qwen2.5-1.5B's shape, the same prompts, sizes, sampling, learning rate
and passes, float32 weights and bfloat16 autocast. dgrpo screens with top-k, which tolerates every
token, so that both learn from the same number of completions. A random model never ends, so all
completions have the full length. Each side is a section and a process of its own: its peak memory
is its own.
"""

from __future__ import annotations

import resource
import statistics
from collections.abc import Callable
from typing import Any

import torch
from round_vs_trl import Settings, train_with_trl

from dgrpo.experiment import experiment_from
from dgrpo.policy.model import load_model
from dgrpo.policy.settings import ModelSettings
from dgrpo.swarm import Swarm
from gpu_sections.models import coin, random_folder, save_random_model, words_task
from gpu_sections.plan import Part, Plan

LEARNING_RATE = 1e-6
"""Small: what is measured does not depend on it, and weights stay near where they were."""
SEED = 0
MARGIN = 1.3
"""Another round begins if this many times as long as the last one is left of the budget."""
K = 50


def settings(plan: Plan) -> Settings:
    """B = 32, G = 12, 256 tokens, one group per forward and backward pass."""
    if plan.dry:
        return Settings(1, prompts=2, group=3, max_tokens=6, threads=1, micro_batch=3)
    return Settings(2, prompts=32, group=12, max_tokens=256, threads=16, micro_batch=12)


def run_dgrpo(plan: Plan, part: Part) -> None:
    """With screening; without where the check cannot be loaded."""
    make_model(plan, part)
    part.measure("dgrpo, with top-k", 45, lambda: dgrpo(plan, screened=True))
    if "dgrpo, with top-k" not in part.measured:
        part.measure("dgrpo, no defense", 45, lambda: dgrpo(plan, screened=False))


def run_trl(plan: Plan, part: Part) -> None:
    """Left out where TRL or what it needs is missing."""
    make_model(plan, part)
    part.measure("TRL", 45, lambda: trl(plan))


def make_model(plan: Plan, part: Part) -> None:
    """For the first of the two sides."""
    part.measure(
        "making the model", 15, lambda: save_random_model(plan.dry, plan.device, plan.folder)
    )


def dgrpo(plan: Plan, *, screened: bool) -> dict[str, Any]:
    """Medians over the rounds after the first."""
    sizes = settings(plan)
    check = {"name": "top-k", "k": K, "tolerated": sizes.max_tokens}
    experiment = experiment_from(
        {
            "name": "gpu",
            "rounds": sizes.rounds + 2,
            "nodes": 1,
            "prompts_per_round": sizes.prompts,
            "group_size": sizes.group,
            "model": {
                "name": str(random_folder(plan.folder)),
                "device": str(plan.device),
                "dtype": "bfloat16",
            },
            "sampling": {"max_tokens": sizes.max_tokens, "top_k": K},
            "learner": {
                "learning_rate": LEARNING_RATE,
                "warmup_rounds": 0,
                "groups_per_pass": sizes.micro_batch // sizes.group,
            },
            "defense": [check] if screened else [],
        }
    )
    swarm = Swarm(experiment, SEED, task=words_task(plan.dry, sizes.prompts * (sizes.rounds + 1)))
    swarm.nodes[0].malicious = True  # honest all the same: such nodes are not evaluated
    memory = Memory(plan)
    rounds, outside = [], []
    for round_index in range(sizes.rounds + 1):
        before = plan.left()
        record = swarm.play(round_index)[0]
        rounds.append(record)
        outside += [v.score >= K for one in record.judged for v in one.verdicts.values()]
        if round_index and plan.left() < MARGIN * (before - plan.left()):
            break
    timed = [{**record.seconds} for record in rounds[1:]]
    phases = {name: statistics.median(one[name] for one in timed) for name in timed[0]}
    seconds = statistics.median(sum(one.values()) for one in timed)
    result = {
        "rounds": len(timed),
        "seconds": seconds,
        "phases": phases,
        "tokens": sum(len(one.received.token_ids) for one in rounds[-1].judged),
        "completions": len(rounds[-1].judged),
        "tokens_that_teach": rounds[-1].update.tokens,
        **memory.peak(),
    }
    if screened:
        result["screening_share"] = phases["verify"] / seconds
        result["honest_outside"] = {"completions": len(outside), "outside": sum(outside)}
    return result


def trl(plan: Plan) -> dict[str, Any]:
    """The same of TRL, whose phases are generation and the rest."""
    sizes = settings(plan)
    task = words_task(plan.dry, sizes.prompts * (sizes.rounds + 1))
    source = ModelSettings(
        name=str(random_folder(plan.folder)), device=str(plan.device), dtype="bfloat16"
    )
    model = load_model(source, trained=True)
    tokens: list[int] = []

    def reward(
        completions: list[str], completion_ids: list[list[int]], **_: Any
    ) -> list[float | None]:
        tokens.append(sum(map(len, completion_ids)))
        return [coin(text) for text in completions]

    steps: list[float] = []

    def stop() -> bool:
        steps.append(plan.left())
        return len(steps) > 1 and steps[-1] < MARGIN * (steps[-2] - steps[-1])

    memory = Memory(plan)
    times = train_with_trl(
        model,
        [{"prompt": prompt.text} for prompt in task.train],
        reward,
        sizes,
        stop=stop,
        use_cpu=plan.device.type == "cpu",
        bf16=plan.device.type == "cuda",
        learning_rate=LEARNING_RATE,
    )
    seconds = statistics.median(times.seconds)
    generating = statistics.median(times.generating)
    return {
        "rounds": len(times.seconds),
        "seconds": seconds,
        "phases": {"generate": generating, "rest": seconds - generating},
        "tokens": tokens[-1],
        "completions": sizes.prompts * sizes.group,
        **memory.peak(),
    }


class Memory:
    """Peak memory since it was made: the card's, or on a CPU the process's."""

    def __init__(self, plan: Plan) -> None:
        self._on_card = plan.device.type == "cuda"
        if self._on_card:
            torch.cuda.reset_peak_memory_stats()

    def peak(self) -> dict[str, float]:
        """In MiB: held by tensors, and held from the driver."""
        if not self._on_card:
            return {"peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}
        asked: dict[str, Callable[[], int]] = {
            "peak_mb": torch.cuda.max_memory_allocated,
            "reserved_mb": torch.cuda.max_memory_reserved,
        }
        return {name: ask() / 2**20 for name, ask in asked.items()}
