"""Plug-ins: one class in one file; found by name, listed, and built with validated knobs.

A plug-in is a frozen pydantic model. Its fields are its knobs, each documented by the string
beneath it; its class variable `name` is what a TOML file says. Three ways to be found:

* a module of the kind's package (`KINDS`), such as `dgrpo.attacks`;
* an entry point of a third party's package in the kind's group, such as `dgrpo.attacks`,
  `dgrpo.policies` or `dgrpo.exchanges`;
* `name = "path/to/file.py:ClassName"`, for a file that belongs to no package.

What changes during a run does not live here. A defense or an attack keeps it in the object that its
`start` returns, a policy in the one that `load` returns, an exchange in its `connect`'s.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.metadata
import importlib.util
import inspect
import json
import pkgutil
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, ValidationError

from dgrpo.errors import DgrpoError, did_you_mean

KINDS = {
    "attacks": "dgrpo.attacks",
    "defenses": "dgrpo.defenses",
    "tasks": "dgrpo.tasks",
    "policies": "dgrpo.learning.policies",
    "exchanges": "dgrpo.exchange",
}
"""Kinds of plug-ins, and the package whose modules are searched for each."""
_FILE_MARK = ".py:"
"""Between a file and its class: where it stands in a name, the name is no plain one."""


class Plugin(BaseModel):
    """Base of every plug-in: immutable, strict about unknown knobs, documented field by field."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    name: ClassVar[str]
    """What experiment files call it: lower case, words joined by hyphens."""

    def settings(self) -> dict[str, Any]:
        """The plug-in as a TOML table: its name and every knob."""
        return {"name": plugin_name(type(self)), **self.model_dump(mode="json")}

    @classmethod
    def example_settings(cls, folder: Path) -> dict[str, Any]:
        """Knobs with which the conformance suite (`dgrpo.conformance`) tries the plug-in.

        Override it if the defaults cannot work alone, as for a task that reads a file: write the
        file into `folder`, an empty one, and name it here. The same call gives the same settings.
        """
        return {}

    def is_set(self, knob: str) -> bool:
        """Whether a knob differs from its default: saved experiments name the defaults, too."""
        usual = type(self).model_fields[knob].get_default(call_default_factory=True)
        return bool(getattr(self, knob) != usual)

    def refuse_unread(self, where: str, knobs: Iterable[str], read: str) -> None:
        """Raise DgrpoError where one of `knobs` is set, though nothing reads it as things are.

        where: how the message calls the plug-in. read: when knobs are read: 'with endpoint'.
        """
        for knob in knobs:
            if self.is_set(knob):
                value = json.dumps(self.model_dump(mode="json")[knob], ensure_ascii=False)
                raise DgrpoError(
                    f"{where}{knob} = {value} is only read {read}",
                    remedy=f"leave {knob} out, or use it {read}",
                )


_loaded_from_file: dict[type[Plugin], str] = {}
_source_digests: dict[type[Plugin], str] = {}


def plugin_sources(plugins: Iterable[Plugin]) -> dict[str, str]:
    """Digests of the files behind plug-ins of no package: edited code is another run."""
    return {
        plugin_name(type(p)): _source_digests[type(p)]
        for p in plugins
        if type(p) in _source_digests
    }


def plugin_name(cls: type[Plugin]) -> str:
    """The name by which `build` finds `cls` again: its own, or `path.py:ClassName`."""
    return _loaded_from_file.get(cls, cls.name)


_recorded: ContextVar[bool] = ContextVar("recorded", default=False)


@contextmanager
def recorded() -> Iterator[None]:
    """While settings of a run folder are validated: they may be a stranger's.

    No file that they name is opened or imported, except plug-ins that this process has imported for
    an experiment of its own.
    """
    token = _recorded.set(True)
    try:
        yield
    finally:
        _recorded.reset(token)


def refuse_recorded(file: str) -> None:
    """Raise DgrpoError for a file that a run folder names. Call it before opening one."""
    if _recorded.get():
        raise DgrpoError(
            f"the run names {file}, which no experiment file here names",
            remedy="a report opens no file for a run; load the experiment that names it",
        )


