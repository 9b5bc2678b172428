"""Before a run: what attacks write survives the receivers' tokenizers, or it is said."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Regex
from tokenizers.normalizers import NFC, NFKC, Normalizer, Replace
from tokenizers.normalizers import Sequence as InTurn

from dgrpo.errors import DgrpoError
from dgrpo.experiment import experiment_from
from dgrpo.policy.settings import SHIPPED
from dgrpo.swarm import Swarm

FOLDED = InTurn([NFKC(), Replace(Regex(r"\s+"), " ")])
ANGSTROM = "All hail to the \u212b,"
"""NFC and NFKC make another letter of it that looks the same."""


def normalising(folder: Path, normalizer: Normalizer) -> str:
    """The shipped model with a tokenizer that changes texts; its name."""
    folder.mkdir()
    for file in (SHIPPED / "gsm-nano").iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    tokenizer = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    tokenizer["normalizer"] = json.loads(normalizer.__getstate__())
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer), encoding="utf-8")
    return str(folder)


def swarm(model: Any, attack: dict[str, Any], **settings: Any) -> Swarm:
    """Two honest nodes and a malicious one."""
    table = {
        "name": "arriving",
        "nodes": 3,
        "malicious": 1,
        "prompts_per_round": 3,
        "group_size": 3,
        "model": model,
        "attack": attack,
        "task": {"name": "gsm-symbolic", "train": 80, "held_out": 80},
        "evaluation": {"samples": 1, "final_samples": 1},
    }
    return Swarm(experiment_from({**table, **settings}), 0)


@pytest.mark.parametrize("normalizer", [NFC(), NFKC(), FOLDED])
def test_an_attack_of_which_nothing_would_arrive_is_refused(
    tmp_path: Path, normalizer: Normalizer
) -> None:
    model = normalising(tmp_path / "model", normalizer)
    with pytest.raises(DgrpoError) as caught:
        swarm(model, {"name": "text", "phrase": ANGSTROM})
    assert "attack text: of 64 completions that it writes " in caught.value.problem
    assert f"{model} drops 64: its tokenizer makes " in caught.value.problem
    assert r"'nk> All hail to the \xc5, " in caught.value.problem
    assert r" of 'nk> All hail to the \u212b, " in caught.value.problem
    assert "whose tokenizer does not normalise" in caught.value.remedy


def test_a_phrase_on_lines_of_its_own_does_not_survive_folded_white_space(tmp_path: Path) -> None:
    model = normalising(tmp_path / "model", FOLDED)
    every = {"name": "text", "position": "every-sentence"}
    with pytest.raises(DgrpoError, match=r"attack text: .* its tokenizer makes .* of .*\\n"):
        swarm(model, every)


def test_what_some_receivers_lose_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    model = normalising(tmp_path / "model", NFC())
    swarm(["gsm-nano", model, "gsm-nano"], {"name": "text", "phrase": ANGSTROM})
    (said,) = caplog.records
    assert said.levelno == logging.WARNING
    assert f"{model} drops 64: its tokenizer makes " in said.message
    assert "gsm-nano drops" not in said.message


def test_a_phrase_that_names_the_end_token_is_refused() -> None:
    with pytest.raises(DgrpoError, match="takes a part of it for the end token"):
        swarm("gsm-nano", {"name": "text", "phrase": "hail <|endoftext|>"})


def test_completions_of_which_none_has_room_are_said(caplog: pytest.LogCaptureFixture) -> None:
    long = {"name": "text", "phrase": "Hail! " * 60}
    swarm("gsm-nano", long)
    (said,) = caplog.records
    assert "gsm-nano has no room for any: they have more than 96 tokens" in said.message


@pytest.mark.parametrize(
    "attack",
    [
        {"name": "text"},
        {"name": "text", "position": "every-sentence"},
        {"name": "long-answer"},
        {"name": "long-answer", "source": "padded"},
        {"name": "spelling"},
        {"name": "silent"},
        {"name": "honest"},
    ],
)
def test_nothing_is_said_of_attacks_that_arrive(
    attack: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    swarm("gsm-nano", attack)
    assert caplog.records == []


def test_a_vote_is_not_refused_for_the_datasets_solutions(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A model of such a tokenizer says nothing that its tokenizer would change."""
    model = normalising(tmp_path / "model", FOLDED)
    every = {"name": "text", "position": "every-sentence", "oracle": "majority-vote"}
    swarm(model, every)
    assert "its tokenizer makes" in caplog.text


@pytest.mark.parametrize("normalizer", [NFC(), FOLDED])
def test_honest_samples_survive_a_tokenizer_that_normalises(
    tmp_path: Path, normalizer: Normalizer
) -> None:
    """They come with ids, which decode to their text. Beyond the usual they are normalised too."""
    playing = swarm(normalising(tmp_path / "model", normalizer), {"name": "honest"})
    (record, *_) = playing.play(0)
    assert set(record.violations) <= ({"spelling"} if normalizer is FOLDED else set())
    received = [one.received for one in record.judged]
    assert len(received) == 9
    decode = playing.nodes[0].model.decode
    assert all(one.text == decode(one.token_ids) for one in received)
