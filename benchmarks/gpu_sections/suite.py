"""The suite's tests marked `gpu`, by pytest or, where it is missing, by their own plain runner."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from gpu_sections.plan import Part, Plan

ROOT = Path(__file__).parents[2]


def run(plan: Plan, part: Part) -> None:
    """Without a GPU pytest leaves all of them out, and the plain runner uses the CPU."""
    lacking = [name for name in ("pytest", "hypothesis") if find_spec(name) is None]
    if lacking:
        part.skip("tests by pytest", f"needs {' and '.join(lacking)}; run without")
    else:
        part.measure("tests by pytest", 15, lambda: by_pytest(plan))
    if lacking or plan.device.type != "cuda":
        part.measure("tests by the plain runner", 15, lambda: by_plain_runner(plan))
    for name, result in part.measured.items():
        for test, why in result["failed"].items():
            part.failed[f"{name}: {test}"] = why
    part.write()


def by_pytest(plan: Plan) -> dict[str, Any]:
    """Counts, and reasons of what did not pass."""
    report = plan.folder / "tests.xml"
    command = ["-m", "pytest", "-m", "gpu", "tests/gpu", f"--junitxml={report}"]
    done = in_a_process(plan, *command, "-p", "no:cacheprovider")
    if not report.exists():
        raise RuntimeError(f"pytest made no report: {done.stdout[-500:]}{done.stderr[-500:]}")
    result: dict[str, Any] = {"passed": [], "skipped": {}, "failed": {}}
    for case in ElementTree.parse(report).iter("testcase"):
        name = str(case.get("name"))
        bad = next((one for one in case if one.tag in ("failure", "error", "skipped")), None)
        if bad is None:
            result["passed"].append(name)
        elif bad.tag == "skipped":
            result["skipped"][name] = bad.get("message")
        else:
            print(bad.text, flush=True)
            result["failed"][name] = str(bad.get("message"))[:300]
    return result


def by_plain_runner(plan: Plan) -> dict[str, Any]:
    """The same from the lines that tests/gpu/checks.py prints."""
    done = in_a_process(plan, "tests/gpu/checks.py", str(plan.device))
    print(done.stdout, done.stderr[-2000:], flush=True)
    result: dict[str, Any] = {"passed": [], "skipped": {}, "failed": {}}
    for line in done.stdout.splitlines():
        verdict, _, rest = line.partition(" ")
        name, _, why = rest.partition(": ")
        if verdict == "passed":
            result["passed"].append(name)
        elif verdict == "skipped":
            result["skipped"][name] = why
        elif verdict == "FAILED":
            result["failed"][name] = "see the output"
    if not any(result.values()):
        raise RuntimeError(f"the plain runner ran nothing: {done.stderr[-500:]}")
    return result


def in_a_process(plan: Plan, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Python with these arguments, in the repository's root."""
    path = os.pathsep.join([str(ROOT), str(ROOT / "src"), os.environ.get("PYTHONPATH", "")])
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=max(plan.left(), 1),
    )
