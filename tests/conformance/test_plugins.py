"""One suite over every task, attack and defense, and over the examples.

A new plug-in is in it as soon as it is registered. What a plug-in may do otherwise than the rest is
said here by name, not by skipping.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from random import Random
from typing import Any

import pytest
from pydantic import ValidationError

from dgrpo.attacks import Attack, RewardedAttack, Turn
from dgrpo.errors import DgrpoError
from dgrpo.exchange.admission import Admission
from dgrpo.guard import Guard
from dgrpo.plugins import KINDS, Plugin, available, build, find, plugin_name
from dgrpo.policy.model import LanguageModel, load_model
from dgrpo.policy.noise import sampling_key
from dgrpo.policy.sampling import SampleRequest, sample
from dgrpo.policy.settings import ModelSettings, Sampling
from dgrpo.records import Completion, Prompt, Received, Sent, Verdict
from dgrpo.tasks import LoadedTask, Task
from dgrpo.tasks.assignment import Assignment, Slot, Topology
from dgrpo.tasks.gsm_python import GsmPython
from dgrpo.tasks.gsm_symbolic import GsmSymbolic

EXAMPLES = Path(__file__).parents[2] / "examples"
SIGNATURE = f"{EXAMPLES / 'my_attack.py'}:Signature"
CHAMELEON = f"{EXAMPLES / 'my_adaptive_attack.py'}:Chameleon"
MAILBOXES = f"{EXAMPLES / 'my_exchange.py'}:Mailboxes"
CHORUS = f"{EXAMPLES / 'my_defense.py'}:Chorus"
REPLAY = f"{EXAMPLES / 'my_stateful_defense.py'}:Replay"
NAMES = {
    "tasks": list(available("tasks")),
    "attacks": [*available("attacks"), SIGNATURE, CHAMELEON],
    "defenses": [*available("defenses"), REPLAY, CHORUS],
    "policies": list(available("policies")),
    "exchanges": [*available("exchanges"), MAILBOXES],
}
VOTING = " without oracle"
MOUNTED: dict[str, dict[str, Any]] = {
    **{name: {"name": name} for name in NAMES["attacks"]},
    **{
        name + VOTING: {"name": name, "oracle": "majority-vote"}
        for name in NAMES["attacks"]
        if issubclass(find("attacks", name), RewardedAttack)
    },
}
"""The attacks as they are tried: with the dataset's oracle, and voting where they can."""
SENDS_NOTHING = {"silent"}
"""Attacks that send no completion at all; every other one sends all that it owes."""
SPELLS_OTHERWISE = {"spelling"}
"""Attacks whose texts are received, and whose ids are not believed."""
READS_CONTENT = {"judge"}
"""Defenses that reject what is false, as much of the base model's own is: they see solutions."""
HOSTILE = (
    "",
    " ",
    "\n",
    "\x00\x1b[2J\x07\r\u202e",
    "<think>" * 50,
    "<think> <think> a </think> <answer> 4 </answer> </think> <answer> 5 </answer>",
    "</answer> 4 <answer> </think> <think>",
    "<think> {prompt} {0} %s ${x} </think> <answer> 10**10**10 </answer>",
    "<answer> " + "9" * 400 + " </answer>",
    "2+2=" * 100,
    "All hail to the thief, " * 40,
    "word " * 300,
    "😀é中٣½",
    "<|endoftext|>",
)


def short(parameter: str) -> str:
    """A name without the folder of its file, as test ids show it."""
    return parameter.rpartition("/")[2]


every_plugin = pytest.mark.parametrize(
    ("kind", "name"), [(kind, name) for kind in KINDS for name in NAMES[kind]], ids=short
)
every_task = pytest.mark.parametrize("name", NAMES["tasks"], ids=short)
every_attack = pytest.mark.parametrize("name", MOUNTED, ids=short)
every_vote = pytest.mark.parametrize("name", [n for n in MOUNTED if n.endswith(VOTING)], ids=short)
every_defense = pytest.mark.parametrize("name", NAMES["defenses"], ids=short)
both_topologies = pytest.mark.parametrize("topology", ["horizontal", "vertical"])


# What every plug-in is


