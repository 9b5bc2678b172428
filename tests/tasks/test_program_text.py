"""Programs as text: written from steps, found in completions of any form."""

from __future__ import annotations

from itertools import cycle

import pytest

from dgrpo.tasks.equations import Step, Working
from dgrpo.tasks.programs import LONGEST_PARSED, find_program, parse, write_program

WORKING = Working((Step(("8", "3"), ("*",)), Step(("2", 0, "5", "4"), ("+", "-", "*"))), False)
CALLS = {"+": "add", "-": "sub", "*": "mul", "/": "truediv"}
PROGRAM = "a = 8 * 3\nb = 2 + a - 5 * 4\nprint(b)"


def test_a_statement_per_step_and_the_last_result_is_printed() -> None:
    assert write_program(WORKING) == PROGRAM
    rounded = write_program(Working(WORKING.steps, True))
    assert rounded == PROGRAM.replace("print(b)", "print(round(b, 2))")


def test_names_and_spaces_are_the_writers() -> None:
    text = write_program(WORKING, ("x", "y"), spaced=False)
    assert text == "x=8*3\ny=2+x-5*4\nprint(y)"


def test_calls_nest_as_the_operators_bind() -> None:
    text = write_program(WORKING, calls=CALLS, replaced=lambda: True)
    assert text == "a = mul(8, 3)\nb = sub(add(2, a), mul(5, 4))\nprint(b)"


def test_an_operation_that_is_not_replaced_stays() -> None:
    turns = cycle([False, False, True, False])  # a; then 5 * 4, 2 + a, - …
    text = write_program(WORKING, calls=CALLS, replaced=lambda: next(turns))
    assert text == "a = 8 * 3\nb = add(2, a) - 5 * 4\nprint(b)"


@pytest.mark.parametrize(
    "text",
    [
        f"<code>\n{PROGRAM}\n</code>",
        f"<code>\n{PROGRAM}",
        f"<code>\n{PROGRAM}\n</code>\nThe answer is 6.",
        f"Well,\n<code>{PROGRAM}</code>",
        f"```python\n{PROGRAM}\n```",
        f"```\n{PROGRAM}\n```",
        f"Here it is:\n```python\n{PROGRAM}\n```\nDone!",
        f"```python\n{PROGRAM}",
        PROGRAM,
        f"{PROGRAM}\nThe answer is 6.",
        f"{PROGRAM}\nAnd so,\nthe answer\nis 6.",
    ],
)
def test_a_program_is_found_whatever_its_form(text: str) -> None:
    assert find_program(text) == PROGRAM


@pytest.mark.parametrize(
    "text",
    ["", "\n", "The answer is 6.", "<code>a = (</code>", "```\na = = 3\n```", "a = 8 *\nprint(a)"],
)
def test_what_is_no_python_is_no_program(text: str) -> None:
    assert find_program(text) is None


@pytest.mark.parametrize(
    "text",
    [
        "-" * (LONGEST_PARSED - 1) + "1",
        "(" * 4000 + "1" + ")" * 4000,
        "not " * 2000 + "1",
        "1" + "+1" * 4000,
        "f" + "()" * 4000,
        "lambda:" * 1100 + "1",
        "if 1:\n x\n" + "elif 1:\n x\n" * 600,
        "x" * (LONGEST_PARSED + 1),
        "\x00",
        "\ud800",
        "'\\d'",
        "é = 3",
    ],
)
def test_no_text_ends_the_process_that_parses_it(text: str) -> None:
    """Deep nesting has crashed interpreters; a crash here would end this test's process."""
    parse(text)
    find_program(text)
