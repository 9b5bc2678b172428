"""GSM8K: the published files as they are, and files of one's own with a fault in them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dgrpo.errors import DgrpoError
from dgrpo.tasks.base import LoadedTask
from dgrpo.tasks.gsm8k import Gsm8k

PUBLISHED = Path(__file__).parents[3] / "shared" / "data"
"""Where a checkout may have the published files beside it."""


def row(question: str, answer: str = "2+2=<<2+2=4>>4\n#### 4") -> str:
    """A line as GSM8K is published."""
    return json.dumps({"question": question, "answer": answer})


def write(path: Path, *lines: str) -> Path:
    """A file of these lines."""
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def published() -> LoadedTask:
    train, test = PUBLISHED / "gsm8k-train.jsonl", PUBLISHED / "gsm8k-test.jsonl"
    if not (train.is_file() and test.is_file()):
        pytest.skip("the published GSM8K files are not beside this checkout")
    return Gsm8k(train_file=train, held_out_file=test, held_out=2000).load()


def test_the_published_files_are_read_whole(published: LoadedTask) -> None:
    assert (len(published.train), len(published.held_out)) == (7473, 1319)
    assert published.digest == "23ebed6d090c7364"


def test_every_published_solution_in_the_asked_form_is_rewarded(published: LoadedTask) -> None:
    for prompt in (*published.train, *published.held_out):
        assert published.reward(prompt, published.write(prompt.solution, prompt.answer)) == 1.0


def test_calculator_notes_and_the_final_mark_are_no_part_of_a_solution(
    published: LoadedTask,
) -> None:
    for prompt in (*published.train, *published.held_out):
        assert "<<" not in prompt.solution
        assert ">>" not in prompt.solution
        assert "####" not in prompt.solution + prompt.answer


def test_a_line_becomes_a_prompt(tmp_path: Path) -> None:
    answer = "She has 48/2 = <<48/2=24>>24 left.\nThat is $<<24*1=24>>24.\n#### 24"
    file = write(tmp_path / "train.jsonl", row(" How many? ", answer), row("Another?"))
    prompt = Gsm8k(train_file=file, held_out=1).load().train[0]
    assert prompt.text == "Question: How many?\nAnswer:\n"
    assert prompt.answer == "24"
    assert prompt.solution == "She has 48/2 = 24 left.\nThat is $24."


def test_with_one_file_its_last_prompts_are_held_out(tmp_path: Path) -> None:
    file = write(tmp_path / "train.jsonl", *(row(f"Question {i}?") for i in range(10)))
    task = Gsm8k(train_file=file, held_out=3).load()
    assert [p.text.split()[2] for p in task.train] == [f"{i}?" for i in range(7)]
    assert [p.text.split()[2] for p in task.held_out] == ["7?", "8?", "9?"]


def test_a_trained_prompt_is_never_held_out(tmp_path: Path) -> None:
    train = write(tmp_path / "train.jsonl", row("A?"), row("B?"), row("A?"))
    held_out = write(tmp_path / "test.jsonl", row("B?"), row("C?"))
    task = Gsm8k(train_file=train, held_out_file=held_out).load()
    assert len(task.train) == 2
    assert [p.text.split()[1] for p in task.held_out] == ["C?"]


def test_long_questions_can_be_left_out(tmp_path: Path) -> None:
    file = write(tmp_path / "train.jsonl", row("Short?"), row("Long" * 20 + "?"), row("Last?"))
    task = Gsm8k(train_file=file, held_out=1, longest_question=10).load()
    assert [p.text.split()[1] for p in (*task.train, *task.held_out)] == ["Short?", "Last?"]


def test_blank_lines_and_unicode_line_separators_are_no_faults(tmp_path: Path) -> None:
    line = json.dumps({"question": "One\u2028two?", "answer": "#### 1"}, ensure_ascii=False)
    file = write(tmp_path / "train.jsonl", line, "", "  ", row("Last?"))
    assert "One\u2028two?" in Gsm8k(train_file=file, held_out=1).load().train[0].text


@pytest.mark.parametrize(
    "broken",
    [
        "not json",
        "[]",
        "5",
        "null",
        '{"question": "Q?"}',
        '{"question": "Q?", "answer": 4}',
        '{"question": null, "answer": "#### 4"}',
        '{"question": "Q?", "answer": "#### 4"',
        '{"question": "\\ud800", "answer": "#### 4"}',
        row("Q?", "no number at the end"),
        row("Q?", "the mark is missing: 4"),
        row("Q?", "#### four"),
        row("Q?", "#### 4 or 5"),
    ],
)
def test_a_broken_line_is_named_with_its_file(tmp_path: Path, broken: str) -> None:
    file = write(tmp_path / "broken.jsonl", row("A?"), "", row("B?"), broken, row("C?"))
    with pytest.raises(DgrpoError) as caught:
        Gsm8k(train_file=file, held_out=1).load()
    assert f"{file}, line 4:" in caught.value.problem
    assert caught.value.remedy


def test_a_file_that_cannot_be_read_is_named_with_its_field(tmp_path: Path) -> None:
    latin = tmp_path / "latin.jsonl"
    latin.write_bytes(b'{"question": "caf\xe9?", "answer": "#### 4"}')
    good = write(tmp_path / "good.jsonl", row("A?"), row("B?"))
    for bad in (tmp_path / "missing.jsonl", tmp_path, latin):
        with pytest.raises(DgrpoError, match=r"task\.train_file") as caught:
            Gsm8k(train_file=bad).load()
        assert str(bad) in str(caught.value)
        with pytest.raises(DgrpoError, match=r"task\.held_out_file"):
            Gsm8k(train_file=good, held_out_file=bad).load()


def test_a_file_that_is_all_held_out_is_refused_by_the_setting(tmp_path: Path) -> None:
    file = write(tmp_path / "train.jsonl", row("A?"), row("B?"))
    with pytest.raises(DgrpoError, match=r"task\.held_out = 2 leaves none of the 2"):
        Gsm8k(train_file=file, held_out=2).load()


def test_a_byte_order_mark_is_no_fault(tmp_path: Path) -> None:
    file = write(tmp_path / "train.jsonl", row("A?"), row("B?"))
    file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes())
    assert len(Gsm8k(train_file=file, held_out=1).load().train) == 1


def test_held_out_prompts_alone_are_refused(tmp_path: Path) -> None:
    file = write(tmp_path / "test.jsonl", row("A?"))
    with pytest.raises(DgrpoError, match=r"task\.train_file is missing"):
        Gsm8k(held_out_file=file).load()


def test_instructions_stand_before_every_prompt_and_change_no_key(tmp_path: Path) -> None:
    file = write(tmp_path / "train.jsonl", row("A?"), row("B?"))
    plain = Gsm8k(train_file=file, held_out=1).load()
    told = Gsm8k(train_file=file, held_out=1, instructions="Think first.\n").load()
    assert [p.text for p in (*told.train, *told.held_out)] == [
        "Think first.\n\nQuestion: A?\nAnswer:\n",
        "Think first.\n\nQuestion: B?\nAnswer:\n",
    ]
    assert told.digest == plain.digest
