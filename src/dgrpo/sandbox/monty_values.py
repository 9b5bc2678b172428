"""How values leave monty: as one text of bounded length, whatever the program makes of them.

Monty builds what a snippet's last expression gives anew in the process that asked, past every limit
of the session: a set of numbers whose hashes collide keeps that process for a minute. So no snippet
ends on a program's value but on `None`, or on an f-string cut to a length, which is a text even if
the program has replaced every name in it. What the text says is a claim, read as a worker's.
"""

from __future__ import annotations

from typing import Any

from dgrpo.sandbox.inside import frames, plain

_LONGEST_TEXT = 2 * plain.MOST_BYTES

ENCODER = f"""
import json, math

def dgrpo_encoder(
    dumps=json.dumps, frexp=math.frexp, isinstance=isinstance, type=type, len=len, hex=hex,
    repr=repr, abs=abs, int=int, float=float, complex=complex, str=str, bytes=bytes, list=list,
    tuple=tuple, dict=dict, set=set, frozenset=frozenset, RuntimeError=RuntimeError,
):
    kinds = [("list", list), ("tuple", tuple), ("set", set), ("frozenset", frozenset)]

    def hexed(number):
        if number != number or abs(number) == float("inf") or number == 0:
            return repr(number)
        mantissa, exponent = frexp(number)
        return hex(int(mantissa * 2**53)) + "p" + repr(exponent - 53)

    def encode(value, depth, taken):
        if depth > {plain.MOST_DEPTH}:
            raise RuntimeError("more than {plain.MOST_DEPTH} containers within one another")
        taken[0] += len(value) if isinstance(value, (str, bytes)) else 1
        if taken[0] > {plain.MOST_BYTES}:
            raise RuntimeError("more than {plain.MOST_BYTES} bytes")
        if value is None or value is True or value is False or isinstance(value, str):
            return value
        if isinstance(value, int):
            return value if -(2**63) < value < 2**63 else ["int", hex(value)]
        if isinstance(value, float):
            return ["float", hexed(value)]
        if isinstance(value, complex):
            return ["complex", hexed(value.real), hexed(value.imag)]
        if isinstance(value, bytes):
            return ["bytes", value.hex()]
        if isinstance(value, (dict, set, frozenset)) and len(value) > {plain.MOST_HASHED}:
            raise RuntimeError("more than {plain.MOST_HASHED} entries")
        if isinstance(value, dict):
            pairs = ["dict"]
            for key in value:
                pairs.append(encode(key, depth + 1, taken))
                pairs.append(encode(value[key], depth + 1, taken))
            return pairs
        for tag, kind in kinds:
            if isinstance(value, kind):
                return [tag] + [encode(item, depth + 1, taken) for item in value]
        raise RuntimeError("a value of type " + type(value).__name__ + " is not plain")

    return lambda value: dumps({{"value": encode(value, 0, [0])}})

dgrpo_encode = dgrpo_encoder()
None
"""
"""Run before a program of which values are wanted, whatever names of builtins that one takes."""

_LEAVING = """
def exit(code=None):
    if code is None or code == 0:
        raise SystemExit
    raise SystemExit(repr(code))

quit = exit
None
"""


def prelude(source: str, *, values: bool) -> str:
    """What to run before a program; nothing for most of those of which no value is wanted."""
    leaves = "exit" in source or "quit" in source
    return (ENCODER if values else "") + (_LEAVING if leaves else "")


TELL = f"f'{{dgrpo_encode(dgrpo_value)}}'[:{_LONGEST_TEXT}]"
"""Gives the encoded text of what stands in `dgrpo_value`."""


def evaluate(expression: str) -> str:
    """The snippet that puts an expression's value where `TELL` finds it."""
    return without_value(f"dgrpo_value = ({expression})")


def without_value(source: str) -> str:
    """The source, whose last expression gives nothing."""
    return f"{source}\n\nNone"


def read(text: Any) -> Any:
    """The value that a text of `TELL` claims, of exact builtins. Raises NotPlain."""
    if type(text) is not str:
        raise plain.NotPlain("not an encoded value")
    try:
        return plain.decode_claim(frames.parse(text.encode(errors="replace"))["value"])
    except (frames.Malformed, KeyError) as error:
        raise plain.NotPlain("not an encoded value") from error


def give(value: Any) -> Any:
    """What goes into monty, anew, of exact builtins. Raises NotPlain."""
    return plain.decode(plain.encode(value))
