"""Seconds and peak memory of one round: dgrpo's swarm beside TRL's GRPOTrainer.

Both sides train the same model on the same prompts with the same sampling, group size, reward,
loss and learning rate. Each measurement is a fresh process, so that peak memory is its own; the
sides take turns, so that a busy machine slows both. What is compared is one whole round: prompts,
generation, exchange and checks (dgrpo), reward, advantages, update; evaluation, logging and saving
are off or left out.

Leaves out: GPUs, vLLM, several nodes, what a defense costs (`seeded_sampling.py`).
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dgrpo.policy.model import LanguageModel

SIDES = ("dgrpo", "trl")
LEARNING_RATE = 1e-3
SEED = 0


@dataclass(frozen=True)
class Settings:
    """What both sides are given."""

    rounds: int
    """Timed rounds per process; one more before them warms up."""
    prompts: int
    group: int
    max_tokens: int
    threads: int
    micro_batch: int
    """Completions per forward and backward pass, on both sides; gradients accumulate."""


@dataclass(frozen=True)
class Measured:
    """One process: medians over its timed rounds."""

    side: str
    seconds: float
    peak_mb: float
    """Largest resident memory of the process."""
    loaded_mb: float
    """Resident memory once libraries, prompts and model are there."""
    phases: dict[str, float]
    """Seconds by part of the round."""
    tokens: float
    """Mean completion tokens per round: the two sides should do about equal work."""
    reward: float
    """Mean reward over the timed rounds."""


def measure_dgrpo(settings: Settings) -> Measured:
    from dgrpo.experiment import experiment_from
    from dgrpo.swarm import Swarm

    experiment = experiment_from(
        {
            "name": "benchmark",
            "rounds": settings.rounds + 2,
            "nodes": 1,
            "prompts_per_round": settings.prompts,
            "group_size": settings.group,
            "sampling": {"max_tokens": settings.max_tokens, "temperature": 1.0, "top_k": 50},
            "learner": {
                "learning_rate": LEARNING_RATE,
                "warmup_rounds": 0,
                "groups_per_pass": settings.micro_batch // settings.group,
            },
            "evaluation": {"samples": 1, "final_samples": 1},
        }
    )
    swarm = Swarm(experiment, SEED)
    loaded = resident_mb()
    seconds, phases, tokens, rewards = [], [], [], []
    for round_index in range(settings.rounds + 1):
        started = time.perf_counter()
        record = swarm.play(round_index)[0]
        took = time.perf_counter() - started
        seconds.append(took - record.seconds["evaluate"])
        phases.append({k: v for k, v in record.seconds.items() if k != "evaluate"})
        tokens.append(sum(len(one.received.token_ids) for one in record.judged))
        rewards += [one.reward for one in record.judged] if round_index else []
    return Measured(
        side="dgrpo",
        seconds=statistics.median(seconds[1:]),
        peak_mb=peak_mb(),
        loaded_mb=loaded,
        phases={k: statistics.median(p[k] for p in phases[1:]) for k in phases[0]},
        tokens=statistics.mean(tokens[1:]),
        reward=statistics.mean(rewards),
    )


def measure_trl(settings: Settings) -> Measured:
    from dgrpo.experiment import experiment_from
    from dgrpo.policy.model import load_model
    from dgrpo.policy.settings import ModelSettings
    from dgrpo.tasks.reward import tagged_reward

    rounds = settings.rounds + 1
    experiment = experiment_from({"name": "benchmark", "nodes": 1})
    pool = experiment.task.load().train
    # the prompts that dgrpo's assignment deals in these rounds, in the same order
    dealing = experiment.model_copy(
        update={"prompts_per_round": settings.prompts, "group_size": settings.group}
    ).assignment(SEED)
    prompts = [p for i in range(rounds) for p in dealing.common_prompts(pool, i)]
    tokens: list[int] = []
    rewards: list[list[float]] = []

    def reward(
        completions: list[str], answer: list[str], completion_ids: list[list[int]], **_: Any
    ) -> list[float | None]:
        tokens.append(sum(map(len, completion_ids)))
        rewards.append([tagged_reward(c, a) for c, a in zip(completions, answer, strict=True)])
        return [*rewards[-1]]

    rows = [{"prompt": p.text, "answer": p.answer} for p in prompts]
    times = train_with_trl(load_model(ModelSettings()), rows, reward, settings, use_cpu=True)
    total, generation = statistics.median(times.seconds), statistics.median(times.generating)
    return Measured(
        side="trl",
        seconds=total,
        peak_mb=peak_mb(),
        loaded_mb=times.loaded_mb,
        phases={"generate": generation, "rest": total - generation},
        tokens=statistics.mean(tokens[1:]),
        reward=statistics.mean(r for group in rewards[1:] for r in group),
    )


@dataclass(frozen=True)
class TrlTimes:
    """What TRL's rounds took; the first one, which warms up, is not among them."""

    seconds: list[float]
    """From the end of one step to the end of the next: everything a round costs."""
    generating: list[float]
    """Of these, in `generate`."""
    loaded_mb: float
    """Resident memory before training."""


