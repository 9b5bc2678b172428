"""An interrupted caller gets its machine back: what runs is ended first, and nothing is left."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from tests.sandbox.test_hostile import LAYERS, open_or_skip
from tests.sandbox.test_running import (
    PATIENCE,
    alive,
    descendants,
    killed_after,
    linux,
    until,
)

from dgrpo.sandbox import Outcome, Program, Sandbox, SandboxBroken
from dgrpo.sandbox.jobs import Allowance
from dgrpo.sandbox.worker_engine import WorkerSandbox

ENDLESS = {"workers": 2, "wall_seconds": 3600.0, "cpu_seconds": 600}
"""Limits that no test waits for."""
LOOP = "while True:\n    pass"
WORKERS = [name for name in LAYERS if name != "monty"]

SCRIPT = """
import asyncio, json, sys
from dgrpo.sandbox import Program, SandboxSettings, open_sandbox

sandbox = open_sandbox(SandboxSettings(**json.loads(sys.argv[1])))
programs = [Program(f"x = {n}\\nwhile True:\\n    pass") for n in range(20)]

async def together():
    async def play():
        sandbox.run(programs)
    await asyncio.gather(play(), play())

print("begins", flush=True)
try:
    if sys.argv[2] == "asyncio":
        asyncio.run(together())
    else:
        sandbox.run(programs)
except KeyboardInterrupt:
    [after] = sandbox.run([Program("print(7)")])
    print("interrupted", after.printed.strip(), flush=True)
"""


@pytest.mark.parametrize("how", ["plain", "asyncio"])
@pytest.mark.parametrize("which", LAYERS)
def test_ctrl_c_ends_what_runs_and_the_sandbox_goes_on(which: str, how: str) -> None:
    open_or_skip(which, workers=1).close()
    settings = json.dumps({**LAYERS[which], **ENDLESS})
    trainer = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, settings, how],
        stdout=subprocess.PIPE,
        text=True,
        # a shell's background ignores it
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    assert trainer.stdout is not None
    with trainer, killed_after(PATIENCE, trainer), trainer.stdout:
        assert trainer.stdout.readline() == "begins\n"
        assert until(lambda: busy(trainer.pid, 2)), "no two runs began"
        started = descendants(trainer.pid)
        trainer.send_signal(signal.SIGINT)
        assert trainer.stdout.readline() == "interrupted 7\n"
        assert trainer.wait() == 0
    assert until(lambda: not any(map(alive, started)))


def busy(pid: int, wanted: int) -> bool:
    """Whether `wanted` processes below `pid` have computed for a while: runs, not workers."""
    return sum(ticks(child) > 20 for child in descendants(pid)) >= wanted


def ticks(pid: int) -> int:
    """Processor time of a process, hundredths of a second; 0 of one that is gone."""
    try:
        with open(f"/proc/{pid}/stat") as stat:
            fields = stat.read().rpartition(")")[2].split()
    except OSError:
        return 0
    return int(fields[11]) + int(fields[12])


@pytest.fixture(params=LAYERS)
def endless(request: pytest.FixtureRequest) -> Iterator[Sandbox]:
    with open_or_skip(request.param, **ENDLESS) as sandbox:
        yield sandbox


def test_closing_a_sandbox_ends_what_runs_in_it(endless: Sandbox) -> None:
    ends: list[Any] = []

    def run() -> None:
        try:
            ends.extend(endless.run([Program(LOOP)] * 4))
        except SandboxBroken as error:
            ends.append(str(error))

    caller = threading.Thread(target=run)
    before = descendants(os.getpid())
    caller.start()
    assert until(lambda: len(running(endless)) == 2)
    endless.close()
    caller.join(PATIENCE)
    assert not caller.is_alive()
    assert len(ends) == 1
    assert "closed while programs ran" in ends[0]
    assert until(lambda: not any(map(alive, set(descendants(os.getpid())) - set(before))))


def running(sandbox: Any) -> list[Any]:
    """Ends of what runs at the moment."""
    return [end for call in sandbox._jobs._calls for end in call._ends]


def test_an_interrupted_call_leaves_the_runs_of_another(endless: Sandbox) -> None:
    """Two tasks of one process share a sandbox; the cancelled one's programs alone are ended."""
    got: list[Outcome] = []
    source = "n = 0\nwhile n < 3 * 10**6:\n    n += 1\nprint(n)"
    other = threading.Thread(target=lambda: got.extend(endless.run([Program(source)])))

    async def interrupted() -> None:
        task = asyncio.current_task()
        assert task is not None
        other.start()
        assert until(lambda: running(endless))
        threading.Timer(0.2, task.cancel).start()  # as asyncio.run does on Ctrl-C
        endless.run([Program(LOOP)] * 4)

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(interrupted())
    other.join(PATIENCE)
    assert [outcome.printed for outcome in got] == ["3000000\n"]


@linux
@pytest.mark.parametrize("which", WORKERS)
def test_what_runs_dies_with_its_worker_or_the_bubblewrap_around_it(which: str) -> None:
    with open_or_skip(which, **{**ENDLESS, "workers": 1}) as sandbox:
        assert isinstance(sandbox, WorkerSandbox)
        worker = sandbox._seats.queue[-1].worker
        assert worker is not None
        with worker.open() as run:
            inner = descendants(worker.pid)
            assert inner
            assert all(map(alive, inner))
            os.kill(worker.pid, signal.SIGKILL)
            assert until(lambda: not any(map(alive, inner)))
            run._end = lambda: None  # type: ignore[assignment,return-value]
        [outcome] = sandbox.run([Program("print(1)")])
        assert outcome.printed == "1\n"


# Time that programs share


def test_who_has_spent_its_time_is_left_out_and_nobody_else(endless: Sandbox) -> None:
    mine, yours = Allowance(1000.0), Allowance(1000.0)
    programs = [Program(f"print({n})") for n in range(6)]
    paid_by = [[mine], [yours], [mine, yours], [], [mine], [yours]]
    mine.charge(1000.0)
    outcomes = endless.run(programs, paid_by)
    assert [one.status == "unrun" for one in outcomes] == [True, False, False, False, True, False]
    assert mine.spent
    assert not yours.spent


def test_what_runs_is_charged_to_whoever_sent_it(endless: Sandbox) -> None:
    tiny, large = Allowance(1e-9), Allowance(1000.0)
    first, shared, alone = endless.run([Program("x = 1")], [[tiny]]) + endless.run(
        [Program("x = 2"), Program("x = 3")], [[tiny, large], [tiny]]
    )
    assert [first.status, shared.status, alone.status] == ["finished", "finished", "unrun"]
    assert tiny.spent
    assert 0 < large._left < 1000.0
