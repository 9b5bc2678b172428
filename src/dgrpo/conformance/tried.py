"""Which plug-ins are tried, and with which settings; leaves out what they are tried on.

A test function says what it needs by its parameters: `kind` and `name` of a plug-in, or `voting`,
the name of an attack that works without the dataset's oracle.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from dgrpo.attacks import RewardedAttack
from dgrpo.plugins import KINDS, find, find_anywhere

VARIABLE = "DGRPO_CONFORMANCE"
"""Environment variable with the plug-ins to try: names or `path.py:Class`, commas between them."""
FOR_ALL = "every_plugin"
SUITES = (FOR_ALL, *KINDS)
"""The files with promises."""
VOTING = " without oracle"
"""What the name of an attack ends in when it votes in place of asking the dataset's oracle."""
SMALL = {"train": 24, "held_out": 8}
"""Sizes of a task's pools, where its knobs of these names are whole numbers."""

NAMED = pytest.StashKey[dict[str, list[str]]]()
"""Where pytest's configuration holds the plug-ins to try, by kind."""

Tried = Mapping[str, Sequence[str]]
"""Names of plug-ins by kind."""


def by_kind(names: Sequence[str]) -> dict[str, list[str]]:
    """The plug-ins of `names` by kind. Raises DgrpoError for one that is not found."""
    found: dict[str, list[str]] = {}
    for name in dict.fromkeys(names):
        found.setdefault(find_anywhere(name)[1], []).append(name)
    return found


def named_by_environment() -> list[str]:
    """What the environment variable names."""
    return [name.strip() for name in os.environ.get(VARIABLE, "").split(",") if name.strip()]


def parametrise(metafunc: pytest.Metafunc, tried: Tried) -> None:
    """Let a promise be tried on every plug-in that it is about."""
    suite = metafunc.function.__module__.rpartition(".")[2]
    if "kind" in metafunc.fixturenames:
        pairs = [(kind, name) for kind in KINDS for name in tried.get(kind, ())]
        metafunc.parametrize(("kind", "name"), pairs, ids=short)
        return
    names = tried.get(suite, ())
    voting = [n + VOTING for n in names if suite == "attacks" and votes(n)]
    if "voting" in metafunc.fixturenames:
        metafunc.parametrize("voting", voting, ids=short)
    elif "name" in metafunc.fixturenames:
        metafunc.parametrize("name", [*names, *voting], ids=short)


def votes(attack: str) -> bool:
    """Whether an attack can work without the dataset's oracle."""
    return issubclass(find("attacks", attack), RewardedAttack)


def short(parameter: str) -> str:
    """A name without the folder of its file, as test ids show it."""
    return parameter.rpartition("/")[2]


def settings_of(kind: str, name: str, folder: Path) -> dict[str, Any]:
    """What the plug-in is tried with: its own example, small pools, its defaults for the rest."""
    plain = name.removesuffix(VOTING)
    cls = find(kind, plain)
    settings: dict[str, Any] = {"name": plain}
    if kind == "tasks":
        fields = cls.model_fields
        settings |= {f: n for f, n in SMALL.items() if f in fields and fields[f].annotation is int}
    if plain != name:
        settings["oracle"] = "majority-vote"
    return settings | cls.example_settings(folder)


def needed_settings(kind: str, name: str, folder: Path) -> dict[str, Any]:
    """The plug-in's defaults, and the knobs of its example that have none."""
    cls = find(kind, name)
    example = cls.example_settings(folder)
    fields = cls.model_fields.items()
    needed = {f: example[f] for f, field in fields if field.is_required() and f in example}
    return {"name": name, **needed}
