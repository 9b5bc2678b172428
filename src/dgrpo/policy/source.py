"""Where a model's files are: shipped with the package, in a local folder, or on a model hub.

Leaves out: what is in the files (`model.py`).
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from huggingface_hub import constants, get_hf_file_metadata, hf_hub_url, try_to_load_from_cache
from huggingface_hub.errors import (
    GatedRepoError,
    HFValidationError,
    RemoteEntryNotFoundError,
    RepositoryNotFoundError,
)

from dgrpo.errors import DgrpoError, did_you_mean, first_line
from dgrpo.policy.settings import SHIPPED

_MODEL_FILES = ("*.safetensors", "*.bin", "*.json", "*.jinja", "*.model", "*.txt")
"""Files of a model's folder that make it what it is: weights, settings, tokenizer."""
_ADAPTER = "adapter_config.json"


def locate(name: str) -> str:
    """Path of a shipped or local model, or the name itself for a hub.

    Raises DgrpoError for something that looks like a path or a bare name and is not there, and for
    a folder that is no whole model.
    """
    if (SHIPPED / name / "config.json").is_file() and "/" not in name:
        return str(SHIPPED / name)
    folder = Path(name).expanduser()
    if folder.is_dir():
        if (folder / _ADAPTER).is_file():
            raise _adapter(name, "folder")
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


def loading_options(source: str) -> dict[str, Any]:
    """Options for `from_pretrained`: a model in the hub's cache is used where there is no network.

    transformers asks for a dozen files and tries each again for seconds. This asks for one, once.

    Raises DgrpoError for a hub's name without a model that can be had.
    """
    if Path(source).is_dir():
        return {}
    cached = False
    try:
        cached = isinstance(try_to_load_from_cache(source, "config.json"), str)
        if not constants.HF_HUB_OFFLINE:
            get_hf_file_metadata(hf_hub_url(source, "config.json"))
            return {}
    except Exception as error:  # those of the HTTP library too, which differs between releases
        if not cached:
            raise _not_had(source, error) from error
    if not cached:
        raise DgrpoError(
            f"model.name = {source!r}: the hub's cache does not hold it, and HF_HUB_OFFLINE is set",
            remedy="unset HF_HUB_OFFLINE to fetch it, or give a folder",
        )
    return {"local_files_only": True}


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


def _not_had(source: str, error: Exception) -> DgrpoError:
    """What the hub's answer means."""
    named = f"model.name = {source!r}"
    if isinstance(error, GatedRepoError):
        return DgrpoError(
            f"{named}: the hub gives it only to those who accepted its terms",
            remedy=f"accept them at {constants.ENDPOINT}/{source}, then `hf auth login`",
        )
    if isinstance(error, RepositoryNotFoundError | HFValidationError):
        return DgrpoError(
            f"{named}: no folder of that name, and no model on the hub",
            remedy="check the spelling; a private model needs `hf auth login`",
        )
    if isinstance(error, RemoteEntryNotFoundError):
        if _holds(source, _ADAPTER):
            return _adapter(source, "model on the hub")
        return DgrpoError(
            f"{named}: the hub has it without config.json",
            remedy="take a model in Hugging Face format, with safetensors and a tokenizer.json",
        )
    return DgrpoError(
        f"{named}: no folder of that name, and the hub {constants.ENDPOINT} cannot be asked: "
        f"{first_line(error)}",
        remedy="check the network, or give a shipped model or a folder",
    )


def _holds(source: str, file: str) -> bool:
    try:
        get_hf_file_metadata(hf_hub_url(source, file))
    except Exception:  # as above
        return False
    return True


def _adapter(name: str, kind: str) -> DgrpoError:
    # with peft installed, transformers would load the base and the adapter, and without it neither
    return DgrpoError(
        f"model.name = {name!r} is a {kind} that holds an adapter (LoRA), not a whole model",
        remedy="write a whole one: peft's AutoPeftModelForCausalLM.from_pretrained(…)"
        ".merge_and_unload().save_pretrained(FOLDER), and the tokenizer beside it",
    )
