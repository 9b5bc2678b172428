"""Prints which promises a plug-in keeps, while pytest tries them.

A promise is a test function; its name says it. It is kept if it holds in every variant: topology,
number of completions, with and without the dataset's oracle.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import pytest
from rich.markup import escape

from dgrpo.conformance.tried import FOR_ALL, NAMED, VOTING
from dgrpo.console import EscapingConsole
from dgrpo.escaping import one_line

LINES = 8
"""Lines that are printed of what went wrong: pytest's comparison of two values can have thousands.
"""
_HINT = "Use -v to get more diff"
"""A line of pytest's that is of no use here."""
_WHERE = "where"
"""Key of a test's place in what its reports carry: plug-in, promise, meaning, variant."""


class Promises:
    """A plug-in of pytest's: plug-in after plug-in, a line per promise."""

    def __init__(self, named: Mapping[str, Sequence[str]], out: EscapingConsole) -> None:
        self.named = named
        self.out = out
        self.kept: Counter[str] = Counter()
        self.broken: Counter[str] = Counter()
        self._plugins = [name for names in named.values() for name in names]
        self._left: Counter[tuple[str, str]] = Counter()
        self._tried: Counter[tuple[str, str]] = Counter()
        self._failures: dict[tuple[str, str], list[tuple[str, str]]] = {}
        self._headed = ""

    def pytest_configure(self, config: pytest.Config) -> None:
        """Tell the suite's conftest what is tried."""
        config.stash[NAMED] = {kind: list(names) for kind, names in self.named.items()}

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """One plug-in after the other, kind after kind."""
        order = {name: place for place, name in enumerate(self._plugins)}
        for item in items:
            assert isinstance(item, pytest.Function)
            values = dict(item.callspec.params) if hasattr(item, "callspec") else {}
            values.pop("kind", None)
            name = str(values.pop("name", None) or values.pop("voting"))
            plain = name.removesuffix(VOTING)
            promise = item.function.__name__.removeprefix("test_").replace("_", " ")
            meaning = (item.function.__doc__ or "").split("\n\n")[0]
            variant = ", ".join(f"{key} {value}" for key, value in values.items())
            if plain != name:
                variant = ", ".join(filter(None, (variant, VOTING.strip())))
            item.user_properties.append((_WHERE, (plain, promise, meaning, variant)))
            self._left[plain, promise] += 1
        # without an attack that votes, pytest keeps the voters' promises with nothing to try
        items[:] = [item for item in items if _place(item.user_properties)[0] in order]
        # what holds for every plug-in first: it says best why the rest fails
        items.sort(key=lambda i: (order[_place(i.user_properties)[0]], i.path.stem != FOR_ALL))

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Print a promise once its last variant was tried."""
        plugin, promise, meaning, variant = _place(report.user_properties)
        at = plugin, promise
        if report.when == "call" and not report.skipped:
            self._tried[at] += 1
        if report.failed:
            self._failures.setdefault(at, []).append((variant, _wrong(report, plugin)))
        if report.when != "teardown":
            return
        self._left[at] -= 1
        if not self._left[at] and (self._tried[at] or at in self._failures):
            self._tell(plugin, promise, meaning)

    def _tell(self, plugin: str, promise: str, meaning: str) -> None:
        failures = self._failures.get((plugin, promise), [])
        if plugin != self._headed:
            kind = next(kind for kind, names in self.named.items() if plugin in names)
            self.out.print(f"\n[bold]{escape(plugin)}[/] ({kind})", soft_wrap=True)
            self._headed = plugin
        if not failures:
            self.kept[plugin] += 1
            self.out.print(f"  [green]kept[/]    {promise}", soft_wrap=True)
            return
        self.broken[plugin] += 1
        self.out.print(f"  [red]BROKEN[/]  [bold]{promise}[/]", soft_wrap=True)
        if meaning:
            self._indented(" ".join(meaning.split()))
        by_fault: dict[str, list[str]] = {}
        for variant, wrong in failures:
            by_fault.setdefault(wrong, []).append(variant)
        for wrong, variants in by_fault.items():
            told = "; ".join(dict.fromkeys(filter(None, variants)))
            if told:
                self._indented(f"with {told}:")
            for line in wrong.split("\n"):
                self._indented(f"  {line}")

    def _indented(self, text: str) -> None:
        self.out.print(f"            {text}", soft_wrap=True, markup=False)

    def summary(self) -> None:
        """How many promises each plug-in keeps."""
        self.out.print()
        for plugin in self._plugins:
            line = f"{plugin}: {self.kept[plugin]} promises kept, {self.broken[plugin]} broken"
            self.out.print(line, soft_wrap=True, markup=False)


def _place(properties: Sequence[tuple[str, object]]) -> tuple[str, str, str, str]:
    """Plug-in, promise, meaning and variant of a test."""
    place = dict(properties)[_WHERE]
    assert isinstance(place, tuple)
    return place


def _wrong(report: pytest.TestReport, plugin: str) -> str:
    """What went wrong, in a few lines, and the last line of the plug-in's own file on the way."""
    crash = getattr(report.longrepr, "reprcrash", None)
    message = str(crash.message if crash is not None else report.longrepr)
    written = [line for line in message.split("\n") if line.strip() and line != _HINT]
    lines = [one_line(line, 400) for line in written]
    told = lines[:LINES] + [f"… ({len(lines) - LINES} more lines)"] * (len(lines) > LINES)
    trace = getattr(report.longrepr, "reprtraceback", None)
    places = [getattr(entry, "reprfileloc", None) for entry in getattr(trace, "reprentries", ())]
    file = plugin.rpartition(":")[0].rpartition("/")[2]
    own = [p for p in places if p is not None and file and str(p.path).endswith(file)]
    for place in own[-1:] or [p for p in places if p is not None][-1:]:
        told.append(f"at {place.path}:{place.lineno}")
    return "\n".join(told)