@cache
def available(kind: str) -> dict[str, type[Plugin]]:
    """Every plug-in of `kind` by name, built-in and from entry points.

    Raises DgrpoError for an unknown kind, or for two plug-ins that claim one name.
    """
    if kind not in KINDS:
        raise DgrpoError(
            f"no kind of plug-in is called {kind!r}", remedy=did_you_mean(kind, list(KINDS))
        )
    package = importlib.import_module(KINDS[kind])
    found: dict[str, type[Plugin]] = {}
    for module_info in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
        module = importlib.import_module(module_info.name)
        for cls in vars(module).values():
            if _is_plugin(cls) and cls.__module__ == module.__name__:
                found[cls.name] = cls
    for entry in importlib.metadata.entry_points(group=f"dgrpo.{kind}"):
        try:
            cls = entry.load()
        except Exception as error:
            owner = entry.dist.name if entry.dist else "?"
            raise DgrpoError(
                f"entry point {entry.name!r} in dgrpo.{kind}, of the package {owner}, "
                f"cannot be imported: {type(error).__name__}: {error}",
                remedy="mend or uninstall that package",
            ) from error
        if not _is_plugin(cls):
            _check_whole(cls, package.BASE, f"entry point {entry.name!r} in dgrpo.{kind}")
            raise DgrpoError(
                f"entry point {entry.name!r} in dgrpo.{kind} is {cls!r}, not a plug-in class",
                remedy="point it at a subclass of the kind's base class that has a `name`",
            )
        _check_methods(cls, f"entry point {entry.name!r} in dgrpo.{kind}")
        if cls.name in found:
            raise DgrpoError(
                f"two plug-ins in dgrpo.{kind} are called {cls.name!r}: "
                f"{found[cls.name].__module__} and {cls.__module__}",
                remedy="rename one, or uninstall the package that brings the second",
            )
        found[cls.name] = cls
    return dict(sorted(found.items()))


def find(kind: str, name: str) -> type[Plugin]:
    """The class called `name`, which may be `path/to/file.py:ClassName`.

    Raises DgrpoError with the nearest names when there is none.
    """
    if _FILE_MARK in name:
        return _from_file(kind, name)
    plugins = available(kind)
    if name not in plugins:
        raise DgrpoError(
            f"no plug-in called {name!r} in dgrpo.{kind}",
            remedy=did_you_mean(name, list(plugins))
            + '; a class of your own is named "path/to/file.py:ClassName"',
        )
    return plugins[name]


def find_anywhere(name: str, others: Iterable[str] = ()) -> tuple[type[Plugin], str]:
    """The class called `name`, which may be `path/to/file.py:ClassName`, and its kind.

    Raises DgrpoError if no kind of plug-in has it. others: more names that the message may suggest.
    """
    if _FILE_MARK in name:
        kind = _kind_of(name)
        return find(kind, name), kind
    known = list(others)
    for kind in KINDS:
        if name in available(kind):
            return find(kind, name), kind
        known += available(kind)
    raise DgrpoError(
        f"nothing is called {name!r}",
        remedy=did_you_mean(name, known)
        + '; a class of your own is named "path/to/file.py:ClassName"',
    )


def _kind_of(reference: str) -> str:
    """The kind whose base the class in a file derives from. Raises DgrpoError if there is none."""
    module, class_name = _import(reference)
    bases = {kind: importlib.import_module(package).BASE for kind, package in KINDS.items()}
    cls = getattr(module, class_name, None)
    if inspect.isclass(cls):
        for kind, base in bases.items():
            if issubclass(cls, base):
                return kind
        wanted = ", ".join(f"{base.__module__}.{base.__name__}" for base in bases.values())
        raise DgrpoError(
            f"{reference}: the class {class_name} is no plug-in of any kind",
            remedy=f"derive it from one of {wanted}",
        )
    raise DgrpoError(
        f"{reference.rpartition(':')[0]} has no plug-in called {class_name!r}",
        remedy=did_you_mean(class_name, [n for n, c in vars(module).items() if _is_plugin(c)]),
    )


def build(kind: str, settings: dict[str, Any], where: str) -> Plugin:
    """Build the plug-in that `settings` describes: its `name`, and knobs.

    `where` is how error messages call the table, e.g. `attack` or `defense[1]`.
    """
    knobs = dict(settings)
    name = knobs.pop("name", None)
    if not isinstance(name, str):
        raise DgrpoError(f"{where}.name is missing", remedy=f"one of: {', '.join(available(kind))}")
    cls = find(kind, name)
    try:
        return cls(**knobs)
    except ValidationError as error:
        raise DgrpoError.from_validation(error, where, list(cls.model_fields)) from None


