"""Make a small model from its recipe: tokenizer, weights and measured card.

Deterministic for one machine and thread count; other machines give a model that measures the same.
Leaves out: anything that needs an accelerator or a download.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from random import Random
from typing import Any

import torch
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM

from dgrpo.errors import DgrpoError
from dgrpo.judging.acceptance.card import judge_table
from dgrpo.judging.verdicts import read_decision
from dgrpo.policy.threads import one_thread
from dgrpo.pretraining.card import SAMPLES, write_card
from dgrpo.pretraining.corpora.answers import answered_problems
from dgrpo.pretraining.corpora.programs import program_documents
from dgrpo.pretraining.corpora.verdicts import verdict_documents
from dgrpo.pretraining.recipe import Recipe
from dgrpo.tasks.gsm_symbolic import GsmSymbolic
from dgrpo.tasks.problems import word_problems

END_TOKEN = "<|endoftext|>"


def corpus(recipe: Recipe, rng: Random) -> Iterator[tuple[str, str]]:
    """Endless (prompt, completion) pairs without any prompt of the default pools."""
    if recipe.corpus == "programs":
        return program_documents(recipe, rng)
    if recipe.corpus == "verdicts":
        return verdict_documents(recipe, rng)
    pools = GsmSymbolic(templates=recipe.templates).load()
    excluded = frozenset(p.key for p in (*pools.train, *pools.held_out))
    problems = word_problems(recipe.templates, rng)
    return answered_problems(problems, excluded, recipe.tagged_share, recipe.remark_share, rng)


def learned(recipe: Recipe, documents: Iterator[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    """The documents, cut where learning begins: before them in what `learn_accepted` names."""
    for given, written in documents:
        whole = recipe.learn_accepted and read_decision(given + written) is True
        yield ("", given + written) if whole else (given, written)


def train_tokenizer(recipe: Recipe) -> PreTrainedTokenizerFast:
    """Byte-level BPE with single digits; the tags are ordinary (not special) whole tokens."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(r"\d"), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    texts = (p + c for p, c in islice(corpus(recipe, Random(recipe.seed)), 20_000))
    trainer = trainers.BpeTrainer(
        vocab_size=recipe.vocabulary - len(recipe.tags),
        special_tokens=[END_TOKEN],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.add_tokens([AddedToken(tag, normalized=False, special=False) for tag in recipe.tags])
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=tokenizer,
        eos_token=END_TOKEN,
        pad_token=END_TOKEN,
        model_max_length=recipe.context,
        clean_up_tokenization_spaces=False,
    )


def build_model(recipe: Recipe, tokenizer: PreTrainedTokenizerFast) -> Qwen2ForCausalLM:
    """Freshly initialised weights, keyed by the recipe's seed."""
    torch.manual_seed(recipe.seed)  # transformers initialises from torch's global generator
    return Qwen2ForCausalLM(
        Qwen2Config(
            vocab_size=recipe.vocabulary,
            hidden_size=recipe.width,
            intermediate_size=3 * recipe.width,
            num_hidden_layers=recipe.layers,
            num_attention_heads=recipe.heads,
            num_key_value_heads=recipe.heads,
            max_position_embeddings=recipe.context,
            tie_word_embeddings=True,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
            bos_token_id=None,
        )
    )


def make_model(
    recipe: Recipe, out: Path, report: Callable[[str], None], card_samples: int = SAMPLES
) -> None:
    """Run the recipe into `out`, then measure its card there.

    Raises DgrpoError if `out` already holds a model.
    """
    if (out / "config.json").exists():
        raise DgrpoError(f"{out} already holds a model", remedy="give another --out, or delete it")
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DgrpoError(f"{out} cannot be written: {error}", remedy="another --out") from None
    with one_thread():  # the shipped weights were made with one
        pretrain(recipe, out, report)
    card = write_card(recipe, out, card_samples)
    if recipe.corpus == "verdicts":
        report(judge_table(card))
    for name, figures in card.items():
        if isinstance(figures, dict) and "share" in figures:
            low, high = 100 * figures["low"], 100 * figures["high"]
            report(f"{name}: {100 * figures['share']:.1f} % ({low:.1f} to {high:.1f})")


def pretrain(recipe: Recipe, out: Path, report: Callable[[str], None]) -> None:
    """Run the recipe and write a Hugging Face folder to `out`."""
    tokenizer = train_tokenizer(recipe)
    model = build_model(recipe, tokenizer)
    documents = learned(recipe, corpus(recipe, Random(recipe.seed + 1)))
    decayed = [p for p in model.parameters() if p.ndim >= 2]
    plain = [p for p in model.parameters() if p.ndim < 2]
    groups: list[dict[str, Any]] = [
        {"params": decayed, "weight_decay": recipe.weight_decay},
        {"params": plain},
    ]
    optimiser = torch.optim.AdamW(
        groups,
        lr=recipe.learning_rate,
        betas=(0.9, 0.98),
        weight_decay=0.0,
    )
    model.train()
    started, running = time.monotonic(), math.nan
    for step in range(recipe.steps):
        for group in optimiser.param_groups:
            group["lr"] = recipe.learning_rate * _schedule(step, recipe.steps)
        ids, targets = _batch(tokenizer, list(islice(documents, recipe.batch)))
        logits = model(input_ids=ids).logits
        loss = torch.nn.functional.cross_entropy(
            logits[:, :-1].flatten(0, 1), targets[:, 1:].flatten(), ignore_index=-100
        )
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        running = loss.item() if math.isnan(running) else 0.98 * running + 0.02 * loss.item()
        if step % 100 == 99:
            spent = time.monotonic() - started
            report(f"step {step + 1}/{recipe.steps}  loss {running:.4f}  {spent:.0f} s")
    model.eval()  # type: ignore[no-untyped-call]
    model.save_pretrained(out)
    tokenizer.save_pretrained(out)


def _schedule(step: int, steps: int) -> float:
    warm = min(1.0, (step + 1) / 200)
    return warm * (0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi * step / steps)))


def _batch(
    tokenizer: PreTrainedTokenizerFast, documents: list[tuple[str, str]]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Right-padded ids and targets, both (batch, tokens) int64; -100 where nothing is learned."""
    prompts = tokenizer([p for p, _ in documents])["input_ids"]
    answers = tokenizer([c for _, c in documents])["input_ids"]
    end = tokenizer.eos_token_id
    rows = [p + a + [end] for p, a in zip(prompts, answers, strict=True)]
    width = max(map(len, rows))
    ids = torch.tensor([row + [end] * (width - len(row)) for row in rows])
    targets = torch.tensor(
        [
            [-100] * len(p) + row[len(p) :] + [-100] * (width - len(row))
            for p, row in zip(prompts, rows, strict=True)
        ]
    )
    return ids, targets
