"""Whether a shipped base model does better on questions that its corpus holds than on others.

Usage: python benchmarks/seen_questions.py [--model gsm-nano] [--questions 100] [--samples 2]

Template by template, as many questions that pretraining met as fresh ones that it did not, from the
same generator: the pools of some experiments hold a few of the former (docs/results/base-model.md).
Compared are the reward, the right answer anywhere, and the log-probability of the dataset's
solution, which would show memory first. Templates that have few questions have no fresh ones and
are left out, and said.
"""

from __future__ import annotations

import argparse
import math
import statistics
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from random import Random

import torch

from dgrpo.policy.model import LanguageModel, load_model
from dgrpo.policy.noise import sampling_key
from dgrpo.policy.sampling import SampleRequest, sample
from dgrpo.policy.scoring import ScoreItem, forward_pass
from dgrpo.policy.settings import ModelSettings, Sampling
from dgrpo.policy.statistics import LOGPROB
from dgrpo.pretraining.pretrain import corpus
from dgrpo.pretraining.recipe import Recipe, find_recipe
from dgrpo.records import Prompt
from dgrpo.tasks.base import LoadedTask
from dgrpo.tasks.gsm_python import GsmPython, worked_problems
from dgrpo.tasks.gsm_symbolic import GsmSymbolic
from dgrpo.tasks.problems import word_problems

DRAWS = 6000
"""Questions drawn of each template in search of both kinds."""


@dataclass(frozen=True)
class Scores:
    """One value per question."""

    reward: list[float]
    anywhere: list[float]
    logprob: list[float]
    """Nats per token of the dataset's solution in the asked form."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--model", default="gsm-nano", choices=("gsm-nano", "code-nano"))
    parser.add_argument("--questions", type=int, default=100, help="of each kind and template")
    parser.add_argument("--samples", type=int, default=2, help="completions per question")
    parser.add_argument("--documents", type=int, help="of the corpus; all that were learned from")
    given = parser.parse_args()
    torch.set_num_threads(1)
    recipe = find_recipe(given.model)
    model = load_model(ModelSettings(name=given.model))
    task = (GsmPython if recipe.corpus == "programs" else GsmSymbolic)(
        templates=recipe.templates
    ).load()
    read = min(given.documents or math.inf, recipe.steps * recipe.batch)
    met = {text for text, _ in islice(corpus(recipe, Random(recipe.seed + 1)), int(read))}
    pairs = []
    for template in recipe.templates:
        seen, fresh = both_kinds(recipe, template, met, given.questions)
        if len(seen) < max(2, given.questions // 4):
            print(f"template {template}: {len(seen)} seen and as many fresh questions: left out")
            continue
        pairs.append(tuple(score(model, task, some, given.samples) for some in (seen, fresh)))
    print(f"{given.model}: {len(pairs)} templates")
    for what in ("reward", "anywhere", "logprob"):
        told = [(getattr(seen, what), getattr(fresh, what)) for seen, fresh in pairs]
        print(f"{what:<10}{compared(told)}")


def both_kinds(
    recipe: Recipe, template: int, met: set[str], count: int
) -> tuple[list[Prompt], list[Prompt]]:
    """Equally many different questions of a template that pretraining met and did not meet."""
    found: tuple[list[Prompt], list[Prompt]] = ([], [])
    known: set[str] = set()
    for prompt in islice(drawn(recipe, template), DRAWS):
        kind = found[prompt.text not in met]
        if prompt.text not in known and len(kind) < count:
            kind.append(prompt)
        known.add(prompt.text)
        if min(map(len, found)) == count:
            break
    equal = min(map(len, found))
    return found[0][:equal], found[1][:equal]


def drawn(recipe: Recipe, template: int) -> Iterator[Prompt]:
    """Endless problems of one template."""
    rng = Random(f"seen questions {template}")
    if recipe.corpus == "programs":
        return (prompt for prompt, _ in worked_problems((template,), rng))
    return iter(word_problems((template,), rng))


def score(model: LanguageModel, task: LoadedTask, prompts: list[Prompt], samples: int) -> Scores:
    asked = [(p, i) for p in prompts for i in range(samples)]
    requests = [SampleRequest(p.text, sampling_key("seen", p.key, i)) for p, i in asked]
    texts = [model.decode(ids) for ids in sample(model, requests, Sampling())]
    pairs = [(prompt, text) for (prompt, _), text in zip(asked, texts, strict=True)]
    solutions = [model.encode_completion(task.write(p.solution, p.answer)) for p in prompts]
    items = [ScoreItem(p.text, ids) for p, ids in zip(prompts, solutions, strict=True)]
    scores = forward_pass(model, items).statistics()
    return Scores(
        _means(task.rewards(pairs), samples),
        _means([float(right) for right in task.answers_anywhere(pairs)], samples),
        [statistics.fmean(s[LOGPROB]) for s in scores],
    )


def compared(templates: list[tuple[list[float], list[float]]]) -> str:
    """Means of both kinds and their difference, every template weighing the same, with 95 %."""
    seen, fresh = (statistics.fmean(statistics.fmean(t[i]) for t in templates) for i in (0, 1))
    spread = sum(statistics.variance(kind) / len(kind) for t in templates for kind in t)
    half = 1.96 * math.sqrt(spread) / len(templates)
    gap = seen - fresh
    return (
        f"seen {seen:.3f}  fresh {fresh:.3f}  difference {gap:+.3f} "
        f"[{gap - half:+.3f}, {gap + half:+.3f}]"
    )


def _means(values: list[float], samples: int) -> list[float]:
    return [statistics.fmean(values[i : i + samples]) for i in range(0, len(values), samples)]


if __name__ == "__main__":
    main()
