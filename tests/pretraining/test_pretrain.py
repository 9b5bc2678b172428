"""A recipe makes a model that everything else can load, the same one each time."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dgrpo.errors import DgrpoError
from dgrpo.policy.model import load_model
from dgrpo.policy.settings import SHIPPED, ModelSettings
from dgrpo.pretraining.card import measure_card
from dgrpo.pretraining.pretrain import make_model
from dgrpo.pretraining.recipe import Recipe, find_recipe

SMALL = find_recipe("gsm-nano").model_copy(update={"steps": 3, "batch": 4})


@pytest.mark.parametrize("shipped", ["gsm-nano", "code-nano"])
def test_a_recipe_gives_the_same_loadable_model_and_its_card_each_time(
    shipped: str, tmp_path: Path
) -> None:
    recipe = find_recipe(shipped).model_copy(update={"steps": 3, "batch": 4})
    digests = set()
    for name in ("first", "second"):
        make_model(recipe, tmp_path / name, lambda line: None, card_samples=16)
        digests.add(load_model(ModelSettings(name=str(tmp_path / name))).weights_digest())
        card = json.loads((tmp_path / name / "card.json").read_text())
        assert card["samples"] == 16
        assert card["recipe"]["steps"] == 3
        assert card["weights_digest"] in digests
    assert len(digests) == 1


def test_a_folder_that_holds_a_model_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(DgrpoError, match="already holds a model"):
        make_model(SMALL, tmp_path, lambda line: None)


@pytest.mark.parametrize("name", ["gsm-nano", "code-nano"])
def test_the_shipped_card_is_that_of_the_shipped_weights_and_recipe(name: str) -> None:
    model = load_model(ModelSettings(name=name))
    card = json.loads((SHIPPED / name / "card.json").read_text())
    assert card["weights_digest"] == model.weights_digest()
    assert Recipe(**card["recipe"]) == find_recipe(name)
    assert card["megabytes"] <= 5
    assert 0.10 < card["accuracy"]["share"] < 0.30
    assert 0.15 < card["format"]["share"] < 0.35
    assert 0.45 < card["answer_anywhere"]["share"] < 0.70


@pytest.mark.parametrize("name", ["gsm-nano", "code-nano"])
def test_the_shipped_weights_behave_as_their_card_says(name: str) -> None:
    """64 samples: the card's share lies within their interval."""
    card = json.loads((SHIPPED / name / "card.json").read_text())
    live = measure_card(find_recipe(name), SHIPPED / name, samples=64)
    for rate in ("accuracy", "format", "answer_anywhere"):
        assert live[rate]["low"] <= card[rate]["share"] <= live[rate]["high"], rate