def summary(cls: type[Plugin]) -> str:
    """First line of the class's docstring."""
    return (inspect.getdoc(cls) or "").split("\n")[0]


def _is_plugin(value: object) -> bool:
    return (
        inspect.isclass(value)
        and issubclass(value, Plugin)
        and not inspect.isabstract(value)
        and isinstance(getattr(value, "name", None), str)
    )


def _check_whole(value: object, base: type[Plugin], where: str) -> None:
    """Raise DgrpoError that says what a class lacks to be a plug-in of the kind `base`.

    Nothing is said of what is no class, or a class of another kind of plug-in.
    """
    if not inspect.isclass(value) or (issubclass(value, Plugin) and not issubclass(value, base)):
        return
    if not issubclass(value, base):
        raise DgrpoError(
            f"{where}: the class {value.__name__} is no {base.__name__}",
            remedy=f"derive it: class {value.__name__}({base.__name__}), from {base.__module__}",
        )
    if lacking := sorted(getattr(value, "__abstractmethods__", ())):
        raise DgrpoError(
            f"{where}: the class {value.__name__} lacks {', '.join(lacking)}",
            remedy=f"write {'it' if len(lacking) == 1 else 'them'}: "
            + "; ".join(_signature(value, name) for name in lacking),
        )
    raise DgrpoError(
        f"{where}: the class {value.__name__} has no name",
        remedy='write into it: name: ClassVar[str] = "…", what experiment files call it',
    )


def _check_methods(cls: type[Plugin], where: str) -> None:
    """Raise DgrpoError for a method that is `async def` where its base's is not, or reversely."""
    for name, method in inspect.getmembers_static(cls, inspect.isfunction):
        own = inspect.iscoroutinefunction(inspect.unwrap(method))
        for ancestor in cls.__mro__:
            declared = vars(ancestor).get(name)
            if not inspect.isfunction(declared) or not ancestor.__module__.startswith("dgrpo."):
                continue
            if inspect.iscoroutinefunction(declared) != own:
                raise DgrpoError(
                    f"{where}: {cls.__name__}.{name} is {'' if own else 'not '}`async def`",
                    remedy=f"write {_signature(ancestor, name)}",
                )


def _signature(cls: type, name: str) -> str:
    """How a method of `cls` is written: `async def check(self, received, node)`."""
    method = getattr(cls, name)
    start = "async def" if inspect.iscoroutinefunction(method) else "def"
    return f"{start} {name}({', '.join(inspect.signature(method).parameters)})"


def _import(reference: str) -> tuple[ModuleType, str]:
    """The module of `path/to/file.py:ClassName`, imported once, and the class's name.

    Raises DgrpoError if there is no such file, or if importing it fails.
    """
    if reference not in _loaded_from_file.values():
        refuse_recorded(reference)
    path_text, _, class_name = reference.rpartition(":")
    path = Path(path_text)
    if not path.is_file():
        raise DgrpoError(
            f"{reference!r} names a file that does not exist: {path}",
            remedy="the path is taken from the folder you run dgrpo in",
        )
    resolved = str(path.resolve())
    module_name = f"dgrpo_plugin_{hashlib.sha256(resolved.encode()).hexdigest()[:12]}"
    if module_name not in sys.modules:
        spec = importlib.util.spec_from_file_location(module_name, path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[module_name] = module
        try:
            spec.loader.exec_module(module)
        except Exception as error:
            del sys.modules[module_name]
            raise DgrpoError(
                f"{path} could not be imported: {type(error).__name__}: {error}",
                remedy="run it with python first",
            ) from error
    return sys.modules[module_name], class_name


def _from_file(kind: str, reference: str) -> type[Plugin]:
    module, class_name = _import(reference)
    path = Path(reference.rpartition(":")[0])
    cls: Any = getattr(module, class_name, None)
    base = importlib.import_module(KINDS[kind]).BASE
    if not _is_plugin(cls) or not issubclass(cls, base):
        _check_whole(cls, base, reference)
        members = vars(module).items()
        names = [n for n, c in members if _is_plugin(c) and issubclass(c, base)]
        raise DgrpoError(
            f"{path} has no {base.__name__} plug-in called {class_name!r}",
            remedy=did_you_mean(class_name, names),
        )
    _check_methods(cls, reference)
    found: type[Plugin] = cls
    _loaded_from_file[found] = reference
    _source_digests.setdefault(found, hashlib.sha256(path.read_bytes()).hexdigest()[:16])
    return found
