"""A stranger's run folder: nothing outside it is written or read, and nothing in it is believed."""

from __future__ import annotations

import contextlib
import copy
import gzip
import hashlib
import io
import json
import os
import pickle
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given
from hypothesis import settings as bounded
from hypothesis import strategies as st
from tests.report.run_folders import round_line, write_run
from tests.runs.test_running import lines, run, tiny, whole

from dgrpo.errors import DgrpoError
from dgrpo.report.groups import group_runs
from dgrpo.report.page import render_page
from dgrpo.reproduce import matrix
from dgrpo.reproduce.compare import compare
from dgrpo.reproduce.defended import defended_rows
from dgrpo.reproduce.estimate import Estimate
from dgrpo.reproduce.matrix import Entry, find_finished, shortfall
from dgrpo.reproduce.paper import load_paper
from dgrpo.reproduce.poisoned_share import measured
from dgrpo.runs import files, reader
from dgrpo.runs.checkpoint import updates_done
from dgrpo.runs.files import append_bytes, read_json, replace_file, write_file
from dgrpo.runs.folder import RunFolder
from dgrpo.runs.reader import find_runs

__all__ = ["whole"]  # a fixture

SEED = "seed-0"
PAPER = load_paper()


def report(folder: Path) -> str:
    return render_page(group_runs(find_runs([folder])))


# --- nothing outside the folder is written --------------------------------------------------------


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A user's own folder: no test may change it."""
    folder = tmp_path / "home"
    folder.mkdir()
    (folder / "precious").write_text("mine")
    (folder / "to-000005.parquet").write_text("mine")
    return folder


def untouched(outside: Path) -> bool:
    names = sorted(path.name for path in outside.iterdir())
    return names == ["precious", "to-000005.parquet"] and all(
        path.read_text() == "mine" for path in outside.iterdir()
    )


@pytest.fixture
def interrupted(whole: Path, tmp_path: Path) -> Path:
    """A run that stopped after its last checkpoint, to be resumed."""
    out = tmp_path / "stranger"
    shutil.copytree(whole, out)
    (out / SEED / "summary.json").unlink()
    return out


TEMPORARY = (
    "experiment.json.tmp", "rounds.jsonl.tmp", "summary.json.tmp", "completions/to-000006.tmp",
    "checkpoint.new/state.pt", "checkpoint.new/checkpoint.json.tmp",
)  # fmt: skip
"""Names under which files were once written before they got their own."""


def test_links_under_foreseeable_names_lead_no_write_out(interrupted: Path, outside: Path) -> None:
    for name in TEMPORARY:
        link = interrupted / SEED / name
        link.parent.mkdir(exist_ok=True)
        link.symlink_to(outside / "precious")
    run(tiny(rounds=7), interrupted)
    assert untouched(outside)
    assert [line["round"] for line in lines(interrupted)] == list(range(8))


@pytest.mark.parametrize(
    "name",
    ["experiment.json", "rounds.jsonl", "summary.json", "checkpoint/state.pt",
     "checkpoint/checkpoint.json", "checkpoint", "completions", "."],
)  # fmt: skip
def test_a_link_in_place_of_a_file_or_folder_is_refused(
    interrupted: Path, outside: Path, name: str
) -> None:
    place = interrupted / SEED / name
    if place.exists():
        moved = interrupted / "moved"
        place.rename(moved)
        shutil.rmtree(moved) if moved.is_dir() else moved.unlink()
    folder = name in ("checkpoint", "completions", ".")
    (interrupted / SEED if name == "." else place).symlink_to(
        outside if folder else outside / "precious"
    )
    with pytest.raises(DgrpoError, match="symbolic link") as caught:
        run(tiny(rounds=7), interrupted)
    assert "remove the link" in caught.value.remedy
    assert untouched(outside)


def test_links_are_removed_and_not_what_they_lead_to(interrupted: Path, outside: Path) -> None:
    seed = interrupted / SEED
    (seed / "checkpoint.old").symlink_to(outside)
    (seed / "completions" / "to-000009.parquet").symlink_to(outside / "precious")
    (seed / ".dgrpo-0123456789abcdef.tmp").symlink_to(outside)
    run(tiny(rounds=6), interrupted)
    assert untouched(outside)
    assert not (seed / "checkpoint.old").is_symlink()
    assert not (seed / ".dgrpo-0123456789abcdef.tmp").is_symlink()


