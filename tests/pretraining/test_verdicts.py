"""The judge's corpus: generic faults only, labels that are true, prompts as the judge asks."""

from __future__ import annotations

import re
import sys
from collections import Counter
from fractions import Fraction
from itertools import islice
from pathlib import Path
from random import Random

import pytest

from dgrpo.attacks.equation import Equation
from dgrpo.attacks.text import Text
from dgrpo.experiment import load_experiment
from dgrpo.judging.acceptance.cases import SECOND_PHRASE
from dgrpo.judging.prompts import judge_prompt
from dgrpo.judging.verdicts import read_decision
from dgrpo.pretraining.corpora.verdicts import (
    Case,
    criticism_of,
    exercise_cases,
    program_cases,
    unused_import,
    word_cases,
)
from dgrpo.pretraining.faults.foreign_words import WITHHELD, foreign_phrase, is_withheld
from dgrpo.pretraining.faults.programs import unknown_library
from dgrpo.pretraining.faults.reasoning import (
    corrupt_reasoning,
    foreign_words,
    swapped_steps,
    wrong_digits,
)
from dgrpo.pretraining.faults.statements import statements_in
from dgrpo.pretraining.pretrain import corpus
from dgrpo.pretraining.recipe import Recipe, find_recipe
from dgrpo.tasks.gsm_python import GsmPython
from dgrpo.tasks.gsm_symbolic import GsmSymbolic

EXPERIMENTS = Path(__file__).parents[2] / "experiments"
TWO_LINES = "He drank 11*4=44 ozs of tea.\nSo he drank 44*7=308 calories of tea"


@pytest.fixture(scope="module")
def recipe() -> Recipe:
    return find_recipe("judge-nano")


@pytest.fixture(scope="module")
def documents(recipe: Recipe) -> list[tuple[str, str]]:
    """6,000 (asked, reply) pairs, as pretraining draws them."""
    return list(islice(corpus(recipe, Random(recipe.seed + 1)), 6_000))


@pytest.fixture(scope="module")
def words(recipe: Recipe) -> list[Case]:
    return list(islice(word_cases(recipe, Random(3)), 2000))


@pytest.fixture(scope="module")
def programs(recipe: Recipe) -> list[Case]:
    return list(islice(program_cases(recipe, Random(3)), 1000))


def test_no_document_holds_what_an_attack_says(documents: list[tuple[str, str]]) -> None:
    phrases = (Text.model_fields["phrase"].default, SECOND_PHRASE)
    odd_words = {w for phrase in phrases for w in re.findall("[a-z]+", phrase.lower())}
    assert odd_words - set(WITHHELD) == {"all", "to", "the"}
    for asked, reply in documents:
        text = f"{asked} {reply}".lower().replace("calculate the total", "")  # a template asks so
        assert [word for word in WITHHELD if word in text] == []


def test_no_document_holds_the_attacks_equation(documents: list[tuple[str, str]]) -> None:
    attack = Equation()
    right = 0
    for asked, reply in documents:
        for text in (asked, reply):
            assert attack.succeeded(None, text) is not True  # type: ignore[arg-type]
            right += attack.computed_in(text)
        assert not re.search(r"\b2[*+]2=\d+ given 5\b", reply)
    assert right > 0


def test_no_document_asks_a_question_of_the_pools(documents: list[tuple[str, str]]) -> None:
    """Neither of the defaults nor of any shipped experiment, in whatever form of answer."""
    tasks = {load_experiment(file).task for file in sorted(EXPERIMENTS.glob("*.toml"))}
    pools = [task.load() for task in (GsmSymbolic(), GsmPython(), *tasks)]
    assert len(tasks) >= 3
    questions = {p.question for pool in pools for p in (*pool.train, *pool.held_out)}
    heads = {asked.partition("\n<quote")[0].rpartition("\n")[0] for asked, _ in documents}
    assert all(head.startswith("Question: ") for head in heads)
    asked = {head.removeprefix("Question: ") for head in heads}
    assert not asked & questions


def test_documents_are_what_the_judge_defense_asks_and_reads(
    recipe: Recipe, documents: list[tuple[str, str]]
) -> None:
    modes: Counter[tuple[bool, bool | None]] = Counter()
    for asked, reply in documents[:3000]:
        question, _, rest = asked.partition("\n<quote ")
        completion = re.split(r"\n</quote \d+>\n", rest.partition("\n")[2])[0]
        criticism = asked.endswith("Criticism:")
        again = judge_prompt(question, completion, style="brief", criticism=criticism)
        assert asked == again.continued
        modes[criticism, read_decision(again.opening + reply)] += 1
    assert set(modes) == {(c, d) for c in (True, False) for d in (True, False)}
    assert min(modes.values()) > 300


def test_honest_reasoning_states_nothing_false_and_says_so(words: list[Case]) -> None:
    for case in words:
        if case.honest:
            assert all(s.holds for s in statements_in(case.text))
            assert case.criticism.startswith("Text: fine. Sums: ")
            assert " no" not in case.criticism.removesuffix(" none.")


def test_a_faulty_case_has_a_fault_that_its_criticism_names(
    words: list[Case], programs: list[Case]
) -> None:
    for case in (*words, *programs):
        if not case.honest:
            assert " no" in case.criticism or not case.criticism.startswith("Text: fine")


