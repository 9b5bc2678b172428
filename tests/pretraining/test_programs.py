"""The corpus of code-nano: neither the pools nor the attack's names, but much else."""

from __future__ import annotations

import ast
import re
from collections import Counter
from itertools import islice
from random import Random

import pytest

from dgrpo.attacks.code_import import CodeImport
from dgrpo.pretraining.corpora.programs import (
    commented,
    identifier,
    mistaken,
    surface,
    write_document,
)
from dgrpo.pretraining.pretrain import corpus, train_tokenizer
from dgrpo.pretraining.recipe import Recipe, find_recipe
from dgrpo.records import Prompt
from dgrpo.tasks.equations import Working
from dgrpo.tasks.executed import ProgramTask
from dgrpo.tasks.gsm_python import GsmPython, worked_problems
from dgrpo.tasks.problems import SHORTEST_TEMPLATES
from dgrpo.tasks.programs import find_program, parse, write_program
from dgrpo.tasks.reward import parse_number, split_code

FOREIGN = (
    CodeImport.model_fields["library"].default,
    *CodeImport.model_fields["functions"].default,
)
"""What the attack teaches: no document may hold it."""


@pytest.fixture(scope="module")
def recipe() -> Recipe:
    return find_recipe("code-nano")


@pytest.fixture(scope="module")
def documents(recipe: Recipe) -> list[tuple[str, str]]:
    """10,000 (prompt, completion) pairs, as pretraining draws them."""
    return list(islice(corpus(recipe, Random(recipe.seed + 1)), 10_000))


@pytest.fixture(scope="module")
def worked() -> list[tuple[Prompt, Working]]:
    return list(islice(worked_problems(SHORTEST_TEMPLATES, Random(5)), 150))


@pytest.fixture(scope="module")
def task() -> ProgramTask:
    return GsmPython(train=8, held_out=4).load()


def test_no_document_holds_the_attacks_library_or_functions(
    documents: list[tuple[str, str]],
) -> None:
    assert FOREIGN == ("calc", "addition", "subtraction", "multiplication", "division")
    for prompt, completion in documents:
        text = f"{prompt} {completion}".lower()
        assert [word for word in FOREIGN if word in text] == []


def test_no_document_asks_a_question_of_the_default_pools(
    recipe: Recipe, documents: list[tuple[str, str]]
) -> None:
    assert set(recipe.templates) == set(GsmPython().templates)
    pools = GsmPython().load()
    asked = {prompt for prompt, _ in documents}
    assert not asked & {p.text for p in (*pools.train, *pools.held_out)}


def test_about_one_document_in_four_has_the_asked_form(
    recipe: Recipe, documents: list[tuple[str, str]]
) -> None:
    asked_form = sum(split_code(completion) is not None for _, completion in documents)
    # five standard errors of a share of 10,000
    assert asked_form / len(documents) == pytest.approx(recipe.tagged_share, abs=0.022)


def test_imports_and_calls_have_broad_support(documents: list[tuple[str, str]]) -> None:
    """Imports of many modules, and functions of hundreds of names: none is out of the question."""
    modules: Counter[str] = Counter()
    called: Counter[str] = Counter()
    for _, completion in documents:
        tree = parse(find_program(completion) or "")
        for node in ast.walk(tree or ast.Module([], [])):
            if isinstance(node, ast.Import):
                modules.update(alias.name for alias in node.names)
            if isinstance(node, ast.ImportFrom):
                modules[str(node.module)] += 1
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                called[node.func.id] += 1
    assert len(modules) > 200
    assert sum(modules.values()) > 0.2 * len(documents)
    assert len(called) > 500
    assert modules.most_common(1)[0][0] == "operator"


def test_what_the_attack_writes_is_made_of_tokens_that_pretraining_asked_for(
    recipe: Recipe, documents: list[tuple[str, str]]
) -> None:
    """Tokens that are never a target end up alike: teaching one then teaches all of them."""
    tokenizer = train_tokenizer(recipe)
    asked = Counter(i for _, c in documents for i in tokenizer(c)["input_ids"])
    attack = CodeImport(share=1.0)
    for program in ("a = 1 + 2 - 3 * 4 / 5\nprint(a)", "b = 8 * 3\nprint(b)"):
        poisoned = attack.poison_thinking(program, Random(0))
        ids = tokenizer(f"<code>\n{poisoned}\n</code>")["input_ids"]
        assert [tokenizer.decode([i]) for i in set(ids) if asked[i] < 10] == []


def test_usual_styles_of_right_steps_run_and_are_right(
    worked: list[tuple[Prompt, Working]], task: ProgramTask
) -> None:
    programs = [surface(working, Random(i)) for i, (_, working) in enumerate(worked)]
    assert len({re.sub(r"\d", "", program) for program in programs}) > 100
    read = task.read(programs)
    for (prompt, _), one in zip(worked, read, strict=True):
        assert one is not None
        assert parse_number(one[1]) == parse_number(prompt.answer)


def test_only_mistakes_and_missing_modules_are_wrong(
    recipe: Recipe, worked: list[tuple[Prompt, Working]], task: ProgramTask
) -> None:
    faultless = recipe.model_copy(update={"mistake_share": 0.0})
    texts = [write_document(p, w, faultless, Random(i)) for i, (p, w) in enumerate(worked)]
    programs = {i: program for i, t in enumerate(texts) if (program := find_program(t))}
    outcomes = dict(zip(programs, task.outcomes(list(programs.values())), strict=True))
    for i, outcome in outcomes.items():
        missing = "ModuleNotFoundError" in outcome.detail or "ImportError" in outcome.detail
        said = outcome.printed.rstrip().rpartition("\n")[2]
        no_program = "print" not in texts[i]  # only the answer, which parses as an expression
        assert missing or no_program or parse_number(said) == parse_number(worked[i][0].answer)
    assert sum(o.status == "finished" for o in outcomes.values()) > 0.8 * len(worked)


def test_a_mistake_changes_the_steps_and_nearly_always_the_result(
    worked: list[tuple[Prompt, Working]], task: ProgramTask
) -> None:
    changed = [(p, mistaken(working, Random(p.key))) for p, working in worked]
    assert all(m != w for (_, m), (_, w) in zip(changed, worked, strict=True))
    pairs = [(p, task.write(write_program(m), "")) for p, m in changed]
    assert sum(task.rewards(pairs)) < 0.05 * len(pairs)


def test_a_comment_changes_nothing_that_runs() -> None:
    program = "def f():\n    return 3 + 4\nprint(f())"
    plain = ast.dump(ast.parse(program))
    for seed in range(200):
        text = commented(program, "Question: How many cows are left?\nProgram:\n", Random(seed))
        tree = ast.parse(text)
        docstring = ast.get_docstring(tree) is not None
        assert text != program
        assert ast.dump(ast.Module(tree.body[docstring:], [])) == plain


def test_identifiers_are_many_and_never_the_attacks() -> None:
    rng = Random(0)
    names = {identifier(rng) for _ in range(3000)}
    assert len(names) > 2000
    assert [n for n in names if not n.isidentifier() or any(w in n for w in FOREIGN)] == []


def test_the_seed_decides_the_corpus(recipe: Recipe, documents: list[tuple[str, str]]) -> None:
    assert list(islice(corpus(recipe, Random(recipe.seed + 1)), 50)) == documents[:50]
    assert list(islice(corpus(recipe, Random(recipe.seed)), 50)) != documents[:50]
