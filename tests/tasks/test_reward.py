"""The reward: numbers compare as numbers, the form is exact, and no text of a peer breaks it."""

from __future__ import annotations

from fractions import Fraction
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dgrpo.pretraining.corpora.answers import write_answer
from dgrpo.records import Prompt
from dgrpo.tasks.answers import LONGEST_NUMBER
from dgrpo.tasks.reward import (
    answer_anywhere,
    parse_number,
    read_solution,
    split_code,
    split_tags,
    tagged_reward,
    write_code,
    write_tagged,
)

TAGS = ("<think>", "</think>", "<answer>", "</answer>")
ANSWERS = st.integers(-(10**9), 10**9).map(str)
PIECES = st.sampled_from(
    [
        *TAGS,
        "5",
        "-",
        "$",
        ",",
        ".",
        "/",
        "0",
        "1,200",
        " ",
        "\n",
        "cows",
        "−",
        "٣",
        "1" * 50,
        "\x00",
    ]
)
NASTY = st.one_of(st.text(), st.lists(PIECES, max_size=30).map("".join))
"""Any text, and texts made of the pieces that the reward looks at."""


def answered(given_answer: str) -> str:
    """A completion in the asked form with `given_answer` between its answer tags."""
    return f"<think> It is so. </think> <answer>{given_answer}</answer>"


@pytest.mark.parametrize(
    ("given_answer", "right"),
    [
        ("54", "54"),
        (" 54 cows ", "54"),
        ("54cows", "54"),
        ("There are 54 of them.", "54"),
        ("1,200", "1200"),
        ("1200", "1,200"),
        ("1,234,567.50", "1234567.5"),
        ("-5", "-5"),
        ("−5", "-5"),
        ("36.0", "36"),
        ("36.", "36"),
        ("36", "36.00"),
        ("0.5", "1/2"),
        ("$5.00", "5"),
        ("-$5", "-5"),
        ("$-5", "-5"),
        ("€7", "7"),
        ("007", "7"),
        ("25%", "25"),
        ("\n5\n", "5"),
        ("12 cm²", "12"),
        ("12 cm2", "12"),
        ("12m3.", "12"),
        ("54 %", "54"),
        ("The total is $1,254.00.", "1254"),
        ("10/-2", "-5"),
        ("- 5", "-5"),
        ("− $5", "-5"),
        ("\N{NON-BREAKING HYPHEN}5", "-5"),
        ("well- 5", "5"),
    ],
)
def test_a_right_number_is_right_however_it_is_written(given_answer: str, right: str) -> None:
    assert tagged_reward(answered(given_answer), right) == 1.0


@pytest.mark.parametrize(
    ("given_answer", "right"),
    [
        ("55", "54"),
        ("5", "-5"),
        ("-5", "5"),
        ("−5", "5"),
        ("--5", "5"),
        ("1,200", "1"),
        ("1,200", "200"),
        ("1,20", "120"),
        ("0.5", "5"),
        ("x5", "5"),
        ("5/0", "5"),
        ("1/2", "1"),
        ("1.2.3", "1"),
        ("5e3", "5"),
        ("5_000", "5"),
        ("1e-3", "3"),
        ("1e+3", "3"),
        ("0.5E-2", "2"),
        ("1_-3", "3"),
        ("minus 5", "5"),
        ("–5", "5"),
        ("5½", "5"),
        ("5²", "5"),
        ("5٠", "5"),
        ("5 or ６", "5"),
        ("10/-2", "2"),
        ("10/--2", "2"),
        ("10/-0", "10"),
        ("- 5", "5"),
        ("\N{HYPHEN}5", "5"),
        ("\N{NON-BREAKING HYPHEN}5", "5"),
        ("√25", "25"),
        ("5k", "5"),
        ("0x5", "0"),
        ("0x5", "5"),
        ("√ 25", "25"),
        ("5m2/3", "5"),
    ],
)
def test_another_number_earns_nothing(given_answer: str, right: str) -> None:
    assert tagged_reward(answered(given_answer), right) == 0.0


def test_an_item_of_a_list_is_no_negative_number() -> None:
    assert read_solution("- 3 red\n- 4 blue\n- 7 in total") == ("- 3 red\n- 4 blue", "7")
    assert answer_anywhere("Steps:\n- 5 apples", "5")


@pytest.mark.parametrize(
    "given_answer", ["- 5", "-5", "−5", "minus 5", "5", "5m2", "5 cm2", "5 cm²", "5m2/3"]
)
def test_a_right_answer_is_right_anywhere(given_answer: str) -> None:
    text = answered(given_answer)
    for right in ("5", "-5"):
        assert answer_anywhere(text, right) == (tagged_reward(text, right) == 1)


