"""What only a GPU can show, in one call of at most eight minutes, without network or installation.

`make gpu` runs this with the machine's own python3. Each section is a process of its own with a
budget of seconds: one that fails, runs out of memory or lasts too long does not harm the others.
What a finished measurement found is kept whatever happens later.

Leaves out: several GPUs, engines (vLLM, SGLang), other cards than the one that is there.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "docs" / "results" / "gpu"
TOTAL = 8 * 60
"""Seconds that everything may take."""
DRY = 900
"""The same for each section of a dry run, whose machine may be slow."""
GRACE = 5
"""Seconds after which a section that should have ended is ended."""


@dataclass(frozen=True)
class Section:
    """One process."""

    name: str
    module: str
    function: str
    seconds: float
    """Its budget."""
    needs: tuple[str, ...]
    """Packages without which it cannot begin."""


CORE = ("torch", "transformers", "numpy", "pydantic")
SECTIONS = (
    Section("suite", "suite", "run", 75, ("torch", "numpy")),
    Section("draws", "draws", "run", 45, CORE),
    Section("round-dgrpo", "rounds", "run_dgrpo", 100, CORE),
    Section("round-trl", "rounds", "run_trl", 100, (*CORE, "trl", "datasets", "accelerate")),
    Section("numerics", "numerics", "run", 140, CORE),
)
MENTIONED = ("torch", "transformers", "trl", "numpy", "pydantic", "httpx2", "pytest", "hypothesis")
"""Packages whose versions, or absence, the results name."""


def main(arguments: list[str] | None = None) -> int:
    """Run the sections; 1 if something failed, 2 if nothing can be run."""
    given = parser().parse_args(arguments)
    sys.path[:0] = [str(ROOT / "src"), str(Path(__file__).parent)]
    device = given.device or ("cpu" if given.dry else "cuda")
    if given.section:
        return one_section(given.section, device, given.dry, given.seconds, given.folder)
    with tempfile.TemporaryDirectory(prefix="dgrpo-gpu-") as folder:
        added = unpacked(given.wheels, Path(folder) / "packages")
        sys.path += added
        os.environ["PYTHONPATH"] = os.pathsep.join(
            [str(ROOT / "src"), os.environ.get("PYTHONPATH", ""), *added]
        )
        machine = machine_of(device)
        if "problem" in machine:
            print(machine["problem"], file=sys.stderr)
            return 2
        return all_sections(given, device, machine, Path(folder))


def parser() -> argparse.ArgumentParser:
    options = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    options.add_argument(
        "--out", type=Path, help="JSON file; default docs/results/gpu/CARD-DATE.json, or in $OUT"
    )
    options.add_argument("--only", nargs="+", choices=[one.name for one in SECTIONS])
    options.add_argument("--wheels", type=Path, help="folder of wheels that this machine lacks")
    options.add_argument("--device", help="torch device; default cuda")
    options.add_argument(
        "--dry", action="store_true", help="tiny sizes on the CPU: shows that the script works"
    )
    for hidden, kind in (("--section", str), ("--seconds", float), ("--folder", Path)):
        options.add_argument(hidden, type=kind, help=argparse.SUPPRESS)
    return options


def all_sections(
    given: argparse.Namespace, device: str, machine: dict[str, Any], folder: Path
) -> int:
    """Each section in turn; the files are written again after each."""
    started = time.monotonic()
    out = given.out or default_out(machine["card"], given.dry)
    whole: dict[str, Any] = {"machine": machine, "dry": given.dry, "sections": {}}
    chosen = [one for one in SECTIONS if not given.only or one.name in given.only]
    for place, section in enumerate(chosen):
        left = TOTAL - (time.monotonic() - started) - 2 * GRACE
        seconds = DRY if given.dry else min(section.seconds, left)
        lacking = [name for name in section.needs if find_spec(name) is None]
        print(f"{section.name} (at most {seconds:.0f} s)", flush=True)
        if lacking:
            result = left_out(f"this machine lacks {', '.join(lacking)}")
        elif seconds < 10:
            result = left_out(f"the sections before it left {left:.0f} s of {TOTAL}")
        else:
            result = in_a_process(section, device, given.dry, seconds, folder)
        whole["sections"][section.name] = result
        whole["seconds"] = round(time.monotonic() - started, 1)
        whole["unfinished"] = [one.name for one in chosen[place + 1 :]]
        write(out, whole)
    failed = [
        f"{name}: {what}" for name, one in whole["sections"].items() for what in one["failed"]
    ]
    print(f"\n{out.with_suffix('.md').read_text(encoding='utf-8')}\n{out}", flush=True)
    for one in failed:
        print(f"FAILED {one}", file=sys.stderr)
    return 1 if failed else 0


def in_a_process(
    section: Section, device: str, dry: bool, seconds: float, folder: Path
) -> dict[str, Any]:
    """The section's results: what it had noted, however it ended."""
    file = folder / f"{section.name}.json"
    command = [sys.executable, __file__, "--section", section.name, "--device", device]
    command += ["--seconds", str(seconds), "--folder", str(folder), *(["--dry"] if dry else [])]
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    started = time.monotonic()
    ended = ""
    try:
        code = subprocess.run(command, env=environment, timeout=seconds + GRACE).returncode
        if code:
            ended = f"its process ended with {code}: see the output"
    except subprocess.TimeoutExpired:
        ended = f"ended after its {seconds:.0f} s; what it had measured by then is kept"
    result = json.loads(file.read_text(encoding="utf-8")) if file.exists() else left_out("")
    if ended:
        result["failed"]["the section"] = ended
    return {**result, "seconds": round(time.monotonic() - started, 1)}


