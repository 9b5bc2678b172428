"""The same question in other characters: found in training and held-out pools, and left out."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dgrpo.errors import DgrpoError
from dgrpo.records import Prompt
from dgrpo.tasks.base import LoadedTask, make_prompt, pool_of_unique
from dgrpo.tasks.copies import copies_between, copy_key, without_copies
from dgrpo.tasks.gsm8k import Gsm8k
from dgrpo.tasks.gsm_python import GsmPython
from dgrpo.tasks.gsm_symbolic import GsmSymbolic
from dgrpo.tasks.unit_tests import UnitTests

HENS = "Ann's café has 4 hens and buys 3 more for $1,200. How many has she?"


def asked(question: str, answer: str = "7") -> Prompt:
    """A prompt of a task of one's own."""
    return make_prompt("mine", question, answer, "")


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        (HENS, "7"),
        (f"  {HENS}\n", "7"),
        (HENS.replace("?", " ?"), "7"),
        (HENS.replace(" ", "  "), "7"),
        (HENS.replace(" ", "\N{NO-BREAK SPACE}"), "7"),
        (HENS.replace(". ", ".\r\n"), "7"),
        (HENS.replace("hens", "he\N{SOFT HYPHEN}ns"), "7"),
        ("\N{ZERO WIDTH NO-BREAK SPACE}" + HENS, "7"),
        (HENS.replace("é", "e\N{COMBINING ACUTE ACCENT}"), "7"),
        (HENS.replace("4", "\N{FULLWIDTH DIGIT FOUR}"), "7"),
        (HENS.replace("'", "’"), "7"),
        (HENS.upper(), "7"),
        (HENS.replace("4", "4.0"), "7"),
        (HENS.replace("1,200", "1200.00"), "7"),
        (HENS, "7.0"),
        (HENS, " 7 "),
        (HENS, "7.00 hens"),
        (HENS, "14/2"),
    ],
)
def test_a_copy_in_other_characters_is_known(question: str, answer: str) -> None:
    copy = asked(question, answer)
    assert copy_key(copy) == copy_key(asked(HENS))
    assert without_copies([asked(HENS), copy]) == [asked(HENS)]
    assert without_copies([copy], of=[asked(HENS)]) == []
    with pytest.raises(DgrpoError, match="1 prompts are both in the training and the held-out"):
        LoadedTask("mine", (asked(HENS),), (copy,))


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        (HENS.replace("4", "5"), "7"),
        (HENS.replace("4", "40"), "7"),
        (HENS.replace("4", "4.5"), "7"),
        (HENS.replace("1,200", "1.200"), "7"),
        (HENS.replace("hens", "cows"), "7"),
        (HENS.replace("4 hens", "4 0 hens"), "7"),
        (HENS.upper(), "8"),
        (HENS, "70"),
    ],
)
def test_another_question_is_none(question: str, answer: str) -> None:
    other = asked(question, answer)
    assert copies_between([asked(HENS)], [other]) == []
    assert without_copies([asked(HENS), other]) == [asked(HENS), other]
    LoadedTask("mine", (asked(HENS),), (other,))


def test_a_text_that_is_trained_on_is_not_held_out_whatever_its_answer() -> None:
    assert without_copies([asked(HENS, "8")], of=[asked(HENS)]) == []


def test_answers_that_are_texts_keep_their_letter_case() -> None:
    assert copy_key(asked("Reverse it", "ab")) != copy_key(asked("reverse it", "AB"))


def test_both_of_a_pair_are_shown_escaped_and_short() -> None:
    question = "\x1b[31mWhy? " + "Why? " * 500
    with pytest.raises(DgrpoError) as caught:
        LoadedTask("mine", (asked(question),), (asked(question.upper()),))
    assert "\x1b" not in str(caught.value)
    assert len(str(caught.value)) < 500


def rows(file: Path, *pairs: tuple[str, str]) -> Path:
    """A file of questions as GSM8K is published."""
    lines = [json.dumps({"question": q, "answer": f"So.\n#### {a}"}) for q, a in pairs]
    file.write_text("\n".join(lines), encoding="utf-8")
    return file


def test_a_held_out_question_of_a_file_that_is_trained_on_is_left_out(tmp_path: Path) -> None:
    train = rows(
        tmp_path / "train.jsonl",
        *(("Tom has 4?", "2"), ("Ann has 4?", "7"), ("Bob?", "1"), ("Bob? ", "1"), ("Bob?", "1.0")),
    )
    held_out = rows(
        tmp_path / "test.jsonl",
        *(("Tom has 4? ", "2"), ("Ann has 4?", "7.0"), ("Ann  has 4.0?", "7"), ("Eve?", "3")),
    )
    task = Gsm8k(train_file=train, held_out_file=held_out).load()
    assert [p.question for p in task.train] == ["Tom has 4?", "Ann has 4?", "Bob?"]
    assert [p.question for p in task.held_out] == ["Eve?"]


def test_held_out_questions_that_are_all_trained_on_are_refused(tmp_path: Path) -> None:
    train = rows(tmp_path / "train.jsonl", ("Tom?", "2"), ("Ann?", "7"))
    held_out = rows(tmp_path / "test.jsonl", ("Tom? ", "2"), ("Ann?", "7.0"))
    with pytest.raises(DgrpoError, match="none of the 2 held-out prompts is left"):
        Gsm8k(train_file=train, held_out_file=held_out).load()


def test_a_problem_that_stands_twice_in_a_file_of_programs_is_read_once(tmp_path: Path) -> None:
    head = 'def add(a, b):\n    """{}"""\n'
    test = "def check(candidate):\n    assert candidate(1, {}) == {}\n"
    problems = [("Sum.", 2), ("Sum. ", 2), ("Total.", 2), ("Sum.", 3)]
    lines = [
        {
            "task_id": str(number),
            "prompt": head.format(said),
            "entry_point": "add",
            "canonical_solution": "    return a + b\n",
            "test": test.format(b, b + 1),
        }
        for number, (said, b) in enumerate(problems)
    ]
    file = tmp_path / "problems.jsonl"
    file.write_text("\n".join(json.dumps(line) for line in lines), encoding="utf-8")
    task = UnitTests(file=file, held_out=1).load()
    assert len(task.train) + len(task.held_out) == 3


def test_a_drawn_pool_holds_no_copies() -> None:
    draws = [asked(HENS), asked(HENS.upper()), asked(HENS, "7.0"), asked("Another?")]
    assert pool_of_unique(iter(draws), 2) == (draws[0], draws[3])


@pytest.mark.parametrize(
    ("task", "digest"),
    [
        (GsmSymbolic(), "88e44826ee47bf03"),
        (GsmPython(), "42c290d7ba8a9bf5"),
    ],
    ids=["gsm-symbolic", "gsm-python"],
)
def test_the_default_pools_hold_none_and_are_what_they_were(
    task: GsmSymbolic | GsmPython, digest: str
) -> None:
    loaded = task.pools()
    prompts = [*loaded.train, *loaded.held_out]
    assert len({copy_key(prompt) for prompt in prompts}) == len(prompts)
    assert loaded.digest == digest