@pytest.mark.parametrize(
    "given_answer",
    [
        *("7 or 8k", "7 or 1_000", "7 or 5e3", "7 or 60/x1", "7 or 1,23", "7 or .5", "x8 or 7"),
        *(
            "7 or 8",
            "7 8",
            "7, 8",
            "7-8",
            "7 = 7",
            "",
            " ",
            "seven",
            "??",
            "⁷",
            "٧",
            "７",
            "VII",
            "7/0",
        ),
    ],
)
def test_no_number_and_several_numbers_earn_nothing(given_answer: str) -> None:
    assert tagged_reward(answered(given_answer), "7") == 0.0


@pytest.mark.parametrize(
    "text",
    [
        "",
        "7",
        "<answer> 7 </answer>",
        "<think> a </think> 7",
        "<think> a <answer> 7 </answer>",
        "<think> a </think> <answer> 7",
        "<think> a </think> <answer> 7 </answer> 7",
        "<think> a </think> <answer> 7 </answer> and so on",
        "so: <think> a </think> <answer> 7 </answer>",
        "<think> a </think> so <answer> 7 </answer>",
        "<answer> 7 </answer> <think> a </think>",
        "<think> a </think> <answer> 7 </answer> <answer> 7 </answer>",
        "<think> a </think> <answer> 8 </answer> <answer> 7 </answer>",
        "<think> a <think> b </think> </think> <answer> 7 </answer>",
        "<think> <answer> 7 </answer> </think> <answer> 7 </answer>",
        "<think> a </think> <answer> <answer> 7 </answer> </answer>",
        "<think> <answer> 7 </answer> </think>",
        "</think> a <think> </answer> 7 <answer>",
        "<THINK> a </THINK> <ANSWER> 7 </ANSWER>",
        "< think> a </think> <answer> 7 </answer>",
        "<think> a </think> <answer> 7 </answer",
        "&lt;think&gt; a </think> <answer> 7 </answer>",
    ],
)
def test_a_broken_form_earns_nothing_even_with_the_right_answer(text: str) -> None:
    assert split_tags(text) is None
    assert tagged_reward(text, "7") == 0.0


def test_white_space_around_the_tags_is_no_fault() -> None:
    text = "\n <think>\nline\nline\n</think>\n\n<answer>\t7 </answer> \n"
    assert split_tags(text) == ("\nline\nline\n", "\t7 ")
    assert tagged_reward(text, "7") == 1.0


def test_tags_may_hold_other_tags_of_no_meaning() -> None:
    assert tagged_reward("<think> <b> 1 < 2 </b> </think> <answer> 7 </answer>", "7") == 1.0


@pytest.mark.parametrize(
    "hostile",
    [
        "1" * 100_000,
        "1" * 100_000 + "/",
        "1," * 50_000,
        "1,000" + ",000" * 25_000 + "/",
        "1." + "1" * 50_000 + "." + "1" * 50_000,
        "1/" + "1" * 100_000 + "/",
        "-" * 100_000,
        "-$" * 50_000,
        " " * 100_000,
        "<think>" * 15_000,
        "</think><answer>" * 6_000,
        "1 " * 50_000,
        "9" * 50 + "e999999999",
    ],
    ids=lambda text: f"{text[:12]!r}…",
)
def test_a_hundred_thousand_hostile_characters_are_read_to_the_end(hostile: str) -> None:
    """Backtracking would not come back from these within anyone's patience."""
    assert tagged_reward(hostile, "7") == 0.0
    assert tagged_reward(answered(hostile), "7") == 0.0
    assert tagged_reward(f"<think>{hostile}</think> <answer> 7 </answer>", "7") in (0.0, 1.0)
    assert not answer_anywhere(hostile, "7")


def test_a_number_longer_than_any_answer_is_no_answer() -> None:
    longest = "1" * LONGEST_NUMBER
    assert parse_number(longest) == int(longest)
    assert parse_number(longest + "1") is None
    assert parse_number("1" * 5000) is None  # more digits than int() accepts


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("She has 3, then 7.", True),
        ("#### 7", True),
        ("7 and then 3", False),
        ("none", False),
        ("The answer is $7.00", True),
        ("--7", False),
        ("7" * 60, False),
    ],
)
def test_answer_anywhere_asks_for_the_last_number(text: str, found: bool) -> None:
    assert answer_anywhere(text, "7") is found


@given(NASTY, ANSWERS)
def test_any_text_gets_a_reward_of_nought_or_one(text: str, answer: str) -> None:
    assert tagged_reward(text, answer) in (0.0, 1.0)
    assert tagged_reward(answered(text), answer) in (0.0, 1.0)
    assert answer_anywhere(text, answer) in (False, True)


@given(NASTY)
def test_any_text_holds_one_number_or_none(text: str) -> None:
    number = parse_number(text)
    assert number is None or isinstance(number, Fraction)


@given(NASTY, NASTY)
def test_what_follows_the_closing_tag_is_never_overlooked(thinking: str, after: str) -> None:
    text = write_tagged(thinking, "7") + after
    if tagged_reward(text, "7") == 1.0:
        assert not after.strip()
        assert not any(tag in thinking for tag in TAGS)