@pytest.mark.parametrize("target", ["precious", "new", "../home"])
def test_no_writer_follows_a_link(tmp_path: Path, outside: Path, target: str) -> None:
    link = tmp_path / "file"
    link.symlink_to(outside / target)
    with pytest.raises(DgrpoError, match="symbolic link"):
        write_file(link, b"theirs")
    with pytest.raises(OSError, match="symbolic link"):
        append_bytes(link, b"theirs")
    replace_file(link, b"theirs")  # the link itself is replaced
    assert not link.is_symlink()
    assert untouched(outside)


def test_a_file_is_whole_or_not_there_and_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = os.umask(0o022)
    try:
        replace_file(tmp_path / "file", b"one")
        append_bytes(tmp_path / "other", b"two", sync=True)
    finally:
        os.umask(old)
    for name in ("file", "other"):
        assert (tmp_path / name).stat().st_mode & 0o777 == 0o644
    monkeypatch.setattr(files.os, "fsync", lambda _: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        replace_file(tmp_path / "file", b"two")
    assert (tmp_path / "file").read_bytes() == b"one"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "other"]


def test_standard_output_and_pipes_can_still_be_written(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    end = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    write_file(pipe, b"page")
    assert os.read(end, 100) == b"page"
    os.close(end)
    write_file(Path("/dev/null"), b"page")


# --- nothing but bounded regular files inside is read ---------------------------------------------

NAMES = ("experiment.json", "rounds.jsonl", "summary.json")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", ["pipe", "device", "folder", "link"])
def test_only_regular_files_are_read(tmp_path: Path, name: str, kind: str) -> None:
    file = write_run(tmp_path) / name
    content = file.read_bytes()
    file.unlink()
    if kind == "pipe":
        os.mkfifo(file)
    elif kind == "folder":
        file.mkdir()
    elif kind == "device":
        try:
            os.mknod(file, 0o600 | 0o020000, os.makedev(1, 5))  # /dev/zero
        except OSError:
            pytest.skip("no device can be made here")
    else:
        (tmp_path / "elsewhere").write_bytes(content)
        file.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(DgrpoError, match=f"{name} is|no run in"):
        find_runs([file.parent])
    with pytest.raises(DgrpoError, match=f"{name} is"):
        reader.read_run(file.parent)


@pytest.mark.parametrize(
    ("name", "limit"),
    [("experiment.json", reader.HEADER_LIMIT), ("rounds.jsonl", reader.ROUNDS_LIMIT),
     ("summary.json", reader.JSON_LIMIT)],
)  # fmt: skip
def test_a_file_beyond_its_bound_is_not_read(tmp_path: Path, name: str, limit: int) -> None:
    folder = write_run(tmp_path)
    os.truncate(folder / name, limit + 1)  # takes no room on the disk
    with pytest.raises(DgrpoError, match=f"{name} has .* bytes, and at most {limit:,} are read"):
        find_runs([folder])


def test_a_line_beyond_its_bound_is_not_read(tmp_path: Path) -> None:
    folder = write_run(tmp_path, lines=[round_line(0, 0.0, 0.2, more="x" * reader.LINE_LIMIT)])
    with pytest.raises(DgrpoError, match=r"line 1 has .* bytes, and at most"):
        find_runs([folder])


def test_a_link_out_of_the_folder_that_was_named_is_refused(tmp_path: Path) -> None:
    private = write_run(tmp_path / "private")
    theirs = tmp_path / "theirs"
    write_run(theirs)
    (theirs / "linked").symlink_to(private.parent)
    with pytest.raises(DgrpoError, match="lies outside") as caught:
        find_runs([theirs])
    assert str(private) in caught.value.remedy
    _, left_out = find_finished([theirs])
    assert any("lies outside" in line for line in left_out)
    assert len(find_runs([theirs / "linked"])) == 1  # a user may name a link


@pytest.mark.parametrize("file", ["/dev/zero", "a-pipe", "settings.py"])
@pytest.mark.parametrize("place", ["library", "attack", "measure", "defense", "task"])
def test_files_that_a_run_names_are_neither_opened_nor_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: str, place: str
) -> None:
    monkeypatch.chdir(tmp_path)
    os.mkfifo("a-pipe")  # to open it would wait for ever
    Path("settings.py").write_text("raise SystemExit('imported')")
    table = {"name": f"{file}:Name" if file.endswith(".py") else f"{file}.py:Name"}
    changes: dict[str, Any] = {
        "library": {"task": {"name": "gsm-python", "libraries": [{"file": file}]}},
        "task": {"task": table},
    }.get(place, {place: [table]})
    runs = tmp_path / "runs"
    for seed, digest in ((0, "0" * 16), (1, "1" * 16)):
        settings = {"attack": [], "measure": [], "defense": [], "malicious": 0, **changes}
        write_run(runs, seed=seed, digest=digest, **settings)
    assert "text-horizontal" in report(runs)
    found, left_out = find_finished([runs])
    assert not found
    assert len(left_out) == 2


