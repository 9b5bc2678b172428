"""What crosses the wall is exactly a plain value, whatever stands on the other side."""

from __future__ import annotations

import contextlib
import json
import math
from collections import Counter, namedtuple
from enum import IntEnum
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dgrpo.sandbox.inside.frames import Malformed, parse
from dgrpo.sandbox.inside.plain import (
    MOST_BYTES,
    MOST_DEPTH,
    MOST_HASHED,
    NotPlain,
    decode,
    decode_claim,
    encode,
)

TEXT = st.text(st.characters(codec="utf-8"))
NUMBERS = st.integers() | st.floats(allow_nan=False) | st.complex_numbers(allow_nan=False)
SCALARS = st.none() | st.booleans() | NUMBERS | TEXT
KEYS = st.recursive(
    SCALARS | st.binary(),
    lambda inner: st.tuples(inner, inner) | st.frozensets(inner, max_size=3),
    max_leaves=5,
)
VALUES = st.recursive(
    KEYS,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=4).map(tuple)
        | st.dictionaries(KEYS, inner, max_size=4)
        | st.sets(KEYS, max_size=4)
    ),
    max_leaves=20,
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXT | st.sampled_from(["list", "int", "dict"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=20,
)


@given(VALUES)
def test_a_plain_value_comes_back_as_it_was(value: Any) -> None:
    back = decode(json.loads(json.dumps(encode(value))))
    assert type(back) is type(value)
    assert back == value


@given(JSON)
def test_no_encoding_makes_the_reader_do_anything_but_refuse(data: Any) -> None:
    with contextlib.suppress(NotPlain):
        decode(data)


class Equal(int):
    def __eq__(self, other: object) -> bool:
        return True

    def __hash__(self) -> int:
        return 0


class Loud(str):
    def __eq__(self, other: object) -> bool:
        return True

    __hash__ = str.__hash__


class Colour(IntEnum):
    RED = 3


Point = namedtuple("Point", "x y")


@pytest.mark.parametrize(
    ("value", "exact"),
    [
        (Equal(7), 7),
        (Loud("a"), "a"),
        (Colour.RED, 3),
        (Point(1, 2), (1, 2)),
        (Counter("aab"), {"a": 2, "b": 1}),
        ([Equal(7)], [7]),
    ],
)
def test_subclasses_become_the_builtin_they_extend(value: Any, exact: Any) -> None:
    back = decode(encode(value))
    assert type(back) is type(exact)
    assert back == exact
    if isinstance(value, (Equal, Loud)):
        assert back != 8


def test_truth_and_one_stay_apart() -> None:
    assert decode(encode([True, 1, 1.0])) == [True, 1, 1.0]
    assert [type(item) for item in decode(encode([True, 1, 1.0]))] == [bool, int, float]
    assert math.isnan(decode(encode(math.nan)))
    assert math.copysign(1, decode(encode(-0.0))) == -1


@pytest.mark.parametrize("value", [object(), len, type, iter([]), range(3), ...])
def test_other_values_do_not_cross(value: object) -> None:
    with pytest.raises(NotPlain):
        encode(value)


def test_cycles_and_depths_end() -> None:
    cycle: list[Any] = []
    cycle.append(cycle)
    with pytest.raises(NotPlain):
        encode(cycle)
    deep: Any = 1
    for _ in range(MOST_DEPTH + 2):
        deep = ["list", deep]
    with pytest.raises(NotPlain):
        decode(deep)


@pytest.mark.parametrize(
    "data",
    [
        ["int", "seven"],
        ["int", 7],
        ["int"],
        ["float", "0x" + "z" * 9],
        ["complex", "0x1p0"],
        ["dict", 1],
        ["dict", ["list"], 1],
        ["set", ["list"]],
        ["pickle", "gASVJAAAAAAAAACMCGJ1aWx0aW5z"],
        ["bytes", "zz"],
        [],
        [["list"]],
        {"list": []},
        1.5,
        "\ud800",
    ],
)
def test_malformed_encodings_are_refused(data: Any) -> None:
    with pytest.raises(NotPlain):
        decode(data)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{",
        b'{"a": 1.5}',
        b'{"a": NaN}',
        b'{"a": ' + b"9" * 21 + b"}",
        b"\xff",
        b'{"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    ],
)
def test_frames_of_another_form_are_refused(body: bytes) -> None:
    with pytest.raises(Malformed):
        parse(body)


def test_colliding_hashes_are_refused_before_they_cost_anything() -> None:
    """Python's integers hash modulo 2**61 - 1: these all collide."""
    modulus = 2**61 - 1
    many = [["int", hex(k * modulus)] for k in range(1, MOST_HASHED + 2)]
    for data in (
        ["set", *many],
        ["frozenset", *many],
        ["dict", *(x for k in many for x in (k, 1))],
    ):
        with pytest.raises(NotPlain, match="entries"):
            decode(data)
    assert len(decode(["set", *many[:-1]])) == MOST_HASHED


def test_a_claim_is_measured_where_it_is_read() -> None:
    assert decode_claim("x" * 60_000) == "x" * 60_000
    with pytest.raises(NotPlain, match="bytes"):
        decode_claim(["list", *["x" * 1000] * 80])


def test_a_large_set_does_not_cross_either_way() -> None:
    for value in (set(range(MOST_HASHED + 1)), dict.fromkeys(range(MOST_HASHED + 1))):
        with pytest.raises(NotPlain, match="entries"):
            encode(value)
    assert decode(encode(set(range(MOST_HASHED)))) == set(range(MOST_HASHED))


def test_what_cannot_fit_is_left_before_it_is_written() -> None:
    """Lists that share what they hold stand for a billion values in the memory of a thousand."""
    wide: object = [0] * 1_000
    for _ in range(2):
        wide = [wide] * 1_000
    for value in (wide, [7] * 1_200_000, "x" * MOST_BYTES, b"x" * MOST_BYTES, 1 << 8 * MOST_BYTES):
        with pytest.raises(NotPlain, match="bytes"):
            encode(value)
    fits = [1] * 20_000
    assert decode(encode(fits)) == fits
