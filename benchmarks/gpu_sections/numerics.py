"""Honest completions under other numerics than those that they were drawn in.

A sender draws by cached decoding of 64 rows. Receivers look at the same tokens with another
device, precision, way of computing or batch. What is counted is what a receiver would hold against
an honest sender: tokens outside its own k likeliest or its own top-p set, and margins of seeded
sampling.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch

from dgrpo.policy.model import LanguageModel
from dgrpo.policy.noise import sampling_key
from dgrpo.policy.sampling import SampleRequest, sample
from dgrpo.policy.settings import Sampling
from gpu_sections.models import moved, questions, random_model, shipped, words_task
from gpu_sections.plan import Part, Plan
from gpu_sections.views import COLUMNS, KS, Honest, View, prefill, scoring, stepwise

TOP_P = 0.95
SAMPLINGS = {
    **{f"k = {k}": Sampling(top_k=k) for k in KS},
    f"top-p {TOP_P}": Sampling(top_k=0, top_p=TOP_P),
}
ROWS = 64
QUANTILES = (0.5, 0.9, 0.99, 0.999)
CPU = torch.device("cpu")


@dataclass(frozen=True)
class Sizes:
    """How much of a model's honest completions is looked at."""

    prompts: int
    samples: int
    """Per prompt and sampling."""
    tokens: int
    one_by_one: int
    """Completions that are decoded in a batch of one."""
    on_cpu: int
    """Completions that the CPU looks at."""
    seconds: float
    """What a look at all of them takes on a GPU, roughly."""


@dataclass(frozen=True)
class Numerics:
    """A model in one precision on one device."""

    name: str
    model: LanguageModel
    tf32: bool = False

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """float32 products in TF32 inside, if it says so."""
        torch.set_float32_matmul_precision("high" if self.tf32 else "highest")
        try:
            yield
        finally:
            torch.set_float32_matmul_precision("highest")


def run(plan: Plan, part: Part) -> None:
    """The shipped model, then the random one of Qwen2.5-1.5B's shape."""
    nano = Sizes(2, 1, 6, 2, 4, 5) if plan.dry else Sizes(64, 1, 96, 12, 192, 3)
    part.measure("gsm-nano", 40, lambda: of_model(plan, part, "gsm-nano", shipped(CPU), nano))
    large = Sizes(2, 1, 6, 2, 4, 5) if plan.dry else Sizes(16, 2, 48, 2, 9, 5)
    name = "Qwen2.5-1.5B's shape, random"
    part.measure(
        name, 60, lambda: of_model(plan, part, name, random_model(plan.dry, plan.device), large)
    )


def of_model(plan: Plan, part: Part, name: str, model: LanguageModel, sizes: Sizes) -> None:
    """Notes a comparison per sender and receiver."""
    on_device = everyone(model, plan.device)
    on_cpu = Numerics("CPU float32", model if model.device.type == "cpu" else moved(model, CPU))
    prompts = (
        [prompt.text for prompt in questions(sizes.prompts)]
        if name == "gsm-nano"
        else [prompt.text for prompt in words_task(plan.dry, sizes.prompts).train]
    )
    senders = [on_device["float32"], on_device["bfloat16"]]
    for sender in senders if name != "gsm-nano" else [*senders, on_cpu]:
        with sender.at_work():
            items = honest(sender.model, prompts, sizes)
            own = stepwise(sender.model, items, ROWS)
        on_both = name == "gsm-nano" or sender is senders[0]
        looks = receivers(
            [*on_device.values()], on_cpu if on_both else None, sizes, sender is senders[0]
        )
        for receiver, expect, look in looks:
            part.measure(
                f"{name}: drawn in {sender.name}, seen in {receiver}",
                expect,
                partial(seen_by, look, items, own),
            )


def everyone(model: LanguageModel, device: torch.device) -> dict[str, Numerics]:
    """The model on the device, in every precision."""
    exact = model if model.device.type == device.type else moved(model, device)
    rough = replace(exact, network=copy.deepcopy(exact.network).bfloat16())
    where = "GPU" if device.type == "cuda" else device.type
    return {
        "float32": Numerics(f"{where} float32", exact),
        "TF32": Numerics(f"{where} TF32", exact, tf32=True),
        "bfloat16": Numerics(f"{where} bfloat16", replace(exact, autocast=True)),
        "bfloat16 weights": Numerics(f"{where} bfloat16 weights", rough),
    }


