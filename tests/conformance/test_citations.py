"""Files that docstrings and comments point to are there."""

from __future__ import annotations

import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = sorted(
    file
    for folder in ("src", "benchmarks", "examples", "docs", "tests")
    for file in (ROOT / folder).rglob("*.py")
)
CITED = re.compile(r"(?<![\w*{./-])[\w][\w./-]*\.(?:py|md|toml)\b(?!\.\w)")
NOT_HERE = re.compile(r"\b(?:DESIGN|PAPER|STYLE|GUARD)\b")
"""Notes that this repository does not hold."""
MADE_UP = {"path/to/file.py", "path.py", "my.py", "my_defense.py"}
"""Names that stand for a reader's own files."""
FILES = {
    f"/{file.relative_to(ROOT).as_posix()}"
    for folder in (
        ROOT,
        *(ROOT / one for one in ("src", "benchmarks", "examples", "docs", "tests")),
    )
    for file in (folder.iterdir() if folder == ROOT else folder.rglob("*"))
    if file.is_file()
} | {f"/{file.relative_to(ROOT).as_posix()}" for file in (ROOT / "experiments").rglob("*.toml")}


def prose(file: Path) -> Iterator[tuple[int, str]]:
    """Comments, and strings that stand alone: docstrings and those beneath a field."""
    code = file.read_text(encoding="utf-8")
    before = tokenize.NEWLINE
    for token in tokenize.generate_tokens(io.StringIO(code).readline):
        alone = before in (tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.NL)
        if token.type == tokenize.COMMENT or (token.type == tokenize.STRING and alone):
            yield token.start[0], token.string
        if token.type != tokenize.COMMENT:
            before = token.type


@pytest.mark.parametrize("file", SOURCES, ids=lambda file: file.relative_to(ROOT).as_posix())
def test_a_docstring_cites_no_file_that_is_not_there(file: Path) -> None:
    for line, text in prose(file):
        for cited in set(CITED.findall(text)) - MADE_UP:
            found = any(path.endswith(f"/{cited}") for path in FILES)
            assert found, f"{file.relative_to(ROOT)}, line {line}: no {cited}"
        assert not NOT_HERE.search(text), f"{file.relative_to(ROOT)}, line {line}: {text[:200]}"


def test_the_check_sees_what_it_is_for(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text('"""See `gone.py` and docs/gone.md."""\nx = "gone.toml"  # as gone.toml\n')
    cited = [name for _, text in prose(file) for name in CITED.findall(text)]
    assert cited == ["gone.py", "docs/gone.md", "gone.toml"]
