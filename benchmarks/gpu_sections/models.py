"""The models that the sections share, made here: nothing is fetched.

* `gsm-nano`, which the package ships, on questions in the manner of those that it was trained on
* one of Qwen2.5-1.5B's shape with random weights, on sequences of made-up words

A random model's logits hardly differ, and each rounding would change their order: `SHARPNESS`
spreads them. It stays a random model, whose figures are no trained model's.
"""

from __future__ import annotations

import zlib
from collections import deque
from dataclasses import replace
from pathlib import Path
from random import Random
from string import ascii_lowercase
from typing import Any

import torch
from transformers import Qwen2Config, Qwen2ForCausalLM, Qwen2Tokenizer

from dgrpo.policy.model import LanguageModel, load_model
from dgrpo.policy.settings import ModelSettings
from dgrpo.records import Prompt
from dgrpo.tasks.base import LoadedTask, make_prompt

SHAPE: dict[str, Any] = {
    "vocab_size": 151_936,
    "hidden_size": 1536,
    "intermediate_size": 8960,
    "num_hidden_layers": 28,
    "num_attention_heads": 12,
    "num_key_value_heads": 2,
    "max_position_embeddings": 32_768,
}
"""Qwen2.5-1.5B's."""
DRY_SHAPE: dict[str, Any] = {
    **SHAPE,
    "vocab_size": 600,
    "hidden_size": 48,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
}
SHARPNESS = 5.0
"""What the last norm is multiplied by: the logits' deviation is about 4 then."""
PROMPT_WORDS = 96
"""Tokens of a prompt of made-up words: as many as a word problem with instructions has."""


def shape(dry: bool) -> dict[str, Any]:
    """What the large model's configuration says."""
    sizes = DRY_SHAPE if dry else SHAPE
    return {**sizes, "tie_word_embeddings": True, "eos_token_id": 0, "pad_token_id": 0}


def shipped(device: torch.device) -> LanguageModel:
    """`gsm-nano` on `device`, in float32."""
    return moved(load_model(ModelSettings()), device)


def random_model(dry: bool, device: torch.device) -> LanguageModel:
    """The large model on `device`, in float32, its weights drawn there."""
    torch.manual_seed(0)
    with torch.device(device):
        network: Any = Qwen2ForCausalLM(Qwen2Config(**shape(dry)))
    with torch.no_grad():
        network.model.norm.weight.mul_(SHARPNESS)
    return LanguageModel(network.eval(), words_tokenizer(shape(dry)["vocab_size"]))


def moved(model: LanguageModel, device: torch.device) -> LanguageModel:
    """A copy of the model on `device`."""
    copy = model.clone()
    copy.network.to(device)  # type: ignore[arg-type]
    return replace(copy)


def random_folder(shared: Path) -> Path:
    """Where the large model lies among the files that sections share."""
    return shared / "random-model"


def save_random_model(dry: bool, device: torch.device, shared: Path) -> None:
    """Put the large model into its folder, once per call of the script."""
    folder, fresh = random_folder(shared), shared / "random-model.new"
    if not folder.exists():
        model = random_model(dry, device)
        model.tokenizer.save_pretrained(str(fresh))
        model.network.bfloat16().cpu().save_pretrained(fresh)  # half the bytes to write and read
        fresh.rename(folder)
        if device.type == "cuda":
            del model
            torch.cuda.empty_cache()


def words_tokenizer(size: int) -> Qwen2Tokenizer:
    """A token per made-up word, so that almost any ids decode to a text that encodes to them."""
    tokens = ["<end>", SPACE, *ascii_lowercase]
    merges: list[tuple[str, str]] = []
    beginnings = deque([SPACE])
    while len(tokens) < size:
        beginning = beginnings.popleft()
        for letter in ascii_lowercase[: size - len(tokens)]:
            merges.append((beginning, letter))
            beginnings.append(beginning + letter)
            tokens.append(beginning + letter)
    vocabulary = {token: place for place, token in enumerate(tokens)}
    given: dict[str, Any] = {"vocab": vocabulary, "merges": merges, **SPECIAL}
    return Qwen2Tokenizer(**given)


SPACE = "Ġ"
"""How byte-level tokenizers write a space."""
FIRST_WORD = 2 + len(ascii_lowercase)
"""The ids before are the end, a space and letters."""
SPECIAL = dict.fromkeys(("eos_token", "pad_token", "unk_token"), "<end>")


class Words(LoadedTask):
    """Made-up words, rewarded by a coin that the text decides: half of a group is right."""

    def reward(self, prompt: Prompt, text: str) -> float:
        """1 or 0, by the text's checksum."""
        return coin(text)

    def answer_anywhere(self, prompt: Prompt, text: str) -> bool:
        """There are no answers."""
        return False


def coin(text: str) -> float:
    """1.0 or 0.0."""
    return float(zlib.crc32(text.encode()) % 2)


def words_task(dry: bool, prompts: int) -> Words:
    """A training pool of `prompts`, and some held-out ones."""
    rng = Random(0)
    size, length = shape(dry)["vocab_size"], 6 if dry else PROMPT_WORDS
    tokenizer = words_tokenizer(size)
    pool = []
    for index in range(prompts + 4):
        ids = [rng.randrange(FIRST_WORD, min(size, 1024)) for _ in range(length)]
        pool.append(Prompt(f"words-{index:04d}", str(tokenizer.decode(ids)), "", ""))
    return Words("words", tuple(pool[:prompts]), tuple(pool[prompts:]))


def questions(count: int) -> list[Prompt]:
    """Word problems of several lengths, in the manner of the shipped model's training."""
    rng = Random(0)
    names = ("Tom", "Ann", "Emma", "Liam", "Mia", "Noah")
    things = ("apples", "pens", "cards", "books", "shells", "coins")
    made = []
    for _ in range(count):
        name, thing = rng.choice(names), rng.choice(things)
        start, more, days = rng.randint(3, 90), rng.randint(2, 60), rng.randint(2, 9)
        question = (
            f"{name} has {start} {thing} and buys {more} more. How many {thing} does {name} have?",
            f"{name} finds {more} {thing} each day for {days} days. {name} had {start} {thing} "
            f"before. How many {thing} does {name} have now?",
            f"A box holds {more} {thing}. {name} has {days} boxes and gives {min(start, more)} "
            f"{thing} to a friend. How many {thing} are left?",
        )[rng.randrange(3)]
        made.append(make_prompt("gpu", question, str(start), ""))
    return made