def test_models_that_only_a_run_names_are_not_looked_at(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "runs" / "tiny"
    shutil.copytree(whole, out)
    header = read_json(out / SEED / "experiment.json")
    header["defense_model_digests"] = {"/their/folder": "0" * 16}
    (out / SEED / "experiment.json").write_text(json.dumps(header))
    asked: list[str] = []
    monkeypatch.setattr(matrix, "_digest_now", lambda name: asked.append(name))
    found, _ = find_finished([tmp_path / "runs"])
    assert shortfall(found[0], tiny()) == ""
    assert asked
    assert "/their/folder" not in asked


# --- nothing in it is believed --------------------------------------------------------------------

LARGE = 10**20
WRONG: dict[str, dict[str, Any]] = {
    "negative": {"screening": {"poisoned": -7, "poisoned_stopped": -14}},
    "more stopped than sent": {"screening": {"poisoned": 30, "poisoned_stopped": 60}},
    "more stopped by one": {
        "screening": {"honest": 3, "by_defense": {"judge": {"honest_rejected": 4}}}
    },
    "more right than there are": {"screening": {"honest": 3, "honest_right": 4}},
    "text for a number": {"accuracy": "0.5"},
    "truth for a number": {"held_out_samples": True},
    "no time": {"seconds": {"total": float("nan")}},
    "infinite": {"completion_tokens": float("inf")},
    "overflowing": {"completion_tokens": 1e308},
    "large": {"held_out_samples": LARGE},
    "negative seconds": {"seconds": {"total": -1.0}},
    "negative length": {"completion_tokens": -1.0},
    "a list for a table": {"attack_success": []},
    "many names": {"attack_success": {str(n): 0.0 for n in range(300)}},
    "long name": {"attack_success": {"n" * 300_000: 0.0}},
    "example without a text": {"examples": [{"question": "?"}]},
    "round": {"round": -1},
}


@pytest.mark.parametrize("kind", WRONG)
def test_a_value_that_cannot_be_is_named(tmp_path: Path, kind: str) -> None:
    folder = write_run(tmp_path, lines=[round_line(0, 0.0, 0.2) | WRONG[kind]])
    with pytest.raises(DgrpoError, match=r"rounds\.jsonl, line 1 is damaged") as caught:
        report(folder)
    assert len(str(caught.value)) < 5000
    assert next(iter(WRONG[kind])) in caught.value.problem


@pytest.mark.parametrize(
    ("field", "value"),
    [("schema", "1"), ("seed", "0"), ("seed", LARGE), ("digest", 5), ("experiment", []),
     ("experiment.nodes", "abc"), ("experiment.nodes", 0), ("experiment.malicious", -1),
     ("experiment.name", None), ("experiment.name", "n" * 300_000), ("experiment.rounds", 1.5),
     ("model_digests", 5), ("pool_digest", []), ("source_digests", [5])],
)  # fmt: skip
def test_a_header_that_cannot_be_is_named(tmp_path: Path, field: str, value: object) -> None:
    file = write_run(tmp_path) / "experiment.json"
    table = json.loads(file.read_text())
    *path, last = field.split(".")
    (table[path[0]] if path else table)[last] = value
    file.write_text(json.dumps(table))
    with pytest.raises(DgrpoError, match=r"experiment\.json is damaged") as caught:
        report(file.parent)
    assert field in caught.value.problem


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("depth", [40, 100_000])
def test_deep_json_is_damage(tmp_path: Path, name: str, depth: int) -> None:
    file = write_run(tmp_path) / name
    file.write_text('{"a":' + "[" * depth + "]" * depth + "}\n")
    with pytest.raises(DgrpoError, match="nested more than 32 levels deep"):
        report(file.parent)


def test_measures_may_not_differ_from_line_to_line_without_end(tmp_path: Path) -> None:
    many = [
        round_line(k, 0.0, 0.2, attack_success={f"{k}-{n}": 0.0 for n in range(100)})
        for k in range(5)
    ]
    with pytest.raises(DgrpoError, match="more than 256 measures and defenses"):
        report(write_run(tmp_path, lines=many))


@pytest.mark.parametrize("tokens", [5e-324, 0.0, 1e-300, 1e15])
@pytest.mark.parametrize("accuracy", [5e-324, -3.0, 7.0])
def test_extreme_figures_that_can_be_are_reported(
    tmp_path: Path, tokens: float, accuracy: float
) -> None:
    """Rewards of a task of one's own need not lie between 0 and 1."""
    for seed in (0, 1, 2):
        each = [
            round_line(k, 0.0, accuracy + seed, completion_tokens=tokens * (seed + 1) / 3)
            for k in (0, 1)
        ]
        write_run(tmp_path, seed=seed, lines=each)
    assert "<table" in report(tmp_path)


def values() -> st.SearchStrategy[Any]:
    """Whatever JSON can hold, the odd ones more often."""
    odd = [None, True, -1, 0, LARGE, 5e-324, 1e308, float("nan"), float("inf"), "", "\x1b[2J",
           "\ud800", [], {}, [[]], {"": {}}, "file.py:Name", "/dev/zero", "n" * 1000]  # fmt: skip
    scalar = st.sampled_from(odd) | st.integers() | st.floats() | st.text(max_size=5)
    return st.recursive(
        scalar,
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["name", "file", "libraries", "x"]), inner, max_size=3
            )
        ),
        max_leaves=6,
    )


