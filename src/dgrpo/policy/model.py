"""Load a causal language model with everything the rest needs to know about it.

A name is one of: a shipped model (`gsm-nano`), a local folder in Hugging Face format, or a name on
a model hub. The same code serves all three.
"""

from __future__ import annotations

import copy
import hashlib
import json
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import takewhile
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import BaseModel, ConfigDict
from transformers import (
    AutoModelForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.utils.logging import disable_progress_bar

from dgrpo.errors import DgrpoError, did_you_mean, first_line
from dgrpo.policy.cache import foreign_layers
from dgrpo.policy.tokenizer import FiledTokenizer

_MODEL_FILES = ("*.safetensors", "*.bin", "*.json", "*.jinja", "*.model", "*.txt")
"""Files of a model's folder that make it what it is: weights, settings, tokenizer."""
SHIPPED = Path(__file__).parent.parent / "models"
"""Where the package keeps its own small models, one folder each."""


class ModelSettings(BaseModel):
    """Which model a node trains."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    name: str = "gsm-nano"
    """A shipped model, a local folder in Hugging Face format, or a name on a model hub."""
    device: str = "cpu"
    """torch device: `cpu`, `cuda`, `cuda:1`, …"""
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    """What forward passes are computed in. Weights are kept and stepped in float32: in less, Adam's
    small steps vanish. `bfloat16` is autocast; `float16` is refused in training, since gradients
    leave its range. A judge's weights are of its own `dtype`."""


@dataclass(frozen=True)
class LanguageModel:
    """A model and its tokenizer; the weights change in place as it is trained."""

    network: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    autocast: bool = False
    """Whether forward passes are computed in bfloat16 although the weights are float32."""

    @cached_property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.network.device

    @cached_property
    def end_id(self) -> int:
        """Id of the token that ends a completion."""
        return int(self.tokenizer.eos_token_id)

    @cached_property
    def vocabulary(self) -> int:
        """Entries of the output distribution."""
        return int(self.network.config.get_text_config().vocab_size)

    @cached_property
    def tokens(self) -> int:
        """Tokens that stand for text; the output distribution may have more entries."""
        return min(len(self.tokenizer), self.vocabulary)

    @cached_property
    def tokenizer_digest(self) -> str:
        """Digest of vocabulary, merges and end token: equal digests tokenise equally."""
        backend = self.tokenizer.backend_tokenizer.to_str()
        return hashlib.sha256(f"{backend}\x1f{self.end_id}".encode()).hexdigest()[:16]

    @cached_property
    def opening_ids(self) -> list[int]:
        """What the tokenizer puts before a text: as a rule a beginning-of-sequence token."""
        marked = self.tokenizer("a", return_special_tokens_mask=True)
        pairs = zip(marked["input_ids"], marked["special_tokens_mask"], strict=True)
        return [token for token, _ in takewhile(lambda pair: pair[1], pairs)]

    def precision(self) -> AbstractContextManager[None]:
        """What forward passes are to be computed within."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.autocast)

    def weights_digest(self) -> str:
        """Digest of the weights' bytes as they are now."""
        digest = hashlib.sha256()
        for name, tensor in sorted(self.network.state_dict().items()):
            digest.update(name.encode())
            digest.update(tensor.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
        return digest.hexdigest()[:16]

    def encode(self, text: str) -> list[int]:
        """Token ids of `text`, nothing added."""
        return list(self.tokenizer(text, add_special_tokens=False)["input_ids"])

    def encode_prompt(self, text: str) -> list[int]:
        """Token ids of a prompt as the model expects it: `opening_ids` first, but never twice."""
        ids, opening = self.encode(text), self.opening_ids
        return ids if ids[: len(opening)] == opening else [*opening, *ids]

    def encode_completion(self, text: str) -> tuple[int, ...]:
        """Token ids of a whole completion, end token included."""
        return (*self.encode(text), self.end_id)

    def decode(self, ids: tuple[int, ...] | list[int]) -> str:
        """Text of completion ids, without the end token."""
        kept = ids[:-1] if ids and ids[-1] == self.end_id else ids
        return str(self.tokenizer.decode(list(kept), clean_up_tokenization_spaces=False))

    def clone(self) -> LanguageModel:
        """The same tokenizer with a copy of the weights."""
        return replace(self, network=copy.deepcopy(self.network))


def load_model(settings: ModelSettings, *, trained: bool = False) -> LanguageModel:
    """Load model and tokenizer, in evaluation mode (no dropout, in training either).

    trained: whether the weights are to be stepped, and so must be float32.

    Raises DgrpoError: no such model, a folder that is not one, no tokenizer or no end token,
    weights that lack something (transformers would draw it at random), recurrent layers, unknown
    dtype or device, a dtype that cannot be trained in.
    """
    source = locate(settings.name)
    if trained and settings.dtype == "float16":
        raise DgrpoError(
            'model.dtype = "float16": gradients leave its range, and the weights are ruined',
            remedy='use "float32", or "bfloat16" (float32 weights, forward passes in bfloat16)',
        )
    dtype = torch.float32 if trained else getattr(torch, settings.dtype)
    disable_progress_bar()  # type: ignore[no-untyped-call]
    tokenizer = _load(FiledTokenizer, source, settings.name)
    if tokenizer.eos_token_id is None:
        raise DgrpoError(
            f"model.name = {settings.name!r}: its tokenizer has no end-of-sequence token",
            remedy="set eos_token in tokenizer_config.json; without it a completion cannot end",
        )
    if not tokenizer.is_fast:
        raise DgrpoError(
            f"model.name = {settings.name!r}: its tokenizer {type(tokenizer).__name__} exists in "
            "Python only, and its vocabulary cannot be compared with a peer's",
            remedy="take a model with a tokenizer.json (a fast tokenizer)",
        )
    if len(tokenizer) <= len(tokenizer.all_special_ids):
        raise DgrpoError(
            f"model.name = {settings.name!r}: its tokenizer knows no text",
            remedy="give the folder its tokenizer.json",
        )
    network, report = _load(
        AutoModelForCausalLM, source, settings.name, dtype=dtype, output_loading_info=True
    )
    if report["missing_keys"]:
        lacking = sorted(report["missing_keys"])
        raise DgrpoError(
            f"model.name = {settings.name!r}: its weights lack {lacking[0]}"
            + (f" and {len(lacking) - 1} more" if len(lacking) > 1 else ""),
            remedy="its config.json describes another model; fetch or make both again",
        )
    if foreign := foreign_layers(network):
        raise DgrpoError(
            f"model.name = {settings.name!r}: it has {foreign} layers, whose state cannot be "
            "dealt out to the completions of a prompt",
            remedy="take one of attention layers alone (Llama, Qwen2.5, Qwen3, Gemma, Mistral)",
        )
    try:
        network = network.to(settings.device)
    except (RuntimeError, AssertionError) as error:
        raise DgrpoError(
            f"model.device = {settings.device!r} cannot be used: {first_line(error)}",
            remedy='"cpu" always works; "cuda" needs a GPU build of torch',
        ) from error
    mixed = trained and settings.dtype == "bfloat16"
    return LanguageModel(network.eval(), tokenizer, autocast=mixed)


def locate(name: str) -> str:
    """Path of a shipped or local model, or the name itself for a hub.

    Raises DgrpoError for something that looks like a path or a bare name and is not there.
    """
    if (SHIPPED / name / "config.json").is_file() and "/" not in name:
        return str(SHIPPED / name)
    folder = Path(name).expanduser()
    if folder.is_dir():
        if not (folder / "config.json").is_file():
            raise DgrpoError(
                f"model.name = {name!r} is a folder without config.json",
                remedy="give a folder in Hugging Face format (save_pretrained writes one)",
            )
        return str(folder)
    if name.count("/") != 1 or name.startswith((".", "/", "~")):
        shipped = sorted(p.parent.name for p in SHIPPED.glob("*/config.json"))
        raise DgrpoError(
            f"model.name = {name!r}: no shipped model and no folder of that name",
            remedy=did_you_mean(name, shipped)
            + "; or a folder in Hugging Face format; or ORGANISATION/MODEL of a model hub",
        )
    return name


def digest_of(name: str) -> str:
    """Digest of a model's identity that is cheap to take: its weight files' bytes, or its name."""
    source = Path(locate(name))
    if not source.is_dir():
        return name
    digest = hashlib.sha256()
    files = (file for kind in _MODEL_FILES for file in source.glob(kind))
    for path in sorted(p for p in files if p.name != "card.json"):
        digest.update(path.name.encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def _load(loader: Any, source: str, name: str, **options: Any) -> Any:
    part = "tokenizer" if loader is FiledTokenizer else "model"
    try:
        return loader.from_pretrained(source, **options)
    except (OSError, ValueError, KeyError, ImportError, json.JSONDecodeError) as error:
        needed = ", tokenizer.json among them" if part == "tokenizer" else ""
        raise DgrpoError(
            f"model.name = {name!r}: the {part} cannot be loaded: {first_line(error)}",
            remedy=f"check the folder's files{needed}, or the name and your access to the hub",
        ) from error
    except Exception as error:
        # safetensors and tokenizers raise bare exceptions of their own for damaged files
        if type(error).__module__.partition(".")[0] not in (
            "safetensors",
            "safetensors_rust",
            "builtins",
            "tokenizers",
        ):
            raise
        raise DgrpoError(
            f"model.name = {name!r} has a damaged file: {error}", remedy="fetch or make it again"
        ) from error
