"""Every attack, on every engine and with every set of layers that this machine has."""

from __future__ import annotations

import os
import socket
import sys
import tempfile
import time
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.sandbox.hostile import (
    ALLOWED_CALLS,
    ATTACKS,
    ENDS,
    FATAL_CALLS,
    TRY,
    UNFILTERED_NUMBERS,
)

from dgrpo.sandbox import (
    Failed,
    Library,
    Program,
    Sandbox,
    SandboxSettings,
    SandboxUnavailable,
    open_sandbox,
    system_calls,
)

SECRET = "DGRPO_TEST_SECRET=the cat's name"
LAYERS: dict[str, dict[str, Any]] = {
    "worker": {"engine": "worker", "bubblewrap": "never"},
    "worker without namespaces": {
        "engine": "worker",
        "bubblewrap": "never",
        "namespaces": "never",
    },
    "worker in bubblewrap": {"engine": "worker", "bubblewrap": "always"},
    "monty": {"engine": "monty"},
}
FAILS_THERE = {"monty": {"monty"}, "worker in bubblewrap": {"bubblewrap"}}
"""The layer that a machine may lack, where its tests are skipped; others must hold."""


def open_or_skip(which: str, **settings: Any) -> Sandbox:
    if which != "monty" and sys.platform != "linux":
        pytest.skip("the worker runs on Linux")
    try:
        return open_sandbox(SandboxSettings(**{**LAYERS[which], **settings}))
    except SandboxUnavailable as error:
        if error.layer in FAILS_THERE.get(which, ()):
            pytest.skip(str(error))
        raise


@pytest.fixture(scope="module", autouse=True)
def secret() -> Iterator[None]:
    os.environ["DGRPO_TEST_SECRET"] = SECRET
    yield
    del os.environ["DGRPO_TEST_SECRET"]


def opened(which: str, wall_seconds: float = 120.0) -> Iterator[Sandbox]:
    """Patient by the clock, so that an attack ends by its own doing on a busy machine, too."""
    limits = {"cpu_seconds": 1, "wall_seconds": wall_seconds, "memory_mb": 128}
    with open_or_skip(which, workers=1, **limits) as sandbox:
        yield sandbox


@pytest.fixture(scope="module", params=list(LAYERS))
def sandbox(request: pytest.FixtureRequest, secret: None) -> Iterator[Sandbox]:
    yield from opened(request.param)


@pytest.fixture(scope="module", params=list(LAYERS))
def impatient(request: pytest.FixtureRequest, secret: None) -> Iterator[Sandbox]:
    """For what only waits."""
    yield from opened(request.param, wall_seconds=2.0)


@pytest.fixture(scope="module", params=[name for name in LAYERS if name != "monty"])
def worker(request: pytest.FixtureRequest, secret: None) -> Iterator[Sandbox]:
    """For what monty lacks: libraries, and the system calls that some attacks need."""
    yield from opened(request.param)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[dict[str, str]]:
    """What an attack would like to reach."""
    secret = tmp_path / "secret"
    secret.write_text(SECRET)
    open_folder = tmp_path / "open"
    open_folder.mkdir()
    open_folder.chmod(0o777)
    listening = socket.create_server(("127.0.0.1", 0))
    listening.settimeout(0.01)
    yield {
        "SECRET_FILE": str(secret),
        "OPEN_FOLDER": str(open_folder),
        "PORT": str(listening.getsockname()[1]),
        "TEST_PID": str(os.getpid()),
        "ALLOWED_NUMBERS": str(numbers(ALLOWED_CALLS)),
        "FATAL_NUMBERS": str(numbers(FATAL_CALLS)),
        "UNFILTERED_NUMBERS": str(UNFILTERED_NUMBERS),
    }
    with pytest.raises(TimeoutError):
        listening.accept()
    listening.close()
    assert secret.read_text() == SECRET
    assert list(open_folder.iterdir()) == []