def settings_of(kind: str, name: str, folder: Path) -> dict[str, Any]:
    """The plug-in's defaults, except that files it reads are there and pools are small."""
    fields = find(kind, name).model_fields
    settings: dict[str, Any] = {"name": name}
    if kind == "tasks":
        settings |= {f: size for f, size in (("train", 24), ("held_out", 8)) if f in fields}
    for field in fields:
        if field.endswith("_file"):
            file = folder / f"{field}.jsonl"
            rows = [(f"{field} {i}: 2+{i}?", f"2+{i}={2 + i}\n#### {2 + i}") for i in range(30)]
            lines = [json.dumps({"question": q, "answer": a}) for q, a in rows]
            file.write_text("\n".join(lines))
            settings[field] = str(file)
    if name == "unit-tests":
        file = folder / "problems.jsonl"
        file.write_text("\n".join(json.dumps(small_problem(i)) for i in range(40)))
        settings["file"] = str(file)
    return settings


def small_problem(number: int) -> dict[str, str]:
    """A line in HumanEval's format."""
    return {
        "task_id": f"Small/{number}",
        "prompt": f'def more(x: int) -> int:\n    """x and {number}."""\n',
        "entry_point": "more",
        "canonical_solution": f"    return x + {number}\n",
        "test": f"def check(candidate):\n    assert candidate(1) == {number + 1}\n",
    }


def toml(settings: dict[str, Any]) -> str:
    """Settings as TOML; what is None is left out, as in a file."""

    def value(of: Any) -> str:
        if isinstance(of, dict):
            return "{" + ", ".join(f"{k} = {value(v)}" for k, v in of.items()) + "}"
        if isinstance(of, list):
            return "[" + ", ".join(map(value, of)) + "]"
        return json.dumps(of, ensure_ascii=False)

    return "\n".join(f"{k} = {value(v)}" for k, v in settings.items() if v is not None)


@every_plugin
def test_it_is_built_from_its_defaults_under_the_name_it_was_asked_by(kind: str, name: str) -> None:
    plugin = build(kind, {"name": name}, "here")
    assert isinstance(plugin, import_module(KINDS[kind]).BASE)
    assert plugin_name(type(plugin)) == name


@every_plugin
def test_its_settings_written_as_toml_build_an_equal_one(
    kind: str, name: str, tmp_path: Path
) -> None:
    plugin = build(kind, settings_of(kind, name, tmp_path), "here")
    again = build(kind, tomllib.loads(toml(plugin.settings())), "here")
    assert again == plugin
    assert again.settings() == plugin.settings()


@every_plugin
def test_its_knobs_cannot_be_changed_once_it_is_built(kind: str, name: str) -> None:
    plugin = build(kind, {"name": name}, "here")
    with pytest.raises(ValidationError, match="frozen"):
        setattr(plugin, next(iter(type(plugin).model_fields), "anything"), 1)


@every_plugin
def test_an_unknown_knob_is_named_with_the_nearest_one(kind: str, name: str) -> None:
    knob = next(iter(find(kind, name).model_fields), None)
    with pytest.raises(DgrpoError) as caught:
        build(kind, {"name": name, f"{knob}x": 1}, "here")
    assert f"here.{knob}x is not a setting" in caught.value.problem
    assert (f"'{knob}'" if knob else "known: none") in caught.value.remedy


@every_plugin
def test_it_and_each_of_its_knobs_are_documented(kind: str, name: str) -> None:
    cls = find(kind, name)
    assert "__doc__" in vars(cls)
    first = (inspect.getdoc(cls) or "").split("\n")[0]
    assert len(first) > 20
    assert first.endswith((".", ")"))
    undocumented = [knob for knob, field in cls.model_fields.items() if not field.description]
    assert undocumented == []
    assert inspect.getdoc(sys.modules[cls.__module__])


@every_plugin
def test_its_name_is_lower_case_words_joined_by_hyphens(kind: str, name: str) -> None:
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", find(kind, name).name)


@pytest.mark.parametrize("kind", KINDS)
def test_no_two_plug_ins_of_a_kind_share_a_name(kind: str) -> None:
    """A name taken twice inside the package would hide a class, not only confuse."""
    written = {
        cls
        for cls in subclasses(Plugin)
        if cls.__module__.startswith(f"{KINDS[kind]}.")
        and not inspect.isabstract(cls)
        and hasattr(cls, "name")
    }
    assert written == {c for c in available(kind).values() if c.__module__.startswith("dgrpo.")}
    own_names = [find(kind, name).name for name in NAMES[kind]]
    assert len(set(own_names)) == len(own_names)