def one_section(name: str, device: str, dry: bool, seconds: float, folder: Path) -> int:
    """The process of a section."""
    import torch
    from gpu_sections.plan import Part, Plan

    section = next(one for one in SECTIONS if one.name == name)
    plan = Plan(torch.device(device), dry, seconds, folder)
    part = Part(plan, folder / f"{name}.json")
    part.write()
    run = getattr(importlib.import_module(f"gpu_sections.{section.module}"), section.function)
    run(plan, part)
    part.write()
    return 0


def left_out(why: str) -> dict[str, Any]:
    """The results of a section that did not run."""
    if why:
        print(f"  left out: {why}", flush=True)
    return {"measured": {}, "skipped": {"the section": why} if why else {}, "failed": {}}


def write(out: Path, whole: dict[str, Any]) -> None:
    """The JSON file, and the table beside it."""
    from gpu_sections.table import markdown

    out.parent.mkdir(parents=True, exist_ok=True)
    # infinite numbers are none of JSON's
    out.write_text(json.dumps(whole, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    out.with_suffix(".md").write_text(markdown(whole), encoding="utf-8")


def default_out(card: str, dry: bool) -> Path:
    """CARD-DATE.json in $OUT, where a lent machine wants its results, or among the results."""
    name = re.sub(r"[^a-z0-9]+", "-", card.lower()).strip("-")
    file = f"{name}-{datetime.now(UTC):%Y-%m-%d}.json"
    if os.environ.get("OUT"):
        return Path(os.environ["OUT"]) / file
    return (ROOT / "trials" if dry else RESULTS) / file


def machine_of(device: str) -> dict[str, Any]:
    """What the results were measured on; `problem` if the device cannot be used."""
    versions = {name: version_of(name) for name in MENTIONED}
    print(", ".join(f"{name} {v or 'is missing'}" for name, v in versions.items()), flush=True)
    try:
        import torch
    except ImportError as error:
        return {"problem": f"torch cannot be imported ({error}): nothing can be measured"}
    card = platform.processor() or platform.machine()
    facts: dict[str, Any] = {}
    if device.startswith("cuda"):
        if not torch.cuda.is_available():
            return {
                "problem": f"torch {torch.__version__} sees no GPU; "
                "--dry runs everything at tiny sizes on the CPU"
            }
        properties = torch.cuda.get_device_properties(device)
        card = properties.name
        facts = {"memory_mb": properties.total_memory / 2**20, "cuda": torch.version.cuda}
    return {
        "card": card,
        "device": device,
        **facts,
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "cpus": os.cpu_count(),
        "python": platform.python_version(),
        "versions": versions,
    }


def version_of(package: str) -> str | None:
    """The installed version, or the one in the added wheels."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def unpacked(wheels: Path | None, into: Path) -> list[str]:
    """A folder for sys.path with the wheels' packages that this machine lacks: its own come first.

    Raises SystemExit if the folder holds no wheel.
    """
    if wheels is None:
        return []
    files = sorted(wheels.glob("*.whl"))
    if not files:
        sys.exit(f"--wheels {wheels}: no wheels there (make gpu-wheels fetches them)")
    for file in wanted(files):
        with zipfile.ZipFile(file) as archive:
            archive.extractall(into)
    return [str(into)]


def wanted(files: Iterable[Path]) -> list[Path]:
    """Those for this Python whose distribution is not installed."""
    here = f"{sys.version_info.major}{sys.version_info.minor}"
    usable = {"py3", "py2.py3", f"py{here}", f"cp{here}"}
    fitting = [file for file in files if file.stem.split("-")[-3] in usable]
    return [file for file in fitting if version_of(file.name.partition("-")[0]) is None]


if __name__ == "__main__":
    sys.exit(main())
