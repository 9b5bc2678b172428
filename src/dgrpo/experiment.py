"""`Experiment`: one frozen, validated description of a run. TOML in, digest out.

Everything that decides what a run computes is here; everything here is checked before a model is
loaded. The digest covers what a finished round depends on: not the name, the number of rounds, the
evaluation or what is recorded, so that a finished run can be extended.
"""

from __future__ import annotations

import codecs
import hashlib
import json
import tomllib
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, cast

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializeAsAny,
    ValidationError,
    field_validator,
    model_validator,
)

from dgrpo.attacks import Attack
from dgrpo.attacks.honest import Honest
from dgrpo.defenses import Defense
from dgrpo.errors import DgrpoError
from dgrpo.escaping import shown
from dgrpo.exchange import Exchange
from dgrpo.exchange.memory import Memory
from dgrpo.exchange.spelling import Belief
from dgrpo.learning.policies import Policy, PolicySettings
from dgrpo.learning.policies.local import Local
from dgrpo.learning.settings import LearnerSettings
from dgrpo.measurement.choice import check_measured, chosen_measures
from dgrpo.overrides import apply_override
from dgrpo.plugins import build, plugin_sources
from dgrpo.policy.settings import ModelSettings, Sampling
from dgrpo.sandbox import Library
from dgrpo.tasks import Task
from dgrpo.tasks.assignment import Assignment, Topology, check_divides

OUTSIDE_DIGEST = ("name", "claim", "rounds", "evaluation", "recording", "measure")
"""Settings a finished round does not depend on: a run can be extended and measured otherwise."""

LATE: dict[str, object] = {"policy": Local(), "exchange": Memory(), "admission": Belief()}
"""Settings that older runs do not name: they are part of the digest only if they differ."""

_FROZEN = ConfigDict(
    frozen=True, extra="forbid", use_attribute_docstrings=True, arbitrary_types_allowed=True
)


class Evaluation(BaseModel):
    """How a model is measured on held-out prompts."""

    model_config = _FROZEN

    samples: int = Field(64, ge=1)
    """Held-out completions per round."""
    final_samples: int = Field(1024, ge=1)
    """Held-out completions at the first and last point; at least 1,000 for quoted figures."""
    examples: int = Field(2, ge=0)
    """Held-out completions kept in rounds.jsonl for people to read."""


class Recording(BaseModel):
    """What a run keeps on disk beside its figures."""

    model_config = _FROZEN

    checkpoint_every: int = Field(10, ge=1)
    """Rounds between checkpoints; an interrupted run goes on from the last one."""
    completions: Literal["all", "sampled", "none"] = "sampled"
    """Rows of completions/: every round, every `text_every`-th round, or none."""
    model: bool = False
    """Keep the final model of the first honest node as a Hugging Face folder, `seed-N/model`."""
    text_every: int = Field(10, ge=1)
    """Rounds between recorded ones when sampled; the first is always recorded."""


class NamedDefense(BaseModel):
    """A defense and what this experiment calls it."""

    model_config = _FROZEN

    label: str
    """Name in counts and tables; the plug-in's own unless the file gives one."""
    check: SerializeAsAny[Defense]


