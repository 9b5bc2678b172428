"""A folder's tokenizer is loaded as its tokenizer.json has it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tokenizers import Tokenizer

from dgrpo.policy.model import load_model
from dgrpo.policy.settings import SHIPPED, ModelSettings
from dgrpo.tasks.gsm_python import GsmPython

INDENTED = "<code>\ndef more(x):\n    return x + 12\n\nif 4 > 2:\n    print(more(4))\n</code>"


@pytest.mark.parametrize("name", ["gsm-nano", "code-nano", "judge-nano"])
def test_texts_are_cut_as_the_folders_tokenizer_json_says(name: str) -> None:
    """Newer transformers gave a model of Qwen2's type Qwen2's way to cut a text."""
    model = load_model(ModelSettings(name=name))
    filed = Tokenizer.from_file(str(SHIPPED / name / "tokenizer.json"))
    task = GsmPython(train=8, held_out=4).load()
    for text in (INDENTED, "5 \u212a", "it's  4\n\n  5", *(p.text for p in task.train)):
        assert model.encode(text) == filed.encode(text, add_special_tokens=False).ids
        assert model.decode(model.encode(text)) == text


def test_a_folder_that_names_a_class_of_its_own_gets_that_class(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    for file in (SHIPPED / "gsm-nano").iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    settings["tokenizer_class"] = "Qwen2Tokenizer"
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    tokenizer = load_model(ModelSettings(name=str(folder))).tokenizer
    assert type(tokenizer).__name__.startswith("Qwen2Tokenizer")
