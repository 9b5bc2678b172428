"""Read the checkpoint of a run folder, which may be a stranger's: tensors and plain values only.

Leaves out: writing one (`folder.py`), and whether it fits the run (`Swarm.load_state_dict`).
"""

from __future__ import annotations

import hashlib
import os
import zipfile
from pathlib import Path
from typing import Any, BinaryIO

import torch

from dgrpo.errors import DgrpoError, first_line
from dgrpo.escaping import shown
from dgrpo.runs.fields import WHOLE
from dgrpo.runs.files import open_regular, read_json, refuse_link


def load_checkpoint(path: Path) -> tuple[int, dict[str, Any] | None]:
    """(updates done, state) of a seed folder's checkpoint; (0, None) where there is none.

    Raises DgrpoError if it is damaged.
    """
    folder = checkpoint_folder(path)
    if not folder.exists():
        return 0, None
    head, updates = _checkpoint_head(folder)
    file = folder / "state.pt"
    problem = "its digest is not the one recorded with it"
    with open_regular(file, _memory()) as packed:
        if hashlib.file_digest(packed, "sha256").hexdigest() == head.get("sha256"):
            try:
                return updates, _unpacked(packed)
            except Exception as error:  # whatever torch meets in a stranger's file
                problem = f"torch cannot load it: {first_line(error)}"
    raise DgrpoError(
        f"{file} is damaged: {problem}",
        remedy=f"delete {path} to start this seed again; other seeds are untouched",
    )


def updates_done(path: Path) -> int:
    """Updates up to a seed folder's last checkpoint; 0 where there is none that can be read."""
    try:
        return _checkpoint_head(checkpoint_folder(path))[1]
    except DgrpoError:
        return 0


def checkpoint_folder(path: Path) -> Path:
    """Where a seed folder's last whole checkpoint lies; it need not be there.

    Raises DgrpoError for a link.
    """
    current, old = refuse_link(path / "checkpoint"), path / "checkpoint.old"
    between_renames = old.is_dir() and not old.is_symlink() and not current.exists()
    return old if between_renames else current


def _checkpoint_head(folder: Path) -> tuple[dict[str, Any], int]:
    """checkpoint.json, and the updates that it names."""
    file = folder / "checkpoint.json"
    head = read_json(file)
    updates = head.get("updates")
    if type(updates) is not int or not 0 <= updates <= WHOLE:
        raise DgrpoError(
            f"{file} is damaged: updates = {shown(updates)}",
            remedy=f"delete {folder.parent} to start this seed again",
        )
    return head, updates


def _unpacked(packed: BinaryIO) -> dict[str, Any]:
    """A checkpoint's tensors and plain values; no pickled code is run.

    Raises ValueError if it would take more memory than the file has bytes, and what torch raises.
    """
    with zipfile.ZipFile(packed) as archive:
        unpacked = sum(part.file_size for part in archive.infolist())
    if unpacked > packed.seek(0, os.SEEK_END):
        raise ValueError("it is compressed, which torch.save does not do")
    packed.seek(0)
    state = torch.load(packed, weights_only=True, map_location="cpu")
    if not isinstance(state, dict):
        raise ValueError("it holds no table")
    return state


def _memory() -> int:
    """Bytes of memory: a larger checkpoint cannot be loaded here, so it is not read."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # a system that does not say
        return 2**40