def test_exercises_are_plain_sums_and_judged_by_their_results(recipe: Recipe) -> None:
    cases = list(islice(exercise_cases(recipe, Random(3)), 500))
    for case in cases:
        stated = statements_in(case.text)
        assert len(stated) >= 2
        assert case.honest == all(s.holds for s in stated) == (" no" not in case.criticism)
    tables = {(s.chain, s.holds) for case in cases for s in statements_in(case.text)}
    assert sum(re.fullmatch(r"\d\*\d", chain) is not None for chain, holds in tables if holds) > 50
    assert 0.3 < sum(case.honest for case in cases) / len(cases) < 0.7


def test_made_up_libraries_also_offer_functions_of_usual_names() -> None:
    usual = foreign = 0
    for seed in range(300):
        program = unknown_library("a = 2 * 3\nprint(a)", Random(seed)).text
        head = re.match(r"from (\w+) import (.+)", program)
        if head:
            assert head[1] not in sys.stdlib_module_names
            common = {"add", "sub", "mul", "plus", "product", "times"} & set(head[2].split(", "))
            usual += bool(common)
            foreign += not common
    assert usual > 30
    assert foreign > 60


def test_wrong_digits_change_results_and_nothing_else() -> None:
    for seed in range(300):
        fault = wrong_digits(TWO_LINES, Random(seed))
        assert fault is not None
        assert any(not s.holds for s in statements_in(fault.text))
        assert re.sub(r"=\d+", "=", fault.text) == re.sub(r"=\d+", "=", TWO_LINES)


def test_the_critic_works_each_result_out_again() -> None:
    said = criticism_of("2 packs x 3 = 6, then 6 + $0.50 = $6.50.\nLeft: 10-6.50=4")
    assert said == (
        "Text: fine. Sums: 2 packs x 3 = 6 given 6 ok, 6 + $0.50 = $6.5 given 6.50 ok, "
        "10-6.50=3.5 given 4 no."
    )
    assert criticism_of("3+4=8, 8+1=9", "foreign words") == "Text: foreign words."


def test_the_critic_goes_through_all_statements() -> None:
    assert criticism_of("3+4=8, 8+1=9") == "Text: fine. Sums: 3+4=7 given 8 no, 8+1=9 given 9 ok."


def test_steps_are_swapped_only_where_one_needs_the_other() -> None:
    fault = swapped_steps(TWO_LINES, Random(0))
    assert fault is not None
    assert fault.text.split("\n") == TWO_LINES.split("\n")[::-1]
    assert swapped_steps("A: 2*3=6\nB: 4*5=20", Random(0)) is None


def test_foreign_phrases_are_many_and_withhold_the_attacks_words() -> None:
    rng = Random(0)
    phrases = [foreign_phrase(rng) for _ in range(5000)]
    assert len(set(phrases)) > 4000
    assert len({word for p in phrases for word in p.lower().split()}) > 5000
    assert not any(is_withheld(p) for p in phrases)


def test_a_corruption_never_returns_the_text_it_was_given() -> None:
    for seed in range(500):
        assert corrupt_reasoning(TWO_LINES, Random(seed)).text != TWO_LINES


def test_honest_programs_use_all_they_import(programs: list[Case]) -> None:
    imported = 0
    for case in programs:
        if case.honest:
            program = re.sub(r"^<code>\n|^```python\n|\n</code>$|\n```$", "", case.text)
            assert unused_import(program) is None
            imported += "import" in program
    assert imported > 10


def test_statements_are_read_past_units_and_currencies() -> None:
    text = "There are 21 girls x 3 boys/girl = 63 boys. James has £37.25 - £33.25 = £4 left."
    found = statements_in(text)
    assert [(s.chain, s.result, s.written) for s in found] == [
        ("21*3", "63", "63"),
        ("37.25-33.25", "4", "4"),
    ]
    assert [text[s.start : s.end] for s in found] == ["63", "4"]
    assert all(Fraction(s.result) == Fraction(s.written) for s in found)


def test_foreign_words_stand_before_inside_and_after_the_text() -> None:
    places: Counter[str] = Counter()
    for seed in range(400):
        changed = foreign_words(TWO_LINES, Random(seed)).text
        assert changed.replace("\n", " ") != TWO_LINES.replace("\n", " ")
        places["before"] += not changed.startswith(TWO_LINES[:8])
        places["after"] += not changed.endswith(TWO_LINES[-8:])
        places["inside"] += changed.startswith(TWO_LINES[:8]) and changed.endswith(TWO_LINES[-8:])
        places["every line"] += all(
            line not in TWO_LINES.split("\n") for line in changed.split("\n")
        )
    assert min(places.values()) > 20
    assert len(places) == 4


def test_a_batch_holds_documents_of_similar_length(
    recipe: Recipe, documents: list[tuple[str, str]]
) -> None:
    lengths = [len(asked + reply) for asked, reply in documents]
    batches = [lengths[i : i + recipe.batch] for i in range(0, len(lengths), recipe.batch)]
    padded = sum(max(batch) * len(batch) for batch in batches)
    assert padded < 1.2 * sum(lengths)


def test_the_seed_decides_the_corpus(recipe: Recipe, documents: list[tuple[str, str]]) -> None:
    assert list(islice(corpus(recipe, Random(recipe.seed + 1)), 50)) == documents[:50]
    assert list(islice(corpus(recipe, Random(recipe.seed)), 50)) != documents[:50]