@given(st.integers(-(10**12), 10**12))
def test_commas_a_point_and_a_currency_do_not_change_a_number(number: int) -> None:
    for written in (f"{number}", f"{number:,}", f"{number}.0", f"${number:,}.00"):
        assert parse_number(written) == number
        assert tagged_reward(answered(written), str(number)) == 1.0


@given(st.integers(-1000, 1000), st.integers(-1000, 1000))
def test_only_equal_numbers_are_rewarded(given_number: int, right: int) -> None:
    reward = tagged_reward(answered(str(given_number)), str(right))
    assert reward == float(given_number == right)


@given(st.text(alphabet=st.characters(blacklist_characters="<>", codec="utf-8")), ANSWERS)
def test_what_is_written_in_the_asked_form_is_rewarded(thinking: str, answer: str) -> None:
    assert tagged_reward(write_tagged(thinking, answer), answer) == 1.0


@pytest.mark.parametrize(
    ("text", "program"),
    [
        ("<code>\n    return 1\n</code>", "    return 1"),
        ("<code> print(3) </code>", "print(3)"),
        (" <code>\n \n\nx = 1\n\nprint(x)\n\n</code>\n", "x = 1\n\nprint(x)"),
        ("<code></code>", ""),
    ],
)
def test_code_between_its_tags_keeps_its_indentation(text: str, program: str) -> None:
    assert split_code(text) == program


@pytest.mark.parametrize(
    "text",
    [
        "print(3)",
        "Sure: <code>print(3)</code>",
        "<code>print(3)</code> Done.",
        "<code>print(3)",
        "</code>print(3)<code>",
        "<code>a</code><code>b</code>",
        "<code>a<code></code>",
        "",
    ],
)
def test_code_in_any_other_form_is_no_program(text: str) -> None:
    assert split_code(text) is None


@given(st.text(alphabet=st.characters(blacklist_characters="<>", codec="utf-8")))
def test_a_written_program_is_read_back(program: str) -> None:
    read = split_code(write_code(program))
    assert read is not None
    assert read.split() == program.split()


def forms_of(trace: str, answer: str) -> dict[str, str]:
    """Every form in which the base model's corpus answers (`corpora/answers.py`), by name."""
    prompt = Prompt("key", "Question: ?\nAnswer:\n", answer, trace)

    class Form(Random):
        def __init__(self, form: int) -> None:
            super().__init__(0)
            self.form = form

        def randrange(self, *bounds: int) -> int:
            assert bounds == (6,), "write_answer has other forms now"
            return self.form

    untagged = {f"form {n}": write_answer(prompt, 0.0, 0.0, Form(n)) for n in range(6)}
    return {"asked": write_answer(prompt, 1.0, 0.0, Random(0)), **untagged}


@pytest.mark.parametrize("form", ["asked", *(f"form {n}" for n in range(6))])
@pytest.mark.parametrize(
    ("trace", "answer"),
    [
        ("She has 3.\nThat makes 3+4=7", "7"),
        ("Only 7", "7"),
        ("3+4=7 in all,\nof which 2 are cows.", "7"),
        ("It is so", "-1,200"),
        ("Half", "0.5"),
    ],
)
def test_a_solution_is_read_back_from_every_form_of_the_corpus(
    form: str, trace: str, answer: str
) -> None:
    text = forms_of(trace, answer)[form]
    read = read_solution(text)
    assert read is not None
    assert parse_number(read[1]) == parse_number(answer)
    assert read[0].split() == trace.split()
    assert tagged_reward(write_tagged(*read), answer) == 1.0


def test_the_forms_differ() -> None:
    assert len(set(forms_of("She has 3.", "7").values())) == 7


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("", None),
        ("no idea", None),
        ("3 cows\nno idea", None),
        ("<think> 3 </think> <answer> 7 or 8 </answer>", None),
        ("so <answer> none </answer> 7", None),
        ("<answer> 7 </answer> or <answer> 8 </answer>", ("7\nor", "8")),
        ("7", ("7", "7")),
        ("<answer> 7 </answer>", ("", "7")),
        ("So it is 7 or 8", ("So it is 7 or 8", "8")),
        ("<think> 3 </think> <answer> 7", ("3", "7")),
        ("3 </answer> so </think> it is −5.", ("3\nso", "-5")),
    ],
)
def test_other_texts_are_read_as_far_as_they_go(text: str, read: tuple[str, str] | None) -> None:
    assert read_solution(text) == read


@given(NASTY)
def test_what_is_read_can_be_written_in_the_asked_form(text: str) -> None:
    """An attacker's solutions come from its model, which may say anything."""
    read = read_solution(text)
    if read is None or parse_number(read[1]) is None:
        return
    assert tagged_reward(write_tagged(*read), read[1]) == 1.0
