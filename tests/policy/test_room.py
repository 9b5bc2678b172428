"""Room for prompt and completion in the positions that a model has learned."""

from __future__ import annotations

import pytest
from tests.policy.tiny_models import of_family

from dgrpo.errors import DgrpoError
from dgrpo.policy.model import LanguageModel, ModelSettings, load_model
from dgrpo.policy.room import check_room, learned_positions

PROMPTS = ["Question: Tom has 3 cows.\nAnswer:\n", "Q"]


@pytest.fixture(scope="module")
def shipped() -> LanguageModel:
    return load_model(ModelSettings())


@pytest.mark.parametrize("family", ["gpt2", "opt"])
def test_a_completion_that_could_leave_the_table_is_refused(
    shipped: LanguageModel, family: str
) -> None:
    sizes = {"max_position_embeddings": 64, "ffn_dim": 16, "word_embed_proj_dim": 32}
    model = of_family(shipped, family, **sizes)
    assert learned_positions(model) == 64
    longest = len(model.encode(PROMPTS[0]))
    check_room(model, PROMPTS, 64 - longest)
    with pytest.raises(DgrpoError, match=f"sampling.max_tokens = {65 - longest}: .* 64") as caught:
        check_room(model, PROMPTS, 65 - longest)
    assert f"at most {64 - longest}" in caught.value.remedy
    with pytest.raises(DgrpoError) as caught:
        check_room(model, ["cow " * 70], 1)
    assert "shorter prompts" in caught.value.remedy


def test_computed_positions_have_no_end(shipped: LanguageModel) -> None:
    assert learned_positions(shipped) is None
    check_room(shipped, PROMPTS, 10**6)