def train_with_trl(
    model: LanguageModel,
    rows: list[dict[str, str]],
    reward: Callable[..., list[float | None]],
    settings: Settings,
    *,
    stop: Callable[[], bool] = lambda: False,
    **config: Any,
) -> TrlTimes:
    """Train on the rows' prompts; `config` is what else GRPOConfig is to be told.

    stop: asked after each step whether it is to be the last.
    """
    from datasets import Dataset
    from transformers import TrainerCallback
    from trl.trainer.grpo_config import GRPOConfig
    from trl.trainer.grpo_trainer import GRPOTrainer

    completions = settings.prompts * settings.group
    ends: list[float] = []
    generating: list[float] = []

    class Clock(TrainerCallback):  # type: ignore[misc, unused-ignore]
        """Notes the time after each step."""

        def on_step_end(self, *given: Any, **_: Any) -> None:
            """Note the time."""
            ends.append(time.perf_counter())
            control = given[2]  # after the arguments and the state
            control.should_training_stop |= stop()

    given: dict[str, Any] = {
        "bf16": False,
        "gradient_checkpointing": False,
        "per_device_train_batch_size": settings.micro_batch,
        "gradient_accumulation_steps": completions // settings.micro_batch,
        "num_generations": settings.group,
        "max_completion_length": settings.max_tokens,
        "temperature": 1.0,
        "top_k": 50,
        "beta": 0.0,
        "loss_type": "grpo",
        "num_iterations": 1,
        "learning_rate": LEARNING_RATE,
        "lr_scheduler_type": "constant",
        "max_grad_norm": 1.0,
        "max_steps": settings.rounds + 1,
        "shuffle_dataset": False,
        "logging_strategy": "no",
        "save_strategy": "no",
        "report_to": [],
        "disable_tqdm": True,
        "dataloader_pin_memory": False,
        "seed": SEED,
        **config,
    }
    with tempfile.TemporaryDirectory() as folder:
        trainer: Any = GRPOTrainer(
            model.network,
            reward,
            GRPOConfig(output_dir=folder, **given),
            train_dataset=Dataset.from_list(rows),
            processing_class=model.tokenizer,
            callbacks=[Clock()],
        )
        generate = trainer.model.generate

        def timed_generate(*args: Any, **kwargs: Any) -> Any:
            started = time.perf_counter()
            result = generate(*args, **kwargs)
            generating.append(time.perf_counter() - started)
            return result

        trainer.model.generate = timed_generate
        loaded = resident_mb()
        trainer.train()
    seconds = [after - before for before, after in pairwise(ends)]
    return TrlTimes(seconds, generating[1:], loaded)


def resident_mb() -> float:
    """Resident memory of this process now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def peak_mb() -> float:
    """Largest resident memory of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def in_fresh_process(side: str, settings: Settings) -> Measured:
    command = [sys.executable, __file__, "--side", side]
    for name, value in asdict(settings).items():
        command += [f"--{name.replace('_', '-')}", str(value)]
    environment = os.environ | {
        "OMP_NUM_THREADS": str(settings.threads),
        "HF_HUB_OFFLINE": "1",
        "TOKENIZERS_PARALLELISM": "false",
    }
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"the {side} side failed:\n{done.stderr[-2000:]}")
    return Measured(**json.loads(done.stdout.splitlines()[-1]))


