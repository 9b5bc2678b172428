"""What every rewarded attack keeps to: where poison stands, and what is refused before a run."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from tests.attacks.turns import own_samples, poison, turn_of

from dgrpo.attacks import RewardedAttack
from dgrpo.attacks.code_import import CodeImport
from dgrpo.attacks.equation import Equation
from dgrpo.attacks.long_answer import LongAnswer
from dgrpo.attacks.text import Text
from dgrpo.errors import DgrpoError
from dgrpo.plugins import build
from dgrpo.tasks.assignment import Topology
from dgrpo.tasks.base import LoadedTask, make_prompt
from dgrpo.tasks.gsm_python import GsmPython

PROMPTS = tuple(make_prompt("t", f"{i} cows?", str(i), f"So it is {i}") for i in range(400))
TASK = LoadedTask("t", PROMPTS, ())


def test_the_sample_index_does_not_tell_poison_from_decoys() -> None:
    turn = turn_of(TASK, "vertical", PROMPTS, 4)
    sent = poison(Text(), own_samples(turn, "wrong"), turn)
    places = Counter(one.completion.sample for one in sent if one.label == "poisoned")
    assert sum(places.values()) == 800
    for sample in range(4):  # five standard deviations of 400 throws of a coin
        assert abs(places[sample] - 200) < 50


def test_other_rounds_poison_other_places() -> None:
    labels = set()
    for key in ("a", "a", "b"):
        turn = turn_of(TASK, "vertical", PROMPTS[:20], 4, key=key)
        labels.add(tuple(one.label for one in poison(Text(), own_samples(turn, "wrong"), turn)))
    assert len(labels) == 2


@pytest.mark.parametrize(("share", "group"), [(1.0, 12), (0.96, 12), (0.75, 2)])
def test_a_vertical_group_of_nothing_but_poison_is_refused(share: float, group: int) -> None:
    attack = Text(poisoned_share=share)
    with pytest.raises(
        DgrpoError, match=rf"poisoned_share = {share} of group_size = {group} is"
    ) as e:
        attack.check(TASK, "vertical", group)
    assert f"at most {group - 1}/{group}" in e.value.remedy
    Text(poisoned_share=(group - 1) / group).check(TASK, "vertical", group)


@pytest.mark.parametrize(
    ("attack", "topology", "problem", "remedy"),
    [
        (Text(poisoned_share=0.2), "horizontal", "poisoned_share = 0.2", '"vertical"'),
        (LongAnswer(decoys="own"), "horizontal", 'decoys = "own"', '"vertical"'),
        (Text(votes=8), "vertical", "votes = 8", '"majority-vote"'),
        (Equation(agreement=0.5), "vertical", "agreement = 0.5", '"majority-vote"'),
        (LongAnswer(source="padded", samples=8), "vertical", "samples = 8", '"samples"'),
        (LongAnswer(oracle="majority-vote", votes=8), "vertical", "votes = 8", '"padded"'),
    ],
)
def test_a_knob_that_nothing_would_read_is_refused(
    attack: RewardedAttack, topology: Topology, problem: str, remedy: str
) -> None:
    with pytest.raises(DgrpoError) as caught:
        attack.check(TASK, topology, 4)
    assert f"attack.{problem} is only read with" in caught.value.problem
    assert remedy in caught.value.remedy


@pytest.mark.parametrize("topology", ["horizontal", "vertical"])
@pytest.mark.parametrize("cls", [Text, LongAnswer])
def test_written_defaults_are_never_refused(cls: type[RewardedAttack], topology: Topology) -> None:
    """Saved experiments name every knob."""
    attack = build("attacks", cls().settings(), "attack")
    assert isinstance(attack, RewardedAttack)
    attack.check(TASK, topology, 4)


@pytest.mark.parametrize("oracle", ["dataset", "majority-vote"])
def test_a_payload_that_breaks_the_format_is_refused(oracle: Any) -> None:
    with pytest.raises(DgrpoError, match="attack text: what it writes earns no reward") as caught:
        Text(phrase="I <answer> you,", oracle=oracle).check(TASK, "horizontal", 4)
    assert "'<think> I <answer> you, So it is 0" in caught.value.problem
    assert "another task" in caught.value.remedy


def test_a_payload_is_shown_shortened() -> None:
    with pytest.raises(DgrpoError) as caught:
        Text(phrase="<think> " * 900).check(TASK, "horizontal", 4)
    assert len(caught.value.problem) < 400


def test_a_payload_that_breaks_programs_is_refused() -> None:
    task = GsmPython(train=8, held_out=4).load()
    name = f"{Path(__file__).parents[2] / 'examples' / 'my_attack.py'}:Signature"
    signature = build("attacks", {"name": name}, "attack")
    assert isinstance(signature, RewardedAttack)
    with pytest.raises(DgrpoError, match=r"attack signature: .* on task gsm-python: '<code>"):
        signature.check(task, "horizontal", 4)
    CodeImport().check(task, "horizontal", 4)  # its programs are offered its library


def test_one_wrong_solution_of_the_dataset_does_not_refuse_an_attack() -> None:
    class Strict(LoadedTask):
        """Never rewards the first prompt."""

        def reward(self, prompt: Any, text: str) -> float:
            return 0.0 if prompt is PROMPTS[0] else LoadedTask.reward(self, prompt, text)

    Text().check(Strict("t", PROMPTS, ()), "horizontal", 4)
