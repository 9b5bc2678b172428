"""`make gpu` without a GPU: every section runs at tiny size, and says what it lacks or leaves out.

Nothing is said about time.
"""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from tests.gpu.checks import CHECKS
from tests.gpu.test_on_a_device import PRETENDING

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "benchmarks" / "gpu.py"
HIDE = """
import importlib.machinery

finder = importlib.machinery.PathFinder
find = finder.find_spec
HIDDEN = {hidden!r}


def of_what_is_not_hidden(cls, name, *rest):
    return None if name.partition(".")[0] in HIDDEN else find(name, *rest)


finder.find_spec = classmethod(of_what_is_not_hidden)
"""
ON_ANOTHER_DEVICE = """
import sys
from pathlib import Path

import gpu
from tests.gpu.pretend import pretended

with pretended():
    for section in sys.argv[2:]:
        gpu.one_section(section, "pretend:0", True, 900, Path(sys.argv[1]))
"""


def dry_run(out: Path, *options: str, path: Path | None = None) -> Any:
    """What the script wrote; `path` comes before all other packages."""
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "OUT": ""}
    environment |= {"PYTHONPATH": str(path or "")}  # the script finds dgrpo by itself
    command = [sys.executable, str(SCRIPT), "--dry", "--out", str(out), *options]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    assert out.with_suffix(".md").read_text(encoding="utf-8") in done.stdout
    return json.loads(out.read_text(encoding="utf-8"))


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The script as a module."""
    monkeypatch.syspath_prepend(str(SCRIPT.parent))
    yield importlib.import_module("gpu")
    for name in [name for name in sys.modules if name.split(".")[0] in ("gpu", "gpu_sections")]:
        del sys.modules[name]


def test_every_section_measures_all_that_it_names(tmp_path: Path) -> None:
    for package in ("trl", "datasets"):
        pytest.importorskip(package, reason="TRL is the other side of a round")
    wanted = ["draws", "round-dgrpo", "round-trl", "numerics"]  # the suite: below
    written = dry_run(tmp_path / "card.json", "--only", *wanted)
    assert written["unfinished"] == []
    sections = written["sections"]
    assert list(sections) == wanted
    for one in sections.values():
        assert one["measured"]
        assert not one["skipped"]
        assert not one["failed"]

    for name, one in sections["draws"]["measured"].items():
        assert one["compared"] > 0
        assert one["different"] == 0, name  # both sides are the CPU

    ours = sections["round-dgrpo"]["measured"]["dgrpo, with top-k"]
    theirs = sections["round-trl"]["measured"]["TRL"]
    # equal work: 2 prompts × 3 completions × 6 tokens; no random model ends
    assert ours["tokens"] == theirs["tokens"] == 36
    assert ours["completions"] == theirs["completions"] == 6
    assert 0 < ours["screening_share"] < 1
    assert ours["tokens_that_teach"] > 0

    views = sections["numerics"]["measured"]
    own, other = (
        next(v for k, v in views.items() if k.startswith("gsm-nano") and k.endswith(end))
        for end in ("seen in cpu float32, stepwise, batch 64", "bfloat16, prefill, batch 64")
    )
    assert own["logprob_apart"]["largest"] == 0 < other["logprob_apart"]["largest"] < 1
    for sampling in ("k = 20", "k = 50", "top-p 0.95"):
        assert own[sampling]["tokens"] > own[sampling]["outside"] == 0
    assert own["k = 20"]["hard_margins"] == {"above_0": 0, "infinite": 0, "largest_finite": 0}


@PRETENDING
def test_sections_mix_no_devices(tmp_path: Path) -> None:
    sections = ("draws", "round-dgrpo", "numerics")
    path = os.pathsep.join(map(str, (ROOT, ROOT / "src", ROOT / "benchmarks")))
    done = subprocess.run(
        [sys.executable, "-c", ON_ANOTHER_DEVICE, str(tmp_path), *sections],
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    for section in sections:
        result = json.loads((tmp_path / f"{section}.json").read_text(encoding="utf-8"))
        assert result["measured"]
        assert not result["skipped"]
        assert not result["failed"], done.stdout[-4000:]


def test_a_machine_that_lacks_packages_runs_the_rest_and_names_them(tmp_path: Path) -> None:
    hidden = ("pydantic", "trl")
    (tmp_path / "sitecustomize.py").write_text(HIDE.format(hidden=hidden), encoding="utf-8")
    written = dry_run(
        tmp_path / "card.json", "--only", "suite", "draws", "round-trl", path=tmp_path
    )
    sections = written["sections"]
    tests = sections["suite"]["measured"]
    assert tests["tests by the plain runner"]["passed"] == ["noise_has_the_same_bits"]
    assert set(tests["tests by the plain runner"]["skipped"].values()) == {"needs pydantic"}
    by_pytest = tests["tests by pytest"]
    assert len(by_pytest["skipped"]) + len(by_pytest["passed"]) == len(CHECKS)
    assert not by_pytest["failed"]
    assert sections["draws"]["skipped"] == {"the section": "this machine lacks pydantic"}
    assert sections["round-trl"]["skipped"] == {"the section": "this machine lacks pydantic, trl"}


def test_without_a_gpu_it_says_so_and_what_to_do(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    if torch.cuda.is_available():
        pytest.skip("there is one")
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "--out", str(tmp_path / "card.json")],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert "sees no GPU" in done.stderr
    assert "--dry" in done.stderr
    assert not list(tmp_path.iterdir())


def test_what_does_not_fit_its_budget_is_left_out_by_name(gpu: ModuleType, tmp_path: Path) -> None:
    gpu.one_section("numerics", "cpu", False, 0.0, tmp_path)
    result = json.loads((tmp_path / "numerics.json").read_text(encoding="utf-8"))
    assert set(result["skipped"]) == {"gsm-nano", "Qwen2.5-1.5B's shape, random"}
    assert "takes about 40 s, and the section has" in result["skipped"]["gsm-nano"]


def test_a_section_that_hangs_is_ended_and_keeps_what_it_had(
    gpu: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpu, "GRACE", 0)
    whole = {"measured": {"one": 1}, "skipped": {}, "failed": {}}
    (tmp_path / "draws.json").write_text(json.dumps(whole), encoding="utf-8")
    section = next(one for one in gpu.SECTIONS if one.name == "draws")
    result = gpu.in_a_process(section, "cpu", True, 0.001, tmp_path)
    assert result["measured"] == {"one": 1}
    assert "what it had measured by then is kept" in result["failed"]["the section"]


def test_sections_together_fit_eight_minutes(gpu: ModuleType) -> None:
    assert sum(one.seconds for one in gpu.SECTIONS) + 2 * gpu.GRACE <= gpu.TOTAL == 480


def test_only_wheels_that_this_python_can_use_and_lacks_are_added(
    gpu: ModuleType, tmp_path: Path
) -> None:
    for name in ("numpy-9.9-py3-none-any", "missing_one-1.0-py3-none-any", "old-1.0-cp27-none-any"):
        package = name.partition("-")[0]
        with zipfile.ZipFile(tmp_path / f"{name}.whl", "w") as wheel:
            wheel.writestr(f"{package}/__init__.py", "")
    (folder,) = gpu.unpacked(tmp_path, tmp_path / "into")
    assert [one.name for one in Path(folder).iterdir()] == ["missing_one"]
    with pytest.raises(SystemExit, match="no wheels there"):
        gpu.unpacked(tmp_path / "into", tmp_path / "again")


def test_results_are_named_for_the_card_and_go_where_they_are_wanted(
    gpu: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OUT", raising=False)
    usual = gpu.default_out("NVIDIA H200 (141 GB)", False)
    assert usual.parent == ROOT / "docs" / "results" / "gpu"
    assert usual.name.startswith("nvidia-h200-141-gb-20")
    monkeypatch.setenv("OUT", str(tmp_path))
    assert gpu.default_out("NVIDIA H200 (141 GB)", False) == tmp_path / usual.name
