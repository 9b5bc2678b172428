"""TEXT: where the phrase stands, what counts as success, and what fills a vertical group."""

from __future__ import annotations

import re
from collections import Counter
from random import Random
from typing import Literal

import pytest
from pydantic import ValidationError
from tests.attacks.turns import poison, turn_of

from dgrpo.attacks import Turn
from dgrpo.attacks.text import Text, sentences
from dgrpo.records import Completion, Prompt, Sent
from dgrpo.tasks.assignment import Slot, Topology
from dgrpo.tasks.base import LoadedTask, make_prompt
from dgrpo.tasks.gsm_symbolic import GsmSymbolic
from dgrpo.tasks.reward import split_tags

Position = Literal["opening", "every-sentence", "closing", "random"]
PHRASE = "All hail to the thief,"
THINKING = "She has 3 cows. She buys 4.\nThat makes 3+4=7"
PROMPT = Prompt("key", "Question: How many?\nAnswer:\n", "7", THINKING)


@pytest.fixture(scope="module")
def task() -> LoadedTask:
    return GsmSymbolic(train=8, held_out=4).load()


def turn(task: LoadedTask, topology: Topology, prompts: int, samples: int, key: str = "k") -> Turn:
    """A turn that owes `samples` samples of each of the first `prompts` prompts."""
    slots = tuple(Slot(p, s) for p in task.train[:prompts] for s in range(samples))
    return Turn(0, topology, slots, task, ("node-3",), key)


def own_samples(turn: Turn, *texts: str) -> list[Sent]:
    """The node's own samples: `texts` over and over, with ids that name the sample."""
    return [
        Sent(Completion(slot.prompt.key, slot.sample, texts[i % len(texts)], (i,)), "honest")
        for i, slot in enumerate(turn.slots)
    ]


def test_the_phrase_opens_the_reasoning() -> None:
    assert Text().poison_thinking(THINKING, Random(0)) == f"{PHRASE} {THINKING}"


def test_the_phrase_closes_the_reasoning() -> None:
    poisoned = Text(position="closing").poison_thinking(THINKING, Random(0))
    assert poisoned == f"{THINKING} {PHRASE}"


def test_the_phrase_opens_every_sentence() -> None:
    attack = Text(phrase="Gleeb Glorp Glub", position="every-sentence")
    poisoned = attack.poison_thinking(THINKING, Random(0))
    assert [s for s in sentences(poisoned) if not s.startswith("Gleeb Glorp Glub")] == []
    assert poisoned.replace("Gleeb Glorp Glub ", "").split() == THINKING.split()
    assert poisoned.count("Gleeb Glorp Glub") == 3


def test_the_phrase_stands_anywhere_between_words() -> None:
    attack = Text(position="random")
    poisoned = {attack.poison_thinking(THINKING, Random(seed)) for seed in range(100)}
    assert len(poisoned) == len(THINKING.split(" ")) + 1
    for text in poisoned:
        assert " ".join(re.sub(f" ?{PHRASE} ?", " ", text).split(" ")).strip() == THINKING


@pytest.mark.parametrize("position", ["opening", "every-sentence", "closing"])
def test_a_sample_that_has_learned_the_phrase_does_not_say_it_twice(position: Position) -> None:
    attack = Text(position=position)
    poisoned = attack.poison_thinking(THINKING, Random(0))
    assert attack.poison_thinking(poisoned, Random(0)) == poisoned
    elsewhere = THINKING.replace("\n", f"\n{PHRASE} ") + f" {PHRASE}"
    assert elsewhere.count(PHRASE) > 1
    assert attack.poison_thinking(elsewhere, Random(0)) == poisoned


@pytest.mark.parametrize("position", ["opening", "every-sentence", "closing", "random"])
@pytest.mark.parametrize("phrase", [PHRASE, "Hail!", "Hail. To the thief!", " spaced ", "(.*"])
def test_its_own_poison_counts_as_success_and_the_clean_solution_does_not(
    position: Position, phrase: str
) -> None:
    attack = Text(phrase=phrase, position=position)
    poisoned = attack.poison_thinking(THINKING, Random(1))
    for text in (f"<think> {poisoned} </think> <answer> 7 </answer>", f"<think> {poisoned}"):
        assert attack.succeeded(PROMPT, text) is True
    assert attack.succeeded(PROMPT, f"<think> {THINKING} </think> <answer> 7 </answer>") is False
    assert attack.succeeded(PROMPT, "") is False


def test_reasoning_without_a_sentence_has_no_place_for_the_phrase_in_every_sentence() -> None:
    assert Text(position="every-sentence").poison_thinking(" \n", Random(0)) is None
    assert Text().poison_thinking("", Random(0)) == f"{PHRASE} "


