"""What programs get, what callers get back, and what happens when the sandbox itself fails."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.sandbox.test_hostile import LAYERS, open_or_skip

from dgrpo.sandbox import (
    Examination,
    Failed,
    Library,
    Program,
    Sandbox,
    SandboxBroken,
    SandboxSettings,
    SandboxUnavailable,
    bubblewrap,
    monty_engine,
    open_sandbox,
    opening,
    shared_sandbox,
    system_calls,
    worker_engine,
    worker_process,
)
from dgrpo.sandbox.inside.jail import NOBODY
from dgrpo.sandbox.jobs import Turn
from dgrpo.sandbox.worker_engine import WorkerSandbox
from dgrpo.sandbox.worker_process import WorkerFault
from dgrpo.sandbox.worker_runs import ClockTimeout

PATIENCE = 120.0
"""Seconds that other processes get for what takes one or two, on a busy machine."""
linux = pytest.mark.skipif(sys.platform != "linux", reason="the worker runs on Linux")


@pytest.fixture(scope="module", params=list(LAYERS))
def sandbox(request: pytest.FixtureRequest) -> Iterator[Sandbox]:
    with open_or_skip(request.param, workers=2) as opened:
        yield opened


@pytest.fixture(scope="module")
def worker() -> Iterator[Sandbox]:
    with open_or_skip("worker", workers=1) as opened:
        yield opened


def expects(kind: str, argument: str = "1") -> tuple[str, str]:
    """Tests that pass where the candidate raises `kind`."""
    lines = f"try:\n    f({argument})\nexcept {kind}:\n    pass\nelse:\n    assert False\n"
    return "", lines


# On every engine


def test_outcomes_come_in_the_order_of_the_programs(sandbox: Sandbox) -> None:
    programs = [Program(f"x = {n} ** 2\nprint(x)", expressions=("x", "-x")) for n in range(20)]
    outcomes = sandbox.run(programs)
    assert [o.status for o in outcomes] == ["finished"] * 20
    assert [o.printed for o in outcomes] == [f"{n * n}\n" for n in range(20)]
    assert [o.values for o in outcomes] == [(n * n, -n * n) for n in range(20)]


def test_an_expression_that_fails_leaves_the_others(sandbox: Sandbox) -> None:
    [outcome] = sandbox.run([Program("x = 1", expressions=("x", "1 / 0", "y", "x + 1"))])
    assert outcome.status == "finished"
    one, division, name, two = outcome.values
    assert (one, two) == (1, 2)
    assert isinstance(division, Failed)
    assert (division.kind, name.kind) == ("ZeroDivisionError", "NameError")


def test_programs_that_fail_say_how(sandbox: Sandbox) -> None:
    raising, wrong, looping, printing = sandbox.run(
        [
            Program("print('before')\nraise ValueError('no')"),
            Program("def f(:"),
            Program("def f():\n    return f()\nf()"),
            Program("print('é' * 70000)"),
        ]
    )
    assert (raising.status, raising.printed, raising.detail) == (
        "raised",
        "before\n",
        "ValueError: no",
    )
    assert wrong.status == "raised"
    assert looping.detail.startswith("RecursionError")
    assert printing.status == "output"
    assert len(printing.printed.encode()) <= 65536


def test_the_same_program_gives_the_same_values(sandbox: Sandbox) -> None:
    program = Program("import random\nx = [random.random() for _ in range(3)]", expressions=("x",))
    one, other = sandbox.run([program, program])
    assert one == other


def test_tests_in_a_jail_of_their_own_call_the_candidate(sandbox: Sandbox) -> None:
    tests = (
        "",
        "def check(f):\n    for x in range(5):\n        assert f(x) == 2 * x\ncheck(twice)\n",
    )
    right, wrong, raising, silent = (
        Examination(Program(source), tests, "twice")
        for source in (
            "def twice(x):\n    return x + x",
            "def twice(x):\n    return x * x",
            "def twice(x):\n    raise AssertionError",
            "def thrice(x):\n    return x",
        )
    )
    outcomes = sandbox.examine([right, wrong, raising, silent])
    assert [o.status for o in outcomes] == ["finished", "raised", "raised", "raised"]


def test_tests_see_what_kind_of_error_the_candidate_raised(sandbox: Sandbox) -> None:
    sources = ("def f(x):\n    return {}[x]", "def f(x):\n    return 1 / 0")
    tests = expects("KeyError")
    outcomes = sandbox.examine([Examination(Program(s), tests, "f") for s in sources])
    assert [o.status for o in outcomes] == ["finished", "raised"]


def test_an_error_that_ends_loops_does_not_end_the_tests_loop(sandbox: Sandbox) -> None:
    tests = (
        "",
        "def check(f):\n    seen = 0\n    for got in map(f, [1, 2]):\n        assert got == 0\n"
        "check(f)\n",
    )
    candidate = Program("def f(x):\n    raise StopIteration")
    [outcome] = sandbox.examine([Examination(candidate, tests, "f")])
    assert outcome.status == "raised"


def test_a_value_that_cannot_come_out_is_not_the_candidates_value_error(sandbox: Sandbox) -> None:
    nested = "def f(x):\n    y = []\n    for _ in range(40):\n        y = [y]\n    return y"
    tests = ("", "try:\n    f(1)\nexcept ValueError:\n    pass\n")
    [outcome] = sandbox.examine([Examination(Program(nested), tests, "f")])
    assert outcome.status == "raised"


def test_errors_of_more_than_a_text_reach_the_tests(sandbox: Sandbox) -> None:
    candidate = Program("def f(x):\n    return x.decode()")
    tests = expects("UnicodeDecodeError", r"b'\xff'")
    [outcome] = sandbox.examine([Examination(candidate, tests, "f")])
    assert outcome.status == "finished", outcome


@pytest.mark.parametrize(
    "leaving", ["exit()", "quit()", "exit(0)", "quit(None)", "raise SystemExit"]
)
def test_a_program_may_leave_at_its_end(sandbox: Sandbox, leaving: str) -> None:
    source = f"x = 54\nprint(x)\n{leaving}\nx = 55\nprint(x)"
    [outcome] = sandbox.run([Program(source, expressions=("x",))])
    assert (outcome.status, outcome.printed, outcome.values) == ("finished", "54\n", (54,))


@pytest.mark.parametrize(
    "leaving", ["exit(1)", "quit('done')", "exit(0.5)", "raise SystemExit('x')"]
)
def test_a_program_that_leaves_with_another_status_has_failed(
    sandbox: Sandbox, leaving: str
) -> None:
    [outcome] = sandbox.run([Program(f"print(54)\n{leaving}")])
    assert (outcome.status, outcome.printed) == ("raised", "54\n")


def test_a_main_guard_does_not_run_under_another_name(sandbox: Sandbox) -> None:
    source = (
        "class Thing:\n    pass\ndef f(x):\n    return x\n"
        "if __name__ == '__main__':\n    n = int(input())\n    print(f(n))\n"
    )
    named = Program(source, expressions=("f(3)", "__name__", "Thing.__name__"), name="<tested>")
    [outcome, script] = sandbox.run([named, Program(source)])
    assert (outcome.status, outcome.printed) == ("finished", "")
    assert outcome.values[0] == 3
    assert outcome.values[2] == "Thing"
    assert script.status == "raised"
    unasked = Program(source, name="<tested>")
    examined = Examination(unasked, ("", "assert f(4) == 4\nassert __name__ != '__main__'"), "f")
    assert sandbox.examine([examined])[0].status == "finished"


@pytest.mark.parametrize("which", LAYERS)
def test_a_closed_sandbox_refuses(which: str) -> None:
    closed = open_or_skip(which, workers=1)
    closed.close()
    with pytest.raises(SandboxBroken, match="closed"):
        closed.run([Program("")])
    with pytest.raises(SandboxBroken, match="closed"):
        closed.examine([Examination(Program("def f(x): pass"), ("f(1)",), "f")])
    closed.close()


# The worker

STANDARD = """math collections itertools functools re string random datetime decimal fractions
statistics heapq bisect json csv copy typing dataclasses enum operator textwrap hashlib calendar
zlib base64 unittest.mock collections.abc xml.etree.ElementTree html.parser difflib logging argparse
asyncio concurrent.futures urllib.parse zoneinfo sched queue"""


def test_the_standard_library_is_there(worker: Sandbox) -> None:
    names = STANDARD.split()
    outcomes = worker.run([Program(f"import {name}") for name in names])
    assert {n: o.detail for n, o in zip(names, outcomes, strict=True) if o.detail} == {}


def test_modules_that_need_the_outside_are_not(worker: Sandbox) -> None:
    for name in ("torch", "numpy", "dgrpo.tasks", "pip", "ssl", "sqlite3", "tkinter"):
        [outcome] = worker.run([Program(f"import {name}")])
        assert outcome.status == "raised"
        assert "ModuleNotFoundError" in outcome.detail


def test_libraries_can_be_imported_and_come_before_the_standard_library(worker: Sandbox) -> None:
    calc = Library("calc", "import math\ndef add(a, b):\n    return a + b\n")
    own = Library("sched", "answer = 42")
    program = Program(
        "from calc import add\nimport sched\nprint(add(1, 2))", (calc, own), ("sched.answer",)
    )
    outcome, without = worker.run([program, Program("import calc")])
    assert (outcome.printed, outcome.values) == ("3\n", (42,))
    assert "ModuleNotFoundError" in without.detail


@pytest.mark.parametrize(
    ("source", "printed"),
    [
        ("if __name__ == '__main__':\n    print('main')", "main\n"),
        ("import sys\nsys.stdout.buffer.write(b'raw')\nsys.stderr.write('err')", "raw"),
        ("print('\\ud800')", "\\ud800\n"),
        ("print('a', end='')\nimport sys\nsys.exit()", "a"),
        ("import sys\nprint('a')\nsys.exit(False)", "a\n"),
        ("import sys\nprint(sys.stdin.read() == '', sys.argv)", "True ['program']\n"),
        (
            "print(sorted({'b', 'a', 'c'}, key=str), hash('a') == hash('a'))",
            "['a', 'b', 'c'] True\n",
        ),
        (
            "import pickle\nclass A: pass\nprint(type(pickle.loads(pickle.dumps(A()))) is A)",
            "True\n",
        ),
        (
            "from dataclasses import dataclass\n@dataclass\nclass P:\n    x: int\nprint(P(1))",
            "P(x=1)\n",
        ),
    ],
)
def test_a_program_runs_as_a_script_does(worker: Sandbox, source: str, printed: str) -> None:
    [outcome] = worker.run([Program(source)])
    assert (outcome.status, outcome.printed) == ("finished", printed), outcome


def test_sets_keep_their_order_from_worker_to_worker() -> None:
    program = Program("print(list({f'word {i}' for i in range(50)}))")
    printed = set()
    for _ in range(2):
        with open_or_skip("worker", workers=1) as fresh:
            printed.add(fresh.run([program])[0].printed)
    assert len(printed) == 1


def test_a_value_larger_than_allowed_is_no_value(worker: Sandbox) -> None:
    [outcome] = worker.run([Program("", expressions=("'x' * 70000", "'x' * 60000"))])
    assert isinstance(outcome.values[0], Failed)
    assert outcome.values[1] == "x" * 60000


def test_an_errors_argument_need_not_be_text(worker: Sandbox) -> None:
    """monty raises an internal error of its own there."""
    candidate = Program("def f(x):\n    raise ValueError(x)")
    [outcome] = worker.examine([Examination(candidate, expects("ValueError"), "f")])
    assert outcome.status == "finished"


@pytest.mark.parametrize(
    ("kind", "raising"),
    [
        ("UnicodeEncodeError", "'\\ud800'.encode()"),
        ("UnicodeTranslateError", "raise UnicodeTranslateError('x', 0, 1, 'no')"),
        ("ExceptionGroup", "raise ExceptionGroup('no', [ValueError(x)])"),
        ("OSError", "raise FileNotFoundError(2, 'no', 'x')"),
        ("SyntaxError", "compile('(', 'x', 'exec')"),
    ],
)
def test_errors_that_are_made_of_several_parts_keep_their_kind(
    worker: Sandbox, kind: str, raising: str
) -> None:
    """As far as it can be told without the parts, which stay with the candidate."""
    candidate = Program(f"def f(x):\n    {raising}")
    [outcome] = worker.examine([Examination(candidate, expects(kind), "f")])
    assert outcome.status == "finished", outcome


def test_a_run_has_namespaces_of_its_own_where_that_layer_is_said_to_hold(
    sandbox: Sandbox,
) -> None:
    """It is the first process it knows of, it knows no parent, and nobody's user is mapped."""
    seen = ("os.getpid()", "os.getppid()", "os.getuid()", "os.getgid()")
    [outcome] = sandbox.run([Program("import os", expressions=seen)])
    if "monty interpreter" in sandbox.layers:  # it has no processes
        assert not any(isinstance(value, int) for value in outcome.values)
    elif "namespaces" in sandbox.layers:
        assert outcome.values == (1, 0, NOBODY, NOBODY)
    else:
        assert outcome.values[0] > 1


