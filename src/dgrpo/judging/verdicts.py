"""Reading a judge's decision, from its reply or from the odds of its next words.

Only what the judge itself wrote is read. Anything that is not a decision in the asked form is
unreadable; what that means for a completion is the defense's knob.
"""

from __future__ import annotations

import re

_DECISION = re.compile(r"<decision>\s{0,8}(yes|no)\s{0,8}</decision>", re.IGNORECASE)
READ_CHARACTERS = 65_536
"""How much of a reply's end is looked at; decisions stand at the end."""

ACCEPT_WORD = " yes"
REJECT_WORD = " no"


def read_decision(reply: str) -> bool | None:
    """The last decision in a reply: True to accept, False to reject, None where there is none.

    >>> [read_decision(f"Fine. <decision> {word} </decision>") for word in ("yes", "No", "maybe")]
    [True, False, None]
    """
    found = _DECISION.findall(reply[-READ_CHARACTERS:])
    return found[-1].lower() == "yes" if found else None
