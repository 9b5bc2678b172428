"""The portable engine: what leaves it, and what is said where it is missing or a way out."""

from __future__ import annotations

import json
import logging
import math
import struct
import subprocess
import sys
from collections.abc import Iterator
from random import Random

import pydantic_monty
import pytest
from tests.sandbox.test_running import PATIENCE, linux, without_the_filter

from dgrpo.sandbox import (
    Examination,
    Failed,
    Program,
    Sandbox,
    SandboxSettings,
    SandboxUnavailable,
    monty_engine,
    monty_runs,
    monty_values,
    open_sandbox,
    opening,
)
from dgrpo.sandbox.inside import plain

COLLIDING = "{i * (2**61 - 1) for i in range(60000)}"
"""Building this set anew takes a minute of processor time: all hashes are 0."""
SETTINGS = SandboxSettings(engine="monty", workers=1)


@pytest.fixture(scope="module")
def monty() -> Iterator[Sandbox]:
    with open_sandbox(SETTINGS) as opened:
        yield opened


HOSTILE = {
    "as the last expression": (COLLIDING, ("1",)),
    "as a value": (f"x = {COLLIDING}", ("x", "[x]", "{1: x}")),
    "by an encoder of its own": (f"x = {COLLIDING}\ndgrpo_encode = lambda v: x", ("1",)),
    "by a name that it replaced": (f"x = {COLLIDING}\nstr = repr = len = lambda *v: x", ("x",)),
    "in an exception": (f"raise ValueError({COLLIDING})", ()),
    "as what it leaves with": (f"exit({COLLIDING})", ()),
}


