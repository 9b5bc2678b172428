"""How deep TEXT's phrase lies under a model, and what the logit check would do at each k.

Prints two tables for docs/results/top-k.md: the rank of every token of the phrase, and for each k
the share of poisoned and of honest completions that would be rejected. With `--run`, the
same under the weights of a run's last checkpoint.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from random import Random
from statistics import median

import torch

from dgrpo.attacks.text import Text
from dgrpo.defenses.top_k import TopK
from dgrpo.measurement.intervals import wilson
from dgrpo.policy.model import LanguageModel, load_model
from dgrpo.policy.noise import sampling_key
from dgrpo.policy.sampling import SampleRequest, sample
from dgrpo.policy.scoring import ScoreItem, forward_pass
from dgrpo.policy.settings import ModelSettings, Sampling
from dgrpo.policy.statistics import LOGPROB
from dgrpo.records import TokenStatistics
from dgrpo.tasks.base import LoadedTask
from dgrpo.tasks.gsm_symbolic import GsmSymbolic

SWEEP = (5, 10, 20, 30, 40, 50, 75, 100, 150, 200)


def main() -> None:
    """Print the tables."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--model", default="gsm-nano")
    options.add_argument("--run", type=Path, help="seed folder whose checkpoint to load")
    options.add_argument("--samples", type=int, default=1024)
    options.add_argument("--top-k", type=int, default=20, help="k of the honest sampling")
    chosen = options.parse_args()
    model = load_model(ModelSettings(name=chosen.model))
    if chosen.run:
        state = torch.load(chosen.run / "checkpoint" / "state.pt", weights_only=True)
        model.network.load_state_dict(state["learners"][0]["weights"])
    task = GsmSymbolic().load()
    poisoned = ranks_of(model, poison(model, task, chosen.samples))
    honest = ranks_of(model, honest_samples(model, task, chosen.samples, chosen.top_k))
    print_tokens(model, task, chosen.samples)
    print(f"\n| k | share of {model.vocabulary} tokens | poisoned rejected | honest rejected |")
    print("|---|---|---|---|")
    for k in SWEEP:
        share = 100 * k / model.vocabulary
        print(f"| {k} | {share:.1f} % | {rejected(poisoned, k)} | {rejected(honest, k)} |")


def poison(model: LanguageModel, task: LoadedTask, count: int) -> list[ScoreItem]:
    """Poisoned oracle solutions of `count` training prompts."""
    attack = Text()
    items = []
    for prompt in task.train[:count]:
        poisoned = attack.poison_thinking(prompt.solution, Random(0))
        assert poisoned is not None  # an opening fits any reasoning
        ids = model.encode_completion(task.write(poisoned, prompt.answer))
        items.append(ScoreItem(prompt.text, ids))
    return items


def honest_samples(
    model: LanguageModel, task: LoadedTask, count: int, top_k: int
) -> list[ScoreItem]:
    """The model's own samples for the same prompts."""
    asked = [
        SampleRequest(p.text, sampling_key("payload ranks", p.key)) for p in task.train[:count]
    ]
    drawn = sample(model, asked, Sampling(top_k=top_k))
    return [ScoreItem(a.prompt_text, ids) for a, ids in zip(asked, drawn, strict=True)]


def ranks_of(model: LanguageModel, items: list[ScoreItem]) -> list[TokenStatistics]:
    """Ranks and log-probabilities of each item's tokens."""
    with torch.no_grad():
        return forward_pass(model, items, statistics=("rank",)).statistics()


def rejected(ranked: list[TokenStatistics], k: int) -> str:
    """Share that `top-k` rejects, with its 95 % Wilson interval."""
    check = TopK(k=k)
    count = sum(not check.verdict(one["rank"]).accepted for one in ranked)
    low, high = wilson(count, len(ranked))
    return f"{100 * count / len(ranked):.1f} % ({100 * low:.1f} to {100 * high:.1f})"


def print_tokens(model: LanguageModel, task: LoadedTask, count: int) -> None:
    """The phrase token by token: median and smallest rank over prompts."""
    items = poison(model, task, count)
    scores = ranks_of(model, items)
    phrase = model.encode(f"<think> {Text().phrase}")
    print("| token | median rank | smallest rank | median log-probability |")
    print("|---|---|---|---|")
    for position, token in enumerate(phrase):
        ranks = [int(one["rank"][position]) for one in scores]
        logprob = median(one[LOGPROB][position] for one in scores)
        print(f"| `{model.decode([token])}` | {median(ranks):.0f} | {min(ranks)} | {logprob:.1f} |")


if __name__ == "__main__":
    main()
