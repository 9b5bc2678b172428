"""The stages as pytest's fixtures, and the plug-in that a promise is tried on.

A conftest imports them. A model is loaded and sampled once for all promises.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from dgrpo.attacks import Attack
from dgrpo.conformance.stages import (
    Drawn,
    Field,
    Fields,
    Receiving,
    samples_of,
    small_pools,
)
from dgrpo.conformance.tried import settings_of
from dgrpo.exchange import Exchange
from dgrpo.guard import Guard
from dgrpo.learning.policies import Policy, PolicySettings, Trainable
from dgrpo.learning.settings import LearnerSettings
from dgrpo.plugins import build
from dgrpo.policy.model import LanguageModel, load_model
from dgrpo.policy.settings import ModelSettings, Sampling
from dgrpo.records import Received
from dgrpo.tasks import LoadedTask, Task
from dgrpo.tasks.gsm_python import GsmPython


@pytest.fixture(scope="session")
def pools() -> LoadedTask:
    """A task whose prompts every attack can work on."""
    return small_pools()


@pytest.fixture(scope="session")
def model() -> LanguageModel:
    """The shipped small model."""
    return load_model(ModelSettings())


@pytest.fixture(scope="session")
def drawn(model: LanguageModel, pools: LoadedTask) -> Drawn:
    """Four samples of the shipped model for each training prompt."""
    return samples_of(model, pools)


@pytest.fixture
def task(name: str, tmp_path: Path) -> LoadedTask:
    """The task that is tried."""
    built = build("tasks", settings_of("tasks", name, tmp_path), "task")
    assert isinstance(built, Task)
    return built.load()


@pytest.fixture
def attack(name: str, tmp_path: Path) -> Attack:
    """The attack that is tried."""
    built = build("attacks", settings_of("attacks", name, tmp_path), "attack")
    assert isinstance(built, Attack)
    return built


@pytest.fixture
def voter(voting: str, tmp_path: Path) -> Attack:
    """An attack that votes on its own samples, in place of asking the dataset's oracle."""
    built = build("attacks", settings_of("attacks", voting, tmp_path), "attack")
    assert isinstance(built, Attack)
    return built


@pytest.fixture(scope="session")
def fields(pools: LoadedTask, model: LanguageModel, drawn: Drawn) -> Fields:
    """The field of an attack: programs for attacks that bring a library, else plain answers."""
    made: dict[object, Field] = {(): Field(pools, model, drawn)}

    def field(attack: Attack) -> Field:
        brought = attack.libraries()
        if brought not in made:
            programs = GsmPython(train=24, held_out=8).load().with_libraries(brought)
            made[brought] = Field(programs, model, samples_of(model, programs))
        return made[brought]

    return field


@pytest.fixture(scope="session")
def node(pools: LoadedTask, model: LanguageModel) -> Receiving:
    """Who guards itself."""
    return Receiving(pools, model)


@pytest.fixture
def guard(name: str, node: Receiving, tmp_path: Path) -> Callable[[], Guard]:
    """Makes guards that have just started the defense that is tried."""
    return lambda: node.with_defense(settings_of("defenses", name, tmp_path))


@pytest.fixture(scope="session")
def round_of_completions(pools: LoadedTask, drawn: Drawn, model: LanguageModel) -> list[Received]:
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


@pytest.fixture
def load(name: str, tmp_path: Path) -> Callable[[], Trainable]:
    """Loads the shipped small model as the policy that is tried holds it."""
    policy = build("policies", settings_of("policies", name, tmp_path), "policy")
    assert isinstance(policy, Policy)
    learner = LearnerSettings(warmup_rounds=0)
    sampling = Sampling(max_tokens=24, top_k=5)
    settings = PolicySettings(ModelSettings(), learner, sampling, completions=4)
    return lambda: policy.load(settings)


@pytest.fixture
def exchange(name: str, tmp_path: Path) -> Exchange:
    """The exchange that is tried."""
    built = build("exchanges", settings_of("exchanges", name, tmp_path), "exchange")
    assert isinstance(built, Exchange)
    return built
