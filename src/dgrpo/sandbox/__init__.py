"""Running programs of strangers: completions are code from malicious peers.

    with open_sandbox() as sandbox:
        [outcome] = sandbox.run([Program("x = 6 * 7", expressions=("x",))])
        assert outcome.values == (42,)

* `programs`: what goes in and comes out; `settings`: the knobs and errors;
* `engine`: what every engine offers; `opening`: the choice of one;
* `worker_engine`, `worker_runs`, `worker_process`, `bubblewrap`: CPython in a warm jailed worker;
* `system_calls`, `bpf`: what such a run may ask of the kernel; `proof`: what every start must pass;
* `monty_engine`, `monty_runs`, `monty_values`: the portable engine; `jobs`: the threads of both;
* `inside/`: all that runs on the far side of the wall.

Only plain values cross, and every comparison with an expected answer happens out here. To add an
engine, subclass `Sandbox` and let it pass tests/sandbox. docs/sandbox.md says what holds against
what.
"""

from dgrpo.sandbox.engine import Sandbox
from dgrpo.sandbox.jobs import Allowance
from dgrpo.sandbox.opening import open_sandbox, shared_sandbox
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
    "Allowance",
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