def subclasses(cls: type[Plugin]) -> set[type[Plugin]]:
    """Every class below `cls`."""
    return {below for one in cls.__subclasses__() for below in ({one} | subclasses(one))}


@pytest.fixture(scope="module")
def listed() -> str:
    """What `dgrpo list` prints."""
    command = "from dgrpo.cli import main; main()"
    finished = subprocess.run(
        [sys.executable, "-c", command, "list"],
        capture_output=True,
        text=True,
        env={**os.environ, "COLUMNS": "200", "PYTHONIOENCODING": "utf-8"},
        check=True,
    )
    return finished.stdout


@pytest.mark.parametrize("kind", KINDS)
def test_every_registered_one_is_listed_with_what_it_does(kind: str, listed: str) -> None:
    for name, cls in available(kind).items():
        first = (inspect.getdoc(cls) or "").split("\n")[0]
        assert re.search(rf"\b{name} .*{re.escape(first)}", listed)


# Tasks


@pytest.fixture
def task(name: str, tmp_path: Path) -> LoadedTask:
    built = build("tasks", settings_of("tasks", name, tmp_path), "task")
    assert isinstance(built, Task)
    return built.load()


@every_task
def test_equal_settings_give_equal_pools(name: str, task: LoadedTask, tmp_path: Path) -> None:
    again = build("tasks", settings_of("tasks", name, tmp_path), "task")
    assert isinstance(again, Task)
    assert again.load() == task
    assert again.load().digest == task.digest


@every_task
def test_pools_are_filled_and_apart(name: str, task: LoadedTask) -> None:
    keys = [p.key for p in (*task.train, *task.held_out)]
    assert task.name == name
    assert min(len(task.train), len(task.held_out)) >= 8
    assert len(set(keys)) == len(keys)
    assert set(task.by_key) == {p.key for p in task.train}


@every_task
def test_the_oracle_is_rewarded_and_a_wrong_answer_is_not(name: str, task: LoadedTask) -> None:
    for prompt in (*task.train, *task.held_out):
        right = task.write(prompt.solution, prompt.answer)
        assert task.reward(prompt, right) == 1.0
        assert task.answer_anywhere(prompt, right)
        assert task.reward(prompt, task.spoil(prompt, right, Random(prompt.key))) == 0.0


@every_task
def test_no_text_makes_the_reward_raise(name: str, task: LoadedTask) -> None:
    for text in HOSTILE:
        assert task.reward(task.train[0], text) in (0.0, 1.0)
        assert task.reward(task.train[0], task.write(text, text)) in (0.0, 1.0)
        assert task.answer_anywhere(task.train[0], text) in (True, False)


# Attacks


@pytest.fixture(scope="module")
def pools() -> LoadedTask:
    """Small pools, half of whose training prompts are found by every attack (2+2, 2*2)."""
    whole = GsmSymbolic().load()
    sums = [p for p in whole.train if re.search(r"(?<![\d.])2 ?[+*] ?2 ?= ?4\b", p.solution)]
    others = [p for p in whole.train if p not in sums]
    train = [p for pair in zip(others, sums, strict=False) for p in pair]
    return replace(whole, train=tuple(train), held_out=whole.held_out[:8])


@pytest.fixture(scope="module")
def model() -> LanguageModel:
    return load_model(ModelSettings())


@pytest.fixture(scope="module")
def drawn(model: LanguageModel, pools: LoadedTask) -> dict[tuple[str, int], Completion]:
    """Four samples of the shipped model for each training prompt."""
    return samples_of(model, pools)


def samples_of(model: LanguageModel, pools: LoadedTask) -> dict[tuple[str, int], Completion]:
    """Four samples of `model` for each training prompt, by (prompt key, sample)."""
    asked = [(p, s) for p in pools.train for s in range(4)]
    requests = [SampleRequest(p.text, sampling_key(0, p.key, s)) for p, s in asked]
    ids = sample(model, requests, Sampling())
    return {
        (p.key, s): Completion(p.key, s, model.decode(one), one, model.ended(one))
        for (p, s), one in zip(asked, ids, strict=True)
    }


