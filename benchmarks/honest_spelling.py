"""How often honest completions are not in the tokens that the tokenizer makes of their text.

Usage: python benchmarks/honest_spelling.py experiments/clean-horizontal.toml … [--rounds 70]

Plays an experiment and looks at three things: samples of the model before the first update, what
honest nodes send during training, and samples after the last update. It counts the foreign tokens
(`exchange/spelling.py`), which receivers bound per sender and round (docs/results/spelling.md).
Samples are dealt into messages of as many completions as a node owes.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from dgrpo.exchange.spelling import USUAL, foreign_tokens
from dgrpo.experiment import Experiment, load_experiment
from dgrpo.measurement.intervals import wilson
from dgrpo.policy.model import LanguageModel
from dgrpo.policy.noise import sampling_key
from dgrpo.policy.sampling import SampleRequest, sample
from dgrpo.swarm import Swarm
from dgrpo.tasks.base import LoadedTask

Message = list[tuple[int, ...]]
"""The ids of a sender's completions in a round."""


def main() -> None:
    """Print a table with a row per experiment and phase."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("experiments", nargs="+", type=Path)
    options.add_argument("--rounds", type=int, help="instead of the experiment's own")
    options.add_argument("--samples", type=int, default=10_240, help="before and after training")
    options.add_argument("--seed", type=int, default=0)
    chosen = options.parse_args()
    print(
        "| experiment | weights | completions | differ | most foreign tokens in one "
        "| of all tokens foreign | of a message's, most | messages beyond what is believed |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for path in chosen.experiments:
        experiment = load_experiment(path, {"admission.believe": "claimed"})
        swarm = Swarm(experiment, chosen.seed)
        model, owed = swarm.replicas.models[0].model, len(swarm.nodes[0].slots(0))
        before = drawn(model, swarm.task, experiment, chosen.samples, "before")
        print(row(experiment.name, "before", model, dealt(before, owed)), flush=True)
        sent: list[Message] = []
        for round_index in range(chosen.rounds or experiment.rounds):
            (record, *_) = swarm.play(round_index)
            for node in swarm.nodes:
                if not node.malicious:
                    theirs = [j.received for j in record.judged if j.received.sender == node.name]
                    sent.append([one.token_ids for one in theirs])
        print(row(experiment.name, "in training", model, sent), flush=True)
        after = drawn(model, swarm.task, experiment, chosen.samples, "after")
        print(row(experiment.name, "after", model, dealt(after, owed)), flush=True)


def drawn(
    model: LanguageModel, task: LoadedTask, experiment: Experiment, count: int, key: str
) -> list[tuple[int, ...]]:
    """Samples for training prompts, as the experiment draws them."""
    prompts = [task.train[i % len(task.train)].text for i in range(count)]
    asked = [SampleRequest(text, sampling_key(key, i)) for i, text in enumerate(prompts)]
    return sample(model, asked, experiment.sampling_of(0), finite=True)


def dealt(samples: list[tuple[int, ...]], owed: int) -> list[Message]:
    """Samples as messages of a node; a rest is left out."""
    starts = range(0, len(samples) - owed + 1, owed)
    return [samples[start : start + owed] for start in starts]


def row(name: str, phase: str, model: LanguageModel, messages: Sequence[Message]) -> str:
    """A line of the table."""
    counted = [[counts(model, ids) for ids in message] for message in messages]
    each = [one for message in counted for one in message]
    sums = [tuple(map(sum, zip(*message, strict=True))) for message in counted]
    beyond = sum(foreign > USUAL.allowed(own) for foreign, own in sums)
    differ = sum(foreign > 0 for foreign, _ in each)
    low, high = wilson(differ, len(each))
    cells = (
        f"`{name}`",
        phase,
        f"{len(each):,}",
        f"{100 * differ / len(each):.2f} % [{100 * low:.2f}, {100 * high:.2f}]",
        f"{max(foreign for foreign, _ in each)}",
        f"{100 * sum(f for f, _ in sums) / sum(own for _, own in sums):.3f} %",
        f"{100 * max(foreign / own for foreign, own in sums):.2f} %",
        f"{beyond} of {len(sums):,}",
    )
    return f"| {' | '.join(cells)} |"


def counts(model: LanguageModel, ids: tuple[int, ...]) -> tuple[int, int]:
    """(foreign tokens, tokens of the tokenizer's own encoding) of a completion."""
    own = model.encode(model.decode(ids))
    return foreign_tokens([token for token in ids if token != model.end_id], own), len(own)


if __name__ == "__main__":
    main()
