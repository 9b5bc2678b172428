"""What seeded sampling and screening cost, as ratios on the small model.

Three ratios, each measured with the two sides taking turns in one process:

* drawing with keyed Gumbel noise, beside `torch.multinomial` in the same generation loop;
* scoring a round's completions without gradients, beside generating them;
* a round screened by top-k, with the defense's forward pass kept for the update and not, and one
  with a KL term to the base model, beside a round without defense.

Leaves out: GPUs and large models, where generating costs far more than scoring.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any
from unittest.mock import patch

import torch
from ratios import sizes, tell

from dgrpo.experiment import Experiment, experiment_from
from dgrpo.policy import sampling
from dgrpo.policy.model import LanguageModel, load_model
from dgrpo.policy.noise import sampling_key
from dgrpo.policy.sampling import SampleRequest, sample
from dgrpo.policy.scoring import ScoreItem, forward_pass
from dgrpo.policy.settings import ModelSettings, Sampling
from dgrpo.swarm import Swarm
from dgrpo.tasks.base import LoadedTask

SEED = 0


def plain_choice(
    logits: torch.Tensor, keys: torch.Tensor, position: int, settings: Sampling
) -> torch.Tensor:
    """A draw as generation loops usually make it: top-k, softmax, multinomial, global state."""
    values, candidates = logits.topk(settings.top_k, dim=-1, sorted=False)
    probabilities = (values / settings.temperature).softmax(dim=-1)
    return candidates.gather(1, torch.multinomial(probabilities, 1)).squeeze(1)


def seconds_per_token(
    model: LanguageModel, requests: list[SampleRequest], settings: Sampling
) -> tuple[float, list[tuple[int, ...]]]:
    started = time.perf_counter()
    drawn = sample(model, requests, settings)
    return (time.perf_counter() - started) / sum(map(len, drawn)), drawn


def sampling_ratios(given: argparse.Namespace, task: LoadedTask) -> dict[str, list[float]]:
    """Keyed over plain seconds per token, and scoring over generating seconds."""
    model, settings = load_model(ModelSettings()), Sampling(max_tokens=given.max_tokens)
    ratios: dict[str, list[float]] = {"keyed / multinomial": [], "scoring / generating": []}
    for repeat in range(given.repeats + 1):
        requests = [
            SampleRequest(prompt.text, sampling_key("benchmark", repeat, prompt.key, i))
            for prompt in task.train[: given.prompts]
            for i in range(given.group)
        ]

        def plain(requests: list[SampleRequest] = requests) -> float:
            with patch.object(sampling, "choose", plain_choice):
                return seconds_per_token(model, requests, settings)[0]

        first = plain() if repeat % 2 else 0.0
        keyed, drawn = seconds_per_token(model, requests, settings)
        other = first or plain()
        items = [ScoreItem(r.prompt_text, ids) for r, ids in zip(requests, drawn, strict=True)]
        scoring = timed(lambda items=items: without_gradients(model, items))  # type: ignore[misc]
        if repeat:  # the first one warms up
            ratios["keyed / multinomial"].append(keyed / other)
            ratios["scoring / generating"].append(scoring / (keyed * sum(map(len, drawn))))
    return ratios


def screening_ratios(given: argparse.Namespace, task: LoadedTask) -> dict[str, list[float]]:
    """Seconds of a screened round over those of the same round without defense."""
    sides = {
        "no defense": round_experiment(given, {}, []),
        "top-k, forward kept": round_experiment(given, {}, ["top-k"]),
        "top-k, second forward": round_experiment(given, {"keep_forward": False}, ["top-k"]),
        "KL term": round_experiment(given, {"beta": 0.1}, []),
    }
    swarms = {name: Swarm(experiment, SEED, task=task) for name, experiment in sides.items()}
    ratios: dict[str, list[float]] = {f"{name} / no defense": [] for name in list(sides)[1:]}
    for round_index in range(given.rounds + 1):
        names = list(sides) if round_index % 2 else list(sides)[::-1]
        seconds = {}
        for name in names:
            record = swarms[name].play(round_index)[0]
            seconds[name] = sum(s for phase, s in record.seconds.items() if phase != "evaluate")
        if round_index:
            for name in list(sides)[1:]:
                ratios[f"{name} / no defense"].append(seconds[name] / seconds["no defense"])
    return ratios


def round_experiment(
    given: argparse.Namespace, learner: dict[str, Any], defense: list[str]
) -> Experiment:
    return experiment_from(
        {
            "name": "benchmark",
            "rounds": given.rounds + 2,
            "nodes": 1,
            "prompts_per_round": given.prompts,
            "group_size": given.group,
            "sampling": {"max_tokens": given.max_tokens},
            "learner": learner,
            "defense": defense,
            "evaluation": {"samples": 1, "final_samples": 1},
        }
    )


@torch.no_grad()
def without_gradients(model: LanguageModel, items: list[ScoreItem]) -> None:
    forward_pass(model, items, statistics=("rank",)).statistics()


def timed(work: Callable[[], None]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def main() -> None:
    parser = sizes(__doc__)
    parser.add_argument("--rounds", type=int, default=8, help="rounds that are compared")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    task = experiment_from({"name": "benchmark"}).task.load()
    ratios = sampling_ratios(given, task) | screening_ratios(given, task)
    tell(ratios, given.json)


if __name__ == "__main__":
    main()
