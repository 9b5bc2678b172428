"""Settings from the command line reach the place that they name, or are refused by name."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from dgrpo.errors import DgrpoError
from dgrpo.experiment import experiment_from
from dgrpo.overrides import apply_override, parse_value

TABLE: dict[str, Any] = {
    "name": "attacked",
    "malicious": 1,
    "attack": {"name": "text", "phrase": "Hello,"},
    "measure": ["text"],
    "defense": ["top-k", {"name": "top-k", "label": "strict", "k": 5}],
}


@pytest.mark.parametrize(
    ("dotted", "value", "place"),
    [
        ("rounds", 5, ["rounds"]),
        ("attack.phrase", "Goodbye,", ["attack", "phrase"]),
        ("sampling.top_k", 5, ["sampling", "top_k"]),
        ("defense.1.k", 9, ["defense", 1, "k"]),
    ],
)
def test_a_dotted_override_changes_one_setting(
    dotted: str, value: object, place: list[Any]
) -> None:
    table = copy.deepcopy(TABLE)
    apply_override(table, dotted, value)
    found: Any = table
    for step in place:
        found = found[step]
    assert found == value
    assert experiment_from(table) != experiment_from(TABLE)


@pytest.mark.parametrize(
    ("dotted", "problem", "remedy"),
    [
        ("defense.k", "defense is a list of tables", "--defense.0.k"),
        ("defense.2.k", "defense.2 does not exist", "from 0 to 1"),
        ("defense.x.k", "defense.x does not exist", "from 0 to 1"),
        ("defense.-1.k", "defense.-1 does not exist", "from 0 to 1"),
        ("defense.².k", "defense.² does not exist", "from 0 to 1"),
        ("defense.0.k", "defense.0 is a value, not a table", "set --defense.0 itself"),
        ("malicious.x", "malicious is a value, not a table", "set --malicious itself"),
        ("attack.phrase.x", "attack.phrase is a value", "set --attack.phrase itself"),
    ],
)
def test_an_override_that_leads_nowhere_is_named(dotted: str, problem: str, remedy: str) -> None:
    with pytest.raises(DgrpoError) as caught:
        apply_override(copy.deepcopy(TABLE), dotted, 5)
    assert f"--{dotted}: {problem}" in caught.value.problem
    assert remedy in caught.value.remedy


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("5", 5),
        ("5e-4", 5e-4),
        ("true", True),
        ("True", "True"),
        ('"5"', "5"),
        ("Hello, you", "Hello, you"),
        ("examples/my_attack.py:Signature", "examples/my_attack.py:Signature"),
        ('["text", "silent"]', ["text", "silent"]),
        ('[{name = "text"}]', [{"name": "text"}]),
        ("", ""),
        ("'tis", "'tis"),
        ('"Hello," he said', '"Hello," he said'),
        ("5\nrounds = 6", "5\nrounds = 6"),
    ],
)
def test_a_command_line_value_is_read_as_toml_or_else_as_text(text: str, value: object) -> None:
    assert parse_value(text) == value


@pytest.mark.parametrize(
    "text",
    ["[text]", '["text"', '["text" "silent"]', "{name = text}", '{name = "text"', '"a" and "b"'],
)
def test_broken_toml_is_called_that_with_the_option_and_the_value(text: str) -> None:
    """A shell takes the quotes out of ["text"]; the text that is left names no attack."""
    with pytest.raises(DgrpoError, match="the value is broken TOML") as caught:
        parse_value(text, "measure")
    assert f"--measure {text}" in caught.value.problem
    assert "single quotes" in caught.value.remedy
    assert parse_value('"[sic]"') == "[sic]"  # the way out for text that begins with a bracket
