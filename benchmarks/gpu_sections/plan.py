"""What a section is told, and where it notes what it measured.

A measurement that would not end in time is left out and named. One that fails is noted with what it
said, and the next one goes on.
"""

from __future__ import annotations

import json
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch


@dataclass(frozen=True)
class Plan:
    """Where a section computes, and for how long."""

    device: torch.device
    dry: bool
    """Tiny sizes: to see that the script works, not to measure."""
    seconds: float
    """What the section may take; the process is ended a little later."""
    folder: Path
    """For files that the sections of one call share, such as a model's weights."""
    started: float = field(default_factory=time.monotonic)

    def left(self) -> float:
        """Seconds that the section still has."""
        return self.seconds - (time.monotonic() - self.started)

    def wait(self) -> None:
        """Until the device has computed what it was asked to."""
        if self.device.type == "cuda":
            torch.cuda.synchronize()


class Part:
    """A section's results: `measured` by name, `skipped` and `failed` with reasons."""

    def __init__(self, plan: Plan, file: Path) -> None:
        self._plan = plan
        self._file = file
        self.measured: dict[str, Any] = {}
        self.skipped: dict[str, str] = {}
        self.failed: dict[str, str] = {}

    def measure(self, name: str, expect: float, take: Callable[[], Any]) -> None:
        """Note what `take` returns. expect: seconds that it takes at full size, roughly."""
        left = self._plan.left()
        if not self._plan.dry and expect > left:
            self.skip(name, f"takes about {expect:.0f} s, and the section has {left:.0f} s left")
            return
        started = time.monotonic()
        try:
            value = take()
            self._plan.wait()
        except ModuleNotFoundError as error:
            self.skip(name, f"needs {error.name}")
        except torch.OutOfMemoryError as error:
            self.skip(name, f"the card's memory is too small: {str(error).partition('.')[0]}")
            torch.cuda.empty_cache()
        except Exception as error:
            print(traceback.format_exc(), flush=True)
            self.failed[name] = f"{type(error).__name__}: {str(error).strip()[:300]}"
        else:
            if value is not None:
                self.measured[name] = value
            print(f"  {name}: {time.monotonic() - started:.1f} s", flush=True)
        self.write()

    def skip(self, name: str, why: str) -> None:
        """Note that `name` was left out."""
        self.skipped[name] = why
        print(f"  {name} is left out: {why}", flush=True)
        self.write()

    def write(self) -> None:
        """Put everything noted so far into the file: what ends the process does not end that."""
        whole = {"measured": self.measured, "skipped": self.skipped, "failed": self.failed}
        fresh = self._file.with_suffix(".new")
        fresh.write_text(json.dumps(whole), encoding="utf-8")
        fresh.replace(self._file)
