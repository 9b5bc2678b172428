"""The checks of `checks.py`: on a GPU where there is one, and everywhere on a device that pretends.

`make gpu` runs those marked `gpu` on a machine that has one.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from tests.gpu.checks import BEYOND_PRETENDING, CHECKS
from torch.utils import backend_registration

ROOT = Path(__file__).parents[2]
PRETENDING = pytest.mark.skipif(
    not hasattr(backend_registration, "_setup_privateuseone_for_python_backend"),
    reason="this torch cannot be given a device in Python",
)
PROVE_STRICT = """
import torch
from tests.gpu.pretend import pretended

with pretended():
    here, there = torch.arange(3), torch.arange(3, device="pretend")
    assert (there + 1).device.type == "pretend" and (there.cpu() + here).tolist() == [0, 2, 4]
    for mix in (lambda: there + here, lambda: there.numpy(), lambda: torch.cat([here, there])):
        try:
            mix()
        except (RuntimeError, TypeError):
            continue
        raise SystemExit("two devices met")
"""


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no GPU here")
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_on_a_gpu(check: Callable[[torch.device], None]) -> None:
    try:
        check(torch.device("cuda"))
    except ModuleNotFoundError as error:  # the machine that has the GPU may lack some packages
        pytest.skip(f"needs {error.name}")


@PRETENDING
def test_everything_that_a_gpu_needs_is_put_on_the_models_device() -> None:
    done = in_a_process("tests/gpu/checks.py", "pretend")
    assert done.returncode == 0, done.stdout + done.stderr
    wanted = [check for check in CHECKS if check not in BEYOND_PRETENDING]
    assert done.stdout.split("\n")[:-1] == [f"passed {check.__name__}" for check in wanted]


@pytest.mark.parametrize("check", BEYOND_PRETENDING, ids=lambda check: check.__name__)
def test_what_cannot_be_pretended_holds_on_the_cpu(check: Callable[[torch.device], None]) -> None:
    check(torch.device("cpu"))


@PRETENDING
def test_the_pretended_device_is_strict() -> None:
    done = in_a_process("-c", PROVE_STRICT)
    assert done.returncode == 0, done.stderr


def in_a_process(*arguments: str) -> subprocess.CompletedProcess[str]:
    # the device stays registered, and torch asks it for more than other tests would like
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join((str(ROOT), str(ROOT / "src")))},
    )
