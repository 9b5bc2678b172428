"""Runs one program in the jail and says what came of it.

Everything this module reports is a *claim*: a hostile program shares its interpreter and can make
it say anything. So it is told nothing worth stealing, and nothing it says is believed beyond "this
program printed that, and gave these values". The trainer compares.
"""

from __future__ import annotations

import builtins
import contextlib
import gc
import io
import json
import os
import random
import sys
import types
from _sitebuiltins import Quitter
from collections.abc import Callable
from typing import Any

from dgrpo.sandbox.inside import frames, plain
from dgrpo.sandbox.inside.library import FromMemory

_LONGEST_DETAIL = 500


class TooMuchOutput(BaseException):
    """The program printed more than it may; not an Exception, so that few programs catch it."""


class _Printed(io.RawIOBase):
    """Standard output: the first 64 KiB of what is written."""

    def __init__(self) -> None:
        self.kept = bytearray()
        self.overflowed = False

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        written = bytes(data)
        self.kept += written[: plain.MOST_BYTES - len(self.kept)]
        if len(written) and len(self.kept) == plain.MOST_BYTES:
            self.overflowed = True
            raise TooMuchOutput
        return len(written)


class _Discarded(io.RawIOBase):
    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        return len(data)


class Harness:
    """One run: reads what to do from the channel, does it, answers, and ends the process."""

    def __init__(self, channel: frames.Descriptor, memory: FromMemory) -> None:
        self._channel = channel
        self._memory = memory
        self._printed = _Printed()
        self._leave = os._exit

    def play(self) -> None:
        """The whole run. Does not return."""
        try:
            task = frames.receive(self._channel, most=2**30)
            self._prepare(task)
            report = self._run(task)
            self._send(report)
            while task["stay"]:
                self._send(self._call(frames.receive(self._channel, most=2**30)))
        except BaseException:  # the trainer sees a run that ended without a report
            self._leave(1)
        self._leave(0)

    def _prepare(self, task: dict[str, Any]) -> None:
        self._memory.offer(task["libraries"])
        random.seed(task["seed"])  # the same program gives the same values every time
        sys.stdout = _text(self._printed)
        sys.stderr = _text(_Discarded())
        sys.stdin = io.StringIO("")
        sys.argv = ["program"]
        for name in [name for name in sys.modules if name.partition(".")[0] == "dgrpo"]:
            del sys.modules[name]  # a program finds the standard library and its own, no more
        self._main = types.ModuleType(task["name"])
        sys.modules["__main__"] = sys.modules[task["name"]] = self._main
        builtins.exit, builtins.quit = Quitter("exit", ""), Quitter("quit", "")
        for name in task["names"]:
            setattr(self._main, name, self._ask)
        gc.enable()

    def _run(self, task: dict[str, Any]) -> dict[str, Any]:
        main = vars(self._main)
        status, detail = "finished", ""
        values: list[Any] = []
        try:
            try:
                for source in task["sources"]:
                    exec(compile(source, "<program>", "exec"), main)
                    for name in task["names"]:  # what stands for the candidate stays in place
                        main[name] = self._ask
            except SystemExit as leaving:
                if leaving.code is not None and not _is_zero(leaving.code):
                    raise
            values = [self._evaluate(text) for text in task["expressions"]]
        except MemoryError:
            status = "memory"
        except TooMuchOutput:
            status = "output"
        except BaseException as error:
            status, detail = "raised", _describe(error)
        with contextlib.suppress(BaseException):
            sys.stdout.flush()
        if self._printed.overflowed:
            status = "output"
        printed = self._printed.kept.decode(errors="replace")
        return {"status": status, "printed": printed, "values": values, "detail": detail}

    def _evaluate(self, expression: str) -> dict[str, Any]:
        code = compile(expression, "<expression>", "eval")
        return _answer(lambda: eval(code, vars(self._main)))

    def _call(self, request: dict[str, Any]) -> dict[str, Any]:
        """Call a function of the program with values from outside."""
        arguments = plain.decode(request["arguments"])
        keywords = plain.decode(request["keywords"])
        return _answer(lambda: vars(self._main)[request["call"]](*arguments, **keywords))

    def _ask(self, *arguments: object, **keywords: object) -> object:
        """What the tests call as the candidate: the call goes out, a plain value comes back."""
        question = {
            "arguments": plain.encode(list(arguments)),
            "keywords": plain.encode(keywords),
        }
        self._send({"ask": question})
        answer = frames.receive(self._channel, most=2**30)
        if "raised" in answer:
            kind, message = answer["raised"]
            raise _exception(kind, message)
        return plain.decode(answer["value"])

    def _send(self, frame: dict[str, Any]) -> None:
        self._channel.sendall(frames.pack(frame))


def _is_zero(code: object) -> bool:
    """Whether it is the status of a normal end: of 0.0 Python makes another."""
    return isinstance(code, int) and code == 0


def _answer(compute: Callable[[], object]) -> dict[str, Any]:
    try:
        value = plain.encode(compute())
        if len(json.dumps(value)) > plain.MOST_BYTES:
            raise plain.NotPlain(f"more than {plain.MOST_BYTES} bytes")
    except (MemoryError, TooMuchOutput):
        raise
    except BaseException as error:
        return {"raised": [type(error).__name__, _message(error)]}
    return {"value": value}


def _exception(kind: str, message: str) -> Exception:
    """The builtin exception of that name, or a RuntimeError for what is none."""
    found = getattr(builtins, kind, RuntimeError)
    ends_loops = (StopIteration, StopAsyncIteration)  # a loop over calls would end, and pass
    if not isinstance(found, type) or not issubclass(found, Exception) or found in ends_loops:
        return RuntimeError(message)
    if issubclass(found, ExceptionGroup):
        return found(message, [RuntimeError(message)])
    try:
        return found(message)
    except TypeError:  # as UnicodeDecodeError: its parts stayed with the candidate
        return found.__new__(found, message)


def _describe(error: BaseException) -> str:
    return f"{type(error).__name__}: {_message(error)}"[:_LONGEST_DETAIL]


def _message(error: BaseException) -> str:
    try:
        return str(error)[:_LONGEST_DETAIL]
    except BaseException:
        return "(a message that cannot be shown)"


def _text(raw: io.RawIOBase) -> io.TextIOWrapper:
    buffered = io.BufferedWriter(raw, buffer_size=8192)
    return io.TextIOWrapper(
        buffered, encoding="utf-8", errors="backslashreplace", newline="\n", line_buffering=False
    )
