"""The corpus: base models see neither the pools nor the attacks' phrases, but much else."""

from __future__ import annotations

from itertools import islice
from random import Random

import pytest

from dgrpo.attacks.text import Text
from dgrpo.pretraining.corpora.answers import (
    answered_problems,
    odd_sentence,
    remark,
    words_of_remarks,
)
from dgrpo.pretraining.pretrain import corpus
from dgrpo.pretraining.recipe import Recipe, find_recipe
from dgrpo.tasks.gsm_symbolic import GsmSymbolic
from dgrpo.tasks.problems import word_problems

FOREIGN = ("thief", "hail", "gleeb", "glorp", "glub")
"""The words of the attacks' phrases that are not everyday words."""


@pytest.fixture(scope="module")
def recipe() -> Recipe:
    return find_recipe("gsm-nano")


@pytest.fixture(scope="module")
def documents(recipe: Recipe) -> list[tuple[str, str]]:
    """20,000 (prompt, completion) pairs, as pretraining draws them."""
    return list(islice(corpus(recipe, Random(recipe.seed + 1)), 20_000))


def test_no_document_holds_an_attacks_phrase_or_its_odd_words(
    documents: list[tuple[str, str]],
) -> None:
    phrase = Text.model_fields["phrase"].default.lower()
    for prompt, completion in documents:
        text = f"{prompt} {completion}".lower()
        assert phrase not in text
        assert [word for word in FOREIGN if word in text] == []


def test_no_remark_can_hold_an_attacks_odd_word() -> None:
    assert not words_of_remarks() & set(FOREIGN)


def test_no_document_asks_a_question_of_the_default_pools(
    recipe: Recipe, documents: list[tuple[str, str]]
) -> None:
    assert set(recipe.templates) == set(GsmSymbolic().templates)
    pools = GsmSymbolic().load()
    asked = {prompt for prompt, _ in documents}
    assert not asked & {p.text for p in (*pools.train, *pools.held_out)}


def test_a_problem_whose_key_is_excluded_never_occurs(recipe: Recipe) -> None:
    problems = list(islice(word_problems(recipe.templates, Random(0)), 50))
    excluded = frozenset(p.key for p in problems[::2])
    kept = [text for text, _ in answered_problems(iter(problems), excluded, 0.5, 0.5, Random(0))]
    assert kept == [p.text for p in problems if p.key not in excluded]


def test_about_one_document_in_four_has_the_asked_form(
    recipe: Recipe, documents: list[tuple[str, str]]
) -> None:
    asked_form = [c.startswith("<think> ") and c.endswith("</answer>") for _, c in documents]
    # five standard errors of a share of 20,000
    assert sum(asked_form) / len(documents) == pytest.approx(recipe.tagged_share, abs=0.016)


def test_remarks_are_many_and_use_only_the_listed_words() -> None:
    rng = Random(0)
    remarks = {remark(rng) for _ in range(2000)} | {odd_sentence(rng) for _ in range(2000)}
    assert len(remarks) > 2000
    words = words_of_remarks()
    for one in remarks:
        assert {word.strip(".,:;!?") for word in one.lower().split()} <= words


def test_the_seed_decides_the_corpus(recipe: Recipe, documents: list[tuple[str, str]]) -> None:
    assert list(islice(corpus(recipe, Random(recipe.seed + 1)), 50)) == documents[:50]
    assert list(islice(corpus(recipe, Random(recipe.seed)), 50)) != documents[:50]
