"""How an engine is chosen: proved to hold, or refused."""

from __future__ import annotations

import atexit
import logging
import os
import sys
import threading
from importlib.util import find_spec

from dgrpo.errors import first_line
from dgrpo.sandbox.engine import Sandbox
from dgrpo.sandbox.settings import SandboxSettings, SandboxUnavailable

_log = logging.getLogger(__name__)


def open_sandbox(settings: SandboxSettings | None = None) -> Sandbox:
    """A sandbox that has proved itself. Close it, or use it in a `with`.

    Raises SandboxUnavailable, with the layer that failed, where nothing holds.
    """
    settings = settings or SandboxSettings()
    if settings.engine == "monty":
        return _monty(settings)
    try:
        return _worker(settings)
    except SandboxUnavailable as error:
        missing = error
        demanded = "always" in (settings.bubblewrap, settings.namespaces)
        if settings.engine == "worker" or demanded or find_spec("pydantic_monty") is None:
            raise
        try:
            fallen_back = _monty(settings)
        except SandboxUnavailable as neither:
            raise SandboxUnavailable(
                missing.layer,
                f"{missing.reason}; {neither.layer}: {neither.reason}",
                remedy=f"{missing.remedy}; or {neither.remedy}",
            ) from neither
    _log.warning(
        "programs run in monty, a subset of Python without other libraries, since the worker does "
        "not hold here (%s: %s); rewards can differ from a worker's. engine = 'monty' or 'worker' "
        "settles it",
        missing.layer,
        missing.reason,
    )
    return fallen_back


_shared: dict[SandboxSettings, Sandbox] = {}
_lock = threading.Lock()


def shared_sandbox(settings: SandboxSettings | None = None) -> Sandbox:
    """The process-wide sandbox of these settings: started when first asked for, closed at exit.

    Raises as `open_sandbox`.
    """
    settings = settings or SandboxSettings()
    with _lock:
        if settings not in _shared:
            _shared[settings] = open_sandbox(settings)
        return _shared[settings]


def _close_shared() -> None:
    while _shared:
        _shared.popitem()[1].close()


def _forget_shared() -> None:
    """In a forked child: the workers are the parent's; the child starts its own."""
    global _lock
    _lock = threading.Lock()
    while _shared:
        _shared.popitem()[1].abandon()


atexit.register(_close_shared)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_shared)


def _worker(settings: SandboxSettings) -> Sandbox:
    if sys.platform != "linux":
        raise SandboxUnavailable(
            "system call filter",
            f"{sys.platform} has none",
            remedy="run on Linux, or install the portable engine: pip install 'dgrpo[monty]'",
        )
    from dgrpo.sandbox.worker_engine import WorkerSandbox

    return WorkerSandbox(settings)


def _monty(settings: SandboxSettings) -> Sandbox:
    if find_spec("pydantic_monty") is None:
        raise SandboxUnavailable(
            "monty", "pydantic-monty is not installed", remedy="pip install 'dgrpo[monty]'"
        )
    try:
        from dgrpo.sandbox.monty_engine import MontySandbox
    except ImportError as error:  # a half of it is installed, or one of another release
        raise SandboxUnavailable(
            "monty",
            f"pydantic-monty cannot be imported: {first_line(error)}",
            remedy="pip install --force-reinstall 'dgrpo[monty]'",
        ) from error
    return MontySandbox(settings)
