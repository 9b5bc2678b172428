"""How one kind of numerics sees the tokens of given completions, along three ways to compute them.

* `stepwise`: token after token with a cache, as an engine draws them
* `prefill`: prompt and completion at once
* `scoring`: dgrpo's own scoring, which holds prompts once; without noise and mass
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch

from dgrpo.policy.decoding import start_decoding
from dgrpo.policy.model import LanguageModel
from dgrpo.policy.noise import Key, gumbel, key_tensor
from dgrpo.policy.padding import PaddedPrompts
from dgrpo.policy.scoring import ScoreItem, forward_pass

KS = (20, 50)
EDGE = 0.05
"""ε: how far from the edge of the allowed set a soft margin looks away."""
COLUMNS = (
    "logprob",
    "rank",
    "mass",
    *(f"{kind}{k}" for k in KS for kind in ("hard", "soft")),
)
"""What is known of a token. mass: probability of all likelier ones. hard, soft: margins, how far
the token is behind the best noisy score of the k likeliest; infinite outside of them."""


@dataclass(frozen=True)
class Honest:
    """A completion as it was drawn."""

    prompt_text: str
    ids: tuple[int, ...]
    key: Key
    sampling: str


View = list[torch.Tensor]
"""Per completion (columns, tokens) float64, on the CPU."""


@torch.inference_mode()
def stepwise(model: LanguageModel, items: list[Honest], rows: int) -> View:
    """By cached decoding of `rows` completions at a time; the given tokens are fed back."""

    def logits_of(chunk: list[Honest], ids: torch.Tensor) -> Iterator[torch.Tensor]:
        texts, spread = _prompts(model, chunk)
        decoder = start_decoding(model, PaddedPrompts.of(model, texts), spread)
        yield decoder.opening
        for place in range(ids.shape[1] - 1):
            yield decoder.step(ids[:, place])

    return _viewed(model, items, rows, logits_of)


@torch.inference_mode()
def prefill(model: LanguageModel, items: list[Honest], rows: int) -> View:
    """By one ordinary forward pass over `rows` completions at a time."""

    def logits_of(chunk: list[Honest], ids: torch.Tensor) -> Iterator[torch.Tensor]:
        texts, spread = _prompts(model, chunk)
        prompts = PaddedPrompts.of(model, texts)
        mask = torch.cat([prompts.mask[spread], torch.ones_like(ids)], dim=1)
        logits = model.network(
            input_ids=torch.cat([prompts.ids[spread], ids], dim=1),
            attention_mask=mask,
            position_ids=(mask.cumsum(dim=1) - 1).clamp(min=0),
            use_cache=False,
            logits_to_keep=ids.shape[1] + 1,
        ).logits
        for place in range(ids.shape[1]):
            yield logits[:, place].float()

    return _viewed(model, items, rows, logits_of)


@torch.inference_mode()
def scoring(model: LanguageModel, items: list[Honest], rows: int) -> View:
    """By `forward_pass`; what it does not say is NaN."""
    view = []
    for start in range(0, len(items), rows):
        asked = [ScoreItem(one.prompt_text, one.ids) for one in items[start : start + rows]]
        for scores in forward_pass(model, asked, statistics=("rank",)).statistics():
            seen = torch.full((len(COLUMNS), len(scores["rank"])), torch.nan, dtype=torch.float64)
            seen[0] = torch.tensor(scores["logprob"], dtype=torch.float64)
            seen[1] = torch.tensor(scores["rank"], dtype=torch.float64)
            view.append(seen)
    return view


def _prompts(model: LanguageModel, chunk: list[Honest]) -> tuple[list[str], torch.Tensor]:
    texts = list(dict.fromkeys(one.prompt_text for one in chunk))
    rows = [texts.index(one.prompt_text) for one in chunk]
    return texts, torch.tensor(rows, device=model.device)


def _viewed(
    model: LanguageModel,
    items: list[Honest],
    rows: int,
    logits_of: Callable[[list[Honest], torch.Tensor], Iterator[torch.Tensor]],
) -> View:
    view: View = []
    for start in range(0, len(items), rows):
        chunk = items[start : start + rows]
        longest = max(len(one.ids) for one in chunk)
        padded = [[*one.ids, *[model.end_id] * (longest - len(one.ids))] for one in chunk]
        ids = torch.tensor(padded, device=model.device)
        keys = key_tensor([one.key for one in chunk], model.device)
        with model.precision():
            seen = [
                look(logits, ids[:, place], keys, place)
                for place, logits in enumerate(logits_of(chunk, ids))
            ]
        whole = torch.stack(seen, dim=2).cpu()  # (columns, rows, tokens)
        view += [whole[:, row, : len(one.ids)] for row, one in enumerate(chunk)]
    return view


def look(
    logits: torch.Tensor, tokens: torch.Tensor, keys: torch.Tensor, position: int
) -> torch.Tensor:
    """What `logits` (rows, vocabulary) say of `tokens` (rows,): (columns, rows) float64."""
    own = logits.gather(1, tokens[:, None])
    whole = logits.logsumexp(dim=-1, keepdim=True)
    likelier = logits > own
    mass = (logits - whole).exp().masked_fill(~likelier, 0.0).sum(dim=-1)
    said = [(own - whole)[:, 0], likelier.sum(dim=-1), mass]
    own_score = own + gumbel(keys, position, tokens[:, None])
    for k in KS:
        values, candidates = logits.topk(k, dim=-1)
        scores = values + gumbel(keys, position, candidates)
        edge = values[:, -1:]
        for inner, least in ((edge, edge), (edge + EDGE, edge - EDGE)):
            best = scores.masked_fill(values < inner, -torch.inf).amax(dim=-1, keepdim=True)
            margin = (best - own_score).clamp(min=0.0).masked_fill(own < least, torch.inf)
            said.append(margin[:, 0])
    return torch.stack([one.double() for one in said])
