"""Data files, as people have them: marked, compressed, both, and broken."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from dgrpo.errors import DgrpoError
from dgrpo.tasks import files
from dgrpo.tasks.files import read_lines
from dgrpo.tasks.gsm8k import Gsm8k
from dgrpo.tasks.gsm_python import OfferedLibrary
from dgrpo.tasks.unit_tests import UnitTests

QUESTIONS = "".join(
    json.dumps({"question": f"{name} hat 4 Kühe?", "answer": "#### 4"}, ensure_ascii=False) + "\n"
    for name in ("Tom", "Ann", "Bob")
)
PROBLEMS = "".join(
    json.dumps(
        {
            "task_id": str(number),
            "prompt": f'def f{number}(a, b):\n    """Sum."""\n',
            "entry_point": f"f{number}",
            "canonical_solution": "    return a + b\n",
            "test": "def check(candidate):\n    assert candidate(1, 2) == 3\n",
        }
    )
    + "\n"
    for number in range(3)
)
FORMS = {
    "plain": str.encode,
    "mark": lambda text: b"\xef\xbb\xbf" + text.encode(),
    "utf-16": lambda text: text.encode("utf-16"),
    "windows-lines": lambda text: text.replace("\n", "\r\n").encode(),
    "gz": lambda text: gzip.compress(text.encode()),
    "gz-mark": lambda text: gzip.compress(b"\xef\xbb\xbf" + text.encode()),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", ["q.jsonl", "q.jsonl.gz"])
def test_every_task_reads_a_file_in_every_form(tmp_path: Path, form: str, name: str) -> None:
    file = tmp_path / name
    file.write_bytes(FORMS[form](QUESTIONS))
    task = Gsm8k(train_file=file, held_out=1).load()
    assert [p.question for p in task.train] == ["Tom hat 4 Kühe?", "Ann hat 4 Kühe?"]
    held_out = Gsm8k(train_file=file, held_out_file=_others(tmp_path, form)).load().held_out
    assert [p.question for p in held_out] == ["Eve hat 4 Kühe?"]
    file.write_bytes(FORMS[form](PROBLEMS))
    assert len(UnitTests(file=file, held_out=1).load().train) == 2


def _others(folder: Path, form: str) -> Path:
    file = folder / "others.jsonl"
    file.write_bytes(FORMS[form](QUESTIONS.replace("Bob", "Eve")))
    return file


@pytest.mark.parametrize(
    "broken",
    [
        gzip.compress(QUESTIONS.encode())[:-9],
        b"\x1f\x8bno gzip at all",
        b"\x1f\x8b",
        "Kühe".encode("latin-1"),
        b"\xff\xfe1",
    ],
    ids=["cut", "false", "head", "latin", "half"],
)
def test_a_broken_file_is_named_with_its_field(tmp_path: Path, broken: bytes) -> None:
    file = tmp_path / "q.jsonl.gz"
    file.write_bytes(broken)
    for read, field in (
        (Gsm8k(train_file=file).load, "task.train_file"),
        (UnitTests(file=file).load, "task.file"),
    ):
        with pytest.raises(DgrpoError) as caught:
            read()
        assert caught.value.problem.startswith(f"{field} = '{file}' cannot be read: ")
        assert caught.value.remedy


def test_a_small_file_that_unpacks_to_a_large_one_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "LARGEST_FILE", 1 << 20)
    file = tmp_path / "bomb"
    for content in (gzip.compress(b"\n" * (2 << 20)), b"\n" * (2 << 20)):
        file.write_bytes(content)
        with pytest.raises(DgrpoError, match=r"task\.file = .* more than 1 MiB"):
            read_lines(file, "task.file")
    file.write_bytes(gzip.compress(b"x\n" * (1 << 19)))
    assert len(read_lines(file, "task.file")) == 1 << 19


def test_a_library_with_a_byte_order_mark_is_python(tmp_path: Path) -> None:
    file = tmp_path / "calc.py"
    file.write_bytes(b"\xef\xbb\xbfdef add(a, b):\n    return a + b\n")
    library = OfferedLibrary.model_validate({"file": str(file)})
    assert (library.name, library.source[:3]) == ("calc", "def")
