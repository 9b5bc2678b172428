"""From a trace in words to steps that give the answer."""

from __future__ import annotations

from fractions import Fraction

import pytest

from dgrpo.tasks.equations import Step, Working, fold, working_of


def steps(trace: str, answer: str) -> list[tuple[tuple[str | int, ...], tuple[str, ...]]] | None:
    working = working_of(trace, answer)
    return None if working is None else [(s.terms, s.operators) for s in working.steps]


@pytest.mark.parametrize(
    ("trace", "answer", "expected"),
    [
        ("That is 8*3=24.", "24", [(("8", "3"), ("*",))]),
        ("36 girls x 3 boys/girl = 108 boys", "108", [(("36", "3"), ("*",))]),
        ("In 5 years he is 23*5=115.", "115", [(("23", "5"), ("*",))]),
        ("$1,200.50 - $0.50 = $1,200", "1200", [(("1200.5", "0.5"), ("-",))]),
        ("8 × 3.0 ÷ 6 = 4", "4", [(("8", "3", "6"), ("*", "/"))]),
        ("31-5-10 = 16 black", "16", [(("31", "5", "10"), ("-", "-"))]),
        ("2+3*4=14", "14", [(("2", "3", "4"), ("+", "*"))]),
    ],
)
def test_an_equation_is_read_with_its_units_currency_and_words(
    trace: str, answer: str, expected: object
) -> None:
    assert steps(trace, answer) == expected


def test_a_later_use_of_a_result_refers_to_its_step() -> None:
    trace = "Her friend ate 3 + 6 = 9. Her brother ate 9 + 6 = 15. Together 3 + 9 + 15 = 27"
    assert steps(trace, "27") == [
        (("3", "6"), ("+",)),
        ((0, "6"), ("+",)),
        (("3", 0, 1), ("+", "+")),
    ]


@pytest.mark.parametrize(
    ("trace", "answer"),
    [
        ("", "5"),
        ("five", "5"),
        ("8*3=24", "25"),
        ("8*3=25", "25"),
        ("8*3=24 and then 30", "30"),
        ("25% of 72 = 18", "18"),
        ("(2+3)*4=20", "20"),
        ("5/0=5", "5"),
        ("1/3*3=1", "2"),
    ],
)
def test_a_trace_that_does_not_compute_the_answer_has_no_steps(trace: str, answer: str) -> None:
    assert working_of(trace, answer) is None


def test_a_result_that_binary_fractions_miss_is_rounded() -> None:
    paid = working_of("28 * €0.38 = €10.64. He has €73.64 - €10.64 = €63 left.", "63")
    assert paid == Working((Step(("28", "0.38"), ("*",)), Step(("73.64", 0), ("-",))), True)
    half = working_of("14*0.5=7", "7")
    assert half is not None
    assert not half.rounded


@pytest.mark.parametrize("chain", ["2+3*4-6/4", "10-4-3", "8/2/2", "1-2*3*4+5", "7"])
def test_fold_binds_as_python_does(chain: str) -> None:
    numbers = [float(n) for n in chain.translate(str.maketrans("+-*/", "    ")).split()]
    operators = [character for character in chain if character in "+-*/"]
    assert fold(numbers, operators) == eval(chain)
    assert fold([Fraction(n) for n in numbers], operators) == Fraction(eval(chain))


def test_fold_divides_by_nothing() -> None:
    assert fold([1.0, 0.0], ["/"]) is None
