"""What holding a prompt once is worth when decoding, and how large scoring's buckets should be.

Ratios on the small model, the sides taking turns in one process on the same requests:

* `SharedPrompts` beside `RepeatedPrompts`, which is what transformers' own cache does, for three
  shapes: a round's (B prompts, G completions each), held-out evaluation's (64 prompts, one each)
  and that of an attacker who samples (a few prompts, 80 each);
* the learner's update with buckets of other sizes beside the default.

Leaves out: GPUs, where decoding keeps `RepeatedPrompts`.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from unittest.mock import patch

import torch
from ratios import sizes, tell

from dgrpo.experiment import experiment_from
from dgrpo.learning.learner import Learner
from dgrpo.learning.settings import LearnerSettings
from dgrpo.policy import sampling, scoring
from dgrpo.policy.decoding import RepeatedPrompts
from dgrpo.policy.model import load_model
from dgrpo.policy.noise import sampling_key
from dgrpo.policy.sampling import SampleRequest, sample
from dgrpo.policy.scoring import BUCKET_TOKENS, ScoreItem
from dgrpo.policy.settings import ModelSettings, Sampling
from dgrpo.records import Prompt
from dgrpo.tasks.base import LoadedTask

EVALUATED, SAMPLED = 64, 80
"""Held-out completions of a round, and an attacker's samples per question, by default."""


def requests_for(prompts: list[Prompt], each: int, repeat: int) -> list[SampleRequest]:
    return [
        SampleRequest(p.text, sampling_key("benchmark", repeat, p.key, i))
        for p in prompts
        for i in range(each)
    ]


def decoding_ratios(given: argparse.Namespace, task: LoadedTask) -> dict[str, list[float]]:
    """Seconds of shared over repeated prompts, by shape."""
    model, settings = load_model(ModelSettings()), Sampling(max_tokens=given.max_tokens)
    shapes = {
        f"{given.prompts} prompts × {given.group}": (given.prompts, given.group),
        f"{EVALUATED} prompts × 1": (EVALUATED, 1),
        f"{max(given.prompts // 4, 1)} prompts × {SAMPLED}": (max(given.prompts // 4, 1), SAMPLED),
    }
    ratios: dict[str, list[float]] = {}
    for name, (count, each) in shapes.items():
        ratios[f"shared / repeated, {name}"] = []
        for repeat in range(given.repeats + 1):
            asked = requests_for(list(task.train[:count]), each, repeat)

            def shared(asked: list[SampleRequest] = asked) -> None:
                sample(model, asked, settings)

            def repeated(asked: list[SampleRequest] = asked) -> None:
                with patch.object(sampling, "start_decoding", RepeatedPrompts):
                    sample(model, asked, settings)

            ours, theirs = in_turns(shared, repeated, swapped=repeat % 2 == 1)
            if repeat:  # the first one warms up
                ratios[f"shared / repeated, {name}"].append(ours / theirs)
    return ratios


def bucket_ratios(given: argparse.Namespace, task: LoadedTask) -> dict[str, list[float]]:
    """Seconds of an update with other buckets over those with the default one."""
    model = load_model(ModelSettings())
    sampling = Sampling(max_tokens=given.max_tokens)
    asked = requests_for(list(task.train[: given.prompts]), given.group, 0)
    drawn = sample(model, asked, sampling)
    items = [ScoreItem(r.prompt_text, ids) for r, ids in zip(asked, drawn, strict=True)]
    advantages = [1.0 if i % 5 == 0 else -0.25 for i in range(len(items))]
    learner = Learner(model, LearnerSettings(), sampling, completions=len(items))
    default = BUCKET_TOKENS["cpu"]
    ratios: dict[str, list[float]] = {}
    for size in (default // 2, 2 * default, 4 * default, 16 * default):
        name = f"buckets of {size} / {default}, update"
        ratios[name] = []
        for repeat in range(given.repeats + 1):

            def ours() -> None:
                learner.step(items, advantages, 0)

            def other(size: int = size) -> None:
                with patch.dict(scoring.BUCKET_TOKENS, cpu=size):
                    learner.step(items, advantages, 0)

            usual, changed = in_turns(ours, other, swapped=repeat % 2 == 1)
            if repeat:
                ratios[name].append(changed / usual)
    return ratios


def in_turns(
    first: Callable[[], None], second: Callable[[], None], *, swapped: bool
) -> tuple[float, float]:
    """Seconds of each, `second` measured first where `swapped`."""
    seconds = {}
    for work in (second, first) if swapped else (first, second):
        started = time.perf_counter()
        work()
        seconds[work] = time.perf_counter() - started
    return seconds[first], seconds[second]


def main() -> None:
    given = sizes(__doc__).parse_args()
    torch.set_num_threads(given.threads)
    task = experiment_from({"name": "benchmark"}).task.load()
    ratios = decoding_ratios(given, task) | bucket_ratios(given, task)
    tell(ratios, given.json)


if __name__ == "__main__":
    main()