@dataclass(frozen=True)
class Field:
    """Where an attack is tried: a task that it can work on, and its model's samples."""

    task: LoadedTask
    model: LanguageModel
    drawn: dict[tuple[str, int], Completion]
    said: str | None = None
    """What the model says to everything, in place of its samples."""

    def saying(self, text: str) -> Field:
        """The same field with a model that always says `text`."""
        return replace(self, said=text)

    async def draw(self, prompts: Sequence[Prompt], count: int) -> dict[str, list[Completion]]:
        """Half of it right, half of it the shipped model's samples."""
        return {p.key: [self._sample(p, s) for s in range(count)] for p in prompts}

    def own(self, attack: Attack, turn: Turn) -> list[Sent]:
        """The node's own samples, where the attack asks for them."""
        if not attack.start().needs_own_samples(turn.topology):
            return []
        return [
            Sent(replace(self._sample(slot.prompt, slot.sample), sample=slot.sample), "honest")
            for slot in turn.slots
        ]

    def turn(self, slots: Sequence[Slot], topology: Topology, key: str = "key") -> Turn:
        """What the attack is told when it owes `slots`."""
        return Turn(
            round=0,
            topology=topology,
            slots=tuple(slots),
            task=self.task,
            accomplices=("node-3",),
            key=key,
            draw=self.draw,
            count_tokens=lambda text: len(self.model.encode_completion(text)),
            max_tokens=MAX_TOKENS,
            model=self.model,
        )

    def owing(self, attack: Attack, topology: Topology, key: str = "key") -> Turn:
        """A turn that owes 2 samples of each of 6 prompts, or whole groups of 4 in vertical."""
        chosen = list(self.task.train[:6])
        if topology == "vertical":
            chosen = attack.start().choose_prompts(self.task.train, 6, chosen, Random(key))
        samples = range(2, 4) if topology == "horizontal" else range(4)
        return self.turn([Slot(p, s) for p in chosen for s in samples], topology, key)

    def _sample(self, prompt: Prompt, number: int) -> Completion:
        if self.said is None and number % 2:
            return replace(self.drawn[prompt.key, number % 4], sample=number)
        text = self.said if self.said is not None else right_text(self.task, prompt, number)
        return Completion(prompt.key, number, text, self.model.encode_completion(text))


MAX_TOKENS = 160
"""Room for every oracle solution with every attack's payload."""