class Experiment(BaseModel):
    """A run, completely: task, swarm, model, learner, attacks and defenses."""

    model_config = _FROZEN

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]*$", max_length=80)
    """Names the run folder: lower case letters, digits, `.`, `_`, `-`."""
    claim: str = ""
    """One sentence: what this experiment is to test."""
    rounds: int = Field(50, ge=1)
    """Updates every node makes (paper: 100)."""
    topology: Topology = "horizontal"
    """Who answers what: `horizontal` or `vertical`."""
    nodes: int = Field(4, ge=1)
    """m, the number of nodes (paper: 4)."""
    malicious: int = Field(0, ge=0)
    """How many of them, the last ones, mount an attack (paper: 1)."""
    prompts_per_round: int = Field(16, ge=1)
    """B, prompts per round over the whole swarm (paper: 32)."""
    group_size: int = Field(12, ge=2)
    """G, completions per prompt (paper: 12)."""
    on_reject: Literal["drop", "zero-reward"] = "drop"
    """Leave a rejected completion out and recompute its group, or give it reward 0 (paper)."""
    measure: tuple[SerializeAsAny[Attack], ...] = ()
    """Attacks whose success is measured on held-out completions, whatever attack is mounted. A name
    alone takes the mounted attack's knobs. Not given: the mounted attacks that have a rate."""
    task: SerializeAsAny[Task]
    """Prompts and reward."""
    model: tuple[ModelSettings, ...]
    """One model for all nodes, or one per node."""
    sampling: Sampling | tuple[Sampling, ...] = Sampling()
    """How completions are drawn, on all nodes or one table per node."""
    policy: SerializeAsAny[Policy] = Local()
    """How a node's model is held and trained."""
    admission: Belief = Belief()
    """Which token ids are believed of those that come with a text."""
    learner: LearnerSettings = LearnerSettings()
    """How nodes learn."""
    exchange: SerializeAsAny[Exchange] = Memory()
    """How messages travel between nodes."""
    attack: tuple[SerializeAsAny[Attack], ...] = ()
    """One attack for all malicious nodes, or one per malicious node."""
    defense: tuple[NamedDefense, ...] = ()
    """Checks that every node makes on every completion."""
    evaluation: Evaluation = Evaluation()
    """Held-out measurement."""
    recording: Recording = Recording()
    """What is kept on disk."""

    @field_validator("task", mode="before")
    @classmethod
    def _task(cls, value: object) -> object:
        return _plugin("tasks", value, "task")

    @field_validator("policy", mode="before")
    @classmethod
    def _policy(cls, value: object) -> object:
        return _plugin("policies", value, "policy")

    @field_validator("exchange", mode="before")
    @classmethod
    def _exchange(cls, value: object) -> object:
        return _plugin("exchanges", value, "exchange")

    @field_validator("attack", mode="before")
    @classmethod
    def _attacks(cls, value: object) -> object:
        return tuple(_plugin("attacks", v, f"attack{i}") for v, i in _numbered(value))

    @field_validator("measure", mode="before")
    @classmethod
    def _measures(cls, value: object) -> object:
        return tuple(_plugin("attacks", v, f"measure{i}") for v, i in _numbered(value))

    @field_validator("model", mode="before")
    @classmethod
    def _models(cls, value: object) -> object:
        models = value if isinstance(value, list | tuple) else (value,)
        return tuple({"name": one} if isinstance(one, str) else one for one in models)

    @field_validator("sampling", mode="before")
    @classmethod
    def _samplings(cls, value: object) -> object:
        tables = [_sampling(one, f"sampling{i}") for one, i in _numbered(value)]
        return tables[0] if len(tables) == 1 else tuple(tables)

    @field_validator("defense", mode="before")
    @classmethod
    def _defenses(cls, value: object) -> object:
        return named_defenses(value)

    @model_validator(mode="before")
    @classmethod
    def _measure_what_is_mounted(cls, table: Any) -> Any:
        """A measure given by name alone is the mounted attack of that class, knobs included.

        Where none is given at all, it is every mounted attack that has a rate.
        """
        if not isinstance(table, Mapping) or not table.get("measure", True):
            return table
        attacks = [
            _plugin("attacks", attack, f"attack{index}")
            for attack, index in _numbered(table.get("attack", ()))
        ]
        given = None
        if "measure" in table:
            given = [measure for measure, _ in _numbered(table["measure"])]
        return {**table, "attack": attacks, "measure": chosen_measures(given, attacks)}

    @model_validator(mode="after")
    def _consistent(self) -> Experiment:
        check_measured(self.measure, self.attack)
        check_divides(self.topology, self.nodes, self.prompts_per_round, self.group_size)
        if self.malicious >= self.nodes:
            raise DgrpoError(
                f"malicious = {self.malicious} leaves no honest node of nodes = {self.nodes}",
                remedy=f"use malicious = {self.nodes - 1} or fewer, or more nodes",
            )
        for field, given, least, wanted in (
            ("attack", len(self.attack), 0, self.malicious),
            ("model", len(self.model), 1, self.nodes),
            ("sampling", len(self._sampled), 1, self.nodes),
        ):
            if given not in (least, 1, wanted):
                raise DgrpoError(
                    f"{field}: {given} tables are given",
                    remedy=f"give one for all, or {wanted}",
                )
        if self.attack and not self.malicious:
            raise DgrpoError(
                "attack is given but malicious = 0", remedy="set malicious, or remove attack"
            )
        if self.malicious and not self.attack:
            raise DgrpoError(
                f"malicious = {self.malicious}, but attack is missing",
                remedy='give an [attack]; name = "honest" is the control',
            )
        _no_two_alike("defense", [d.label for d in self.defense], "give each a `label` of its own")
        _no_two_alike("measure", [a.name for a in self.measure], "measure each attack once")
        return self

    def assignment(self, seed: int) -> Assignment:
        """How prompts are dealt in the run with this seed."""
        return Assignment(self.topology, self.nodes, self.prompts_per_round, self.group_size, seed)

    def attack_of(self, node: int) -> Attack:
        """The attack of node number `node`; malicious nodes are the last ones."""
        first = self.nodes - self.malicious
        if node < first:
            return Honest()
        return self.attack[(node - first) % len(self.attack)]

    def libraries(self) -> list[Library]:
        """What attacks, mounted or only measured, need where programs run: a control has it too."""
        attacks = (*self.attack, *self.measure)
        return list(dict.fromkeys(one for attack in attacks for one in attack.libraries()))

    def model_of(self, node: int) -> ModelSettings:
        """The model that node number `node` starts from."""
        return self.model[node % len(self.model)]

    def sampling_of(self, node: int) -> Sampling:
        """How node number `node` draws completions."""
        return self._sampled[node % len(self._sampled)]

    @property
    def longest(self) -> int:
        """The most tokens that any node may draw: all nodes' models need positions for them."""
        return max(one.max_tokens for one in self._sampled)

    @property
    def _sampled(self) -> tuple[Sampling, ...]:
        return (self.sampling,) if isinstance(self.sampling, Sampling) else self.sampling

    def policy_settings(self, node: int) -> PolicySettings:
        """What the model of node number `node` is made of."""
        return PolicySettings(
            model=self.model_of(node),
            learner=self.learner,
            sampling=self.sampling_of(node),
            completions=self.prompts_per_round * self.group_size,
        )

    @property
    def roster(self) -> tuple[str, ...]:
        """Names of the nodes, in the order that every node agrees on."""
        return tuple(f"node-{index}" for index in range(self.nodes))

    def resolved(self) -> dict[str, Any]:
        """Everything, defaults included, as JSON values; `Experiment(**resolved)` is equal."""
        plugged = {"task", "policy", "exchange", "attack", "measure", "defense"}
        return {
            **self.model_dump(mode="json", exclude=plugged),
            "task": self.task.settings(),
            "policy": self.policy.settings(),
            "exchange": self.exchange.settings(),
            "attack": [a.settings() for a in self.attack],
            "measure": [a.settings() for a in self.measure],
            "defense": [{"label": d.label, **d.check.settings()} for d in self.defense],
        }

    def identity(self) -> dict[str, Any]:
        """The part of `resolved` that a finished round depends on."""
        outside = set(OUTSIDE_DIGEST)
        outside |= {key for key, usual in LATE.items() if getattr(self, key) == usual}
        plain = {key: value for key, value in self.resolved().items() if key not in outside}
        checks = (defense.check for defense in self.defense)
        sources = plugin_sources([self.task, self.policy, self.exchange, *self.attack, *checks])
        return {**plain, "sources": sources} if sources else plain

    @cached_property
    def digest(self) -> str:
        """16 hex digits over `identity`."""
        text = json.dumps(self.identity(), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def load_experiment(path: Path, overrides: Mapping[str, Any] | None = None) -> Experiment:
    """Read an experiment file and apply dotted overrides such as `attack.phrase`.

    Raises DgrpoError naming field, value and remedy.
    """
    table = _read_table(path)
    if not table and "name" not in (overrides or {}):
        raise DgrpoError(
            f"{path} is empty: it holds no setting",
            remedy="write the experiment into it; the shipped ones are in experiments/",
        )
    for dotted, value in (overrides or {}).items():
        apply_override(table, dotted, value)
    return experiment_from(table)


def _read_table(path: Path) -> dict[str, Any]:
    """A file's TOML; a byte-order mark, as Windows' editors write, is passed over."""
    try:
        content = path.read_bytes()
        if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            raise DgrpoError(f"{path} is written in UTF-16", remedy="save it as UTF-8")
        text = content.decode("utf-8-sig")
        return tomllib.loads(text.replace("\r\n", "\n").replace("\r", "\n"))
    except FileNotFoundError:
        raise DgrpoError(
            f"no experiment file {path}", remedy="the shipped ones are in experiments/"
        ) from None
    except OSError as error:
        raise DgrpoError(f"{path} cannot be read: {error.strerror or error}") from None
    except (ValueError, RecursionError) as error:  # also no UTF-8, or a path that can be none
        raise DgrpoError(f"{path} is not valid TOML: {error}") from None


def experiment_from(table: Mapping[str, Any]) -> Experiment:
    """Validate a table; missing `task` and `model` get the embedded defaults.

    So does a task without a name: `--task.train 64` is for a file without a task, too.
    """
    settings = {"task": {}, "model": {}, **table}
    if isinstance(settings["task"], Mapping):
        settings["task"] = {"name": "gsm-symbolic", **settings["task"]}
    try:
        return Experiment(**settings)
    except ValidationError as error:
        known = _known_fields(error)
        raise DgrpoError.from_validation(error, "", known) from None


def named_defenses(value: object) -> tuple[NamedDefense, ...]:
    """Defenses from a name, a table, or a list of them, as an experiment file gives them.

    Raises DgrpoError for an unknown defense or setting, and for two of one label.
    """
    named = []
    for table, index in _numbered(value):
        if not isinstance(table, str | Mapping):
            named.append(table)  # a NamedDefense, or pydantic says what is wrong with it
            continue
        settings = {"name": table} if isinstance(table, str) else dict(table)
        label = settings.pop("label", None)
        check = cast(Defense, build("defenses", settings, f"defense{index}"))
        named.append(NamedDefense(label=check.name if label is None else label, check=check))
    return tuple(named)


def _numbered(value: object) -> list[tuple[Any, str]]:
    """(table, index as error messages show it) of one table, one name or a list of them."""
    if isinstance(value, list | tuple):
        return [(entry, f"[{index}]") for index, entry in enumerate(value)]
    return [(value, "")]


def _no_two_alike(field: str, names: Sequence[str], remedy: str) -> None:
    for name in names:
        if names.count(name) > 1:
            raise DgrpoError(f"{field}: two are called {name!r}", remedy=remedy)


def _plugin(kind: str, value: Any, where: str) -> object:
    if isinstance(value, str):
        return build(kind, {"name": value}, where)
    return build(kind, dict(value), where) if isinstance(value, Mapping) else value


def _sampling(value: object, where: str) -> Sampling:
    if isinstance(value, Sampling):
        return value
    if not isinstance(value, Mapping):
        raise DgrpoError(
            f"{where} = {shown(value)}: it is no table",
            remedy="give its settings, e.g. sampling = {max_tokens = 96}",
        )
    try:
        return Sampling.model_validate(value)
    except ValidationError as error:
        known = list(Sampling.model_fields)
        raise DgrpoError.from_validation(error, where, known) from None


def _known_fields(error: ValidationError) -> list[str]:
    """Names that are valid where the first unknown setting stands."""
    tables: dict[str, type[BaseModel]] = {
        "admission": Belief,
        "learner": LearnerSettings,
        "evaluation": Evaluation,
        "recording": Recording,
        "model": ModelSettings,
    }
    for fault in error.errors(include_url=False):
        if fault["type"] == "extra_forbidden":
            location: Sequence[int | str] = fault["loc"]
            inside = tables.get(str(location[0])) if len(location) > 1 else None
            return list((inside or Experiment).model_fields)
    return []
