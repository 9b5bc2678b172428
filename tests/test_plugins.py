"""Plug-ins are found by name, in files and in installed packages; what is wrong is named."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from dgrpo import plugins
from dgrpo.attacks.text import Text
from dgrpo.errors import DgrpoError
from dgrpo.plugins import available, build, find, find_anywhere, plugin_name

ONE_OF_EACH = '''
"""An attack, a defense and a task in one file."""

from typing import ClassVar

from dgrpo.attacks import Attack, StatelessAttack, ThinkingAttack, Turn
from dgrpo.defenses import Receiver, RunningDefense, StatelessDefense
from dgrpo.tasks import LoadedTask, Task


class Whisper(ThinkingAttack):
    """Whispers."""

    name: ClassVar[str] = "whisper"

    volume: int = 1
    """How loud."""

    def poison_thinking(self, thinking, rng):
        return thinking


class Deaf(StatelessDefense):
    """Hears nothing."""

    name: ClassVar[str] = "deaf"

    async def screen(self, batch, node):
        return []


class Nothing(Task):
    """Asks nothing."""

    name: ClassVar[str] = "nothing"

    def pools(self):
        return LoadedTask("nothing", (), ())


class Unfinished(StatelessAttack):
    """Has no `poison`."""

    name: ClassVar[str] = "unfinished"


NOT_A_CLASS = 5
'''


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "of_my_own.py"
    path.write_text(ONE_OF_EACH)
    return path


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder that packages can be installed in, forgotten afterwards."""
    monkeypatch.syspath_prepend(tmp_path)
    available.cache_clear()
    yield tmp_path
    available.cache_clear()
    sys.modules.pop("third_party", None)


def install(folder: Path, kind: str, target: str, code: str) -> None:
    """Put a package with one entry point in `folder`, as an installer would."""
    (folder / "third_party.py").write_text(code)
    info = folder / "third_party-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: third-party\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[dgrpo.{kind}]\ntheirs = third_party:{target}\n")


@pytest.mark.parametrize(
    ("kind", "wrong", "nearest"),
    [
        ("attacks", "texd", "'text'"),
        ("attacks", "Honest", "'honest'"),
        ("defenses", "topk", "'top-k'"),
        ("tasks", "gsm-symbolik", "'gsm-symbolic'"),
        ("tasks", "gsm8", "'gsm8k'"),
    ],
)
def test_an_unknown_name_gets_the_nearest_known_one(kind: str, wrong: str, nearest: str) -> None:
    with pytest.raises(DgrpoError, match=f"no plug-in called '{wrong}' in dgrpo.{kind}") as caught:
        find(kind, wrong)
    assert caught.value.remedy.startswith(f"did you mean {nearest}")


def test_a_name_like_no_other_gets_the_whole_list() -> None:
    with pytest.raises(DgrpoError, match=r"known: code-import, .*honest, "):
        find("attacks", "zzzzzz")


def test_an_unknown_kind_gets_the_nearest_known_one() -> None:
    with pytest.raises(DgrpoError, match=r"'defences'\n.*did you mean 'defenses'"):
        available("defences")


def test_a_table_without_a_name_is_named() -> None:
    for table in ({}, {"name": 5}, {"phrase": "x"}):
        with pytest.raises(DgrpoError, match=r"attack\[1\]\.name is missing(.|\n)*text"):
            build("attacks", table, "attack[1]")


def test_several_wrong_knobs_are_all_named_at_once() -> None:
    with pytest.raises(DgrpoError) as caught:
        build("attacks", {"name": "text", "phrse": "x", "position": "middle"}, "attack")
    assert "attack.phrse is not a setting" in caught.value.problem
    assert "attack.position = 'middle'" in caught.value.problem
    assert "'phrase'" in caught.value.remedy


def test_only_what_can_be_built_is_listed() -> None:
    assert "text" in available("attacks")
    assert all(isinstance(cls.name, str) for cls in available("attacks").values())
    assert list(available("attacks")) == sorted(available("attacks"))


@pytest.mark.parametrize(
    ("kind", "name"), [("attacks", "Whisper"), ("defenses", "Deaf"), ("tasks", "Nothing")]
)
def test_a_class_in_a_file_is_found_by_its_path(file: Path, kind: str, name: str) -> None:
    reference = f"{file}:{name}"
    plugin = build(kind, {"name": reference}, "here")
    assert plugin_name(type(plugin)) == reference
    assert plugin.settings()["name"] == reference
    assert build(kind, plugin.settings(), "here") == plugin
    assert plugin.name not in available(kind)


