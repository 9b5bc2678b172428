"""Streams that take less than UTF-8 end no command: a run, a report, a list, an error."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.cli.test_arguments import FILE
from tests.cli.test_cli import ROOT

C_LOCALE = {"PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "LC_ALL": "C", "LANG": "C"}
STREAMS = [{"PYTHONIOENCODING": "ascii"}, {"PYTHONIOENCODING": "cp1252"}, C_LOCALE]


def dgrpo(environment: dict[str, str], *words: str | Path) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", "dgrpo", *map(str, words)],
        capture_output=True,
        timeout=300,
        cwd=ROOT,
        check=False,
        env={**os.environ, "COLUMNS": "100", **environment},
    )


@pytest.mark.parametrize("environment", STREAMS, ids=["ascii", "cp1252", "LANG=C"])
def test_a_run_and_its_report_are_printed(environment: dict[str, str], tmp_path: Path) -> None:
    file, out = tmp_path / "small.toml", tmp_path / "out"
    file.write_text(FILE, encoding="utf-8")
    result = dgrpo(environment, "run", file, "--out", out, "--threads", "1")
    assert result.returncode == 0, result.stderr
    assert b"round 1" in result.stdout
    result = dgrpo(environment, "report", out, "--out", tmp_path / "page.html")
    assert result.returncode == 0, result.stderr
    assert b" -> " in result.stdout.replace(b"\xa0", b" ")  # NO-BREAK SPACE, which cp1252 has
    assert (tmp_path / "page.html").exists()


@pytest.mark.parametrize("environment", STREAMS, ids=["ascii", "cp1252", "LANG=C"])
def test_what_such_a_stream_lacks_is_written_out_in_an_error(
    environment: dict[str, str], tmp_path: Path
) -> None:
    file = tmp_path / "small.toml"
    file.write_text(FILE, encoding="utf-8")
    result = dgrpo(environment, "run", file, "--topology", "对角", "--out", tmp_path / "out")
    assert result.returncode == 2
    assert b"Traceback" not in result.stderr
    assert b"error: topology" in result.stderr
    assert b"\\u5bf9" in result.stderr or b"\\udce5" in result.stderr  # LANG=C: bytes of a word


def test_a_path_that_is_no_text_ends_no_command(tmp_path: Path) -> None:
    """Bytes of another encoding in a name come as lone surrogates, which UTF-8 has not."""
    file = tmp_path / "small.toml"
    file.write_text(FILE, encoding="utf-8")
    out = os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9")
    result = dgrpo({"PYTHONIOENCODING": "utf-8"}, "run", file, "--out", out, "--threads", "1")
    assert result.returncode == 0, result.stderr
    assert b"caf\\udce9" in result.stdout
