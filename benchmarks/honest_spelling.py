"""How often honest completions are not in the tokens that the tokenizer makes of their text.

Usage: python benchmarks/honest_spelling.py experiments/clean-horizontal.toml … [--rounds 70]

Plays an experiment and looks at three things: samples of the model before the first update, what
honest nodes send during training, and samples after the last update. Per completion it counts the
foreign tokens (`exchange/spelling.py`), which receivers bound (docs/results/spelling.md).
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from dgrpo.exchange.spelling import foreign_tokens
from dgrpo.experiment import Experiment, load_experiment
from dgrpo.measurement.intervals import wilson
from dgrpo.policy.model import LanguageModel
from dgrpo.policy.noise import sampling_key
from dgrpo.policy.sampling import SampleRequest, sample
from dgrpo.swarm import Swarm
from dgrpo.tasks.base import LoadedTask

SHARES = (0.05, 0.1, 0.15, 0.2)
"""Bounds that are tried, as a share of the tokenizer's own tokens."""


def main() -> None:
    """Print a table with a row per experiment and phase, and each phase's counts."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("experiments", nargs="+", type=Path)
    options.add_argument("--rounds", type=int, help="instead of the experiment's own")
    options.add_argument("--samples", type=int, default=10_240, help="before and after training")
    options.add_argument("--seed", type=int, default=0)
    chosen = options.parse_args()
    beyond = " | ".join(f"beyond {100 * share:.0f} %" for share in SHARES)
    print(f"| experiment | weights | completions | differ | most foreign | longer by | {beyond} |")
    print("|" + "---|" * (6 + len(SHARES)))
    counted: list[str] = []
    for path in chosen.experiments:
        experiment = load_experiment(path)
        rounds = chosen.rounds or experiment.rounds
        swarm = Swarm(experiment, chosen.seed)
        model = swarm.learners[0].model
        phases = {"before": drawn(model, swarm.task, experiment, chosen.samples, "before")}
        phases["in training"] = []
        for round_index in range(rounds):
            (record, *_) = swarm.play(round_index)
            honest = {node.name for node in swarm.nodes if not node.malicious}
            phases["in training"] += [
                one.received.token_ids for one in record.judged if one.received.sender in honest
            ]
        phases["after"] = drawn(model, swarm.task, experiment, chosen.samples, "after")
        for phase, completions in phases.items():
            print(row(experiment.name, phase, measured(model, completions)), flush=True)
            counts = Counter(foreign for foreign, _, _ in measured(model, completions))
            counted.append(f"{experiment.name}, {phase}: {dict(sorted(counts.items()))}")
    print("\nCompletions by foreign tokens:", *counted, sep="\n")


def drawn(
    model: LanguageModel, task: LoadedTask, experiment: Experiment, count: int, key: str
) -> list[tuple[int, ...]]:
    """Samples for training prompts, as the experiment draws them."""
    prompts = [task.train[i % len(task.train)].text for i in range(count)]
    asked = [SampleRequest(text, sampling_key(key, i)) for i, text in enumerate(prompts)]
    return sample(model, asked, experiment.sampling, finite=True)


def measured(
    model: LanguageModel, completions: Iterable[tuple[int, ...]]
) -> list[tuple[int, int, int]]:
    """(foreign tokens, tokens more than the tokenizer's own, its own) per completion."""
    found = []
    for ids in completions:
        claimed = [token for token in ids if token != model.end_id]
        own = model.encode(model.decode(ids))
        found.append((foreign_tokens(claimed, own), len(claimed) - len(own), len(own)))
    return found


def row(name: str, phase: str, found: list[tuple[int, int, int]]) -> str:
    """A line of the table."""
    differ = share_text(sum(foreign > 0 for foreign, _, _ in found), len(found))
    most = max(foreign for foreign, _, _ in found)
    longer = max(more for _, more, _ in found)
    beyond = [
        f"{sum(foreign > max(1, share * own) for foreign, _, own in found):,}" for share in SHARES
    ]
    cells = (f"`{name}`", phase, f"{len(found):,}", differ, f"{most}", f"{longer}", *beyond)
    return f"| {' | '.join(cells)} |"


def share_text(count: int, of: int) -> str:
    """A percentage with its 95 % Wilson interval."""
    low, high = wilson(count, of)
    return f"{100 * count / of:.2f} % [{100 * low:.2f}, {100 * high:.2f}]"


if __name__ == "__main__":
    main()