def right_text(task: LoadedTask, prompt: Prompt, number: int) -> str:
    """A right completion; `number` makes a few different ones."""
    lines = prompt.solution.split("\n")
    return task.write("\n".join([*lines[:1] * (number // 2 % 3), *lines]), prompt.answer)


@pytest.fixture(scope="module")
def fields(
    pools: LoadedTask, model: LanguageModel, drawn: dict[tuple[str, int], Completion]
) -> Callable[[Attack], Field]:
    """The field of an attack: programs for attacks that bring a library, else plain answers."""
    made: dict[object, Field] = {(): Field(pools, model, drawn)}

    def field(attack: Attack) -> Field:
        brought = attack.libraries()
        if brought not in made:
            programs = GsmPython(train=24, held_out=8).load().with_libraries(brought)
            made[brought] = Field(programs, model, samples_of(model, programs))
        return made[brought]

    return field


def attack_called(name: str) -> Attack:
    """The attack of `MOUNTED` under `name`, with its knobs."""
    attack = build("attacks", MOUNTED[name], "attack")
    assert isinstance(attack, Attack)
    return attack


def poison(attack: Attack, own: list[Sent], turn: Turn) -> list[Sent]:
    """What the attack sends."""
    return asyncio.run(attack.start().poison(own, turn))


Fields = Callable[[Attack], Field]


@every_attack
@both_topologies
def test_it_is_not_refused_where_it_can_work(name: str, topology: Topology, fields: Fields) -> None:
    attack = attack_called(name)
    attack.check(fields(attack).task, topology, 4)


@every_attack
@both_topologies
def test_it_sends_exactly_the_samples_it_owes(
    name: str, topology: Topology, fields: Fields
) -> None:
    attack = attack_called(name)
    field = fields(attack)
    turn = field.owing(attack, topology)
    sent = poison(attack, field.own(attack, turn), turn)
    owed = [] if attack.name in SENDS_NOTHING else [(s.prompt.key, s.sample) for s in turn.slots]
    assert [(s.completion.prompt_key, s.completion.sample) for s in sent] == owed


@every_attack
@both_topologies
def test_its_labels_say_what_it_sent(name: str, topology: Topology, fields: Fields) -> None:
    """Poison is right and shows the attack, decoys are wrong, the rest is the model's own."""
    attack = attack_called(name)
    field = fields(attack)
    turn = field.owing(attack, topology)
    own = field.own(attack, turn)
    sent = poison(attack, own, turn)
    for one in sent:
        prompt, text = field.task.by_key[one.completion.prompt_key], one.completion.text
        if one.label == "honest":
            assert one in own
        else:
            assert field.task.reward(prompt, text) == float(one.label == "poisoned")
        if one.label == "poisoned":
            assert attack.succeeded(prompt, text) is not False
    labels = {one.label for one in sent}
    if isinstance(attack, RewardedAttack):
        assert "poisoned" in labels
        assert ("decoy" in labels) is (topology == "vertical")


@every_attack
@both_topologies
def test_receivers_admit_all_that_it_sends(name: str, topology: Topology, fields: Fields) -> None:
    attack = attack_called(name)
    field = fields(attack)
    turn = field.owing(attack, topology)
    sent = poison(attack, field.own(attack, turn), turn)
    nodes, prompts = (2, 6) if topology == "horizontal" else (4, 24)
    assignment = Assignment(topology, nodes, prompts, 4, seed=0)
    admission = Admission(assignment, field.task.by_key, field.model, MAX_TOKENS)
    claims = [one.completion for one in sent]
    admitted, violations = admission.admit("node", 1, claims, same_tokenizer=True)
    if attack.name in SPELLS_OTHERWISE:
        assert violations.pop("spelling") == sum(one.label == "poisoned" for one in sent)
    missing = 0 if sent else len(turn.slots)
    assert violations == ({"missing": missing} if missing else {})
    assert len(admitted) == len(sent)


@every_attack
@both_topologies
def test_the_turns_key_decides_everything_it_sends(
    name: str, topology: Topology, fields: Fields
) -> None:
    attack = attack_called(name)
    field = fields(attack)
    turns = [field.owing(attack, topology, key) for key in ("a", "a", "b")]
    first, again, other = (poison(attack, field.own(attack, t), t) for t in turns)
    assert turns[0] == turns[1]
    assert first == again
    assert len(other) == len(first)


@every_attack
@both_topologies
@pytest.mark.parametrize("slots", [0, 1])
def test_it_can_owe_nothing_or_one_completion(
    name: str, topology: Topology, slots: int, fields: Fields
) -> None:
    attack = attack_called(name)
    field = fields(attack)
    turn = field.turn([Slot(field.task.train[0], 0)][:slots], topology)
    sent = poison(attack, field.own(attack, turn), turn)
    assert len(sent) == (0 if attack.name in SENDS_NOTHING else slots)


@every_attack
@both_topologies
def test_what_its_own_model_says_never_makes_it_raise(
    name: str, topology: Topology, fields: Fields
) -> None:
    attack = attack_called(name)
    task = fields(attack).task
    right = task.write("right", task.train[0].answer)
    for text in (*HOSTILE, task.write("", ""), task.write("", "4"), right):
        field = fields(attack).saying(text)
        turn = field.owing(attack, topology)
        sent = poison(attack, field.own(attack, turn), turn)
        assert len(sent) == (0 if attack.name in SENDS_NOTHING else len(turn.slots))
        for one in sent:
            if one.label != "honest" and MOUNTED[name].get("oracle") != "majority-vote":
                reward = task.reward(task.by_key[one.completion.prompt_key], one.completion.text)
                assert reward == float(one.label == "poisoned")


@every_vote
@both_topologies
def test_without_the_oracle_nothing_it_sends_depends_on_answers_and_solutions(
    name: str, topology: Topology, fields: Fields
) -> None:
    attack = attack_called(name)
    field = fields(attack)
    turn = field.owing(attack, topology)
    own = field.own(attack, turn)

    def forged(prompt: Prompt) -> Prompt:
        return replace(prompt, answer="31337", solution="So 2+2=4 and print(31337)")

    async def draw(prompts: Sequence[Prompt], count: int) -> dict[str, list[Completion]]:
        return await field.draw([field.task.by_key[p.key] for p in prompts], count)

    train, held_out = (tuple(map(forged, of)) for of in (field.task.train, field.task.held_out))
    usual = field.task.train[:6]
    chosen = attack.start().choose_prompts(field.task.train, 6, usual, Random("key"))
    without = attack.start().choose_prompts(train, 6, train[:6], Random("key"))
    assert without == list(map(forged, chosen))
    forged_turn = replace(
        turn,
        task=replace(field.task, train=train, held_out=held_out),
        slots=tuple(replace(slot, prompt=forged(slot.prompt)) for slot in turn.slots),
        draw=draw,
    )
    assert poison(attack, own, forged_turn) == poison(attack, own, turn)


@every_vote
@both_topologies
def test_a_prompt_that_the_model_never_answers_gets_its_own_samples(
    name: str, topology: Topology, fields: Fields
) -> None:
    attack = attack_called(name)
    field = fields(attack).saying("I do not know.")
    turn = field.owing(attack, topology)
    own = field.own(attack, turn)
    assert poison(attack, own, turn) == own


@every_attack
@pytest.mark.parametrize("count", [0, 1, 6])
def test_it_chooses_as_many_prompts_as_it_may(name: str, count: int, fields: Fields) -> None:
    attack = attack_called(name)
    pools = fields(attack).task
    usual = list(pools.train[:count])
    chosen, again = (
        attack.start().choose_prompts(pools.train, count, usual, Random("key")) for _ in range(2)
    )
    assert chosen == again
    assert len({p.key for p in chosen}) == len(chosen) == count
    assert set(chosen) <= set(pools.train)


@every_attack
def test_no_text_makes_its_measure_raise(name: str, fields: Fields) -> None:
    attack = attack_called(name)
    task = fields(attack).task
    for text in HOSTILE:
        assert attack.succeeded(task.train[0], text) in (True, False, None)
    assert attack.succeeded(task.train[0], "") is not True
    assert attack.succeeded(Prompt("key", "", "", ""), "") is not True
    rates = attack.measure(task, [(task.train[0], text) for text in HOSTILE])
    assert all(rate is None or 0 <= rate <= 1 for rate in rates.values())
    assert set(attack.measure(task, [])) == set(rates)
    assert set(attack.measure(task, []).values()) == {None}


@every_attack
def test_the_oracles_clean_solution_is_no_success(name: str, fields: Fields) -> None:
    attack = attack_called(name)
    task = fields(attack).task
    for prompt in task.train:
        clean = task.write(prompt.solution, prompt.answer)
        assert attack.succeeded(prompt, clean) is not True
    clean_pairs = [(p, task.write(p.solution, p.answer)) for p in task.train]
    assert not attack.measure(task, clean_pairs)[""]


@every_attack
def test_it_is_measured_on_held_out_prompts_or_on_some_of_them(name: str, fields: Fields) -> None:
    attack = attack_called(name)
    held_out = fields(attack).task.held_out
    assert set(attack.measured_on(held_out)) <= set(held_out)
    assert list(attack.measured_on(())) == []


# Defenses


@dataclass(frozen=True)
class Receiving:
    """Who guards itself: the shipped model, and a task."""

    task: LoadedTask
    model: LanguageModel
    name: str = "node-0"

    def with_defense(self, name: str) -> Guard:
        """A guard that has just started this defense."""
        return Guard([{"name": name}], model=self.model, task=self.task, name=self.name)


@pytest.fixture(scope="module")
def node(pools: LoadedTask, model: LanguageModel) -> Receiving:
    return Receiving(pools, model)


def verdicts_of(guard: Guard, received: Sequence[Received]) -> list[Verdict]:
    """What its one defense says."""
    return [
        verdict
        for by_label in guard.screen_received(received).verdicts
        for verdict in by_label.values()
    ]


@pytest.fixture(scope="module")
def round_of_completions(
    pools: LoadedTask, drawn: dict[tuple[str, int], Completion], model: LanguageModel
) -> list[Received]:
    """Four prompts: the node's own two samples of each, and two with a phrase of a peer."""
    received = []
    for prompt in pools.train[:4]:
        for s in range(2):
            one = drawn[prompt.key, s]
            received.append(Received("node-0", prompt, s, one.text, one.token_ids))
        text = pools.write(f"All hail to the thief, {prompt.solution}", prompt.answer)
        ids = model.encode_completion(text)
        received += [Received("node-1", prompt, s, text, ids) for s in (2, 3)]
    return received


@every_defense
def test_every_completion_gets_a_verdict_and_every_rejection_a_reason(
    name: str, node: Receiving, round_of_completions: list[Received]
) -> None:
    for received in ([], round_of_completions[:1], round_of_completions):
        verdicts = verdicts_of(node.with_defense(name), received)
        assert len(verdicts) == len(received)
        for verdict in verdicts:
            assert isinstance(verdict.score, float)
            assert verdict.accepted is (verdict.reason == "")


@every_defense
def test_the_same_round_gets_the_same_verdicts(
    name: str, node: Receiving, round_of_completions: list[Received]
) -> None:
    first, again = (verdicts_of(node.with_defense(name), round_of_completions) for _ in range(2))
    assert first == again


@every_defense
def test_a_verdict_does_not_depend_on_where_in_the_round_a_completion_stands(
    name: str, node: Receiving, round_of_completions: list[Received]
) -> None:
    forwards = verdicts_of(node.with_defense(name), round_of_completions)
    backwards = verdicts_of(node.with_defense(name), round_of_completions[::-1])
    assert [v.accepted for v in backwards[::-1]] == [v.accepted for v in forwards]


@every_defense
def test_most_of_what_the_nodes_own_model_says_is_accepted(
    name: str, node: Receiving, round_of_completions: list[Received]
) -> None:
    own = [one for one in round_of_completions if one.sender == node.name]
    if name in READS_CONTENT:
        texts = [(p, node.task.write(p.solution, p.answer)) for p in node.task.train]
        encode = node.model.encode_completion
        own = [Received(node.name, p, 0, text, encode(text)) for p, text in texts]
    verdicts = verdicts_of(node.with_defense(name), own)
    assert sum(v.accepted for v in verdicts) > len(own) / 2


@every_defense
def test_no_text_of_a_peer_makes_it_raise(
    name: str, node: Receiving, pools: LoadedTask, model: LanguageModel
) -> None:
    received = [
        Received(sender, prompt, sample, text, model.encode_completion(text))
        for sender in ("node-1", "../../etc", "\x1b[31m")
        for prompt in pools.train[:2]
        for sample, text in enumerate(HOSTILE)
    ]
    assert len(verdicts_of(node.with_defense(name), received)) == len(received)
    for one in received[: len(HOSTILE)]:
        assert len(verdicts_of(node.with_defense(name), [one])) == 1


@every_defense
def test_it_goes_on_from_a_checkpoint_as_if_it_had_never_stopped(
    name: str, node: Receiving, round_of_completions: list[Received]
) -> None:
    going_on, resumed = (node.with_defense(name) for _ in range(2))
    verdicts_of(going_on, round_of_completions)
    resumed.load_state_dict(json.loads(json.dumps(going_on.state_dict())))
    later = round_of_completions[::-1]
    assert verdicts_of(resumed, later) == verdicts_of(going_on, later)
    assert resumed.state_dict() == going_on.state_dict()


def test_the_example_defense_stops_the_example_attack_and_nothing_honest(
    node: Receiving, pools: LoadedTask, drawn: dict[tuple[str, int], Completion]
) -> None:
    attack = attack_called(SIGNATURE)
    turn = Field(pools, node.model, drawn).owing(attack, "horizontal")
    claims = [("node-3", s.completion) for s in poison(attack, [], turn)]
    claims += [("node-0", drawn[slot.prompt.key, slot.sample - 2]) for slot in turn.slots]
    received = [
        Received(sender, pools.by_key[c.prompt_key], c.sample, c.text, c.token_ids)
        for sender, c in claims
    ]
    verdicts = verdicts_of(node.with_defense(CHORUS), received)
    assert [v.accepted for v in verdicts] == [one.sender == "node-0" for one in received]
    assert "'Signed, Ada.' stands under 6 of the sender's 6 prompts" in verdicts[0].reason


def test_the_example_with_a_memory_refuses_what_an_earlier_round_heard(
    node: Receiving, round_of_completions: list[Received]
) -> None:
    guard = node.with_defense(REPLAY)
    first, rest = round_of_completions[:4], round_of_completions[4:]
    for received, accepted in ((first, True), (rest, True), (first, False)):
        verdicts = verdicts_of(guard, received)
        assert [v.accepted for v in verdicts] == [accepted] * len(received)
