"""Frames of JSON over the stream socket between the trainer and one run.

A frame is its length (4 bytes, big-endian) and that many bytes of JSON. The reader in the trainer
reads a hostile peer: it bounds the length before it allocates, refuses numbers that cost time to
parse, and takes any breach of the form for the end of the run.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from typing import Any, Protocol

MOST_BYTES = 512 * 1024
"""Of a frame that a run sends: 64 KiB printed and 64 KiB of values, escaped at worst sixfold."""
_HEADER = 4
_LONGEST_INT = 20


class Readable(Protocol):
    """A socket, or the little that a run has of one."""

    def recv(self, count: int, /) -> bytes:
        """Up to `count` bytes; none at the end."""


class Descriptor:
    """A channel by its descriptor, with nothing but `read` and `write` beneath it."""

    def __init__(self, number: int) -> None:
        self._number = number

    def recv(self, count: int, /) -> bytes:
        """As a socket's."""
        return os.read(self._number, count)

    def sendall(self, data: bytes) -> None:
        """As a socket's."""
        while data:
            data = data[os.write(self._number, data) :]


class Malformed(ValueError):  # noqa: N818
    """The other side sent something that is no frame, or too much."""


class Closed(ConnectionError):  # noqa: N818
    """The other side is gone."""


def pack(frame: dict[str, Any]) -> bytes:
    """The bytes of a frame."""
    body = json.dumps(frame, separators=(",", ":")).encode()
    return len(body).to_bytes(_HEADER, "big") + body


def receive(
    channel: Readable, most: int, before_waiting: Callable[[], None] = lambda: None
) -> dict[str, Any]:
    """The next frame, of at most `most` bytes.

    `before_waiting` is called before each read, to shorten the socket's time-out to what is left.
    Raises Closed, Malformed, and TimeoutError where the socket has a time-out.
    """
    length = int.from_bytes(_exactly(channel, _HEADER, before_waiting), "big")
    if length > most:
        raise Malformed(f"a frame of {length} bytes, at most {most} are read")
    return parse(_exactly(channel, length, before_waiting))


def parse(body: bytes) -> dict[str, Any]:
    """A frame's JSON object. Raises Malformed."""
    try:
        frame = json.loads(body, parse_int=_short_int, parse_float=_refuse, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise Malformed("a frame that is not JSON of the agreed form") from error
    if type(frame) is not dict:
        raise Malformed("a frame that is not a JSON object")
    return frame


def _exactly(channel: Readable, count: int, before_waiting: Callable[[], None]) -> bytes:
    parts = bytearray()
    while len(parts) < count:
        before_waiting()
        try:
            part = channel.recv(min(count - len(parts), 65536))
        except (ConnectionError, BrokenPipeError) as error:
            raise Closed from error
        if not part:
            raise Closed
        parts += part
    return bytes(parts)


def _short_int(digits: str) -> int:
    if len(digits) > _LONGEST_INT:
        raise ValueError("a JSON number too long")
    return int(digits)


def _refuse(_: str) -> None:
    raise ValueError("a JSON number that is not an integer")