def places(value: Any) -> list[tuple[Any, Any]]:
    """(container, key) of every value inside a JSON value."""
    keys = list(value) if isinstance(value, dict) else range(len(value))
    found = []
    for key in keys:
        found.append((value, key))
        if isinstance(value[key], dict | list):
            found += places(value[key])
    return found


def mutated(table: dict[str, Any], data: st.DataObject) -> dict[str, Any]:
    table = copy.deepcopy(table)
    for _ in range(data.draw(st.integers(1, 3))):
        container, key = data.draw(st.sampled_from(places(table)))
        if isinstance(container, dict) and data.draw(st.booleans()):
            del container[key]
        elif isinstance(container, list) and data.draw(st.booleans()):
            container.insert(key, data.draw(values()))
        else:
            container[key] = data.draw(values())
        if not places(table):
            break
    return table


def read_or_refused(act: Callable[[], object]) -> None:
    """Anything but a result or a DgrpoError fails the test."""
    with contextlib.suppress(DgrpoError):
        act()


FUZZ = bounded(
    max_examples=50,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@FUZZ
@given(data=st.data())
@pytest.mark.parametrize("name", NAMES)
def test_a_run_with_any_values_is_read_or_refused(
    whole: Path, tmp_path: Path, name: str, data: st.DataObject
) -> None:
    folder = tmp_path / "runs" / "tiny"
    shutil.rmtree(folder, ignore_errors=True)
    for seed in (0, 1):
        shutil.copytree(whole / SEED, folder / f"seed-{seed}")
        header = read_json(folder / f"seed-{seed}" / "experiment.json")
        changed = {**header, "seed": seed, "digest": f"{seed}" * 16}
        (folder / f"seed-{seed}" / "experiment.json").write_text(json.dumps(changed))
    file = folder / SEED / name
    text = file.read_text()
    if name == "rounds.jsonl":
        every = [json.loads(line) for line in text.splitlines()]
        number = data.draw(st.integers(0, len(every) - 1))
        every[number] = mutated(every[number], data)
        file.write_text("".join(json.dumps(line) + "\n" for line in every))
    else:
        file.write_text(json.dumps(mutated(json.loads(text), data)))
    read_or_refused(lambda: report(folder))
    found, _ = find_finished([folder.parent])
    Estimate(found)
    for one in found:
        shortfall(one, tiny())
        runs = {one.run.seed: one.run, 7: find_runs([whole])[0]}
        measured([one.experiment], {"tiny": runs})
        defended_rows([Entry(tiny(), True, (0,))], {"tiny": runs})
        for figure in PAPER.figure:
            compare(figure, dict.fromkeys(figure.names, runs))


@FUZZ
@given(st.data())
def test_damaged_bytes_are_read_or_refused(
    whole: Path, tmp_path: Path, data: st.DataObject
) -> None:
    folder = tmp_path / SEED
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(whole / SEED, folder, ignore=shutil.ignore_patterns("checkpoint"))
    file = folder / data.draw(st.sampled_from(NAMES))
    content = bytearray(file.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(content) - 1))
        content[place : place + data.draw(st.integers(0, 20))] = data.draw(st.binary(max_size=10))
    file.write_bytes(content)
    read_or_refused(lambda: report(folder))


