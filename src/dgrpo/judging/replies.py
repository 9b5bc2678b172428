"""Reading what an OpenAI-compatible server sends back; every byte of it may be nonsense.

Servers differ in more than their documentation says. Content is a text or a list of typed parts. A
gateway reports an error inside HTTP 200. A model that spent its tokens on reasoning has no content.

Leaves out: streams, tool calls, and the reasoning beside the content, which decides nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from dgrpo.judging.failures import error_inside, malformed
from dgrpo.judging.verdicts import Ending, quotation

REPLY_BYTES = 1 << 20
"""Longest body that is read: a reply of 100,000 tokens."""
_LENGTH = ("length", "max_tokens", "model_length")
_OWN_END = ("stop", "end_turn", "eos", "eos_token", "stop_sequence")
"""Reasons to finish, by the names that servers have for them."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What the judge wrote."""

    text: str
    ending: Ending = "unknown"
    silent: str = ""
    """Why the server gives no text although it answered."""


class _Message(BaseModel):
    content: str | list[JsonValue] | None = None
    refusal: JsonValue = None
    reasoning: JsonValue = None
    reasoning_content: JsonValue = None

    @property
    def text(self) -> str | None:
        """The content; parts that are not text, such as reasoning, are left out."""
        if not isinstance(self.content, list):
            return self.content
        parts = [part for part in self.content if isinstance(part, dict)]
        texts = [part.get("text") for part in parts if part.get("type") in ("text", "output_text")]
        said = [text for text in texts if isinstance(text, str)]
        return "".join(said) if said else None


class _Choice(BaseModel):
    message: _Message | None = None
    text: str | None = None
    finish_reason: JsonValue = None
    error: JsonValue = None


class _Body(BaseModel):
    """What both of the API's forms have in common; strict, so that numbers are no text."""

    model_config = ConfigDict(strict=True)

    choices: list[_Choice] | None = Field(None, max_length=8)
    """One is asked for."""
    error: JsonValue = None
    code: JsonValue = None
    status: JsonValue = None
    message: JsonValue = None
    detail: JsonValue = None


def read_reply(raw: bytes, *, chat: bool) -> Reply:
    """The first choice of a body of HTTP 200; raises NoReplyError where it holds no reply."""
    try:
        body = _Body.model_validate_json(raw)
    except ValidationError:
        raise malformed(raw) from None
    first = body.choices[0] if body.choices else _Choice()
    reply = _reply_of(first, chat)
    if first.finish_reason == "error" or first.error:
        raise error_inside(first.error or body.error)
    if reply is None:
        if body.error:
            raise error_inside(body.error)
        if body.code or body.status:
            raise error_inside(body.model_dump())
        raise malformed(raw)
    return reply


def _reply_of(choice: _Choice, chat: bool) -> Reply | None:
    """What a choice says, None where it is not of the API's form."""
    message = choice.message
    text = (message.text if message else None) if chat else choice.text
    ending: Ending = "unknown"
    if choice.finish_reason in _LENGTH:
        ending = "cut"
    elif choice.finish_reason in _OWN_END:
        ending = "own"
    if text:
        return Reply(text, ending)
    if message and isinstance(message.refusal, str) and message.refusal:
        return Reply("", ending, f"it declined{quotation(message.refusal)}")
    if choice.finish_reason == "content_filter":
        return Reply("", ending, "the server's content filter withheld its reply")
    if text is not None or (ending == "cut" and (message or not chat)):
        return Reply("", ending)
    if (
        message
        and ending == "own"
        and (message.reasoning_content or message.reasoning or message.content)
    ):
        return Reply("", ending, "it said nothing after its reasoning")
    return None
