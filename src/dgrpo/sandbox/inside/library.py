"""The standard library from memory: inside the jail no file can be opened, so none is needed.

The worker imports what programs use most, and every extension module worth having, before anything
hostile exists; the other pure Python modules are kept as compiled code and imported from memory.
Left out: modules that need a display, a terminal, a database or OpenSSL, and the tests.
"""

from __future__ import annotations

import importlib
import importlib.machinery
import importlib.util
import marshal
import os
import sys
import sysconfig
import types
from collections.abc import Sequence

_EAGER_NAMES = """abc array base64 bisect calendar cmath collections collections.abc contextlib
copy csv ctypes dataclasses datetime decimal enum fractions functools gc hashlib
heapq inspect io itertools json keyword linecache math numbers operator os
pprint queue random re signal statistics string struct sys textwrap threading
time timeit traceback types typing unicodedata unittest warnings zlib
encodings.ascii encodings.latin_1 encodings.idna"""
EAGER = tuple(_EAGER_NAMES.split())
"""Imported before any run: a run then pays nothing for them."""

_EXTENSIONS_NAMES = """array _bisect _blake2 binascii _bz2 cmath _contextvars _csv _ctypes
_datetime _decimal _elementtree fcntl grp _heapq _json _lsprof _lzma math _md5
mmap _multibytecodec _opcode _pickle _posixsubprocess pyexpat _queue _random
resource select _sha1 _sha2 _sha256 _sha3 _sha512 _socket _statistics _struct
termios unicodedata _uuid zlib _zoneinfo"""
EXTENSIONS = tuple(_EXTENSIONS_NAMES.split())
"""Extension modules; one that this interpreter does not have is passed over."""

_LEFT_OUT_NAMES = """antigravity ctypes.test curses dbm distutils ensurepip idlelib lib2to3
pydoc_data site-packages sqlite3 test tests this tkinter turtle turtledemo venv
__pycache__ __phello__ lib-dynload unittest.test"""
_LEFT_OUT = tuple(_LEFT_OUT_NAMES.split())


class FromMemory:
    """Importer of compiled modules, and of the libraries that a program is given."""

    def __init__(self) -> None:
        self._code: dict[str, bytes] = {}
        self._packages: set[str] = set()
        self._libraries: dict[str, str] = {}

    def load_standard_library(self) -> None:
        """Compile every pure Python module of this interpreter's standard library."""
        root = sysconfig.get_path("stdlib")
        for folder, folders, files in os.walk(root):
            package = os.path.relpath(folder, root).replace(os.sep, ".").lstrip(".")
            folders[:] = [name for name in folders if not _left_out(package, name)]
            if package and "__init__.py" not in files:
                folders[:] = []
                continue
            for file in files:
                stem, extension = os.path.splitext(file)
                if extension == ".py" and not _left_out(package, stem):
                    self._keep(package, stem, os.path.join(folder, file))

    def offer(self, libraries: dict[str, str]) -> None:
        """Make the sources of `libraries` importable, before the standard library."""
        self._libraries = libraries

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: types.ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """PEP 451."""
        if name not in self._libraries and name not in self._code:
            return None
        spec = importlib.machinery.ModuleSpec(
            name,
            self,  # type: ignore[arg-type]
            origin=f"<{name}>",
            is_package=name in self._packages and name not in self._libraries,
        )
        spec.has_location = False
        return spec

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> types.ModuleType | None:
        """PEP 451."""
        return None

    def exec_module(self, module: types.ModuleType) -> None:
        """PEP 451."""
        name = module.__name__
        if name in self._libraries:
            code = compile(self._libraries[name], f"<library {name}>", "exec")
        else:
            code = marshal.loads(self._code[name])
        exec(code, module.__dict__)

    def _keep(self, package: str, stem: str, path: str) -> None:
        name = package if stem == "__init__" else ".".join(filter(None, (package, stem)))
        loader = importlib.machinery.SourceFileLoader(name, path)
        try:
            code = loader.get_code(name)
        except (SyntaxError, ValueError, OSError):  # templates and samples that are no modules
            return
        if code is not None:
            self._code[name] = marshal.dumps(code)
            if stem == "__init__":
                self._packages.add(name)


def warm_up() -> FromMemory:
    """Import what programs use, keep the rest in memory, and close the way to the file system."""
    for name in (*EXTENSIONS, *EAGER):
        try:
            importlib.import_module(name)
        except ImportError:
            if name in EAGER:
                raise
    memory = FromMemory()
    memory.load_standard_library()
    sys.meta_path[:] = [
        importlib.machinery.BuiltinImporter,
        importlib.machinery.FrozenImporter,
        memory,
    ]
    sys.path.clear()
    sys.path_hooks.clear()
    sys.path_importer_cache.clear()
    return memory


def _left_out(package: str, name: str) -> bool:
    return (
        name in _LEFT_OUT or f"{package}.{name}" in _LEFT_OUT or name.startswith("_sysconfigdata")
    )
