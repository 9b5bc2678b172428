"""A stranger's text is harmless where it is printed: in messages, tables, warnings and traces."""

from __future__ import annotations

import io
import logging
import subprocess
import sys
import warnings
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, ValidationError
from rich.live import Live
from rich.panel import Panel
from rich.table import Table

from dgrpo.console import EscapingConsole, escape_other_output
from dgrpo.errors import DgrpoError
from dgrpo.escaping import is_hidden, one_line, shown, visible

ESCAPE = "\x1b]0;pwned\x07\x1b[2J\x1b[32mfinished: all is well\x1b[0m\r\u202e\u200b\ud800\u009b31m"
"""Title, clear screen, colour, carriage return, direction, zero width, surrogate, C1 control."""


def harmless(text: str) -> bool:
    return not any(map(is_hidden, text))


@given(st.text(st.characters(codec=None), max_size=200))
def test_no_hidden_character_is_left_in_any_text(text: str) -> None:
    assert harmless(visible(text))
    line = one_line(text)
    assert harmless(line)
    assert not set("\n\t") & set(line)
    assert one_line(line) == line  # so that a message may be quoted in another


@given(st.recursive(st.none() | st.integers() | st.text(), st.lists, max_leaves=50))
def test_any_value_is_shown_short_and_on_one_line(value: object) -> None:
    line = shown(value)
    assert harmless(line)
    assert "\n" not in line
    assert len(line) < 1000


def test_values_that_python_cannot_write_out_are_shown() -> None:
    deep: list[object] = []
    for _ in range(100_000):
        deep = [deep]
    assert shown(deep) == "[[[[[...]]]]]"
    assert shown(1 << 100_000) == "<a whole number of 100,001 bits>"
    assert len(shown("x" * 1_000_000)) < 300
    assert len(shown(["x" * 1_000_000] * 1000)) < 300


def test_a_long_message_keeps_its_end() -> None:
    error = DgrpoError(f"{'k' * 300_000} is not a setting", remedy="r" * 300_000 + " did you mean?")
    assert len(str(error)) < 5000
    assert error.problem.endswith("is not a setting")
    assert error.remedy.endswith("did you mean?")
    assert "characters" in error.problem


def test_a_message_is_a_line_for_the_problem_and_one_for_the_remedy() -> None:
    error = DgrpoError(f"no {ESCAPE}\nfinished: well", remedy=f"delete {ESCAPE}\nerror: none")
    assert harmless(str(error))
    assert str(error).count("\n") == 1
    assert "\\u001b[2J" in error.problem


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")
    count: int


def test_a_file_of_many_faults_names_the_first() -> None:
    table = {"count": "x" * 300_000, **{f"\x1b[2J{n}": n for n in range(10_000)}}
    with pytest.raises(ValidationError) as caught:
        Strict(**table)
    error = DgrpoError.from_validation(caught.value, "file", ["count"])
    assert harmless(str(error))
    assert "more faults" in error.problem
    assert len(str(error)) < 5000


def printed(*things: object, terminal: bool = False) -> str:
    """What a console writes, less the codes that rich itself may write on a terminal."""
    file = io.StringIO()
    console = EscapingConsole(file=file, width=80, force_terminal=terminal)
    for thing in things:
        console.print(thing)
    return file.getvalue()


def test_no_control_character_passes_a_console() -> None:
    table = Table("name", title=ESCAPE, caption=ESCAPE)
    table.add_row(ESCAPE)
    for thing in (ESCAPE, table, Panel(ESCAPE, title=ESCAPE), {"key": ESCAPE}):
        assert harmless(printed(thing))
    on_screen = printed(f"[red]{ESCAPE}[/]", terminal=True)
    assert on_screen.replace("\x1b[31m", "").replace("\x1b[0m", "").count("\x1b") == 0
    assert "\x1b[31m" in on_screen  # its own colours stay
    file = io.StringIO()
    console = EscapingConsole(file=file, width=80, force_terminal=True)
    with Live(table, console=console):
        pass
    assert "\x07" not in file.getvalue()
    assert "\x1b[2J" not in file.getvalue()


def test_a_name_of_300_000_letters_is_printed_at_once() -> None:
    """Its highlighting would take minutes; the suite's own limit would end that."""
    table = Table("name")
    table.add_row("1" * 300_000)
    assert len(printed("a1/" * 100_000, table)) < 400_000


@pytest.fixture
def escaped_output() -> Iterator[None]:
    before = (
        warnings.formatwarning, logging.getLogRecordFactory(), sys.excepthook,
    )  # fmt: skip
    escape_other_output()
    yield
    warnings.formatwarning, factory, sys.excepthook = before
    logging.setLogRecordFactory(factory)


@pytest.mark.usefixtures("escaped_output")
def test_log_records_are_escaped(caplog: pytest.LogCaptureFixture) -> None:
    logging.getLogger("a.library").warning("a server said %s", ESCAPE)
    assert harmless(caplog.records[0].getMessage())
    assert "\\u001b[2J" in caplog.records[0].getMessage()


def test_warnings_threads_and_stack_traces_of_a_process_are_escaped() -> None:
    program = f"""
import logging, threading, warnings
from dgrpo.console import escape_other_output
escape_other_output()
text = {ESCAPE!r}
warnings.warn(text)
logging.getLogger("library").warning(text)
logging.getLogger("library").warning("no number: %d", text)
def fail():
    raise ValueError(text)
thread = threading.Thread(target=fail)
thread.start()
thread.join()
raise KeyError(text)
"""
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=100, check=False
    )
    assert result.returncode == 1
    assert harmless(result.stderr)
    for part in ("UserWarning", "ValueError", "KeyError", "line", "Traceback"):
        assert part in result.stderr
    assert result.stderr.count("u001b[2J") >= 3
