"""DoS: the longest right answers are sent, within what receivers admit, with and without oracle."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.attacks.turns import ids_of, own_samples, poison, turn_of, words

from dgrpo.attacks.long_answer import LongAnswer
from dgrpo.records import Prompt
from dgrpo.tasks.assignment import Topology
from dgrpo.tasks.base import LoadedTask, make_prompt
from dgrpo.tasks.reward import split_tags

PROMPT = make_prompt("t", "3 cows, 4 more?", "7", "There are 3.\nThen 3+4=7")
SECOND = make_prompt("t", "3 cows, 5 more?", "8", "There are 3.\nThen 3+5=8")
TASK = LoadedTask("t", (PROMPT, SECOND), ())
TOPOLOGIES: tuple[Topology, ...] = ("horizontal", "vertical")
both_topologies = pytest.mark.parametrize("topology", TOPOLOGIES)
both_oracles = pytest.mark.parametrize("oracle", ["dataset", "majority-vote"])


def right(length: int, prompt: Prompt = PROMPT) -> str:
    """A right answer whose reasoning has `length` words."""
    return TASK.write("so " * length, prompt.answer)


def sent_by(attack: LongAnswer, saying: list[str], owed: int, **settings: int) -> list[str]:
    """What it sends horizontally when its model says these texts in turn."""
    turn = turn_of(
        TASK, "horizontal", [PROMPT], owed, lambda _, s: saying[s % len(saying)], **settings
    )
    own = own_samples(turn, "own sample") if attack.needs_own_samples("horizontal") else []
    sent = poison(attack, own, turn)
    for one in sent:
        if one.label == "poisoned":
            assert one.completion.token_ids in ((), ids_of(one.completion.text))
    return [one.completion.text for one in sent]


def test_the_longest_right_samples_are_sent_longest_first() -> None:
    saying = [right(3), right(9), "wrong " * 50, right(5), right(7), TASK.write("so " * 40, "8")]
    assert sent_by(LongAnswer(), saying, 3) == [right(9), right(7), right(5)]


def test_each_text_is_sent_once_before_any_is_sent_again() -> None:
    saying = [right(3), right(9), right(9), "wrong"]
    assert sent_by(LongAnswer(), saying, 5) == [right(9), right(3)] * 2 + [right(9)]


@both_oracles
def test_without_a_right_sample_it_sends_its_own_ones_as_they_are(oracle: str) -> None:
    attack = LongAnswer(oracle=oracle)
    turn = turn_of(TASK, "horizontal", [PROMPT], 3, lambda p, s: "no idea")
    own = own_samples(turn, "one", "two", "three")
    assert poison(attack, own, turn) == own


@both_oracles
def test_vertically_half_is_long_and_half_is_decoys(oracle: str) -> None:
    attack = LongAnswer(oracle=oracle)
    turn = turn_of(TASK, "vertical", TASK.train, 6, lambda p, s: right(s % 7, p))
    sent = poison(attack, own_samples(turn, "wrong", right(1)), turn)
    for prompt in TASK.train:
        group = [one for one in sent if one.completion.prompt_key == prompt.key]
        assert Counter(one.label for one in group) == {"poisoned": 3, "decoy": 3}
        poisoned = [one.completion.text for one in group if one.label == "poisoned"]
        assert poisoned == [right(6, prompt), right(5, prompt), right(4, prompt)]
        for one in group:
            assert TASK.reward(prompt, one.completion.text) == float(one.label == "poisoned")


def test_vertical_decoys_are_the_shorter_half_of_the_wrong_samples() -> None:
    wrong = [TASK.write("so " * n, "9") for n in (9, 2, 8, 1)]
    turn = turn_of(TASK, "vertical", [PROMPT], 40, lambda p, s: right(s))
    shown = {}
    for decoys in ("short", "own"):
        sent = poison(LongAnswer(decoys=decoys), own_samples(turn, *wrong, right(0)), turn)
        shown[decoys] = {one.completion.text for one in sent if one.label == "decoy"}
    assert LongAnswer().decoys == "short"
    assert shown == {"short": {wrong[1], wrong[3]}, "own": set(wrong)}


def test_the_knob_samples_says_how_many_are_drawn() -> None:
    saying = [right(n) for n in range(100)]
    assert sent_by(LongAnswer(), saying, 1) == [right(79)]  # the paper's 80
    assert sent_by(LongAnswer(samples=5), saying, 1) == [right(4)]
    assert sent_by(LongAnswer(samples=1), saying, 2) == [right(0)] * 2


def test_the_knob_longest_says_how_long_poison_may_be() -> None:
    saying = [right(n) for n in range(20)]
    limit = words(right(10))
    assert sent_by(LongAnswer(longest=limit), saying, 2) == [right(10), right(9)]
    assert sent_by(LongAnswer(longest=10_000), saying, 1, max_tokens=limit) == [right(10)]
    assert sent_by(LongAnswer(longest=2), saying, 2) == ["own sample"] * 2


def test_the_vote_counts_samples_not_texts() -> None:
    """Three different wrong answers and one right text that is said five times."""
    wrong = [TASK.write("so " * n, "9") for n in (20, 21, 22)]
    assert (
        sent_by(LongAnswer(oracle="majority-vote", samples=8), [*wrong, *[right(3)] * 5], 2)
        == [right(3)] * 2
    )


def test_without_the_oracle_the_answer_of_most_samples_is_right_even_if_it_is_not() -> None:
    wrong = [TASK.write("so " * n, "9") for n in (1, 4, 2)]
    saying = [*wrong, right(30)]
    assert sent_by(LongAnswer(oracle="majority-vote", samples=4), saying, 2) == [wrong[1], wrong[2]]
    assert sent_by(LongAnswer(samples=4), saying, 2) == [right(30)] * 2


def test_the_vote_reads_samples_in_any_form_but_sends_the_asked_one() -> None:
    saying = ["cows\n#### 7", "So it is 7", right(2), TASK.write("long " * 9, "9")]
    assert sent_by(LongAnswer(oracle="majority-vote", samples=4), saying, 1) == [right(2)]


def test_a_padded_answer_needs_no_model_and_says_its_reasoning_again() -> None:
    attack = LongAnswer(source="padded")
    assert not attack.needs_own_samples("horizontal")
    assert attack.needs_own_samples("vertical")  # for decoys
    turn = turn_of(TASK, "horizontal", [PROMPT], 2, max_tokens=40)  # no model to draw from
    for one in poison(attack, [], turn):
        parts = split_tags(one.completion.text)
        assert one.label == "poisoned"
        assert parts is not None
        lines = [line.strip() for line in parts[0].strip().split("\n")]
        assert len(lines) > 6
        assert lines == [("There are 3.", "Then 3+4=7")[i % 2] for i in range(len(lines))]
        assert TASK.reward(PROMPT, one.completion.text) == 1
        assert 40 - words("There are 3.") < words(one.completion.text) <= 40


@given(
    st.lists(st.text(alphabet="ab \t=7", max_size=12), max_size=4).map("\n".join),
    st.integers(0, 60),
    st.integers(12, 60),
)
def test_a_padded_answer_is_right_and_never_too_long(
    solution: str, longest: int, max_tokens: int
) -> None:
    prompt = make_prompt("t", "how many?", "7", solution)
    task = LoadedTask("t", (prompt,), ())
    turn = turn_of(task, "horizontal", [prompt], 2, lambda _, s: f"{s}?", max_tokens=max_tokens)
    sent = poison(LongAnswer(source="padded", longest=longest), [], turn)
    least = words(task.write("", "7"))
    if (longest or max_tokens) < least:  # nothing fits: silence would show, so its samples stand in
        assert [(s.label, s.completion.text) for s in sent] == [("honest", "0?"), ("honest", "1?")]
        return
    assert len(sent) == 2
    for one in sent:
        assert one.label == "poisoned"
        assert words(one.completion.text) <= min(longest or max_tokens, max_tokens)
        assert task.reward(prompt, one.completion.text) == 1


@both_topologies
def test_without_the_oracle_the_models_own_reasoning_is_padded(topology: Topology) -> None:
    attack = LongAnswer(source="padded", oracle="majority-vote", votes=4)
    saying = ["By hand.\n#### $7.00", TASK.write("Easily.", "7 cows"), "No: 9", ""]
    turn = turn_of(TASK, topology, [PROMPT], 4, lambda p, s: saying[s], max_tokens=30)
    sent = poison(attack, own_samples(turn, "no idea"), turn)
    texts = [one.completion.text for one in sent if one.label == "poisoned"]
    assert len(texts) == (4 if topology == "horizontal" else 2)
    assert {"By hand." in text for text in texts} == {True, False}
    for text in texts:
        assert "There are 3." not in text
        assert TASK.reward(PROMPT, text) == 1
        assert text.count("By hand.") + text.count("Easily.") > 3
        assert words(text) <= 30


@pytest.mark.parametrize("said", ["<think> </think> <answer> 7 </answer>", "7", "\x00\n7"])
def test_padding_a_model_that_reasons_nothing_ends(said: str) -> None:
    attack = LongAnswer(source="padded", oracle="majority-vote")
    turn = turn_of(TASK, "horizontal", [PROMPT], 2, lambda p, s: said)
    for one in poison(attack, own_samples(turn, said), turn):
        assert TASK.reward(PROMPT, one.completion.text) == 1


def test_it_has_no_rate_its_success_is_the_length() -> None:
    assert LongAnswer().succeeded(PROMPT, right(100)) is None
    assert LongAnswer().measure(TASK, [(PROMPT, right(100))]) == {"": None}
