"""One seed's run folder while it is being written: append, checkpoint, resume, finish.

Whatever is interrupted, and wherever: lines and shards are cut back to the last checkpoint, and
the run goes on from there to the same bytes. Files that are replaced are written under a temporary
name and renamed.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol

import polars
import torch

from dgrpo.errors import DgrpoError, first_line
from dgrpo.runs.checkpoint import checkpoint_folder, load_checkpoint, updates_done
from dgrpo.runs.files import (
    append_bytes,
    json_object,
    new_folder,
    read_bytes,
    read_json,
    refuse_link,
    remove,
    replace_file,
    sweep,
    write_json,
    writing,
)
from dgrpo.runs.identity import Held, changed_settings, check_run
from dgrpo.runs.reader import ROUNDS_LIMIT, read_header, read_line, read_summary

KEPT = "model"
"""Where a finished run keeps its first honest node's model, in its seed's folder."""
COMPLETIONS: dict[str, Any] = {
    "round": polars.Int64,
    "sender": polars.String,
    "receiver": polars.String,
    "prompt_key": polars.String,
    "sample": polars.Int64,
    "text": polars.String,
    "label": polars.String,
    "accepted": polars.Boolean,
    "verdicts": polars.List(
        polars.Struct(
            {
                "defense": polars.String,
                "accepted": polars.Boolean,
                "score": polars.Float64,
                "reason": polars.String,
            }
        )
    ),
    "reward": polars.Float64,
    "advantage": polars.Float64,
}
"""Columns of completions/*.parquet."""
_SHARD = re.compile(r"to-([0-9]{1,15})\.parquet")


class RunFolder:
    """`<base>/seed-<n>`: experiment.json, rounds.jsonl, completions/, checkpoint/, summary.json."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rounds = path / "rounds.jsonl"
        self._pending: list[dict[str, Any]] = []

    @contextmanager
    def held(self) -> Iterator[None]:
        """The folder, made if need be, for this process alone while it plays.

        Raises DgrpoError while another holds it, or if it is a link to another folder. Where
        folders cannot be locked, none is.
        """
        refuse_link(self.path)
        with writing(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
        try:
            import fcntl
        except ImportError:  # Windows
            yield
            return
        handle = os.open(self.path, os.O_RDONLY)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(handle)
            raise DgrpoError(
                f"another process is playing this run: it holds {self.path}",
                remedy="wait for it, or give another --out",
            ) from None
        except OSError:  # a file system without locks
            pass
        try:
            yield
        finally:
            os.close(handle)

    def held_there(self) -> Held:
        """What lies in the folder that a further call would keep. Touches nothing."""
        summary = self.summary()
        finished = summary["rounds"] if summary else 0
        done = updates_done(self.path)
        kept = finished or done
        keeps = summary is not None or checkpoint_folder(self.path).exists()
        described = refuse_link(self.path / "experiment.json").exists()
        return Held(
            path=self.path,
            description=read_header(self.path) if described else {},
            points=_parsed(self._whole_lines()[: kept + 1]) if keeps else [],
            done=done,
            finished=finished,
        )

    def summary(self) -> dict[str, Any] | None:
        """summary.json; None while the run is unfinished. Raises DgrpoError if it is damaged."""
        file = refuse_link(self.path / "summary.json")
        if not file.exists():
            return None
        summary = read_summary(self.path)
        if not isinstance(summary.get("rounds"), int):
            raise DgrpoError(
                f"{file} is damaged: it names no round", remedy=f"delete {self.path} to start again"
            )
        return summary

    def open(self, description: dict[str, Any]) -> None:
        """Describe the run, or check that the folder holds the same.

        Raises DgrpoError as `check_run` does, before anything is touched.
        """
        held = self.held_there()
        check_run(held, description)
        if held.finished == description["experiment"]["rounds"]:
            # experiment.json says what was played, with the libraries that played it
            if held.rounds != held.finished:  # a call for more was stopped at once
                settings = {**held.settings, "rounds": held.finished}
                self.describe_further({"experiment": settings})
            return
        played_by = [*held.listed("source_digests"), *description["source_digests"]]
        description = {**description, "source_digests": list(dict.fromkeys(played_by))}
        if earlier := changed_settings(held, description):
            description["earlier_settings"] = earlier
        with writing(self.path):
            refuse_link(self.path / "completions").mkdir(parents=True, exist_ok=True)
            write_json(self.path / "experiment.json", {**held.description, **description})

    def describe_further(self, facts: dict[str, Any]) -> None:
        """Add to experiment.json what is only known once the run has its means."""
        file = self.path / "experiment.json"
        with writing(self.path):
            write_json(file, read_json(file) | facts)

    def append(self, line: dict[str, Any], rows: Sequence[dict[str, Any]]) -> None:
        """Add a line to rounds.jsonl, and completion rows to the next shard."""
        self._pending += rows
        with writing(self.rounds):
            append_bytes(self.rounds, (json.dumps(line, ensure_ascii=False) + "\n").encode())

    def checkpoint(self, updates: int, state: dict[str, Any]) -> None:
        """Make everything up to `updates` updates permanent."""
        with writing(self.path):
            if self._pending:
                self._write_shard(updates)
            append_bytes(self.rounds, b"", sync=True)
            fresh = new_folder(self.path)
            packed = io.BytesIO()  # torch.save to a file hides a full disk behind other errors
            torch.save(state, packed)
            replace_file(fresh / "state.pt", packed.getbuffer())
            digest = hashlib.sha256(packed.getbuffer()).hexdigest()
            write_json(fresh / "checkpoint.json", {"updates": updates, "sha256": digest})
            old, current = self.path / "checkpoint.old", self.path / "checkpoint"
            if current.exists():
                remove(old)
                current.rename(old)
            fresh.rename(current)
            remove(old)

    def resume(self) -> tuple[int, dict[str, Any] | None]:
        """(updates done, state) of the last checkpoint, everything after it cut off.

        (0, None) when there is none: the run starts afresh. Raises DgrpoError for a damaged
        checkpoint.
        """
        sweep(self.path)
        old, current = self.path / "checkpoint.old", self.path / "checkpoint"
        with writing(self.path):
            if old.exists() and not current.exists():  # stopped between the two renames
                old.rename(current)
        updates, state = load_checkpoint(self.path)
        whole = self._whole_lines()
        kept = whole[: updates + 1] if state is not None else []
        if state is not None and len(kept) != updates + 1:
            raise DgrpoError(
                f"{self.rounds}: {len(whole)} lines, but the checkpoint is after {updates} updates",
                remedy=f"delete {self.path} to start this seed again",
            )
        with writing(self.path):
            replace_file(self.rounds, b"".join(line + b"\n" for line in kept))
            shards = refuse_link(self.path / "completions")
            sweep(shards)
            for shard in shards.glob("to-*.parquet"):
                made = _SHARD.fullmatch(shard.name)
                if state is None or made is None or int(made[1]) > updates:
                    remove(shard)
        return updates, state

    def lines(self) -> list[dict[str, Any]]:
        """The lines written so far."""
        remedy = f"delete {self.path} to start this seed again"
        lines = []
        for number, raw in enumerate(self._whole_lines(), start=1):
            try:
                point, table = read_line(raw, f"{self.rounds}, line {number}")
            except DgrpoError as error:
                raise DgrpoError(error.problem, remedy=remedy) from None
            lines.append({**table, **asdict(point)})  # what an older line lacks has a default
        if [line["round"] for line in lines] != list(range(len(lines))):
            raise DgrpoError(
                f"{self.rounds} is damaged: its rounds are not 0, 1, 2 and so on", remedy=remedy
            )
        return lines

    def whole(self, rounds: int) -> list[dict[str, Any]]:
        """The lines of a finished run. Raises DgrpoError where some of them are gone."""
        lines = self.lines()
        if len(lines) != rounds + 1:
            raise DgrpoError(
                f"{self.rounds} is damaged: {len(lines)} lines of a run finished at round {rounds}",
                remedy=f"delete {self.path} to start this seed again",
            )
        return lines

    def _whole_lines(self) -> list[bytes]:
        """Finished lines: what a crash left after the last line end is not one."""
        there = refuse_link(self.rounds).exists()
        content = read_bytes(self.rounds, ROUNDS_LIMIT) if there else b""
        return content.split(b"\n")[:-1]  # a crash may have cut a character, too

    def unfinish(self) -> None:
        """Take away what stands only in a finished run: it is about to go on."""
        with writing(self.path):
            remove(self.path / "summary.json")
            remove(self.path / KEPT)

    def finish(self, summary: dict[str, Any]) -> None:
        """Write summary.json."""
        with writing(self.path):
            write_json(self.path / "summary.json", summary)

    def _write_shard(self, updates: int) -> None:
        shard = self.path / "completions" / f"to-{updates:06d}.parquet"
        packed = io.BytesIO()  # polars takes no path that is not UTF-8
        frame = polars.DataFrame(self._pending, schema=COMPLETIONS)
        frame.write_parquet(packed, compression="zstd")
        refuse_link(shard.parent)
        replace_file(shard, packed.getbuffer())
        self._pending = []

    def restore(self, swarm: Restored, state: dict[str, Any]) -> None:
        """Give a checkpoint's state to the swarm that plays on.

        Raises DgrpoError if it is not the state of such a swarm.
        """
        try:
            swarm.load_state_dict(state)
        except DgrpoError:
            raise
        except Exception as error:  # a stranger's state may have any shape
            told = f"{type(error).__name__}: {first_line(error)}"
            raise DgrpoError(
                f"{self.path / 'checkpoint' / 'state.pt'} does not fit this run: {told}",
                remedy=f"delete {self.path} to start this seed again; other seeds are untouched",
            ) from error


class Restored(Protocol):
    """What a checkpoint is given to: a swarm."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what `state_dict` gave."""


def _parsed(lines: Sequence[bytes]) -> list[dict[str, Any]]:
    """Lines of rounds.jsonl as far as they can be read; `RunFolder.lines` names what cannot."""
    points: list[dict[str, Any]] = []
    for line in lines:
        try:
            point = json_object(line, "rounds.jsonl", measured=True)
        except DgrpoError:
            break
        if point.get("round") != len(points):
            break
        points.append(point)
    return points
