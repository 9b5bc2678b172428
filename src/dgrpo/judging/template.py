"""A judge's own chat template, rendered alike on every day and with arguments of the user's.

Some templates print today's date (Llama 3, Granite, Mistral, gpt-oss). They are given a fixed one,
because what a judge is asked about a completion must not depend on the day.

Leaves out: system messages and tools.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from dgrpo.errors import DgrpoError, first_line

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

DATE = datetime(2024, 7, 26, 12, 0, tzinfo=UTC)
"""The date of every prompt: Llama 3's template prints this day where it has no clock."""
_CLOCK = "strftime_now"
"""The function by which templates ask for the time."""
_CODES = "aAwdbBmyYHIMSpfzZjUWcxXGuVeDFTRh"


def _reserved() -> set[str]:
    """Names that a template's arguments cannot have, since the tokenizer's own have them."""
    from transformers import PreTrainedTokenizerBase

    own = inspect.signature(PreTrainedTokenizerBase.apply_chat_template).parameters
    return {"messages", "conversations", _CLOCK, *own}


class ChatTemplate:
    """Writes one user message as the chat that a model continues."""

    def __init__(
        self, tokenizer: PreTrainedTokenizerBase, arguments: Mapping[str, Any] | None = None
    ) -> None:
        """Raises DgrpoError for a template that fails on a plain message."""
        self._tokenizer = tokenizer
        self._arguments = dict(arguments or {})
        self._text = ""
        if tokenizer.chat_template:
            try:
                text = tokenizer.get_chat_template()
            except ValueError as error:
                raise _unusable(error) from error
            self._text = f"{_fixed_clock()}\n{text}" if _CLOCK in text else text
            self.render("")
        elif self._arguments:
            raise DgrpoError(
                "template_arguments are given, but the model has no chat template to read them",
                remedy="leave template_arguments out, or give the model's folder its template",
            )

    def __bool__(self) -> bool:
        """Whether the model has a template."""
        return bool(self._text)

    def render(self, message: str) -> str:
        """The chat up to where the model speaks; raises DgrpoError where the template fails."""
        try:
            return str(
                self._tokenizer.apply_chat_template(
                    [{"role": "user", "content": message}],
                    chat_template=self._text,
                    tokenize=False,
                    add_generation_prompt=True,
                    **self._arguments,
                )
            )
        except Exception as error:  # a template is a program of the model's makers
            raise _unusable(error) from error


def checked_arguments(arguments: Mapping[str, Any]) -> None:
    """Raises ValueError for an argument that is not the template's to take."""
    for name in arguments:
        if name in _reserved():
            raise ValueError(f"must not hold {name}, which the judge sets itself")


def _unusable(error: Exception) -> DgrpoError:
    return DgrpoError(
        f"the model's chat template fails: {type(error).__name__}: {first_line(error)}",
        remedy="mend chat_template.jinja in the model's folder, or see template_arguments",
    )


def _fixed_clock() -> str:
    """A macro that takes the place of the templates' clock; it knows one moment."""
    replaced = "".join(
        f"|replace('%-{code}','{DATE.strftime('%' + code).lstrip('0') or '0'}')"
        f"|replace('%{code}','{DATE.strftime('%' + code)}')"
        for code in _CODES
    )
    told = f"{{{{ format{replaced}|replace('%%','%') }}}}"
    return f"{{% macro {_CLOCK}(format) %}}{told}{{% endmacro %}}"
