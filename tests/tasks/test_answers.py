"""The table of what an answer says (docs/answers.md), line by line; and what was read wrongly."""

from __future__ import annotations

import re
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dgrpo.tasks.answers import last_number, parse_number
from dgrpo.tasks.reward import answer_anywhere, parse_printed, read_solution, tagged_reward

TABLE = Path(__file__).parents[2] / "docs" / "answers.md"


def rows() -> list[tuple[str, str]]:
    """(written, says) of the table, one per example."""
    found = []
    for line in TABLE.read_text("utf-8").split("\n"):
        match = re.fullmatch(r"\| (`.+`) \| (\S+) \|", line)
        if match:
            found += [(written, match[2]) for written in re.findall(r"`([^`]+)`", match[1])]
    return found


def answered(answer: str) -> str:
    """A completion in the asked form."""
    return f"<think> It is so. </think> <answer> {answer} </answer>"


def test_the_table_is_read_whole() -> None:
    assert len(rows()) > 180
    assert {"54", "1/2", "2000000", "nothing"} <= {says for _, says in rows()}


@pytest.mark.parametrize(("written", "says"), rows())
def test_an_answer_says_what_the_table_says(written: str, says: str) -> None:
    expected = None if says == "nothing" else Fraction(says)
    for spaced in (written, f" {written} ", f"\n{written}\n"):
        assert parse_number(spaced) == expected


@pytest.mark.parametrize("written", [written for written, says in rows() if says == "nothing"])
def test_what_says_nothing_earns_nothing_for_any_number_in_it(written: str) -> None:
    for right in [*re.findall(r"[0-9]+", written), "0", "1"]:
        assert tagged_reward(answered(written), right) == 0.0


@pytest.mark.parametrize("written", [written for written, says in rows() if says == "54"])
@pytest.mark.parametrize("other", ["5", "4", "-54", "540", "5.4"])
def test_a_number_is_no_other_number(written: str, other: str) -> None:
    assert tagged_reward(answered(written), "54") == 1.0
    assert tagged_reward(answered(written), other) == 0.0


@pytest.mark.parametrize(
    ("written", "right", "reward"),
    [
        ("2 million", "2", 0.0),
        ("2 million", "2000000", 1.0),
        ("1.5M", "1.5", 0.0),
        ("1.5M", "1500000", 1.0),
        ("5 dozen", "5", 0.0),
        ("5 dozen", "60", 1.0),
        ("54 million", "54", 0.0),
        ("-(5)", "5", 0.0),
        ("- $ 5", "5", 0.0),
        ("-US$5", "5", 0.0),
        ("-¥5", "5", 0.0),
        ("x = - 5", "5", 0.0),
        ("1 200", "200", 0.0),
        ("1 1/2", "1", 0.0),
        ("~~54~~", "54", 0.0),
        ("5k+", "5000", 0.0),
        ("$ 5m", "5", 0.0),
        ("2 million and a half", "2000000", 0.0),
        ("not" + " " * 100 + "54", "54", 0.0),
        ("not " + "(" * 100 + "54", "54", 0.0),
        ("adds up to 54", "54", 1.0),
        ("left over: 54", "54", 1.0),
        ("54 left over", "54", 1.0),
        ("The number of students who do not play is 54", "54", 1.0),
        ("54 students who do not play", "54", 1.0),
        ("There are 54 third graders.", "54", 1.0),
        ("54 cows!", "54", 1.0),
        ("Great! 54", "54", 1.0),
        ("12\\text{ cm}^2", "12", 1.0),
        ("1\N{NO-BREAK SPACE}200", "1200", 1.0),
        ("1\N{THIN SPACE}200\N{THIN SPACE}000", "1200000", 1.0),
        ("1\N{NARROW NO-BREAK SPACE}200 cows", "1200", 1.0),
    ],
)
def test_units_scales_signs_and_words(written: str, right: str, reward: float) -> None:
    assert tagged_reward(answered(written), right) == reward


@pytest.mark.parametrize("line", ["1 200", "1 1/2", "5k", "54cows", "3 4"])
def test_a_printed_line_of_several_values_is_no_number(line: str) -> None:
    """`print(1, 200)` prints two numbers."""
    assert parse_printed(line) is None


def test_the_last_number_is_read_with_its_sign_and_scale_alone() -> None:
    assert last_number("3 cows\nSo it is 2 million.") == ("2000000", Fraction(2_000_000))
    assert last_number("so 4 * 7") == ("7", Fraction(7))
    assert last_number("that is $24") == ("$24", Fraction(24))
    assert last_number("none") is None
    assert answer_anywhere("#### 2 million", "2000000")
    assert not answer_anywhere("#### 2 million", "2")
    assert read_solution("It costs much.\nIt is 2 million") == ("It costs much.", "2000000")


def test_an_answer_that_no_number_was_ever_read_from_is_not_right() -> None:
    assert not answer_anywhere("1" * 60, "three")


@pytest.mark.parametrize(
    "hostile",
    [
        "\\frac{" * 20_000,
        "\\frac{1}{" * 10_000,
        "\\text{" * 15_000,
        "1 000" * 20_000,
        "1" + " 200" * 25_000,
        "1 1/" * 25_000,
        "minus " * 16_000,
        "minus" + " " * 100_000 + "5",
        "5" + " " * 100_000 + "x",
        "not " * 25_000 + "5",
        "5 million" + " million" * 12_000,
        "½" * 100_000,
        "<b>" * 30_000 + "5",
        "-(" * 50_000 + "5",
        "**" * 50_000 + "5",
        "{,}" * 30_000,
    ],
    ids=lambda text: f"{text[:12]!r}…",
)
def test_a_hundred_thousand_hostile_characters_say_nothing(hostile: str) -> None:
    assert parse_number(hostile) in (None, 5, -5)
    assert tagged_reward(answered(hostile), "7") == 0.0
    assert not answer_anywhere(hostile, "7")


NOTATIONS = st.sampled_from(
    [
        *(
            "5",
            "1/2",
            "\\frac{1}{2}",
            "½",
            "¼",
            "-",
            "−",
            "minus",
            "million",
            "dozen",
            "k",
            "M",
            "x",
        ),
        *("\\", "{", "}", "$", " ", "\n", "not", "half of", "(", ")", "|", "<", ">", "!", "^", "*"),
    ]
)


@given(st.lists(NOTATIONS, max_size=12).map("".join))
def test_any_mixture_of_notations_is_read_or_refused(text: str) -> None:
    number = parse_number(text)
    assert number is None or isinstance(number, Fraction)
    last = last_number(text)
    if last is not None:
        assert parse_number(last[0]) == last[1]


@given(st.fractions(min_value=-(10**6), max_value=10**6, max_denominator=99))
def test_fractions_are_read_from_all_their_notations(number: Fraction) -> None:
    whole, rest = divmod(abs(number), 1)
    sign = "-" if number < 0 else ""
    written = [f"{number}", f"{sign}\\frac{{{abs(number.numerator)}}}{{{number.denominator}}}"]
    if whole and rest:
        written += [f"{sign}{whole} {rest}"]
        written += [f"{sign}{whole}\\frac{{{rest.numerator}}}{{{rest.denominator}}}"]
    for text in written:
        assert parse_number(text) == number