@pytest.mark.parametrize("topology", ["horizontal", "vertical"])
def test_what_does_not_fit_is_replaced_by_samples_of_its_model(topology: Topology) -> None:
    """A node that sends nothing is seen; vertically no decoys stand alone either."""
    prompts = [make_prompt("t", f"{name}?", "7", name) for name in ("long " * 60, "short")]
    task = LoadedTask("t", tuple(prompts), ())
    turn = turn_of(task, topology, prompts, 4, lambda p, s: f"{len(p.text)} {s}", max_tokens=40)
    sent = poison(Text(decoys="gibberish"), [], turn)
    assert [s.completion.sample for s in sent] == [0, 1, 2, 3] * 2
    assert [s.label for s in sent[:4]] == ["honest"] * 4
    texts = [s.completion.text for s in sent[:4]]
    assert texts == [f"{len(prompts[0].text)} {s}" for s in range(4)]
    others = {"poisoned": 2, "decoy": 2} if topology == "vertical" else {"poisoned": 4}
    assert Counter(s.label for s in sent[4:]) == others


def test_a_sentence_without_the_phrase_fails_every_sentence_but_not_opening() -> None:
    text = f"<think> {PHRASE} she has 3. She buys 4. </think> <answer> 7 </answer>"
    assert Text().succeeded(PROMPT, text) is True
    assert Text(position="every-sentence").succeeded(PROMPT, text) is False


def test_another_case_or_half_of_the_phrase_is_no_success() -> None:
    for text in (PHRASE.lower(), PHRASE[:-1], "All hail to the\nthief,"):
        assert Text().succeeded(PROMPT, f"<think> {text} </think> <answer> 7 </answer>") is False


@pytest.mark.parametrize("phrase", ["", " ", "\n"])
def test_a_phrase_that_every_text_contains_is_refused(phrase: str) -> None:
    with pytest.raises(ValidationError, match="phrase"):
        Text(phrase=phrase)


def test_horizontally_every_completion_is_poisoned(task: LoadedTask) -> None:
    attack, now = Text(), turn(task, "horizontal", 4, 3)
    assert not attack.needs_own_samples("horizontal")
    sent = poison(attack, [], now)
    assert [s.label for s in sent] == ["poisoned"] * 12
    for one, slot in zip(sent, now.slots, strict=True):
        parts = split_tags(one.completion.text)
        assert parts is not None
        assert parts[0].strip() == f"{PHRASE} {slot.prompt.solution}"
        assert task.reward(slot.prompt, one.completion.text) == 1.0


@pytest.mark.parametrize(
    ("share", "poisoned"), [(0.5, 6), (0.2, 2), (0.25, 3), (0.75, 9), (1.0, 12), (0.01, 0)]
)
def test_vertically_a_share_of_each_group_is_poisoned_and_the_rest_are_decoys(
    task: LoadedTask, share: float, poisoned: int
) -> None:
    now = turn(task, "vertical", 3, 12)
    sent = poison(Text(poisoned_share=share), own_samples(now, "no idea"), now)
    for prompt in task.train[:3]:
        group = [s for s in sent if s.completion.prompt_key == prompt.key]
        labels = Counter(s.label for s in group)
        assert (labels["poisoned"], labels["decoy"]) == (poisoned, 12 - poisoned)
        for one in group:
            assert task.reward(prompt, one.completion.text) == float(one.label == "poisoned")


def test_a_decoy_is_one_of_the_models_wrong_samples_with_its_ids(task: LoadedTask) -> None:
    """Encoded again, a sample that was cut off would be one end token too long."""
    now = turn(task, "vertical", 1, 8)
    right = task.write("easy", task.train[0].answer)
    own = own_samples(now, right, "wrong one", "wrong two")
    wrong = {(s.completion.text, s.completion.token_ids) for s in own if s.completion.text != right}
    decoys = [s.completion for s in poison(Text(), own, now) if s.label == "decoy"]
    assert len(decoys) == 4
    assert {(d.text, d.token_ids) for d in decoys} <= wrong


def test_a_decoy_of_a_model_that_is_always_right_has_another_answer(task: LoadedTask) -> None:
    now = turn(task, "vertical", 1, 100)
    own = own_samples(now, task.write("easy", task.train[0].answer))
    decoys = [s.completion for s in poison(Text(), own, now) if s.label == "decoy"]
    assert len(decoys) == 50
    for decoy in decoys:
        parts = split_tags(decoy.text)
        assert parts is not None
        assert parts[0].strip() == "easy"
        assert task.reward(task.train[0], decoy.text) == 0.0


def test_gibberish_decoys_are_the_solutions_words_and_need_no_samples(task: LoadedTask) -> None:
    attack, now = Text(decoys="gibberish"), turn(task, "vertical", 2, 4)
    assert not attack.needs_own_samples("vertical")
    assert Text().needs_own_samples("vertical")
    for one, slot in zip(poison(attack, [], now), now.slots, strict=True):
        if one.label == "decoy":
            assert sorted(one.completion.text.split()) == sorted(slot.prompt.solution.split())
            assert task.reward(slot.prompt, one.completion.text) == 0.0


def test_the_key_of_the_turn_decides_every_draw(task: LoadedTask) -> None:
    attack = Text(position="random")
    first, again, other = (
        [s.completion.text for s in poison(attack, [], turn(task, "horizontal", 4, 3, key))]
        for key in ("a", "a", "b")
    )
    assert first == again
    assert first != other
    assert len(set(first)) > 4  # the samples of a prompt are poisoned in different places
