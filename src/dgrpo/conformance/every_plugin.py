"""What every plug-in promises, whatever its kind."""

from __future__ import annotations

import inspect
import json
import re
import sys
import tomllib
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from dgrpo.conformance.tried import needed_settings, settings_of
from dgrpo.errors import DgrpoError
from dgrpo.plugins import KINDS, available, build, find, plugin_name


def toml(settings: dict[str, Any]) -> str:
    """Settings as TOML; what is None is left out, as in a file."""

    def value(of: Any) -> str:
        if isinstance(of, dict):
            return "{" + ", ".join(f"{k} = {value(v)}" for k, v in of.items()) + "}"
        if isinstance(of, list):
            return "[" + ", ".join(map(value, of)) + "]"
        return json.dumps(of, ensure_ascii=False)

    return "\n".join(f"{k} = {value(v)}" for k, v in settings.items() if v is not None)


def test_it_is_built_from_its_defaults_under_the_name_it_was_asked_by(
    kind: str, name: str, tmp_path: Path
) -> None:
    """A knob without a default has its value from `example_settings`."""
    plugin = build(kind, needed_settings(kind, name, tmp_path), "here")
    assert isinstance(plugin, import_module(KINDS[kind]).BASE)
    assert plugin_name(type(plugin)) == name


def test_its_settings_written_as_toml_build_an_equal_one(
    kind: str, name: str, tmp_path: Path
) -> None:
    """A run folder holds the settings, and the plug-in is built from them again."""
    plugin = build(kind, settings_of(kind, name, tmp_path), "here")
    again = build(kind, tomllib.loads(toml(plugin.settings())), "here")
    assert again == plugin
    assert again.settings() == plugin.settings()


def test_its_knobs_cannot_be_changed_once_it_is_built(kind: str, name: str, tmp_path: Path) -> None:
    """What changes during a run lives in the object that it starts."""
    plugin = build(kind, needed_settings(kind, name, tmp_path), "here")
    with pytest.raises(ValidationError, match="frozen"):
        setattr(plugin, next(iter(type(plugin).model_fields), "anything"), 1)


def test_an_unknown_knob_is_named_with_the_nearest_one(
    kind: str, name: str, tmp_path: Path
) -> None:
    """Unknown settings are refused (`extra="forbid"`, as the base class has it)."""
    knob = next(iter(find(kind, name).model_fields), None)
    settings = needed_settings(kind, name, tmp_path)
    with pytest.raises(DgrpoError) as caught:
        build(kind, {**settings, f"{knob}x": 1}, "here")
    assert f"here.{knob}x is not a setting" in caught.value.problem
    assert (f"'{knob}'" if knob else "known: none") in caught.value.remedy


def test_it_and_each_of_its_knobs_are_documented(kind: str, name: str) -> None:
    """`dgrpo list` shows the class's first line, `dgrpo show` the string beneath each knob."""
    cls = find(kind, name)
    assert "__doc__" in vars(cls), "write a docstring into the class"
    first = (inspect.getdoc(cls) or "").split("\n")[0]
    assert len(first) > 20, "let the docstring's first line say what the plug-in does"
    assert first.endswith((".", ")")), "let the docstring's first line be a whole sentence"
    undocumented = [knob for knob, field in cls.model_fields.items() if not field.description]
    assert undocumented == [], "write a string beneath each knob"
    assert inspect.getdoc(sys.modules[cls.__module__]), "write a docstring into the file"


def test_its_name_is_lower_case_words_joined_by_hyphens(kind: str, name: str) -> None:
    """As the names that experiment files already have."""
    called = find(kind, name).name
    words = re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", called)
    assert words, f"the name is {called!r}"


def test_no_other_plug_in_of_its_kind_has_its_name(kind: str, name: str) -> None:
    """Both could not be installed side by side."""
    cls = find(kind, name)
    assert available(kind).get(cls.name, cls) is cls
