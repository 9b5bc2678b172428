"""What every request carries beside the question, and what to do where a server refuses a field.

The defense sends `temperature`, `top_p` and `max_tokens`, and a `seed` per completion. Not every
server takes them: OpenAI's reasoning models want `max_completion_tokens` and no temperature,
Mistral's and Azure's know no `seed`. A field of these four that the user sets to `false` is left
out, and `max_completion_tokens` takes the place of `max_tokens`.

Leaves out: changing the sampling without being told; only the seed may be dropped by itself.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

_OWN = ("temperature", "top_p", "max_tokens", "seed")
"""Fields that `false` leaves out: none of them is ever a truth value."""
_RENAMED = "max_completion_tokens"


def fields_to_send(own: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """The defense's fields and the user's, which go first; without what is not to be sent.

    >>> fields_to_send({"temperature": 0.6, "max_tokens": 99}, {"temperature": False, "top_k": 5})
    {'max_tokens': 99, 'top_k': 5}
    >>> fields_to_send({"max_tokens": 99}, {"max_completion_tokens": 512})
    {'max_completion_tokens': 512}
    """
    kept = {**own, **given}
    if given.get(_RENAMED) and "max_tokens" not in given:
        kept.pop("max_tokens", None)
    return {name: value for name, value in kept.items() if not (name in _OWN and value is False)}


def wants_seed(given: Mapping[str, Any]) -> bool:
    """Whether a seed of the defense's is to be sent: the user gives none, and does not drop it."""
    return "seed" not in given


def checked_fields(fields: dict[str, Any]) -> dict[str, Any]:
    """`fields` if a request can carry them; ValueError says why not."""
    for name in ("messages", "prompt"):
        if name in fields:
            raise ValueError(f"must not hold {name}: that is the question to the judge")
    if fields.get("stream"):
        raise ValueError("must not ask for a stream: replies are read whole")
    if not _is_finite(fields):
        raise ValueError("must hold no nan and no inf, which JSON lacks")
    return fields


def remedy(status: int, words: str, fields: Mapping[str, Any]) -> str:
    """What to change after a server refused a request in these words; empty where nobody knows.

    status: HTTP's; 0 for an answer that was no reply although it came with HTTP 200.
    """
    if status in (401, 403):
        return "api_key_env names the variable that holds the key"
    is_a_page = not status and words.lstrip().startswith("<")
    if status in (404, 405) or is_a_page:
        return "endpoint must end in the API's version, as …/v1, and model be one of …/v1/models"
    if status < 400:
        return ""
    if _names(words, _RENAMED) and "max_tokens" in fields:
        return f"endpoint_fields = {{{_RENAMED} = {fields['max_tokens']}}} sends it by that name"
    for name in (*_OWN, *fields):
        if name in fields and _names(words, name):
            if name in _OWN:
                return f"endpoint_fields = {{{name} = false}} leaves it out"
            return f"{name} is sent because endpoint_fields holds it"
    return ""


def _names(words: str, field: str) -> bool:
    return re.search(rf"(?<!\w){re.escape(field)}(?!\w)", words) is not None


def _is_finite(value: Any) -> bool:
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, dict):
        return all(map(_is_finite, value.values()))
    return all(map(_is_finite, value)) if isinstance(value, list) else True
