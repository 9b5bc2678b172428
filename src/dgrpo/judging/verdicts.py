"""Reading a judge's decision, from its reply or from the odds of its next words.

Only what the judge itself wrote is read. Anything that is not a decision in the asked form is
unreadable; what that means for a completion is the defense's policy, and the verdict says so.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from dgrpo.errors import DgrpoError
from dgrpo.records import Verdict

_DECISION = re.compile(r"<decision>\s{0,8}(yes|no)\s{0,8}</decision>", re.IGNORECASE)
_TOKEN = re.compile(r"<[^<>\s]{1,40}>|\[[^\[\]\s]{1,40}\]")
"""A special token that a decoder left, as <end_of_turn> or [/INST]."""
READ_CHARACTERS = 65_536
"""How much of a reply's end is looked at; decisions stand at the end."""
KEPT_CHARACTERS = 1_000
"""How much of a judge's criticism is kept with its opinion."""
QUOTED_CHARACTERS = 160
"""How much of a judge's criticism goes into a verdict's reason."""

ACCEPT_WORD = " yes"
REJECT_WORD = " no"

Policy = Literal["reject", "accept"]
Undecided = Literal["", "unreadable", "too-long", "timeout", "unreachable", "refused", "malformed"]
"""Why there is no decision. `unreadable`: a reply without one; `too-long`: the question exceeds the
judge's context; `timeout`: no answer in time; `unreachable`: no connection, or server errors;
`refused`: it declined (4xx, redirect); `malformed`: not the API's form."""
NO_REPLY = ("timeout", "unreachable", "refused", "malformed")
"""Kinds that are the endpoint's failure; the others are the judge's."""


@dataclass(frozen=True, slots=True)
class Opinion:
    """What a judge made of one completion."""

    score: float = 0.0
    """Log-odds of accepting in nats; for a generated decision 1 to accept, else 0."""
    accept: bool | None = None
    """The generated decision; None for log-odds, which a threshold decides, and if undecided."""
    undecided: Undecided = ""
    detail: str = ""
    """The criticism, or what went wrong; for people to read."""
    provoked: bool = False
    """Whether the endpoint failed after peers' texts had been sent to it: one of them may have made
    it fail."""


def read_decision(reply: str, *, last: bool = False) -> bool | None:
    """The decision in a reply: True to accept, False to reject, None where there is none.

    None also for several that contradict one another: one may be a draft, a quotation, or what a
    base model goes on to write. last: to accept must end the reply, as of a model that follows
    instructions, but for special tokens; what was cut off while it argued has not accepted.

    >>> [read_decision(f"Fine. <decision> {word} </decision>") for word in ("yes", "No", "maybe")]
    [True, False, None]
    """
    read = reply[-READ_CHARACTERS:]
    found = list(_DECISION.finditer(read))
    if len({match[1].lower() for match in found}) != 1:
        return None
    accept = found[0][1].lower() == "yes"
    if accept and last and re.search(r"\w", _TOKEN.sub("", read[found[-1].end() :])):
        return None
    return accept


def opinion_of(reply: str, *, last: bool = False) -> Opinion:
    """What a judge's reply says; `last` as in `read_decision`."""
    accept = read_decision(reply, last=last)
    if accept is None:
        return Opinion(undecided="unreadable", detail="its reply holds no decision")
    detail = reply.partition("<decision>")[0].removeprefix("Criticism:").strip()
    return Opinion(score=float(accept), accept=accept, detail=detail[:KEPT_CHARACTERS])


def check_decision(
    defense: str, decision: Literal["generated", "log-odds"], criticism: bool
) -> None:
    """Raises DgrpoError where criticism is asked for, and a decision that leaves it no room."""
    if decision == "log-odds" and criticism:
        raise DgrpoError(
            f'{defense}: decision = "log-odds" reads the first word; criticism comes before it',
            remedy='set criticism = false, or decision = "generated"',
        )


def verdict_of(
    opinion: Opinion, *, threshold: float, unreadable: Policy, on_failure: Policy
) -> Verdict:
    """The verdict on a completion, by the defense's policy where the judge gave no decision.

    threshold: least log-odds, in nats, at which a completion is accepted. `on_failure` is for
    outages that no completion can have brought about.
    """
    if opinion.undecided:
        outage = opinion.undecided in NO_REPLY and not opinion.provoked
        policy = on_failure if outage else unreadable
        reason = f"no verdict ({opinion.undecided}): {opinion.detail}"
        accepted = policy == "accept"
        return Verdict(accepted, opinion.score, "" if accepted else reason, opinion.undecided)
    if opinion.accept is None:
        accepted = opinion.score >= threshold
        reason = f"log-odds of yes {opinion.score:.2f}, below {threshold:g}"
    else:
        accepted = opinion.accept
        said = " ".join(opinion.detail.split())
        cut = said[:QUOTED_CHARACTERS] + ("…" if len(said) > QUOTED_CHARACTERS else "")
        reason = f"the judge says no: {cut}" if cut else "the judge says no"
    return Verdict(accepted, opinion.score, "" if accepted else reason)