def median_of(measured: list[Measured], field: str) -> float:
    return float(statistics.median(getattr(one, field) for one in measured))


def report(ours: list[Measured], theirs: list[Measured]) -> dict[str, Any]:
    """Print the table; returns the same as data. Ratios are dgrpo / TRL, paired by repeat."""
    print(f"\n{'':<26}{'dgrpo':>10}{'TRL':>10}{'dgrpo/TRL':>12}   range of the ratio")
    ratios: dict[str, Any] = {}
    for field, label in (
        ("seconds", "seconds per round"),
        ("peak_mb", "peak memory, MB"),
        ("loaded_mb", "  of it once loaded, MB"),
        ("tokens", "completion tokens"),
        ("reward", "mean reward"),
    ):
        pairs = [
            getattr(a, field) / getattr(b, field)
            for a, b in zip(ours, theirs, strict=True)
            if getattr(b, field)
        ]
        mine, other = median_of(ours, field), median_of(theirs, field)
        ratio = statistics.median(pairs) if pairs else float("nan")
        spread = f"{min(pairs):.2f} to {max(pairs):.2f}" if pairs else ""
        print(f"{label:<26}{mine:>10.2f}{other:>10.2f}{ratio:>12.2f}   {spread}")
        ratios[field] = {"dgrpo": mine, "trl": other, "ratio": ratio, "ratios": pairs}
    print("\nwhere the time goes (seconds per round, medians)")
    for name, side in (("dgrpo", ours), ("TRL", theirs)):
        parts = {p: statistics.median(one.phases[p] for one in side) for p in side[0].phases}
        print(f"  {name:<6}" + "  ".join(f"{p} {s:.3f}" for p, s in parts.items()))
        ratios[f"phases_{name.lower()}"] = parts
    return ratios


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--rounds", type=int, default=8, help="timed rounds per process")
    parser.add_argument("--repeats", type=int, default=5, help="processes per side")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--prompts", type=int, default=16, help="B, prompts per round")
    parser.add_argument("--group", type=int, default=12, help="G, completions per prompt")
    parser.add_argument("--max-tokens", type=int, default=96)
    parser.add_argument(
        "--micro-batch",
        type=int,
        help="completions per forward and backward pass on both sides; default: all of a round",
    )
    parser.add_argument("--json", type=Path, help="write all measurements here")
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    given = parser.parse_args()
    settings = Settings(
        given.rounds,
        given.prompts,
        given.group,
        given.max_tokens,
        given.threads,
        given.micro_batch or given.prompts * given.group,
    )
    if settings.prompts * settings.group % settings.micro_batch or (
        settings.micro_batch % settings.group
    ):
        parser.error("--micro-batch must hold whole groups and divide a round's completions")
    if given.side:
        import torch

        torch.set_num_threads(settings.threads)
        measure = measure_dgrpo if given.side == "dgrpo" else measure_trl
        print(json.dumps(asdict(measure(settings))))
        return
    print(
        f"B = {settings.prompts}, G = {settings.group}, at most {settings.max_tokens} tokens, "
        f"{settings.rounds} rounds, {given.repeats} repeats, {settings.threads} threads; "
        f"dgrpo {version('dgrpo')}, TRL {version('trl')}, torch {version('torch')}"
    )
    measured: dict[str, list[Measured]] = {side: [] for side in SIDES}
    for repeat in range(given.repeats):
        for side in SIDES if repeat % 2 == 0 else SIDES[::-1]:
            measured[side].append(in_fresh_process(side, settings))
            one = measured[side][-1]
            print(f"  {side:<6}{one.seconds:8.3f} s per round, peak {one.peak_mb:7.1f} MB")
    result = report(measured["dgrpo"], measured["trl"])
    if given.json:
        runs = {side: [asdict(one) for one in ones] for side, ones in measured.items()}
        whole = {"settings": asdict(settings), "summary": result, "measured": runs}
        given.json.write_text(json.dumps(whole, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