# --- checkpoints ----------------------------------------------------------------------------------


def put(out: Path, state: object, **head: object) -> None:
    """A checkpoint as a stranger would make it: the digest is right."""
    packed = io.BytesIO()
    torch.save(state, packed)
    put_bytes(out, packed.getvalue(), **head)


def put_bytes(out: Path, content: bytes, **head: object) -> None:
    folder = out / SEED / "checkpoint"
    (folder / "state.pt").write_bytes(content)
    digest = hashlib.sha256(content).hexdigest()
    (folder / "checkpoint.json").write_text(json.dumps({"updates": 5, "sha256": digest, **head}))


def saved(out: Path) -> dict[str, Any]:
    state: dict[str, Any] = torch.load(
        out / SEED / "checkpoint" / "state.pt", weights_only=True, map_location="cpu"
    )
    return state


@pytest.mark.parametrize("updates", ["five", 1.5, -1, None, True, float("inf"), [], LARGE])
def test_a_checkpoint_of_impossible_updates_is_damaged(interrupted: Path, updates: object) -> None:
    put(interrupted, saved(interrupted), updates=updates)
    updates_done(interrupted / SEED)
    with pytest.raises(DgrpoError, match=r"damaged|updates"):
        run(tiny(rounds=6), interrupted)


class Command:
    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (self.command,)


@pytest.mark.parametrize("form", ["torch", "pickle", "legacy"])
def test_a_checkpoint_runs_no_code(interrupted: Path, tmp_path: Path, form: str) -> None:
    evil = Command(f"touch {tmp_path / 'pwned'}")
    packed = io.BytesIO()
    if form == "pickle":
        pickle.dump(evil, packed)
    else:
        torch.save(evil, packed, _use_new_zipfile_serialization=form == "torch")
    put_bytes(interrupted, packed.getvalue())
    with pytest.raises(DgrpoError, match="torch cannot load it"):
        run(tiny(rounds=6), interrupted)
    assert not (tmp_path / "pwned").exists()


def test_a_checkpoint_that_unpacks_to_more_than_it_is_is_refused(interrupted: Path) -> None:
    packed = io.BytesIO()
    torch.save({"zeros": torch.zeros(1_000_000)}, packed)
    bomb = io.BytesIO()
    with (
        zipfile.ZipFile(packed) as plain,
        zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as small,
    ):
        for part in plain.namelist():
            small.writestr(part, plain.read(part))
    assert len(bomb.getvalue()) < 100_000
    for content in (bomb.getvalue(), gzip.compress(b"x"), b"", b"PK"):
        put_bytes(interrupted, content)
        with pytest.raises(DgrpoError, match="torch cannot load it"):
            run(tiny(rounds=6), interrupted)


def _of(state: dict[str, Any], *path: Any) -> Any:
    for part in path:
        state = state[part]
    return state


def _weight(state: dict[str, Any]) -> dict[str, Any]:
    weights: dict[str, Any] = _of(state, "learners", 0, "weights")
    return weights


def _moments(state: dict[str, Any]) -> dict[str, Any]:
    moments: dict[str, Any] = _of(state, "learners", 0, "optimiser", "state", 0)
    return moments