@pytest.fixture
def brought(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Every value that monty hands to this process."""
    values: list[object] = []
    original = monty_runs.Speaker._tell

    def watched(self: monty_runs.Speaker, source: str, **more: object) -> object:
        values.append(original(self, source, **more))
        return values[-1]

    monkeypatch.setattr(monty_runs.Speaker, "_tell", watched)
    return values


@pytest.mark.parametrize("name", HOSTILE)
def test_no_value_of_a_program_is_built_here_unless_it_is_a_short_text(
    monty: Sandbox, brought: list[object], name: str
) -> None:
    source, expressions = HOSTILE[name]
    [outcome] = monty.run([Program(source, expressions=expressions)])
    assert all(one is None or (type(one) is str and len(one) <= 2**17) for one in brought)
    assert brought or outcome.status == "raised"
    assert all(one == 1 or isinstance(one, Failed) for one in outcome.values)


def test_nor_is_one_that_a_candidate_returns(monty: Sandbox, brought: list[object]) -> None:
    candidate = Program(f"def f(x):\n    return {COLLIDING}")
    tests = ("", "try:\n    f(1)\nexcept ValueError:\n    pass\nf")
    [outcome] = monty.examine([Examination(candidate, tests, "f")])
    assert outcome.status == "raised"
    assert all(one is None or type(one) is str for one in brought)


def test_values_come_out_as_they_are(monty: Sandbox) -> None:
    rng = Random(0)
    floats = [struct.unpack("<d", rng.randbytes(8))[0] for _ in range(60)]
    values: list[object] = [
        *(one for one in floats if math.isfinite(one)),
        *(0.0, 5e-324, -1.7976931348623157e308, 0.1 + 0.2, 2 + 0.5j),
        *(None, True, False, 0, -1, 2**63, -(2**80), 10**30, "", "é\"'\\\n", b"\x00\xff"),
        *([], (), {}, (1,), [[1, (2.5, "x")], {3: {4}}], {1, "a"}, frozenset((1, 2))),
    ]
    program = Program("x = 1", expressions=tuple(map(repr, values)))
    [outcome] = monty.run([program])
    assert outcome.status == "finished", outcome
    assert list(map(repr, outcome.values)) == list(map(repr, values))
    [special] = monty.run([Program("", expressions=("-0.0", "float('nan')", "-float('inf')"))])
    assert list(map(repr, special.values)) == ["-0.0", "nan", "-inf"]


@pytest.mark.parametrize(
    "text", [None, 3, "", "{}", "[]", '{"value": ["set", ["list"]]}', '{"value": 1.5}', "\ud800"]
)
def test_a_text_that_is_no_value_is_refused(text: object) -> None:
    with pytest.raises(plain.NotPlain):
        monty_values.read(text)


def test_a_program_that_takes_the_names_of_builtins_keeps_its_values(monty: Sandbox) -> None:
    taken = (
        "str = list = type = len = int = float = json = math = repr = isinstance = 3\nx = [1, 'a']"
    )
    [outcome] = monty.run([Program(taken, expressions=("x", "2.5"))])
    assert outcome.values == ([1, "a"], 2.5)


def test_sleeping_takes_no_time_and_no_thread(monty: Sandbox) -> None:
    program = Program("import time\nfor _ in range(100):\n    time.sleep(10**6)\nprint(54)")
    [outcome] = monty.run([program])
    assert (outcome.status, outcome.printed) == ("finished", "54\n")


def test_time_by_the_clock_counts_over_all_that_a_run_is_asked(
    monty: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Limits of monty's own begin anew with every snippet."""
    now = [0.0]

    class Clock:
        @staticmethod
        def monotonic() -> float:
            now[0] += 1.0
            return now[0]

    monkeypatch.setattr(monty_runs, "time", Clock)
    [outcome] = monty.run([Program("x = 1", expressions=("x",) * 50)])
    assert (outcome.status, outcome.values) == ("timeout", ())
    tests = (
        "",
        "for _ in range(50):\n    try:\n        f(1)\n    except Exception:\n        pass\n",
    )
    candidate = Program("def f(x):\n    return x")
    [outcome] = monty.examine([Examination(candidate, tests, "f")])
    assert outcome.status == "timeout"


def test_tests_that_catch_everything_do_not_pass_what_ran_out_of_time() -> None:
    tests = ("", "try:\n    f(1)\nexcept Exception:\n    pass\n")
    candidate = Program("def f(x):\n    while True:\n        pass")
    with open_sandbox(SETTINGS.model_copy(update={"cpu_seconds": 1})) as quick:
        [outcome] = quick.examine([Examination(candidate, tests, "f")])
    assert outcome.status == "timeout"


# Where it is missing


def test_a_missing_binary_is_said_with_its_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MONTY_BIN", "/nowhere/monty")
    with pytest.raises(SandboxUnavailable, match="/nowhere/monty") as refused:
        open_sandbox(SETTINGS)
    assert refused.value.layer == "monty"
    assert "pip install" in refused.value.remedy


def test_a_binary_that_cannot_be_found_is_too(monkeypatch: pytest.MonkeyPatch) -> None:
    def nowhere(**_: object) -> object:
        raise FileNotFoundError("could not locate the `monty` binary")

    monkeypatch.setattr(monty_engine, "Monty", nowhere)
    with pytest.raises(SandboxUnavailable, match="could not locate"):
        open_sandbox(SETTINGS)


def test_another_program_in_its_place_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MONTY_BIN", "/bin/true")
    with pytest.raises(SandboxUnavailable, match="monty"):
        open_sandbox(SETTINGS)


def test_a_package_that_cannot_be_imported_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where the bindings are of a release without what is used here."""
    monkeypatch.delattr(pydantic_monty, "CollectString")
    monkeypatch.delitem(sys.modules, "dgrpo.sandbox.monty_engine")
    with pytest.raises(SandboxUnavailable, match="cannot be imported") as refused:
        open_sandbox(SETTINGS)
    assert "--force-reinstall" in refused.value.remedy


# Where it is the way out


@linux
def test_falling_back_is_said_with_what_is_lost(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    without_the_filter(monkeypatch)
    with caplog.at_level(logging.WARNING), open_sandbox(SandboxSettings(workers=1)) as fallen:
        assert fallen.layers[0] == "monty interpreter"
    [said] = [record.getMessage() for record in caplog.records]
    assert "subset of Python without other libraries" in said
    assert "system call filter" in said
    caplog.clear()
    open_sandbox(SETTINGS).close()  # asked for: nothing to say
    assert not caplog.records


@linux
def test_where_neither_holds_both_reasons_are_given(monkeypatch: pytest.MonkeyPatch) -> None:
    without_the_filter(monkeypatch)
    monkeypatch.setenv("MONTY_BIN", "/nowhere/monty")
    with pytest.raises(SandboxUnavailable, match=r"system call filter(.|\n)*/nowhere/monty"):
        open_sandbox(SandboxSettings(workers=1))
    assert opening.find_spec("pydantic_monty")


def test_a_trainer_is_not_kept_by_what_a_program_leaves() -> None:
    """In a process of its own, which a conversion out there would keep for minutes."""
    script = (
        "import json, sys\nfrom dgrpo.sandbox import *\n"
        "s = open_sandbox(SandboxSettings(engine='monty', workers=1))\n"
        "programs = [Program(x) for x in json.loads(sys.argv[1])]\n"
        "print([o.status for o in s.run(programs)])\n"
    )
    large = "{i * (2**61 - 1) for i in range(400000)}"  # an hour
    done = subprocess.run(
        [sys.executable, "-c", script, json.dumps([large, f"x = {large}\nx"])],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert done.stdout == "['finished', 'finished']\n", done.stderr