def numbers(names: Collection[str]) -> list[int]:
    """Of the system calls that this machine's architecture has; none where there is no worker."""
    if sys.platform != "linux":
        return []
    known = system_calls.numbers(os.uname().machine)
    return [known[name] for name in names if name in known]


@pytest.mark.parametrize("name", [name for name in ATTACKS if name != "sleep"])
def test_an_attack_is_contained_and_called_by_its_name(
    sandbox: Sandbox, world: dict[str, str], name: str
) -> None:
    attacked(sandbox, world, name)


def test_a_program_that_only_waits_is_contained_too(
    impatient: Sandbox, world: dict[str, str]
) -> None:
    attacked(impatient, world, "sleep")


def attacked(sandbox: Sandbox, world: dict[str, str], name: str) -> None:
    """Run an attack: it ends as it has to, has achieved nothing, and the next program runs."""
    source = TRY + ATTACKS[name]
    for word, value in world.items():
        source = source.replace(word, value)
    before = descendants()
    [outcome] = sandbox.run([Program(source, expressions=("loot",))])

    on_a_worker = "worker" in sandbox.layers[-1]
    if on_a_worker:
        assert outcome.status in ENDS.get(name, {"finished"}), outcome
    else:  # monty lacks what most attacks import; its process does not even die
        assert outcome.status not in ("killed", "denied"), outcome
    loot = outcome.values[0] if outcome.status == "finished" else []
    assert not isinstance(loot, Failed)
    assert [found for found in loot if found not in ("False", "None")] == []
    assert SECRET not in repr(outcome)
    assert len(outcome.printed.encode()) <= 65536
    assert list(Path(tempfile.gettempdir()).glob("dgrpo-attack-*")) == []
    if on_a_worker:
        assert settled(before) == before, "a process was left behind, or the worker was killed"
    [after] = sandbox.run([Program("x = 6 * 7", expressions=("x",))])
    assert after.values == (42,)


def test_every_call_that_only_an_attack_makes_ends_the_run(worker: Sandbox) -> None:
    call = "import ctypes\nctypes.CDLL(None).syscall({}, *[ctypes.c_long(0)] * 6)"
    fatal = numbers(FATAL_CALLS)
    outcomes = worker.run([Program(call.format(number)) for number in fatal])
    assert len(fatal) == len(FATAL_CALLS)
    assert {n: o.status for n, o in zip(fatal, outcomes, strict=True) if o.status != "denied"} == {}


def test_a_hostile_library_is_as_confined_as_a_program(worker: Sandbox) -> None:
    library = Library("evil", "import os\ndef go():\n    return os.listdir('/')")
    program = Program("import evil", (library,), ("evil.go()",))
    [outcome] = worker.run([program])
    assert isinstance(outcome.values[0], Failed)
    assert outcome.values[0].kind == "PermissionError"


def test_a_run_finds_nothing_of_the_runs_before_it(sandbox: Sandbox) -> None:
    leaves = Program("import builtins, sys\nbuiltins.print = None\nsys.left = 'here'\nleft = 1")
    finds = Program("import sys\nprint('x')", expressions=("left",))
    outcomes = sandbox.run([leaves, finds] * 3)
    assert [o.values[0].kind for o in outcomes[1::2]] == ["NameError"] * 3
    assert [o.printed for o in outcomes[1::2]] == ["x\n"] * 3


def descendants() -> list[int]:
    """Processes beneath this one, zombies too."""
    if not Path("/proc").is_dir():
        return []
    parents = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                stat = (entry / "stat").read_text()
            except OSError:
                continue
            parents[int(entry.name)] = int(stat.rpartition(")")[2].split()[1])
    found = [os.getpid()]
    for pid in found:
        found += [child for child, parent in parents.items() if parent == pid]
    return sorted(found)


def settled(wanted: list[int]) -> list[int]:
    """`descendants`, once it is `wanted` or half a minute has passed."""
    deadline = time.monotonic() + 30.0
    while descendants() != wanted and time.monotonic() < deadline:
        time.sleep(0.01)
    return descendants()