@pytest.mark.parametrize(
    ("cls", "kind"), [("Whisper", "attacks"), ("Deaf", "defenses"), ("Nothing", "tasks")]
)
def test_the_kind_of_a_class_in_a_file_is_known_by_its_base(
    file: Path, cls: str, kind: str
) -> None:
    found, its_kind = find_anywhere(f"{file}:{cls}")
    assert (found.__name__, its_kind) == (cls, kind)
    assert found.example_settings(file.parent) == {}


def test_the_kind_of_a_name_is_known() -> None:
    for name, kind in (("text", "attacks"), ("judge", "defenses"), ("frozen", "policies")):
        assert find_anywhere(name) == (find(kind, name), kind)
    with pytest.raises(DgrpoError, match=r"nothing is called 'experimnt'\n.*'experiment'"):
        find_anywhere("experimnt", ["experiment"])


@pytest.mark.parametrize(
    ("cls", "problem"),
    [
        ("Unfinished", "the class Unfinished lacks poison"),
        ("NOT_A_CLASS", "has no plug-in called 'NOT_A_CLASS'"),
        ("Wisper", r"has no plug-in called 'Wisper'\n.*'Whisper'"),
        ("Receiver", "the class Receiver is no plug-in of any kind\n.*dgrpo.attacks.base.Attack, "),
    ],
)
def test_a_class_of_no_kind_is_told_what_it_lacks(file: Path, cls: str, problem: str) -> None:
    with pytest.raises(DgrpoError, match=problem):
        find_anywhere(f"{file}:{cls}")