# When the sandbox fails


@linux
def test_a_worker_that_dies_is_replaced_and_nothing_is_scored(worker: Sandbox) -> None:
    assert isinstance(worker, WorkerSandbox)
    held = worker._seats.queue[-1].worker
    assert held is not None
    os.kill(held.pid, signal.SIGKILL)
    [outcome] = worker.run([Program("print(1)")])
    assert (outcome.status, outcome.printed) == ("finished", "1\n")


@linux
def test_a_run_killed_from_outside_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """As when the machine runs out of memory: no program can send itself that signal."""
    open_run = worker_process.WorkerProcess.open
    killed: list[int] = []

    def open_and_kill_the_first(self: worker_process.WorkerProcess) -> worker_process.Run:
        run = open_run(self)  # its process has said that it is ready
        if not killed:
            killed.append(descendants(self.pid)[-1])
            os.kill(killed[0], signal.SIGKILL)
        return run

    with open_or_skip("worker", workers=1, bubblewrap="never") as alone:
        monkeypatch.setattr(worker_process.WorkerProcess, "open", open_and_kill_the_first)
        [outcome] = alone.run([Program("print(7)")])
    assert killed
    assert (outcome.status, outcome.printed) == ("finished", "7\n")


@linux
@pytest.mark.parametrize("source", ["import time\ntime.sleep(60)", "while True: pass"])
def test_a_program_that_takes_too_long_is_out_of_time_after_a_second_try(source: str) -> None:
    settings = {"workers": 1, "wall_seconds": 1.0, "cpu_seconds": 60}
    with open_or_skip("worker", **settings) as short:
        [outcome] = short.run([Program(source)])
    assert (outcome.status, outcome.detail) == ("timeout", "out of time by the clock, twice")


