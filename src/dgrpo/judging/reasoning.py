"""What a judge says, apart from what it thinks before: reasoning decides nothing.

Models mark their reasoning with tags (`<think>`, `[THINK]`, …) or channels (gpt-oss). A chat
template may have opened the tag already, so that a reply holds only the closing one. A tag that
stands between quotation marks or backticks is spoken of, and opens or closes nothing.

Leaves out: reasoning that nothing marks.
"""

from __future__ import annotations

import re

_NAMES = "(?:seed:)?(?:think|thinking|thoughts?|reason|reasoning|reflection|analysis|scratchpad)"
_MARK = re.compile(
    rf"(?P<opens><\s?{_NAMES}\s?>|\[THINK\]|◁think▷|<\|channel>thought)"
    rf"|(?P<closes><\s?/\s?{_NAMES}\s?>|\[/THINK\]|◁/think▷|<channel\|>)",
    re.IGNORECASE,
)
_CHANNEL = "<|channel|>"
_FINAL = "<|channel|>final<|message|>"
"""gpt-oss names the channel of everything it says; `final` is for the reader."""
_BEGUN = re.compile(r"Criticism:|<decision>")
"""How a reply may have been begun for the judge."""
_QUOTES = frozenset("\"'`“”‘’«»")


def spoken(reply: str, *, opened: bool = False, ended: bool = False) -> tuple[str, bool]:
    """The reply without its reasoning, and whether the reply ends inside the reasoning.

    Blocks may be nested, since a judge quotes completions that hold such tags themselves.

    opened: whether a closing tag alone means that all before it was reasoning. ended: whether the
    reply is known to have ended by itself, which no model does while it reasons. An opening tag
    too many was only spoken of then, unless the reply begins with it and nothing closes it.

    >>> spoken("<think> yes? no? </think> It holds.")
    (' It holds.', False)
    >>> spoken("yes? no? </think> It holds.", opened=True)
    (' It holds.', False)
    >>> spoken("Its `<think>` part holds."), spoken("<think> It might hold.")
    (('Its `<think>` part holds.', False), ('', True))
    """
    if _CHANNEL in reply:
        _, final, reply = reply.rpartition(_FINAL)
        if not final:
            return "", True
    kept: list[str] = []
    start = depth = opening = closed = 0
    for mark in _MARK.finditer(reply):
        if _is_quoted(reply, mark):
            continue
        if mark["opens"]:
            if depth == 0:
                opening = mark.start()
                kept.append(reply[start:opening])
            depth += 1
            continue
        closed = mark.end()
        if depth:
            depth -= 1
            start = closed
        elif opened:
            kept.clear()
            start = closed
    if not depth:
        kept.append(reply[start:])
    elif ended and _BEGUN.sub("", reply[:opening]).strip():
        kept.append(reply[opening:])
    elif ended and closed > opening:
        kept.append(reply[closed:])
    else:
        return " ".join(filter(None, kept)), True
    return " ".join(filter(None, kept)), False


def opening_of(prompt: str) -> str:
    """The tag that opens a reasoning at the very end of a prompt; empty where there is none.

    >>> opening_of("<|user|>1+1?<|assistant|><think> "), opening_of("<|user|>1+1?<|assistant|>")
    ('<think>', '')
    """
    end = prompt[-64:].rstrip()
    last = next((mark for mark in _MARK.finditer(end) if mark.end() == len(end)), None)
    return last["opens"] or "" if last else ""


def _is_quoted(reply: str, mark: re.Match[str]) -> bool:
    around = (reply[max(mark.start() - 1, 0) : mark.start()], reply[mark.end() : mark.end() + 1])
    return all(char in _QUOTES for char in around)
