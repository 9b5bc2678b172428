"""GSM8K: real grade-school word problems, from local JSONL files or through `datasets`.

Each line has `question` and `answer`; the answer's reasoning ends in `#### number` and carries
calculator notes `<<48/2=24>>`, which are removed from the oracle solution.

A question that stands twice is read once, and a held-out one that is trained on is left out; copies
are known by `copies.py`. Leaves out: any cleaning of the questions themselves.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field

from dgrpo.errors import DgrpoError, first_line
from dgrpo.records import Prompt
from dgrpo.tasks.base import LoadedTask, Task, make_prompt
from dgrpo.tasks.copies import without_copies
from dgrpo.tasks.files import read_lines, write_rows
from dgrpo.tasks.reward import parse_number


class Gsm8k(Task):
    """GSM8K (Cobbe et al. 2021): from local JSONL files, or from a hub through `datasets`."""

    name: ClassVar[str] = "gsm8k"

    train_file: Path | None = None
    """JSONL with `question` and `answer`, or the same compressed (`.gz`); none: the `train` split
    of `dataset`."""
    held_out_file: Path | None = None
    """The same for held-out prompts; none: the `test` split of `dataset`, or, with only a
    `train_file`, that file's last `held_out` prompts."""
    dataset: str = "openai/gsm8k"
    """Name for `datasets.load_dataset(name, "main")`; needs the extra `dgrpo[hub]`."""
    held_out: int = Field(1024, ge=1)
    """At most this many held-out prompts."""
    longest_question: int = Field(0, ge=0)
    """Leave out questions with more characters than this; 0: keep all."""

    @classmethod
    def example_settings(cls, folder: Path) -> dict[str, Any]:
        """Two files of small sums."""
        files = {pool: folder / f"{pool}.jsonl" for pool in ("train_file", "held_out_file")}
        for pool, file in files.items():
            rows = [(f"{pool} {i}: 2+{i}?", f"2+{i}={2 + i}\n#### {2 + i}") for i in range(30)]
            write_rows(file, [{"question": q, "answer": a} for q, a in rows])
        return {pool: str(file) for pool, file in files.items()}

    def pools(self) -> LoadedTask:
        """Read both pools."""
        if self.train_file is None and self.held_out_file is None:
            train, held_out = self._from_hub("train"), self._from_hub("test")
        elif self.train_file is None:
            raise DgrpoError(
                "task.train_file is missing", remedy="give it beside task.held_out_file"
            )
        else:
            train = self._prompts(_lines(self.train_file, "task.train_file"))
            if self.held_out_file is None:
                if len(train) <= self.held_out:
                    raise DgrpoError(
                        f"task.held_out = {self.held_out} leaves none of the {len(train)} prompts "
                        f"of task.train_file = {str(self.train_file)!r} for training",
                        remedy="lower task.held_out, or give task.held_out_file",
                    )
                train, held_out = train[: -self.held_out], train[-self.held_out :]
            else:
                held_out = self._prompts(_lines(self.held_out_file, "task.held_out_file"))
        others = without_copies(held_out, of=train)
        if held_out and not others:
            raise DgrpoError(
                f"none of the {len(held_out)} held-out prompts is left: all are in the training "
                "pool too, but for white space, letter case or the notation of numbers",
                remedy="give other questions as task.held_out_file",
            )
        return LoadedTask(self.name, tuple(train), tuple(others[: self.held_out]))

    def _prompts(self, rows: Iterable[tuple[str, dict[str, Any]]]) -> list[Prompt]:
        """Prompts of (place, row) pairs, each question once; errors name the place."""
        prompts = []
        for place, row in rows:
            if self.longest_question and len(row["question"]) > self.longest_question:
                continue
            reasoning, mark, answer = row["answer"].rpartition("####")
            if not mark or parse_number(answer) is None:
                raise DgrpoError(
                    f"{place}: the answer does not end in '#### number': {answer[-60:]!r}",
                    remedy="mend or remove the line",
                )
            solution = re.sub(r"<<[^<>]*>>", "", reasoning).strip()
            prompts.append(make_prompt(self.name, row["question"], answer.strip(), solution))
        return without_copies(prompts)

    def _from_hub(self, split: str) -> list[Prompt]:
        try:
            from datasets import load_dataset
        except ImportError:
            raise DgrpoError(
                "task.train_file is not given, and the package `datasets` is not installed",
                remedy='pip install "dgrpo[hub]", or give task.train_file',
            ) from None
        try:
            rows = load_dataset(self.dataset, "main", split=split)
            return self._prompts(
                (f"{self.dataset}, {split} row {number}", row) for number, row in enumerate(rows)
            )
        except (OSError, ValueError, KeyError) as error:
            reason = f"{type(error).__name__}: {first_line(error)}"
            raise DgrpoError(
                f"task.dataset = {self.dataset!r} cannot be loaded: {reason}",
                remedy="check the name and the network, or give task.train_file",
            ) from error


def _lines(path: Path, field: str) -> list[tuple[str, dict[str, Any]]]:
    """(place, row) of every line that is not blank."""
    rows = []
    for place, line in read_lines(path, field, "give GSM8K's JSON lines in UTF-8, or as .gz"):
        try:
            row = json.loads(line)
            if not (isinstance(row["question"], str) and isinstance(row["answer"], str)):
                raise TypeError
            (row["question"] + row["answer"]).encode()  # half a surrogate pair is no text
        except (ValueError, RecursionError, KeyError, TypeError):
            raise DgrpoError(
                f"{place}: not an object with texts `question` and `answer`",
                remedy="one JSON object per line, as GSM8K is published",
            ) from None
        rows.append((place, row))
    return rows
