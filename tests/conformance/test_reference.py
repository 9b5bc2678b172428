"""The reference page says what the code says."""

from __future__ import annotations

import runpy
import shutil
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"


def test_the_reference_is_what_the_code_says_today(tmp_path: Path) -> None:
    """The script writes beside itself, so a copy of it leaves the page alone."""
    script = shutil.copy(DOCS / "make_reference.py", tmp_path)
    runpy.run_path(script, run_name="__main__")
    written = (tmp_path / "reference.md").read_text(encoding="utf-8")
    assert (DOCS / "reference.md").read_text(encoding="utf-8") == written, "stale: make docs"
