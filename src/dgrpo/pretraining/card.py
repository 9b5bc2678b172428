"""A model's measured card: whether it behaves like a base model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from dgrpo.judging.acceptance.card import measure_judge
from dgrpo.measurement.intervals import wilson
from dgrpo.policy.model import LanguageModel, load_model
from dgrpo.policy.noise import sampling_key
from dgrpo.policy.sampling import SampleRequest, sample
from dgrpo.policy.settings import ModelSettings, Sampling
from dgrpo.pretraining.recipe import Recipe
from dgrpo.tasks.gsm_python import GsmPython
from dgrpo.tasks.gsm_symbolic import GsmSymbolic
from dgrpo.tasks.reward import split_code, split_tags

SAMPLES = 2048


def measure_card(recipe: Recipe, folder: Path, samples: int = SAMPLES) -> dict[str, Any]:
    """Sample held-out prompts with the default `Sampling` (one key each) and measure.

    A judge's card (corpus "verdicts") is measured by `judging/acceptance/card.py`.
    """
    if recipe.corpus == "verdicts":
        return {**measure_judge(folder, samples), "recipe": recipe.model_dump(mode="json")}
    model = load_model(ModelSettings(name=str(folder.resolve())))
    programs = recipe.corpus == "programs"
    task_class = GsmPython if programs else GsmSymbolic
    task = task_class(templates=recipe.templates).load()
    sampling = Sampling()
    asked = [(task.held_out[i % len(task.held_out)], i) for i in range(samples)]
    prompts = min(samples, len(task.held_out))
    requests = [SampleRequest(p.text, sampling_key("card", p.key, i)) for p, i in asked]
    drawn = sample(model, requests, sampling)
    texts = [model.decode(ids) for ids in drawn]
    pairs = [(prompt, text) for (prompt, _), text in zip(asked, texts, strict=True)]
    in_format = [(split_code(t) if programs else split_tags(t)) is not None for t in texts]
    entropy = _mean_entropy(
        model, [(r.prompt_text, ids) for r, ids in zip(requests[:256], drawn, strict=False)]
    )
    return {
        "parameters": sum(p.numel() for p in model.network.parameters()),
        "vocabulary": model.vocabulary,
        "megabytes": round(sum(f.stat().st_size for f in folder.iterdir()) / 1e6, 2),
        "weights_digest": model.weights_digest(),
        "samples": samples,
        "prompts": prompts,
        "sampling": sampling.model_dump(),
        "accuracy": _share(round(sum(task.rewards(pairs))) / samples, prompts),
        "answer_anywhere": _share(sum(task.answers_anywhere(pairs)) / samples, prompts),
        "format": _share(sum(in_format) / samples, prompts),
        "ended_by_itself": _share(
            sum(ids[-1] in model.end_ids for ids in drawn) / samples, prompts
        ),
        "completion_tokens": round(sum(map(len, drawn)) / samples, 1),
        "entropy_nats_per_token": round(entropy, 3),
        "recipe": recipe.model_dump(mode="json"),
    }


def write_card(recipe: Recipe, folder: Path, samples: int = SAMPLES) -> dict[str, Any]:
    """Measure and write `card.json`; shares come with 95 % Wilson intervals over prompts."""
    (folder / "card.json").unlink(missing_ok=True)
    card = measure_card(recipe, folder, samples)
    text = json.dumps(card, indent=1, ensure_ascii=False) + "\n"
    (folder / "card.json").write_text(text, encoding="utf-8")
    return card


@torch.inference_mode()
def _mean_entropy(model: LanguageModel, pairs: list[tuple[str, tuple[int, ...]]]) -> float:
    """Mean entropy (nats) of the next-token distribution at temperature 1 along `pairs`."""
    total, tokens = 0.0, 0
    for prompt, ids in pairs:
        context = model.encode_prompt(prompt)
        row = torch.tensor([[*context, *ids]], device=model.device)
        logits = model.network(input_ids=row).logits[0, len(context) - 1 : -1].float()
        logp = logits.log_softmax(dim=-1)
        total += float(-(logp.exp() * logp).sum())
        tokens += len(ids)
    return total / tokens


def _share(share: float, prompts: int) -> dict[str, Any]:
    """With an interval over prompts: a prompt's samples are much alike, and count as one."""
    low, high = wilson(round(share * prompts), prompts)
    return {"share": round(share, 4), "low": round(low, 4), "high": round(high, 4)}
