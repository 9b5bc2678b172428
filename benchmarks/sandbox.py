"""Programs per second in the sandbox, beside the same programs in a warm worker without walls.

The sides take turns on the same programs: word problems' answers, as `gsm-python`'s models write
them. The side without walls is the same worker with every wall taken out (no limits, no filter,
no namespaces, its own user and root): it exists in this file only, and runs only programs that this
file wrote.

Leaves out: programs that compute for long, where the walls cost nothing.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from random import Random
from unittest.mock import patch

from dgrpo.sandbox import (
    Program,
    Sandbox,
    SandboxSettings,
    SandboxUnavailable,
    open_sandbox,
    worker_engine,
    worker_process,
)

WITHOUT_WALLS = worker_process._BOOTSTRAP.replace(
    "from dgrpo.sandbox.inside.worker import serve\n",
    """
import os
from dgrpo.sandbox.inside import jail, worker
from dgrpo.sandbox.inside.worker import serve
jail.Jail.try_namespaces = lambda self: False
jail.Jail.spawn = lambda self: os.fork()
jail.Jail.confine = lambda self, channel: channel == jail.CHANNEL or os.dup2(channel, jail.CHANNEL)
worker.leave_the_host = dict
""",
)
SIDES: dict[str, dict[str, str]] = {
    "worker, filter and limits only": {"bubblewrap": "never", "namespaces": "never"},
    "worker, with namespaces": {"bubblewrap": "never", "namespaces": "always"},
    "worker, with namespaces, in bubblewrap": {"bubblewrap": "always", "namespaces": "always"},
}
BASE = "warm worker without walls"


@contextmanager
def no_walls(workers: int) -> Iterator[Sandbox]:
    """The baseline. For this file's own programs only."""
    with (
        patch.object(worker_process, "_BOOTSTRAP", WITHOUT_WALLS),
        patch.object(worker_engine.WorkerSandbox, "_prove", lambda self, worker: None),
    ):
        settings = SandboxSettings(
            engine="worker", workers=workers, bubblewrap="never", namespaces="never"
        )
        with open_sandbox(settings) as opened:
            opened.run(word_problems(4 * workers))  # so that every worker starts here
            yield opened


def word_problems(count: int) -> list[Program]:
    rng = Random(0)
    return [
        Program(
            f"girls = {rng.randint(2, 90)}\nboys = girls * {rng.randint(2, 9)}\n"
            f"kids = girls + boys\nprint(kids)"
        )
        for _ in range(count)
    ]


def programs_per_second(sandbox: Sandbox, programs: list[Program]) -> float:
    started = time.perf_counter()
    outcomes = sandbox.run(programs)
    seconds = time.perf_counter() - started
    assert all(outcome.status == "finished" for outcome in outcomes)
    return len(programs) / seconds


def measure(given: argparse.Namespace) -> dict[str, list[float]]:
    programs = word_problems(given.programs)
    rates: dict[str, list[float]] = {}
    with ExitStack() as stack:
        sides = {BASE: stack.enter_context(no_walls(given.workers))}
        wanted = {**SIDES, "monty": {"engine": "monty"}}
        for name, settings in wanted.items():
            asked = {"engine": "worker", "workers": given.workers, **settings}
            try:
                sides[name] = stack.enter_context(open_sandbox(SandboxSettings(**asked)))
            except SandboxUnavailable as missing:
                print(f"left out: {name}: {missing}")
        for sandbox in sides.values():
            programs_per_second(sandbox, programs[: 4 * given.workers])
        for _ in range(given.repeats):
            for name, sandbox in sides.items():
                rates.setdefault(name, []).append(programs_per_second(sandbox, programs))
    return rates


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--programs", type=int, default=300, help="per side and repeat")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", type=Path, help="write the rates here")
    given = parser.parse_args()
    rates = measure(given)
    for name, values in rates.items():
        ratios = [mine / base for mine, base in zip(values, rates[BASE], strict=True)]
        print(
            f"{name}: {statistics.median(values):.0f} programs/s "
            f"({min(values):.0f} to {max(values):.0f}), ratio {statistics.median(ratios):.2f} "
            f"({min(ratios):.2f} to {max(ratios):.2f})"
        )
    if given.json:
        given.json.write_text(json.dumps(rates, indent=1))


if __name__ == "__main__":
    main()
