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

_MODEL_FILES = ("*.safetensors", "*.bin", "*.json", "*.jinja", "*.model", "*.txt")
"""Files of a model's folder that make it what it is: weights, settings, tokenizer."""
_ADAPTER = "adapter_config.json"
SHIPPED = Path(__file__).parent.parent / "shipped"
"""Where the package keeps its own small models, one folder each."""


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
    cached = isinstance(try_to_load_from_cache(source, "config.json"), str)
    if constants.HF_HUB_OFFLINE:
        if cached:
            return {"local_files_only": True}
        raise DgrpoError(
            f"model.name = {source!r}: the hub's cache does not hold it, and HF_HUB_OFFLINE is set",
            remedy="unset HF_HUB_OFFLINE to fetch it, or give a folder",
        )
    try:
        get_hf_file_metadata(hf_hub_url(source, "config.json"))
    except GatedRepoError as error:
        raise DgrpoError(
            f"model.name = {source!r}: the hub gives it only to those who accepted its terms",
            remedy=f"accept them at {constants.ENDPOINT}/{source}, then `hf auth login`",
        ) from error
    except (RepositoryNotFoundError, HFValidationError) as error:
        raise DgrpoError(
            f"model.name = {source!r}: no folder of that name, and no model on the hub",
            remedy="check the spelling; a private model needs `hf auth login`",
        ) from error
    except RemoteEntryNotFoundError as error:
        raise _without_config(source) from error
    except Exception as error:  # the HTTP library's own, which differs between releases
        if cached:
            return {"local_files_only": True}
        raise DgrpoError(
            f"model.name = {source!r}: no folder of that name, and the hub {constants.ENDPOINT} "
            f"cannot be asked: {first_line(error)}",
            remedy="check the network, or give a shipped model or a folder",
        ) from error
    return {}


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


def _without_config(source: str) -> DgrpoError:
    try:
        get_hf_file_metadata(hf_hub_url(source, _ADAPTER))
    except Exception:  # as above
        return DgrpoError(
            f"model.name = {source!r}: the hub has it without config.json",
            remedy="take a model in Hugging Face format, with safetensors and a tokenizer.json",
        )
    return _adapter(source, "model on the hub")


def _adapter(name: str, kind: str) -> DgrpoError:
    # with peft installed, transformers would load the base and the adapter, and without it neither
    return DgrpoError(
        f"model.name = {name!r} is a {kind} that holds an adapter (LoRA), not a whole model",
        remedy="write a whole one: peft's AutoPeftModelForCausalLM.from_pretrained(…)"
        ".merge_and_unload().save_pretrained(FOLDER), and the tokenizer beside it",
    )
