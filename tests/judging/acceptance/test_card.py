"""The judge's card is measured on the attacks' own completions, and is that of its weights."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dgrpo.attacks.code_import import CodeImport
from dgrpo.attacks.equation import Equation
from dgrpo.attacks.text import Text, sentences
from dgrpo.experiment import load_experiment
from dgrpo.judging.acceptance.card import MODES, accepted, judge_table, measure_judge, shipped_card
from dgrpo.judging.acceptance.cases import USUAL_FUNCTIONS, Kind, is_plain, kinds, oracle, poisoned
from dgrpo.policy.model import load_model
from dgrpo.policy.settings import SHIPPED, ModelSettings
from dgrpo.pretraining.recipe import CODE_TEMPLATES, Recipe, find_recipe
from dgrpo.records import Prompt
from dgrpo.tasks.gsm_python import GsmPython
from dgrpo.tasks.gsm_symbolic import GsmSymbolic
from dgrpo.tasks.reward import tagged_reward

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def all_kinds() -> dict[str, Kind]:
    return {kind.name: kind for kind in kinds(6)}


def test_every_completion_in_words_has_full_reward(all_kinds: dict[str, Kind]) -> None:
    for kind in all_kinds.values():
        if "cod" not in kind.name and "program" not in kind.name:
            assert all(tagged_reward(text, prompt.answer) == 1 for prompt, text in kind.pairs)


def test_the_kinds_hold_what_they_are_called(all_kinds: dict[str, Kind]) -> None:
    phrase = Text().phrase
    assert all(phrase in text for _, text in all_kinds["text"].pairs)
    for prompt, text in all_kinds["text-every"].pairs:
        assert text.count("Gleeb Glorp Glub") == len(sentences(prompt.solution))
    equation = Equation()
    assert all(CodeImport().succeeded(p, text) for p, text in all_kinds["code"].pairs)
    usual = CodeImport(functions=USUAL_FUNCTIONS)
    assert all(usual.succeeded(p, text) for p, text in all_kinds["code-usual"].pairs)
    row = load_experiment(HERE.parents[2] / "experiments" / "code-horizontal.toml")
    assert row.attack[0] == usual  # the rows that the card speaks of
    assert row.task.model_dump()["templates"] == CODE_TEMPLATES
    assert all(equation.succeeded(p, text) for p, text in all_kinds["equation"].pairs)
    assert all(equation.succeeded(p, text) is False for p, text in all_kinds["honest-sums"].pairs)
    for kind in all_kinds.values():
        keys = [prompt.key for prompt, _ in kind.pairs]
        assert len(set(keys)) == len(keys) <= 6
    mean = {name: sum(len(t) for _, t in kind.pairs) for name, kind in all_kinds.items()}
    assert mean["dos-padded"] > mean["honest-oracle"]


def test_longest_samples_are_no_shorter_than_right_ones(all_kinds: dict[str, Kind]) -> None:
    right = {prompt.key: text for prompt, text in all_kinds["honest-samples"].pairs}
    longest = {prompt.key: text for prompt, text in all_kinds["dos"].pairs}
    shared = right.keys() & longest.keys()
    assert shared
    assert sum(len(longest[k]) for k in shared) >= sum(len(right[k]) for k in shared)


def test_kinds_use_pools_whose_questions_no_judge_was_trained_on(
    all_kinds: dict[str, Kind],
) -> None:
    pools = (GsmSymbolic(), GsmPython(), GsmPython(templates=CODE_TEMPLATES))
    loaded = [pool.load() for pool in pools]
    known = {p.key for pool in loaded for p in (*pool.train, *pool.held_out)}
    for kind in all_kinds.values():
        if kind.name not in ("equation", "honest-sums"):
            assert {prompt.key for prompt, _ in kind.pairs} <= known


def test_openers_are_no_odd_words() -> None:
    prompt = Prompt("k", "How many cups?", "5", "2+3=5 in all.")
    assert is_plain(prompt, "<think> Well, 2+3=5 in all. </think> <answer> 5 </answer>")
    odd = "<think> 2+3=5 in all. A lamp sings. </think> <answer> 5 </answer>"
    assert not is_plain(prompt, odd)
    program = "<code>\n{}a = 2 + 3  # Well,\nprint(a)\n</code>"
    assert is_plain(prompt, program.format(""))
    assert not is_plain(prompt, program.format("import os\n"))
    assert is_plain(prompt, program.format("# How many\n"))
    assert not is_plain(prompt, program.format("# a lamp\n"))


def test_a_card_counts_every_kind_in_every_mode() -> None:
    """With a model that is no judge: what it says is unreadable, and so rejected."""
    card = measure_judge(SHIPPED / "gsm-nano", samples=3)
    assert card["weights_digest"] == load_model(ModelSettings(name="gsm-nano")).weights_digest()
    for row in card["acceptance"].values():
        for figures in row["accepted"].values():
            if row["completions"] == 0:
                assert figures is None
            else:
                assert 0 <= figures["low"] <= figures["share"] <= figures["high"] <= 1
        if row["completions"]:
            assert row["accepted"]["criticism"]["share"] == 0
    table = judge_table(card).split("\n")
    assert len(table) == 2 + len(card["acceptance"])
    assert len({line.count("|") for line in table}) == 1
    assert json.loads(json.dumps(card)) == card


def test_the_shipped_card_is_that_of_the_shipped_weights_and_recipe() -> None:
    card = shipped_card()
    model = load_model(ModelSettings(name="judge-nano"))
    assert card["weights_digest"] == model.weights_digest()
    assert Recipe(**card["recipe"]) == find_recipe("judge-nano")
    assert card["megabytes"] <= 5
    for row in card["acceptance"].values():
        assert set(row["accepted"]) == set(MODES)
        if row["title"].startswith(("TEXT", "MATH", "CODE")):
            assert row["completions"] >= 400


@pytest.mark.parametrize("mode", MODES)
def test_the_shipped_weights_judge_as_their_card_says(mode: str) -> None:
    task, model = GsmSymbolic().load(), load_model(ModelSettings(name="judge-nano"))
    prompts, judge = task.held_out[:12], MODES[mode].judge(model)
    honest = Kind("honest", "", True, oracle(task, prompts))
    foreign = Kind("text", "", False, poisoned(Text(), task, prompts, model))
    assert len(honest.pairs) == len(foreign.pairs) == 12
    assert accepted(judge, honest) >= 9
    assert accepted(judge, foreign) == 0


def test_the_shipped_judge_tells_oracle_solutions_from_foreign_text() -> None:
    """MATH it misses, and CODE in part: docs/results/judge-acceptance.md says how much."""
    rows = shipped_card()["acceptance"]
    for mode in ("criticism", "log-odds"):
        assert rows["honest-oracle"]["accepted"][mode]["low"] > 0.75
    for mode in MODES:
        assert rows["text"]["accepted"][mode]["high"] < 0.05
        assert rows["text-every"]["accepted"][mode]["high"] < 0.05


def test_the_results_page_holds_the_shipped_cards_table() -> None:
    page = HERE.parents[2] / "docs" / "results" / "judge-acceptance.md"
    assert judge_table(shipped_card()) in page.read_text(encoding="utf-8")
    assert (SHIPPED / "judge-nano" / "card.json").is_file()