STATES: dict[str, Callable[[dict[str, Any]], object]] = {
    "no table": lambda s: [],
    "empty": lambda s: {},
    "no learners": lambda s: s | {"learners": []},
    "copies without end": lambda s: s | {"origin": [0] * 100_000},
    "an origin that is none": lambda s: s | {"origin": [7, 7]},
    "a text for origins": lambda s: s | {"origin": "origin"},
    "another node's replica": lambda s: s | {"replica_of": [0, 0, 0, 9]},
    "few nodes": lambda s: s | {"replica_of": [0]},
    "no defenses": lambda s: s | {"defenses": 5},
    "another model": lambda s: _weight(s).popitem() and s,
    "a wide weight": lambda s: (
        _weight(s).update({next(iter(_weight(s))): torch.zeros(1).expand(10**9)}) or s
    ),
    "a text for a weight": lambda s: _weight(s).update({next(iter(_weight(s))): "w"}) or s,
    "a wide moment": lambda s: (
        _moments(s).update(exp_avg=torch.zeros(1, dtype=torch.float64).expand(10**9)) or s
    ),
    "a text for a moment": lambda s: _moments(s).update(step="s") or s,
    "a moment left out": lambda s: _moments(s).pop("step") is not None and s,
    "an unknown moment": lambda s: _moments(s).update(more=torch.zeros(1)) or s,
    "a list for moments": lambda s: _of(s, "learners", 0, "optimiser").update(state=[1]) or s,
}


@pytest.mark.parametrize("kind", STATES)
def test_a_state_of_another_shape_does_not_fit(interrupted: Path, kind: str) -> None:
    before = lines(interrupted)
    put(interrupted, STATES[kind](saved(interrupted)))
    with pytest.raises(DgrpoError, match=r"does not fit this run|torch cannot load it") as caught:
        run(tiny(rounds=6), interrupted)
    assert "delete" in caught.value.remedy
    assert lines(interrupted) == before


def test_a_states_learning_rate_is_not_believed(
    whole: Path, interrupted: Path, tmp_path: Path
) -> None:
    state = saved(interrupted)
    state["learners"][0]["optimiser"]["param_groups"] = [{"betas": "none", "eps": float("nan")}]
    put(interrupted, state)
    run(tiny(rounds=6), interrupted)
    honest = tmp_path / "honest"
    shutil.copytree(whole, honest)
    run(tiny(rounds=6), honest)
    assert lines(interrupted) == lines(honest)


@pytest.mark.parametrize(
    "changes", [{"accuracy": "high"}, {"screening": 5}, {"seconds": {"x": "y"}}]
)
def test_lines_are_checked_before_a_run_goes_on(interrupted: Path, changes: dict[str, Any]) -> None:
    file = interrupted / SEED / "rounds.jsonl"
    every = [json.loads(line) for line in file.read_text().splitlines()]
    every[2] |= changes
    file.write_text("".join(json.dumps(line) + "\n" for line in every))
    with pytest.raises(DgrpoError, match=r"rounds\.jsonl, line 3 is damaged"):
        run(tiny(rounds=6), interrupted)


def test_a_line_that_says_little_is_completed(interrupted: Path) -> None:
    """What an older version did not write has a default."""
    file = interrupted / SEED / "rounds.jsonl"
    file.write_text("".join(json.dumps({"round": k}) + "\n" for k in range(6)))
    assert run(tiny(rounds=6), interrupted)["rounds"] == 6


@pytest.mark.parametrize("summary", [{}, {"rounds": "5"}, {"rounds": None}])
def test_a_summary_without_rounds_is_damaged(whole: Path, tmp_path: Path, summary: Any) -> None:
    out = tmp_path / "copy"
    shutil.copytree(whole, out)
    (out / SEED / "summary.json").write_text(json.dumps(summary))
    with pytest.raises(DgrpoError, match=r"summary\.json is damaged"):
        run(tiny(), out)


def test_odd_shards_are_removed_with_what_was_not_finished(interrupted: Path) -> None:
    shards = interrupted / SEED / "completions"
    (shards / "to-abc.parquet").write_text("")
    (shards / "to-000099.parquet").mkdir()
    assert RunFolder(interrupted / SEED).resume()[0] == 5
    assert all(path.name in ("to-000002.parquet", "to-000004.parquet", "to-000005.parquet")
               for path in shards.iterdir())  # fmt: skip
