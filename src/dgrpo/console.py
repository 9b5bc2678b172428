"""The consoles that commands print to: no control character of a stranger's passes them.

Names, paths, docstrings and messages come from files of others. Most are escaped where they are put
into words; here the rest is, whatever prints it. Leaves out: what libraries and plug-ins print by
themselves.
"""

from __future__ import annotations

import logging
import sys
import threading
import traceback
import warnings
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from dgrpo.escaping import shorten, visible

_LONGEST = 20_000
"""Characters of one piece of text: a screen holds fewer."""


class EscapingConsole(Console):
    """A rich console that writes out hidden characters, and highlights nothing.

    rich looks for numbers and paths in what it prints with regular expressions, which take minutes
    over a name of 300,000 letters.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"highlight": False, **options})

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        """See `Console.render`: all that is printed passes here, cell by cell and line by line."""
        for segment in super().render(renderable, options):
            if segment.control:
                yield segment
            else:
                yield Segment(visible(segment.text, _LONGEST), segment.style)


def escape_other_output() -> None:
    """From here on escape what Python itself prints: warnings, log records and stack traces."""
    warnings.formatwarning = _formatwarning
    logging.setLogRecordFactory(_record)
    sys.excepthook = _tell
    threading.excepthook = lambda hook: _tell(
        hook.exc_type, hook.exc_value or hook.exc_type(), hook.exc_traceback
    )


def escaped_trace(error: BaseException) -> str:
    """The stack trace of an exception, whatever its message holds."""
    return visible(shorten("".join(traceback.format_exception(error)), _LONGEST), 2 * _LONGEST)


def _tell(_kind: Any, error: BaseException, _trace: Any) -> None:
    sys.stderr.write(escaped_trace(error))


_plain_warning = warnings.formatwarning
_plain_record = logging.getLogRecordFactory()


def _formatwarning(*fields: Any, **named: Any) -> str:
    return visible(_plain_warning(*fields, **named))


def _record(*fields: Any, **named: Any) -> logging.LogRecord:
    record = _plain_record(*fields, **named)
    with suppress(Exception):  # a message that does not fit its values is told by its handler
        record.msg, record.args = visible(record.getMessage()), None
    return record
