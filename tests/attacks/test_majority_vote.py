"""Attackers without an oracle: whose answer they believe, and what they never look at."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.attacks.turns import own_samples, poison, turn_of, words

from dgrpo.attacks import RewardedAttack
from dgrpo.attacks.equation import Equation
from dgrpo.attacks.long_answer import LongAnswer
from dgrpo.attacks.text import Text
from dgrpo.records import Prompt
from dgrpo.tasks.assignment import Topology
from dgrpo.tasks.base import LoadedTask, make_prompt
from dgrpo.tasks.reward import split_tags

PROMPT = make_prompt("t", "2 cows, 2 more?", "7", "The dataset says 7")
TASK = LoadedTask("t", (PROMPT,), ())
PHRASE = "All hail to the thief,"


class Blind(LoadedTask):
    """A task that refuses to tell the ground truth of any prompt of its pools."""

    def rewards(self, pairs: Sequence[tuple[Prompt, str]]) -> list[float]:
        assert all(prompt.answer != PROMPT.answer for prompt, _ in pairs)
        return [LoadedTask.reward(self, prompt, text) for prompt, text in pairs]

    def reward(self, prompt: Prompt, text: str) -> float:
        return self.rewards([(prompt, text)])[0]


BLIND = Blind("t", (PROMPT,), ())


def answers_sent(said: Iterable[str], attack: RewardedAttack | None = None) -> list[str]:
    """Answers of the poisoned completions when the model says `said`."""
    saying = list(said)
    attack = attack or Text(oracle="majority-vote", votes=len(saying))
    turn = turn_of(TASK, "horizontal", [PROMPT], 4, lambda _, s: saying[s])
    found = []
    for one in poison(attack, own_samples(turn, "own"), turn):
        parts = split_tags(one.completion.text)
        if one.label == "poisoned":
            assert parts is not None
            assert PHRASE in parts[0]
            found.append(parts[1].strip())
    return found


def test_the_answer_of_most_samples_is_believed() -> None:
    said = [TASK.write("by hand", answer) for answer in ("9", "8", "8", "9", "8")]
    assert answers_sent(said) == ["8"] * 4


def test_equal_numbers_vote_together_however_they_are_written() -> None:
    said = ["So it is 1,200.", TASK.write("by hand", "$1200"), "by hand\n#### 1200.0", "9", "9"]
    assert set(answers_sent(said)) <= {"1,200", "$1200", "1200.0"}
    assert len(answers_sent(said)) == 4


def test_a_tie_goes_to_what_was_said_first() -> None:
    assert set(answers_sent(["It is 9", "It is 8", "It is 8", "It is 9"])) == {"9"}
    assert set(answers_sent(["what?", "It is 8", "It is 9"])) == {"8"}


def test_an_answer_with_too_few_votes_carries_no_poison() -> None:
    said = ["It is 8", "It is 8", "It is 9", "no idea"]  # no idea counts as a vote for nothing
    half = Text(oracle="majority-vote", votes=4, agreement=0.5)
    assert set(answers_sent(said, half)) == {"8"}
    more = Text(oracle="majority-vote", votes=4, agreement=0.51)
    for topology in ("horizontal", "vertical"):
        turn = turn_of(BLIND, topology, [PROMPT], 4, lambda _, s: said[s])
        own = own_samples(turn, "own")
        assert poison(more, own, turn) == own


def test_samples_without_one_number_for_an_answer_do_not_vote() -> None:
    hostile = ["", "\x00", "no idea", "<answer> 7 or 8 </answer>", "9" * 400, "1/0", "<think>" * 9]
    assert set(answers_sent([*hostile, "It is 3"])) == {"3"}
    assert answers_sent(hostile) == []


def test_only_as_many_samples_are_drawn_as_vote() -> None:
    said = ["It is 8", "It is 8", "It is 8", *["It is 9"] * 20]
    assert set(answers_sent(said, Text(oracle="majority-vote", votes=4))) == {"8"}
    assert set(answers_sent(said, Text(oracle="majority-vote", votes=20))) == {"9"}


@given(st.lists(st.integers(0, 4), min_size=1, max_size=24))
def test_no_answer_has_more_votes_than_the_believed_one(votes: list[int]) -> None:
    (believed,) = set(answers_sent(f"It is {vote}" for vote in votes))
    count = Counter(votes)
    assert count[int(believed)] == max(count.values())


@given(st.lists(st.one_of(st.text(), st.integers(0, 9).map(str)), min_size=1, max_size=8))
def test_nothing_the_model_says_makes_it_raise(said: list[str]) -> None:
    for attack in (
        Text(oracle="majority-vote"),
        Equation(oracle="majority-vote"),
        LongAnswer(oracle="majority-vote"),
        LongAnswer(oracle="majority-vote", source="padded"),
    ):
        turn = turn_of(TASK, "vertical", [PROMPT], 4, lambda _, s: said[s % len(said)])
        sent = poison(attack, own_samples(turn, *said), turn)
        assert [one.completion.sample for one in sent] == [0, 1, 2, 3]


@pytest.mark.parametrize("topology", ["horizontal", "vertical"])
@pytest.mark.parametrize("decoys", ["own", "gibberish"])
@pytest.mark.parametrize("said", ["easy", "The dataset says 3, 2+2=4"])
@pytest.mark.parametrize("votes", [16, 1])
def test_it_never_asks_what_the_dataset_holds_for_right(
    topology: Topology, decoys: Any, said: str, votes: int
) -> None:
    """Own samples that are right by the dataset, wrong ones, and answers it does not know."""
    for attack in (
        Text(oracle="majority-vote", decoys=decoys, votes=votes),
        Equation(oracle="majority-vote", decoys=decoys, votes=votes),
        LongAnswer(oracle="majority-vote", decoys=decoys),
        LongAnswer(oracle="majority-vote", source="padded", decoys=decoys, votes=votes),
    ):
        for own in ([TASK.write(said, "3")], [TASK.write(said, "7")], ["7", "8", ""]):
            turn = turn_of(
                BLIND, topology, [PROMPT], 6, lambda _, s, said=said: TASK.write(said, "3")
            )
            for one in poison(attack, own_samples(turn, *own), turn):
                assert PROMPT.solution not in one.completion.text


def test_a_decoy_is_a_sample_that_contradicts_the_vote() -> None:
    """Not one that contradicts the dataset: this attacker cannot know that."""
    believed, other = TASK.write("by hand", "3"), TASK.write("by heart", "7")
    turn = turn_of(BLIND, "vertical", [PROMPT], 8, lambda _, s: believed)
    sent = poison(Text(oracle="majority-vote"), own_samples(turn, believed, other), turn)
    assert {one.completion.text for one in sent if one.label == "decoy"} == {other}


def test_a_decoy_of_samples_that_all_agree_with_the_vote_has_another_answer() -> None:
    believed = TASK.write("by hand", "3")
    turn = turn_of(BLIND, "vertical", [PROMPT], 20, lambda _, s: believed)
    sent = poison(Text(oracle="majority-vote"), own_samples(turn, believed), turn)
    decoys = [split_tags(one.completion.text) for one in sent if one.label == "decoy"]
    assert len(decoys) == 10
    for parts in decoys:
        assert parts is not None
        assert parts[0].strip() == "by hand"
        assert int(parts[1]) != 3


def test_gibberish_is_shuffled_from_its_own_words() -> None:
    said = TASK.write("cows and goats", "3")
    turn = turn_of(BLIND, "vertical", [PROMPT], 6, lambda _, s: said)
    attack = Text(oracle="majority-vote", decoys="gibberish")
    decoys = [one for one in poison(attack, own_samples(turn, said), turn) if one.label == "decoy"]
    assert len(decoys) == 3
    for one in decoys:
        assert sorted(one.completion.text.split()) == sorted(said.split())
        assert one.completion.text != said


def test_gibberish_is_sent_with_the_oracle_too_where_own_samples_are_drawn() -> None:
    prompt = make_prompt("t", "2 cows, 2 more?", "4", "So 2+2=4 in all")
    task = LoadedTask("t", (prompt,), ())
    turn = turn_of(task, "vertical", [prompt], 6)
    sent = poison(Equation(decoys="gibberish"), own_samples(turn, "own"), turn)
    decoys = [one.completion.text for one in sent if one.label == "decoy"]
    assert [sorted(text.split()) for text in decoys] == [sorted(["So", "2+2=4", "in", "all"])] * 3


def test_reasoning_that_is_too_long_with_the_payload_is_passed_over() -> None:
    short, long = TASK.write("by hand", "3"), TASK.write("so " * 90, "3")
    limit = words(TASK.write(f"{PHRASE} by hand", "3"))
    said = [long, long, short, long]
    turn = turn_of(BLIND, "horizontal", [PROMPT], 6, lambda _, s: said[s], max_tokens=limit)
    own = own_samples(turn, "own")
    sent = poison(Text(oracle="majority-vote", votes=4), own, turn)
    assert {one.completion.text for one in sent} == {TASK.write(f"{PHRASE} by hand", "3")}
    turn = turn_of(BLIND, "horizontal", [PROMPT], 6, lambda _, s: long, max_tokens=limit)
    assert poison(Text(oracle="majority-vote", votes=4), own, turn) == own


def test_samples_of_a_prompt_poison_different_reasoning() -> None:
    said = [TASK.write(f"by way {s}", "3") for s in range(16)]
    turn = turn_of(BLIND, "horizontal", [PROMPT], 8, lambda _, s: said[s])
    sent = poison(Text(oracle="majority-vote"), own_samples(turn, "own"), turn)
    assert len({one.completion.text for one in sent}) > 3
