"""`python -m dgrpo.conformance PLUG-IN …`: runs the suite, prints the promises, gives an exit code.

Leaves out pytest's own output. `pytest --pyargs dgrpo.conformance` has it, with stack traces.
"""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from dgrpo.conformance.promises import Promises
from dgrpo.conformance.tried import VARIABLE, by_kind
from dgrpo.console import EscapingConsole, escape_other_output
from dgrpo.errors import DgrpoError
from dgrpo.terminal import print_anything

USAGE = f"""\
Try whether plug-ins keep the promises of their kind.

    python -m dgrpo.conformance PLUG-IN [PLUG-IN …]

PLUG-IN is path/to/file.py:ClassName, or the name of an installed one (`dgrpo list`). The exit code
is 0 if all promises are kept, 1 if one is broken, and 2 if a plug-in cannot be found.

With stack traces, and pytest's options:

    {VARIABLE}=path/to/file.py:ClassName pytest --pyargs dgrpo.conformance
"""


class Quiet:
    """A plug-in of pytest's that keeps its terminal output for later."""

    def __init__(self) -> None:
        self.output = io.StringIO()
        self.stopped = False
        """Whether the reader stopped it. A fault while tests are collected has the same exit code.
        """

    @pytest.hookimpl(trylast=True)
    def pytest_configure(self, config: pytest.Config) -> None:
        """Replace the reporter by one that writes into a text."""
        manager = config.pluginmanager
        manager.unregister(name="terminalreporter")
        manager.register(pytest.TerminalReporter(config, self.output), "terminalreporter")

    def pytest_keyboard_interrupt(self, excinfo: pytest.ExceptionInfo[BaseException]) -> None:
        """Remember it."""
        self.stopped = excinfo.type is KeyboardInterrupt


def main(arguments: Sequence[str]) -> int:
    """The exit code. Raises DgrpoError for a plug-in that cannot be found."""
    print_anything()
    escape_other_output()
    out = EscapingConsole()
    if not arguments or any(argument.startswith("-") for argument in arguments):
        out.print(USAGE, markup=False, end="", soft_wrap=True)
        return 0 if set(arguments) & {"-h", "--help"} else 2
    quiet, promises = Quiet(), Promises(by_kind(arguments), out)
    folder = Path(__file__).parent
    # the reader's own pytest settings and plug-ins are for the reader's own tests
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    os.environ.pop("PYTEST_ADDOPTS", None)
    options = ["-c", os.devnull, "--rootdir", str(folder), "--confcutdir", str(folder)]
    options += ["--import-mode=importlib", "-p", "no:cacheprovider"]
    code = pytest.main([*options, str(folder)], plugins=[quiet, promises])
    if code not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED):
        if quiet.stopped:
            return 130
        raise DgrpoError(
            f"the suite could not be run: {quiet.output.getvalue()[-1500:]}",
            remedy=f"{VARIABLE}={','.join(arguments)} pytest --pyargs dgrpo.conformance",
        )
    promises.summary()
    return int(code)