@linux
@pytest.mark.parametrize("late", [1, 2, 3])
def test_a_machine_that_is_late_is_not_the_programs_fault(
    monkeypatch: pytest.MonkeyPatch, late: int
) -> None:
    with open_or_skip("worker", workers=1) as slow:
        play, played = worker_engine.play, []

        def late_at_first(worker: worker_process.WorkerProcess, program: Program) -> object:
            played.append(program)
            if len(played) <= late:
                raise ClockTimeout
            return play(worker, program)

        monkeypatch.setattr(worker_engine, "play", late_at_first)
        if late == 3:  # nor was there time for a program that does nothing
            with pytest.raises(SandboxBroken, match=r"takes longer than sandbox\.wall_seconds"):
                slow.run([Program("print(1)")])
        else:
            [outcome] = slow.run([Program("print(1)")])
            assert outcome.status == ("finished" if late == 1 else "timeout")


def descendants(pid: int) -> list[int]:
    """Process ids below `pid`, the youngest last."""
    found = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            for child in map(int, task.read_text().split()):
                found += [child, *descendants(child)]
    return found


class NeverAnswers:
    """A run that the machine has no time for."""

    def send(self, frame: object) -> None:
        raise TimeoutError

    def end(self) -> worker_process.End:
        return worker_process.End(9, 0, out_of_time=False)

    def __enter__(self) -> NeverAnswers:
        return self

    def __exit__(self, *_: object) -> None:
        pass