def honest(model: LanguageModel, prompts: list[str], sizes: Sizes) -> list[Honest]:
    """Completions by every sampling in turn: any part of them holds all."""
    drawn: dict[str, list[Honest]] = {}
    for name, sampling in SAMPLINGS.items():
        requests = [
            SampleRequest(text, sampling_key("numerics", name, text, n))
            for n in range(sizes.samples)
            for text in prompts
        ]
        limited = sampling.model_copy(update={"max_tokens": sizes.tokens})
        ids = sample(model, requests, limited, rows=ROWS)
        pairs = zip(requests, ids, strict=True)
        drawn[name] = [Honest(r.prompt_text, one, r.key, name) for r, one in pairs]
    return [one for row in zip(*drawn.values(), strict=True) for one in row]


Look = Callable[[list[Honest]], View]


def receivers(
    on_device: list[Numerics], on_cpu: Numerics | None, sizes: Sizes, all_ways: bool
) -> Iterator[tuple[str, float, Look]]:
    """(name, seconds, look) of everyone who looks; batches of one only for the first sender."""
    for numerics in on_device:
        for way in (stepwise, prefill, scoring):
            yield (
                f"{numerics.name}, {way.__name__}, batch {ROWS}",
                sizes.seconds,
                seen(numerics, way, ROWS),
            )
        if all_ways:
            for way in (stepwise, prefill):
                yield (
                    f"{numerics.name}, {way.__name__}, batch 1",
                    sizes.seconds,
                    seen(numerics, way, 1, sizes.one_by_one),
                )
    if on_cpu is None:
        return
    rows = min(ROWS, sizes.on_cpu)
    for way in (stepwise, prefill, scoring):
        yield (
            f"{on_cpu.name}, {way.__name__}, batch {rows}",
            2 * sizes.seconds,
            seen(on_cpu, way, rows, sizes.on_cpu),
        )
    if all_ways:
        few = max(sizes.one_by_one // 2, 1)
        for way in (stepwise, prefill):
            yield (
                f"{on_cpu.name}, {way.__name__}, batch 1",
                2 * sizes.seconds,
                seen(on_cpu, way, 1, few),
            )


def seen(
    numerics: Numerics,
    way: Callable[[LanguageModel, list[Honest], int], View],
    rows: int,
    most: int | None = None,
) -> Look:
    """How these numerics see the first `most` completions."""

    def look(items: list[Honest]) -> View:
        with numerics.at_work():
            return way(numerics.model, items[:most], rows)

    return look


def seen_by(look: Look, items: list[Honest], own: View) -> dict[str, Any]:
    """The comparison of a receiver's look with the sender's own."""
    return compare(items, own, look(items))


def compare(items: list[Honest], own: View, other: View) -> dict[str, Any]:
    """What the receiver's view differs in; of as many completions as it looked at."""
    items, own = items[: len(other)], own[: len(other)]
    apart = torch.cat([(a[0] - b[0]).abs() for a, b in zip(own, other, strict=True)])
    result: dict[str, Any] = {
        "completions": len(items),
        "tokens": len(apart),
        "logprob_apart": {str(q): float(apart.quantile(q)) for q in QUANTILES}
        | {"largest": float(apart.max())},
    }
    for name in SAMPLINGS:
        chosen = [view for item, view in zip(items, other, strict=True) if item.sampling == name]
        if chosen:
            result[name] = sides(name, chosen)
    return result


def sides(sampling: str, views: View) -> dict[str, Any]:
    """How many honest tokens lie outside the receiver's set, and the margins where k bounds it."""
    k = next((k for k in KS if sampling == f"k = {k}"), None)
    column = COLUMNS.index("rank" if k else "mass")
    if bool(views[0][column].isnan().any()):
        return {}  # scoring does not say the mass
    outside = [view[column] >= (k or TOP_P) for view in views]
    result: dict[str, Any] = {
        "completions": len(views),
        "tokens": sum(len(one) for one in outside),
        "outside": int(sum(one.sum() for one in outside)),
        "completions_outside": sum(bool(one.any()) for one in outside),
    }
    for kind in ("hard", "soft"):
        margins = torch.cat([view[COLUMNS.index(f"{kind}{k}")] for view in views]) if k else None
        if margins is not None and not bool(margins.isnan().any()):
            within = margins[margins.isfinite()]
            result[f"{kind}_margins"] = {
                "above_0": int((margins > 0).sum()),
                "infinite": int(margins.isinf().sum()),
                "largest_finite": float(within.max()) if len(within) else 0.0,
            }
    return result