def test_the_path_may_be_relative(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(file.parent)
    assert build("attacks", {"name": "of_my_own.py:Whisper", "volume": 3}, "attack").settings() == {
        "name": "of_my_own.py:Whisper",
        "decoys": "own",
        "poisoned_share": 0.5,
        "agreement": 0.0,
        "oracle": "dataset",
        "votes": 16,
        "volume": 3,
    }


def test_a_file_is_run_once_however_often_it_is_named(tmp_path: Path) -> None:
    path = tmp_path / "counting.py"
    path.write_text(
        ONE_OF_EACH + "\nwith open(__file__ + '.log', 'a') as log:\n    log.write('run ')"
    )
    assert find("attacks", f"{path}:Whisper") is find("attacks", f"{path}:Whisper")
    find("defenses", f"{path}:Deaf")
    assert (tmp_path / "counting.py.log").read_text() == "run "


def test_two_files_of_one_name_do_not_get_in_each_others_way(tmp_path: Path) -> None:
    volumes = []
    for folder, volume in (("a", "1"), ("b", "2")):
        path = tmp_path / folder / "attack.py"
        path.parent.mkdir()
        path.write_text(ONE_OF_EACH.replace("volume: int = 1", f"volume: int = {volume}"))
        volumes.append(build("attacks", {"name": f"{path}:Whisper"}, "attack").settings()["volume"])
    assert volumes == [1, 2]


@pytest.mark.parametrize(
    ("kind", "name", "remedy"),
    [
        ("defenses", "Whisper", "known: Deaf"),
        ("attacks", "Deaf", "known: Whisper"),
        ("attacks", "Wisper", "did you mean 'Whisper'?"),
        ("attacks", "NOT_A_CLASS", "known: Whisper"),
    ],
)
def test_a_class_of_another_kind_or_none_is_refused(
    file: Path, kind: str, name: str, remedy: str
) -> None:
    with pytest.raises(DgrpoError, match=f"has no .* plug-in called '{name}'") as caught:
        find(kind, f"{file}:{name}")
    assert caught.value.remedy == remedy


OWN = """
from typing import ClassVar
from dgrpo.attacks import Attack, StatelessAttack, ThinkingAttack
from dgrpo.defenses import StatelessDefense
from dgrpo.records import Verdict


class Mine({base}):
    name: ClassVar[str] = "mine"
"""
POISON = "    async def poison(self, own, turn): return own"


@pytest.mark.parametrize(
    ("kind", "base", "body", "problem", "remedy"),
    [
        ("attacks", "StatelessAttack", "", "lacks poison", "async def poison(self, own, turn)"),
        ("attacks", "Attack", "", "lacks start", "def start(self)"),
        (
            "attacks",
            "ThinkingAttack",
            "",
            "lacks poison_thinking",
            "def poison_thinking(self, thinking, rng)",
        ),
        (
            "defenses",
            "StatelessDefense",
            "",
            "lacks screen",
            "async def screen(self, batch, node)",
        ),
        (
            "attacks",
            "StatelessAttack",
            "    def poison(self, own, turn): return own",
            "Mine.poison is not `async def`",
            "async def poison(self, own, turn)",
        ),
        (
            "defenses",
            "StatelessDefense",
            "    def screen(self, batch, node): return [Verdict(True, 0.0)]",
            "Mine.screen is not `async def`",
            "async def screen(self, batch, node)",
        ),
        (
            "attacks",
            "StatelessAttack",
            POISON + "\n    async def succeeded(self, prompt, text): return True",
            "Mine.succeeded is `async def`",
            "write def succeeded(self, prompt, text)",
        ),
        ("attacks", "object", "", "the class Mine is no Attack", "class Mine(Attack)"),
    ],
)
def test_what_a_class_lacks_is_told_before_a_run(
    tmp_path: Path, kind: str, base: str, body: str, problem: str, remedy: str
) -> None:
    path = tmp_path / "mine.py"
    path.write_text(OWN.format(base=base) + body)
    with pytest.raises(DgrpoError) as caught:
        find(kind, f"{path}:Mine")
    assert problem in caught.value.problem
    assert f"{path}:Mine" in caught.value.problem
    assert remedy in caught.value.remedy


@pytest.mark.parametrize("name", ["", '    name: str = "mine"'])
def test_a_class_without_a_name_is_told_how_to_get_one(tmp_path: Path, name: str) -> None:
    path = tmp_path / "mine.py"
    given = OWN.format(base="StatelessAttack").replace('    name: ClassVar[str] = "mine"', name)
    path.write_text(f"{given}\n{POISON}")
    with pytest.raises(DgrpoError, match="the class Mine has no name") as caught:
        find("attacks", f"{path}:Mine")
    assert "name: ClassVar[str]" in caught.value.remedy


def test_an_installed_class_that_lacks_a_method_is_told_so(site: Path) -> None:
    install(site, "attacks", "Unfinished", ONE_OF_EACH)
    with pytest.raises(DgrpoError, match="the class Unfinished lacks poison"):
        available("attacks")


def test_a_decorated_coroutine_is_a_coroutine(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text(
        "import functools\n"
        "def timed(function):\n"
        "    @functools.wraps(function)\n"
        "    def wrapper(*args): return function(*args)\n"
        "    return wrapper\n" + OWN.format(base="StatelessAttack") + "    @timed\n" + POISON
    )
    assert find("attacks", f"{path}:Mine").name == "mine"


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(DgrpoError, match=r"missing\.py(.|\n)*the folder you run dgrpo in"):
        find("attacks", f"{tmp_path / 'missing.py'}:Whisper")


@pytest.mark.parametrize(
    ("code", "fault"),
    [
        ("def broken(:", "SyntaxError"),
        ("import a_package_that_is_nowhere", "ModuleNotFoundError"),
        ("1 / 0", "ZeroDivisionError"),
    ],
)
def test_a_file_that_cannot_be_imported_says_why_and_can_be_mended(
    tmp_path: Path, code: str, fault: str
) -> None:
    path = tmp_path / "broken.py"
    path.write_text(code)
    for _ in range(2):
        with pytest.raises(DgrpoError, match=rf"broken\.py could not be imported: {fault}"):
            find("attacks", f"{path}:Whisper")
    path.write_text(ONE_OF_EACH)
    assert find("attacks", f"{path}:Whisper").name == "whisper"


def test_an_installed_package_brings_a_plug_in(site: Path) -> None:
    install(site, "attacks", "Whisper", ONE_OF_EACH)
    assert available("attacks")["whisper"].__module__ == "third_party"
    assert build("attacks", {"name": "whisper"}, "attack").settings()["name"] == "whisper"


def test_an_installed_package_cannot_take_a_name_that_is_taken(site: Path) -> None:
    install(site, "attacks", "Whisper", ONE_OF_EACH.replace('"whisper"', '"text"'))
    with pytest.raises(DgrpoError, match=r"'text': dgrpo\.attacks\.text and third_party"):
        available("attacks")
    assert "gsm8k" in available("tasks")


def test_an_entry_point_that_is_no_plug_in_is_named(site: Path) -> None:
    install(site, "defenses", "NOT_A_CLASS", ONE_OF_EACH)
    with pytest.raises(DgrpoError, match=r"'theirs' in dgrpo\.defenses is 5, not a plug-in class"):
        available("defenses")


def test_the_summary_is_the_docstrings_first_line() -> None:
    assert plugins.summary(Text).startswith("Out-of-context text injection")


@pytest.mark.parametrize("code", ["import no_such_library", "raise ValueError('broken')"])
def test_an_entry_point_that_cannot_be_imported_names_its_package(site: Path, code: str) -> None:
    install(site, "attacks", "Whisper", code)
    with pytest.raises(
        DgrpoError, match=r"'theirs' .* of the package third-party, cannot"
    ) as caught:
        find("attacks", "text")
    assert "uninstall that package" in caught.value.remedy
