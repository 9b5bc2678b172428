"""Running programs of strangers: completions are code from malicious peers.

    with open_sandbox() as sandbox:
        [outcome] = sandbox.run([Program("x = 6 * 7", expressions=("x",))])
        assert outcome.values == (42,)

* `programs`: what goes in and comes out; `settings`: the knobs and errors; `engine`: the choice;
* `worker_engine`, `worker_process`, `system_calls`, `bubblewrap`: CPython in a warm jailed worker;
* `monty_engine`: the portable engine; `proof`: what every start has to pass;
* `inside/`: all that runs on the far side of the wall.

Only plain values cross, and every comparison with an expected answer happens out here. To add an
engine, subclass `Sandbox` and let it pass tests/sandbox. docs/sandbox.md says what holds against
what.
"""

from dgrpo.sandbox.engine import Sandbox, open_sandbox, shared_sandbox
from dgrpo.sandbox.programs import (
    Examination,
    Failed,
    Library,
    Outcome,
    Program,
    Status,
    checked_name,
)
from dgrpo.sandbox.settings import SandboxBroken, SandboxSettings, SandboxUnavailable

__all__ = [
    "Examination",
    "Failed",
    "Library",
    "Outcome",
    "Program",
    "Sandbox",
    "SandboxBroken",
    "SandboxSettings",
    "SandboxUnavailable",
    "Status",
    "checked_name",
    "open_sandbox",
    "shared_sandbox",
]
