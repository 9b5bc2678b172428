"""A recipe: everything that makes one shipped model, so that anyone can make it again."""

from __future__ import annotations

from functools import cache
from typing import Literal

from pydantic import BaseModel, ConfigDict

from dgrpo.errors import DgrpoError, did_you_mean
from dgrpo.tasks.gsm_python import CODE_TEMPLATES
from dgrpo.tasks.problems import SHORTEST_TEMPLATES

JUDGE_TAGS = (
    *("<think>", "</think>", "<answer>", "</answer>", "<code>", "</code>"),
    *("<quote", "</quote", "<decision>", "</decision>"),
)
"""The answer forms' tags, and those of the prompts and replies of `judging/prompts.py`."""


class Recipe(BaseModel):
    """Architecture, corpus and training of one small model (Qwen2 architecture)."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    name: str
    """Folder name under `dgrpo/shipped/`, and what experiments say in `[model] name`."""
    corpus: Literal["answers", "programs", "verdicts"] = "answers"
    """What the documents are: word problems answered in words (`corpora/answers.py`) or by a Python
    program (`corpora/programs.py`), or completions with a judge's verdict on them
    (`corpora/verdicts.py`)."""
    templates: tuple[int, ...]
    """reasoning-gym gsm_symbolic templates in the corpus; the task's defaults."""
    seed: int = 7
    """Seed of weights, corpus and batches."""
    vocabulary: int = 1024
    """Tokens, including the tags, the end token and 256 bytes. Digits are always single tokens."""
    tags: tuple[str, ...] = ("<think>", "</think>", "<answer>", "</answer>")
    """Texts that are one token each, an ordinary one: the asked form's tags."""
    context: int = 256
    """Positions the model is configured for; every document must fit."""
    layers: int = 3
    """Transformer layers."""
    width: int = 96
    """Hidden size; the feed-forward part is 3 × width."""
    heads: int = 4
    """Attention heads (as many key-value heads)."""
    tagged_share: float = 0.25
    """Share of documents in the asked form: reasoning and answer, or the program, in their tags."""
    remark_share: float = 0.3
    """Share of documents whose reasoning carries a remark, or whose program carries comments."""
    mistake_share: float = 0.0
    """Share of programs with a mistake in them, or of completions to judge with a fault."""
    learn_accepted: bool = False
    """Whether a judge also learns to write what it accepts, question included: it practises to
    repeat numbers and to work results out there as well."""
    steps: int = 2600
    """Optimiser steps."""
    batch: int = 32
    """Documents per step."""
    learning_rate: float = 5e-3
    """Peak of AdamW's rate: linear warm-up over 200 steps, cosine to a tenth."""
    weight_decay: float = 0.05
    """AdamW's decoupled weight decay."""


@cache
def recipes() -> dict[str, Recipe]:
    """The shipped recipes by name."""
    shipped = (
        Recipe(name="gsm-nano", templates=SHORTEST_TEMPLATES),
        Recipe(
            name="code-nano",
            corpus="programs",
            templates=SHORTEST_TEMPLATES,
            tags=("<code>", "</code>"),
            mistake_share=0.2,
        ),
        Recipe(
            name="judge-nano",
            corpus="verdicts",
            templates=CODE_TEMPLATES,
            vocabulary=1280,
            tags=JUDGE_TAGS,
            context=512,
            width=128,
            tagged_share=0.9,
            remark_share=0.2,
            mistake_share=0.5,
            learn_accepted=True,
            steps=4400,
            batch=16,
            learning_rate=4e-3,
        ),
    )
    return {recipe.name: recipe for recipe in shipped}


def find_recipe(name: str) -> Recipe:
    """The recipe called `name`; DgrpoError with the nearest names if there is none."""
    if name not in recipes():
        raise DgrpoError(
            f"no recipe is called {name!r}", remedy=did_you_mean(name, list(recipes()))
        )
    return recipes()[name]
