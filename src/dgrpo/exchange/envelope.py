"""The envelope of a message: who sent it, checked against the swarm's roster.

Nothing that a peer sends raises here. What is inside, `admission.py` checks.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from dgrpo.exchange.base import Message, Roster


def open_envelopes(
    messages: Iterable[object], roster: Roster
) -> tuple[list[Message], Counter[str]]:
    """At most one message per node of the roster, in the roster's order; and violations by kind.

    Kinds: malformed-message (wrong types), unknown-sender (a name that is not in the roster, or not
    at the number that it gives), duplicate-message (a sender's second), absent (a node without a
    message).
    """
    violations: Counter[str] = Counter()
    opened: dict[int, Message] = {}
    for message in messages:
        if not _well_formed(message):
            violations["malformed-message"] += 1
            continue
        assert isinstance(message, Message)
        index = message.sender_index
        if not 0 <= index < len(roster) or roster[index] != message.sender:
            violations["unknown-sender"] += 1
        elif index in opened:
            violations["duplicate-message"] += 1
        else:
            opened[index] = message
    absent = len(roster) - len(opened)
    if absent:
        violations["absent"] += absent
    return [opened[index] for index in sorted(opened)], violations


def _well_formed(message: object) -> bool:
    return (
        isinstance(message, Message)
        and type(message.sender) is str
        and type(message.sender_index) is int
        and type(message.tokenizer_digest) is str
        and isinstance(message.completions, Sequence)
        and not isinstance(message.completions, str | bytes)
    )
