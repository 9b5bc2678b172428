"""The knobs of a sandbox, and the errors that users see."""

from __future__ import annotations

import os
from typing import Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
)

from dgrpo.errors import DgrpoError


class SandboxUnavailable(DgrpoError):  # noqa: N818
    """No engine holds on this machine. Names the layer that failed; nothing is ever run without."""

    def __init__(self, layer: str, problem: str, *, remedy: str) -> None:
        super().__init__(
            f"untrusted programs cannot be run here, {layer}: {problem}", remedy=remedy
        )
        self.layer = layer
        self.reason = problem


class SandboxBroken(DgrpoError):  # noqa: N818
    """The sandbox itself failed, again and again; no program was judged by it."""


class SandboxSettings(BaseModel):
    """How untrusted programs are run."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    engine: Literal["auto", "worker", "monty"] = "auto"
    """`worker`: CPython in a warm, jailed worker (Linux). `monty`: pydantic-monty's interpreter, a
    subset of Python without other libraries, on every platform (`pip install 'dgrpo[monty]'`).
    `auto`: the worker where its mandatory layers hold, else monty. Never without a sandbox."""

    bubblewrap: Literal["auto", "always", "never"] = "auto"
    """Bubblewrap around the worker: where it is installed and works, demanded, or left away."""

    namespaces: Literal["auto", "always", "never"] = "auto"
    """Private user, process, network and IPC namespaces for every run: where the kernel allows
    them, demanded, or left away."""

    cpu_seconds: int = Field(default=2, ge=1, le=600)
    """Processor time of a run, whole seconds. HumanEval's 164 solutions stay below one."""

    wall_seconds: float = Field(default=6.0, gt=0, le=3600)
    """Time of a run by the clock, seconds; bounds what sleeps. Above `cpu_seconds`, since runs
    share the cores with training."""

    sender_seconds: float = Field(default=60.0, gt=0, le=86400)
    """Time by the clock that the programs which one peer sends for a round may take, seconds, all
    together; what runs side by side counts for each. Those left then are not run, earn 0, and are
    named in a warning. Word problems' programs take 0.01 s each, HumanEval's below one, a loop
    without end `cpu_seconds`, one that sleeps twice `wall_seconds`: of 96 completions, a quarter
    may be loops. Enters an experiment's digest only where it is not the default."""

    memory_mb: int = Field(default=256, ge=16, le=65536)
    """Address space of a run beyond the interpreter's own, MiB."""

    workers: int = Field(default=0, ge=0, le=256)
    """Warm workers, and so programs at a time. 0: one per core, at most 8."""

    @model_serializer(mode="wrap")
    def _as_before(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Without the knob that came later where it is the default: digests stay as they were."""
        settings: dict[str, Any] = write(self)
        if self.sender_seconds == type(self).model_fields["sender_seconds"].default:
            settings.pop("sender_seconds", None)
        return settings

    @property
    def parallel(self) -> int:
        """How many workers that is on this machine."""
        return self.workers or min(os.cpu_count() or 1, 8)