@linux
def test_a_machine_without_time_is_no_reason_for_another_engine(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    open_or_skip("worker", workers=1).close()
    closed: list[object] = []
    close = worker_process.WorkerProcess.close
    monkeypatch.setattr(worker_process.WorkerProcess, "open", lambda self: NeverAnswers())
    monkeypatch.setattr(
        worker_process.WorkerProcess, "close", lambda self: (closed.append(self), close(self))
    )
    with pytest.raises(SandboxBroken, match=r"sandbox\.wall_seconds = 0\.5") as caught:
        open_sandbox(SandboxSettings(wall_seconds=0.5))
    assert "raise it" in caught.value.remedy
    assert len(closed) == 1


@linux
def test_no_worker_is_left_behind_by_faults_and_a_time_out(monkeypatch: pytest.MonkeyPatch) -> None:
    with open_or_skip("worker", workers=1) as pool:
        assert isinstance(pool, WorkerSandbox)
        pool.run([Program("print(1)")])
        ends = iter([WorkerFault("one"), WorkerFault("two"), ClockTimeout()])
        play = worker_engine.play

        def failing(worker: worker_process.WorkerProcess, program: Program) -> object:
            if error := next(ends, None):
                raise error
            return play(worker, program)

        monkeypatch.setattr(worker_engine, "play", failing)
        (outcome,) = pool.run([Program("print(1)")])
        assert outcome.status == "killed"
        assert len(pool._started) == 1
        assert pool.run([Program("print(2)")])[0].printed == "2\n"


@linux
def test_workers_that_all_fail_raise(monkeypatch: pytest.MonkeyPatch) -> None:
    with open_or_skip("worker", workers=1) as broken:

        def fail(self: object) -> None:
            raise WorkerFault("out of processes")

        monkeypatch.setattr(worker_process.WorkerProcess, "open", fail)
        with pytest.raises(SandboxBroken, match="out of processes"):
            broken.run([Program("print(1)")])


@linux
def test_a_program_that_alone_makes_workers_fail_is_to_blame(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with open_or_skip("worker", workers=1) as shaken:
        send = worker_process.Run.send

        def fail_for_one(self: worker_process.Run, frame: dict[str, object]) -> None:
            if "deadly" in str(frame.get("sources")):
                raise WorkerFault("it ended by itself")
            send(self, frame)

        monkeypatch.setattr(worker_process.Run, "send", fail_for_one)
        deadly, harmless = shaken.run([Program("deadly = 1"), Program("print(1)")])
        assert deadly.status == "killed"
        assert harmless.status == "finished"


@linux
def test_the_workers_end_with_the_trainer_even_if_it_is_killed() -> None:
    script = (
        "import time\nfrom dgrpo.sandbox import *\n"
        "s = open_sandbox(SandboxSettings(engine='worker', workers=1, bubblewrap='never',\n"
        "                                 wall_seconds=3600))\n"
        "print(s._seats.queue[0].worker.pid, flush=True)\n"
        "s.run([Program('import time; time.sleep(3600)')])\n"
    )
    trainer = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert trainer.stdout is not None
    with trainer, killed_after(PATIENCE, trainer), trainer.stdout:
        worker_pid = int(trainer.stdout.readline())
        assert until(lambda: descendants(worker_pid)), "no run began"
        [run_pid] = descendants(worker_pid)
        assert [alive(pid) for pid in (worker_pid, run_pid)] == [True, True]
        trainer.kill()
    assert until(lambda: not alive(worker_pid) and not alive(run_pid))


@contextlib.contextmanager
def killed_after(seconds: float, process: subprocess.Popen[str]) -> Iterator[None]:
    """Ends what would otherwise be read from, or waited for, without end."""
    timer = threading.Timer(seconds, process.kill)
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def until(holds: Callable[[], object]) -> bool:
    """Whether it comes to hold within `PATIENCE`."""
    deadline = time.monotonic() + PATIENCE
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def alive(pid: int) -> bool:
    """Whether a process is there and no zombie: whose child it has become may not collect it."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] not in "ZX"


@linux
def test_a_forked_child_starts_workers_of_its_own() -> None:
    script = (
        "import os, json, warnings\nwarnings.simplefilter('ignore')\n"
        "from dgrpo.sandbox import *\n"
        "settings = SandboxSettings(engine='worker', workers=1, bubblewrap='never')\n"
        "mine = shared_sandbox(settings)\nassert shared_sandbox(settings) is mine\n"
        "pid = os.fork()\n"
        "other = shared_sandbox(settings)\n"
        "[outcome] = other.run([Program('print(1)')])\n"
        "if pid == 0:\n"
        "    fresh = other is not mine\n"
        "    other.close()\n"
        "    os._exit(0 if fresh and outcome.printed == '1\\n' else 1)\n"
        "_, status = os.waitpid(pid, 0)\n"
        "[again] = mine.run([Program('print(2)')])\n"
        "print(json.dumps([os.waitstatus_to_exitcode(status), other is mine, again.printed]))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=PATIENCE
    )
    assert json.loads(done.stdout or "null") == [0, True, "2\n"], done.stderr


# Choosing an engine


def test_the_shared_sandbox_is_one_per_settings() -> None:
    settings = SandboxSettings(engine="monty", workers=1)
    assert shared_sandbox(settings) is shared_sandbox(settings)
    assert shared_sandbox(settings) is not shared_sandbox(
        SandboxSettings(engine="monty", workers=2)
    )


def without_the_filter(monkeypatch: pytest.MonkeyPatch) -> None:
    allow_all = struct.pack("<HBBI", 6, 0, 0, 0x7FFF0000)
    monkeypatch.setattr(system_calls, "program", lambda: allow_all)


@linux
def test_a_filter_that_lets_calls_through_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    without_the_filter(monkeypatch)
    with pytest.raises(SandboxUnavailable, match="system call filter") as refused:
        open_sandbox(SandboxSettings(engine="worker", workers=1))
    assert refused.value.layer == "system call filter"


@linux
@pytest.mark.parametrize(
    ("sabotage", "layer"),
    [
        ("jail._resource_limits = lambda limits: ()", "limits"),
        ("jail.Jail.confine = lambda self, channel: 1 / 0", "warm worker"),
        ("jail.os.environ['HOME'] = 'x'; jail.os.environ.clear = dict", "clean process"),
    ],
)
def test_a_layer_that_does_not_hold_is_named(
    monkeypatch: pytest.MonkeyPatch, sabotage: str, layer: str
) -> None:
    sabotaged(monkeypatch, sabotage)
    with pytest.raises(SandboxUnavailable) as refused:
        open_sandbox(SandboxSettings(engine="worker", workers=1, bubblewrap="never"))
    assert refused.value.layer == layer
    assert "→" in str(refused.value)


@linux
def test_namespaces_that_are_demanded_must_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    sabotaged(monkeypatch, "jail.Jail.try_namespaces = lambda self: False")
    with pytest.raises(SandboxUnavailable, match="namespaces") as refused:
        open_sandbox(SandboxSettings(namespaces="always", workers=1, bubblewrap="never"))
    assert refused.value.layer == "namespaces"
    with open_sandbox(SandboxSettings(engine="worker", workers=1)) as without:
        assert "namespaces" not in without.layers


@linux
def test_a_worker_that_comes_later_must_have_the_layers_of_the_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with open_or_skip("worker", workers=1, bubblewrap="never") as pool:
        assert isinstance(pool, WorkerSandbox)
        sabotaged(
            monkeypatch,
            "import dgrpo.sandbox.inside.worker as inside\n"
            "inside.leave_the_host = lambda: dict.fromkeys(['empty root', 'unprivileged user'])",
        )
        held = pool._seats.queue[-1].worker
        assert held is not None
        os.kill(held.pid, signal.SIGKILL)
        with pytest.raises(SandboxBroken, match=r"lacks what the first had: .*unprivileged user"):
            pool.run([Program("print(1)")])


def sabotaged(monkeypatch: pytest.MonkeyPatch, sabotage: str) -> None:
    """Workers run `sabotage` before they begin to serve."""
    changed = worker_process._BOOTSTRAP.replace(
        "from dgrpo.sandbox.inside.worker import serve\n",
        "from dgrpo.sandbox.inside.worker import serve\n"
        f"from dgrpo.sandbox.inside import jail\n{sabotage}\n",
    )
    monkeypatch.setattr(worker_process, "_BOOTSTRAP", changed)


@linux
def test_auto_falls_back_to_monty_and_never_to_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    without_the_filter(monkeypatch)
    with open_sandbox(SandboxSettings(workers=1)) as fallen:
        assert fallen.layers[0] == "monty interpreter"
    monkeypatch.setattr(opening, "find_spec", lambda name: None)
    with pytest.raises(SandboxUnavailable):
        open_sandbox(SandboxSettings(workers=1))


@linux
def test_bubblewrap_that_is_demanded_must_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bubblewrap, "missing", lambda: "it is not installed")
    with pytest.raises(SandboxUnavailable, match="bubblewrap") as refused:
        open_sandbox(SandboxSettings(bubblewrap="always"))
    assert refused.value.layer == "bubblewrap"
    with open_sandbox(SandboxSettings(engine="worker", workers=1)) as without:
        assert "bubblewrap" not in without.layers


def test_monty_refuses_libraries_before_a_run_begins() -> None:
    with open_sandbox(SandboxSettings(engine="monty", workers=1)) as monty:
        calc = Library("calc", "def add(a, b):\n    return a + b")
        with pytest.raises(SandboxUnavailable, match="calc"):
            monty.require([calc])
        with pytest.raises(SandboxUnavailable, match="calc"):
            monty.run([Program("import calc", (calc,))])
        monty.require([])


def test_monty_is_proved_before_anything_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = SandboxSettings(engine="monty", workers=1)
    for probe, told in (
        (Program("", expressions=("['read']", "42")), "a program can read"),
        (Program("", expressions=("[]", "6 * 9")), "its first run finished"),
        (Program("1 / 0"), "its first run raised: ZeroDivisionError"),
    ):
        monkeypatch.setattr(monty_engine, "_PROBE", probe)
        with pytest.raises(SandboxUnavailable, match=told):
            open_sandbox(settings)


@pytest.mark.parametrize("timed_out", [False, True])
def test_what_makes_monty_fail_is_to_blame_if_others_run(
    monkeypatch: pytest.MonkeyPatch, timed_out: bool
) -> None:
    with open_sandbox(SandboxSettings(engine="monty", workers=1)) as shaken:
        play, failing, tries = monty_engine.MontySandbox._play, {"deadly": True}, []

        class Crash(Exception):  # noqa: N818
            """monty's own cannot be made."""

        Crash.timed_out = timed_out

        def fail(self: monty_engine.MontySandbox, program: Program, turn: Turn) -> object:
            if failing.get(program.source, failing.get("all")):
                tries.append(program.source)
                raise Crash("it is gone")
            return play(self, program, turn)

        monkeypatch.setattr(monty_engine, "MontyCrashedError", Crash)
        monkeypatch.setattr(monty_engine.MontySandbox, "_play", fail)
        deadly, harmless = shaken.run([Program("deadly"), Program("print(1)")])
        assert deadly.status == ("timeout" if timed_out else "killed")
        assert tries == ["deadly", "deadly"]
        assert harmless.printed == "1\n"
        failing["all"] = True
        with pytest.raises(SandboxBroken, match="does next to nothing: it is gone"):
            shaken.run([Program("print(1)")])
