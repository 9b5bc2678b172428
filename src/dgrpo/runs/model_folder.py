"""A trained model as an ordinary Hugging Face folder: weights, tokenizer, settings, model card.

It loads with `AutoModelForCausalLM` and with `--model.name FOLDER`. Leaves out where the weights
come from (`export.py`, `running.py`) and what the cards say (`model_card.py`).
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dgrpo.errors import DgrpoError
from dgrpo.policy.model import LanguageModel
from dgrpo.runs.model_card import CARD, Trained, card, readme

_FILES = ("*.safetensors", "*.json", "*.jinja", "*.model", "*.txt", "README.md")
"""What a kept model consists of."""


def write_model(folder: Path, model: LanguageModel, trained: Trained) -> None:
    """Write the folder, whole or not at all. Raises DgrpoError as `new_folder` does."""
    with new_folder(folder) as fresh:
        _fit_for_saving(model)
        model.network.save_pretrained(fresh)
        model.tokenizer.save_pretrained(fresh)
        facts = {**card(trained), "weights_digest": model.weights_digest()}
        (fresh / CARD).write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
        text = readme(trained).encode(errors="backslashreplace")
        (fresh / "README.md").write_bytes(text)


@contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """A folder beside `folder` that takes its place once everything is written.

    Raises DgrpoError where something lies there already, or nothing can be written.
    """
    check_free(folder)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        fresh = Path(tempfile.mkdtemp(prefix=f".{folder.name[:100]}-", dir=folder.parent))
        try:
            yield fresh
            mask = _umask()
            for file in fresh.iterdir():
                file.chmod(0o666 & ~mask)
            fresh.chmod(0o777 & ~mask)
            if folder.exists():
                folder.rmdir()  # it is empty
            fresh.rename(folder)
        finally:
            shutil.rmtree(fresh, ignore_errors=True)
    except OSError as error:
        raise DgrpoError(
            f"{folder} cannot be written: {error.strerror or error}",
            remedy="check the path and its permissions, or free some space",
        ) from error


def check_free(folder: Path) -> None:
    """Raise DgrpoError unless `folder` is not there, or an empty folder."""
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        raise DgrpoError(f"{folder} is there, and is no folder", remedy="give another --out")
    if folder.is_dir() and any(folder.iterdir()):
        raise DgrpoError(f"{folder} is not empty", remedy="give another --out, or empty it")


def _umask() -> int:
    mask = os.umask(0o022)
    os.umask(mask)
    return mask


def _fit_for_saving(model: LanguageModel) -> None:
    """Let transformers save the base model's generation settings, which it may call inconsistent.

    Some published ones give a temperature without saying that they sample.
    """
    settings = model.network.generation_config
    if settings is not None:
        try:
            settings.validate(strict=True)
        except ValueError:
            settings.do_sample = True


def copy_model(source: Path, folder: Path) -> None:
    """Copy the plain files of a kept model. Raises DgrpoError as `new_folder` does."""
    with new_folder(folder) as fresh:
        for pattern in _FILES:
            for file in sorted(source.glob(pattern)):
                if file.is_file() and not file.is_symlink():
                    shutil.copyfile(file, fresh / file.name)
