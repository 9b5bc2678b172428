"""The conformance suite over every registered plug-in, and over the examples.

A new plug-in is in it as soon as it is registered.
"""

from __future__ import annotations

import inspect
import os
import re
import subprocess
import sys

import pytest
from tests.conformance.named import IN_FILES, NAMES

from dgrpo.conformance.attacks import *  # noqa: F403
from dgrpo.conformance.defenses import *  # noqa: F403
from dgrpo.conformance.every_plugin import *  # noqa: F403
from dgrpo.conformance.exchanges import *  # noqa: F403
from dgrpo.conformance.policies import *  # noqa: F403
from dgrpo.conformance.tasks import *  # noqa: F403
from dgrpo.conformance.tried import SUITES, parametrise
from dgrpo.plugins import KINDS, Plugin, available, find


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if metafunc.function.__module__ != __name__:
        parametrise(metafunc, NAMES)


def test_every_promise_is_tried_here() -> None:
    promises = [
        name
        for suite in SUITES
        for name in vars(sys.modules[f"dgrpo.conformance.{suite}"])
        if name.startswith("test_")
    ]
    assert len(promises) > 35
    assert len(set(promises)) == len(promises), "one name hides the other"
    assert set(promises) <= set(globals())


def test_every_example_is_tried() -> None:
    tried = {name.rpartition("/")[2].partition(":")[0] for of in IN_FILES.values() for name in of}
    folder = next(iter(IN_FILES["attacks"])).rpartition("/")[0]
    assert tried == {file for file in os.listdir(folder) if file.endswith(".py")}


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
