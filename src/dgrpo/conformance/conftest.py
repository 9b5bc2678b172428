"""`pytest --pyargs dgrpo.conformance`: the suite over plug-ins that the environment names.

Collects nothing if none is named, as when pytest walks through the package for its doctests.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from dgrpo.conformance.tried import (
    FOR_ALL,
    NAMED,
    SUITES,
    VARIABLE,
    by_kind,
    named_by_environment,
)
from dgrpo.conformance.tried import parametrise as _parametrise
from dgrpo.errors import DgrpoError

pytest.register_assert_rewrite(*(f"dgrpo.conformance.{suite}" for suite in SUITES))

from dgrpo.conformance.fixtures import *  # noqa: E402, F403


def _named(config: pytest.Config) -> dict[str, list[str]]:
    """The plug-ins to try, by kind."""
    if NAMED not in config.stash:
        try:
            config.stash[NAMED] = by_kind(named_by_environment())
        except DgrpoError as error:
            raise pytest.UsageError(f"{VARIABLE}: {error}") from None
    return config.stash[NAMED]


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Module | None:
    """The files with promises of the kinds that are tried."""
    named = _named(parent.config)
    here = file_path.parent == Path(__file__).parent
    if here and (file_path.stem in named or (named and file_path.stem == FOR_ALL)):
        module: pytest.Module = pytest.Module.from_parent(parent, path=file_path)
        return module
    return None


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Each promise for each plug-in that is tried."""
    _parametrise(metafunc, _named(metafunc.config))


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, exitstatus: int, config: pytest.Config
) -> None:
    """Say how plug-ins are named, where none was."""
    if exitstatus == pytest.ExitCode.NO_TESTS_COLLECTED and not _named(config):
        terminalreporter.write_line(f"no plug-in is tried: {VARIABLE}=my_attack.py:Mine names one")
