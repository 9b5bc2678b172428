"""Reading a judge's decision, from its reply or from the odds of its next words.

Only what the judge itself said is read, and its reasoning is not (`reasoning.py`). Anything that is
not a decision in the asked form is unreadable. What that means for a completion is the defense's
policy, and the verdict says so.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from dgrpo.errors import DgrpoError
from dgrpo.escaping import is_hidden
from dgrpo.judging.reasoning import spoken
from dgrpo.records import Verdict

_AROUND = r"[\s*_`\"'“”‘’«».,:;!()\[\]]{0,12}"
"""What models put around the word: bold, quotation marks, a full stop."""
_DECISION = re.compile(rf"<decision>{_AROUND}(yes|no){_AROUND}</decision>", re.IGNORECASE)
_TOKEN = re.compile(r"<[^<>\s]{1,40}>|\[[^\[\]\s]{1,40}\]")
"""A special token that a decoder left, as <end_of_turn> or [/INST]."""
READ_CHARACTERS = 65_536
"""How much of a reply's end is looked at; decisions stand at the end."""
KEPT_CHARACTERS = 1_000
"""How much of a judge's criticism is kept with its opinion."""
QUOTED_CHARACTERS = 160
"""How much of a judge's criticism, or of an unreadable reply, goes into a verdict's reason."""

ACCEPT_WORD = " yes"
REJECT_WORD = " no"

Policy = Literal["reject", "accept"]
Ending = Literal["unknown", "own", "cut"]
"""How a reply ended: by itself, or at its longest."""
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


def read_decision(reply: str, *, last: bool = False, ending: Ending = "unknown") -> bool | None:
    """The decision in a reply: True to accept, False to reject, None where there is none.

    None also for several that contradict one another: one may be a draft, a quotation, or what a
    base model goes on to write. last: to accept must end the reply, as of a model that follows
    instructions, but for special tokens. A reply that was cut off has accepted nothing then.

    >>> [read_decision(f"Fine. <decision> {word} </decision>") for word in ("yes", "No", "maybe")]
    [True, False, None]
    >>> read_decision("<think> <decision> no </decision>? </think> <decision> **Yes.** </decision>")
    True
    """
    return _read(reply, last, ending)[0]


def opinion_of(reply: str, *, last: bool = False, ending: Ending = "unknown") -> Opinion:
    """What a judge's reply says; `last` and `ending` as in `read_decision`."""
    accept, said = _read(reply, last, ending)
    if accept is None:
        return Opinion(undecided="unreadable", detail=said + quotation(reply, end=True))
    detail = said.partition("<decision>")[0].removeprefix("Criticism:").strip()
    return Opinion(score=float(accept), accept=accept, detail=detail[:KEPT_CHARACTERS])


def _read(reply: str, last: bool, ending: Ending) -> tuple[bool | None, str]:
    """The decision and what the judge said, or None and why there is no decision."""
    said, inside = spoken(reply, opened=last, ended=ending == "own")
    read = said[-READ_CHARACTERS:]
    found = list(_DECISION.finditer(read))
    words = {match[1].lower() for match in found}
    if words == {"no"}:
        return False, said
    if words == {"yes"}:
        if not last:
            return True, said
        goes_on = re.search(r"\w", _TOKEN.sub("", read[found[-1].end() :]))
        if not (goes_on or inside or ending == "cut"):
            return True, said
    if ending == "cut":
        return (
            None,
            "its tokens ran out before it decided (raise max_tokens, if its context has room)",
        )
    if inside:
        return None, "its reply ends inside its reasoning"
    if len(words) > 1:
        return None, "its decisions contradict one another"
    return None, "its reply goes on after its decision" if words else "its reply holds no decision"


def quotation(text: str, *, end: bool = False, limit: int = QUOTED_CHARACTERS) -> str:
    r"""`: “text”` as a message can carry it, or nothing for an empty text.

    One line, no character that cannot be seen, at most `limit` characters: the first, or the last.

    >>> quotation("no\x1b[31m way"), quotation("a long reply", end=True, limit=5)
    (': “no�[31m way”', ': “…reply”')
    """
    one_line = on_one_line(text[-4 * limit :] if end else text[: 4 * limit])
    if not one_line:
        return ""
    cut = len(one_line) > limit or len(text) > 4 * limit
    if end:
        return f": “{'…' if cut else ''}{one_line[-limit:]}”"
    return f": “{one_line[:limit]}{'…' if cut else ''}”"


def on_one_line(text: str) -> str:
    """`text` with single spaces, and � for what cannot be seen."""
    return " ".join("".join("�" if is_hidden(char) else char for char in text).split())


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
        said = on_one_line(opinion.detail)
        cut = said[:QUOTED_CHARACTERS] + ("…" if len(said) > QUOTED_CHARACTERS else "")
        reason = f"the judge says no: {cut}" if cut else "the judge says no"
    return Verdict(accepted, opinion.score, "" if accepted else reason)
