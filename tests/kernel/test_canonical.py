"""Canonical bytes: RFC 8785's own examples, and numbers against another shortest-digits algorithm."""

from __future__ import annotations

import enum
import json
import math
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from airboss.kernel.canonical import canonical, digest, digest_bytes

# RFC 8785 appendix B: IEEE 754 bits and the text they must become.
NUMBERS = [
    ("0000000000000000", "0"),
    ("8000000000000000", "0"),
    ("0000000000000001", "5e-324"),
    ("8000000000000001", "-5e-324"),
    ("7fefffffffffffff", "1.7976931348623157e+308"),
    ("ffefffffffffffff", "-1.7976931348623157e+308"),
    ("4340000000000000", "9007199254740992"),
    ("c340000000000000", "-9007199254740992"),
    ("4430000000000000", "295147905179352830000"),
    ("44b52d02c7e14af5", "9.999999999999997e+22"),
    ("44b52d02c7e14af6", "1e+23"),
    ("44b52d02c7e14af7", "1.0000000000000001e+23"),
    ("444b1ae4d6e2ef4e", "999999999999999700000"),
    ("444b1ae4d6e2ef4f", "999999999999999900000"),
    ("444b1ae4d6e2ef50", "1e+21"),
    ("3eb0c6f7a0b5ed8c", "9.999999999999997e-7"),
    ("3eb0c6f7a0b5ed8d", "0.000001"),
    ("41b3de4355555553", "333333333.3333332"),
    ("41b3de4355555554", "333333333.33333325"),
    ("41b3de4355555555", "333333333.3333333"),
    ("41b3de4355555556", "333333333.3333334"),
    ("41b3de4355555557", "333333333.33333343"),
    ("becbf647612f3696", "-0.0000033333333333333333"),
    ("43143ff3c1cb0959", "1424953923781206.2"),
]

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@pytest.mark.parametrize(("bits", "text"), NUMBERS)
def test_numbers_of_the_standard(bits: str, text: str):
    """Every number of RFC 8785 appendix B is written as it says."""
    (value,) = struct.unpack(">d", bytes.fromhex(bits))
    assert canonical(value).decode() == text


def test_the_example_of_the_standard():
    """RFC 8785 section 3.2.2: numbers, escapes and literals of its sample object."""
    given_value = {
        "numbers": [333333333.33333329, 1e30, 4.50, 2e-3, 0.000000000000000000000000001],
        "string": "\u20ac$\u000f\u000aA'\u0042\u0022\u005c\\\"\u002f",
        "literals": [None, True, False],
    }
    assert canonical(given_value).decode() == (
        '{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],'
        '"string":"€$\\u000f\\nA\'B\\"\\\\\\\\\\"/"}'
    )


def test_keys_sort_by_utf16_units():
    """RFC 8785 section 3.2.3: a surrogate pair sorts before U+FB33, where code points would put it after."""
    keys = ["\u20ac", "\r", "\ufb33", "1", "\U0001f600", "\u0080", "\u00f6"]
    ordered = list(json.loads(canonical(dict.fromkeys(keys, 0))))
    assert ordered == ["\r", "1", "\u0080", "\u00f6", "\u20ac", "\U0001f600", "\ufb33"]


def ecmascript(value: float) -> str:
    """Number::toString of ECMA-262 over digits from numpy's Dragon4, which shares no code with Python's repr."""
    if value == 0:
        return "0"
    text = np.format_float_scientific(abs(value), unique=True, trim="-", exp_digits=1)
    mantissa, _, exponent = text.partition("e")
    digits, n = mantissa.replace(".", ""), int(exponent) + 1
    k = len(digits)
    if k <= n <= 21:
        out = digits + "0" * (n - k)
    elif 0 < n <= 21:
        out = digits[:n] + "." + digits[n:]
    elif -6 < n <= 0:
        out = "0." + "0" * -n + digits
    else:
        out = digits[0] + ("." + digits[1:] if k > 1 else "") + "e" + ("+" if n - 1 >= 0 else "-") + str(abs(n - 1))
    return "-" + out if value < 0 else out


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_every_float_is_written_as_ecmascript_does(value: float):
    """Any finite double is written as another shortest-digits algorithm would have JavaScript write it."""
    assert canonical(value).decode() == ecmascript(value)


@given(JSON)
def test_reading_back_and_writing_again_changes_nothing(value: object):
    """Canonical bytes are a fixed point: whoever reads and writes them anew gets the same bytes."""
    first = canonical(value)  # type: ignore[arg-type]
    assert canonical(json.loads(first)) == first


@given(st.dictionaries(st.text(), st.integers(-5, 5)))
def test_order_of_insertion_does_not_matter(value: dict[str, int]):
    """Two ways of building one object give one digest."""
    assert digest(value) == digest(dict(reversed(value.items())))


@pytest.mark.parametrize(
    "value",
    [
        math.nan,
        math.inf,
        2**53 + 1,
        -(2**60),
        10**400,
        {1: "a"},
        {None: 1},
        b"bytes",
        object(),
        "\ud800",
        {"\ud800": 1},
        {1, 2},
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_json_cannot_carry_is_refused(value: object):
    """What would change in another reader, or has no form at all, is refused rather than guessed."""
    with pytest.raises((ValueError, TypeError)):
        canonical(value)  # type: ignore[arg-type]


def test_enums_are_their_values():
    """A StrEnum or IntEnum is written as the text or number it is."""

    class Colour(enum.StrEnum):
        RED = "red"

    class Size(enum.IntEnum):
        BIG = 3

    assert canonical({"c": Colour.RED, "s": Size.BIG}) == b'{"c":"red","s":3}'


def test_a_digest_names_its_algorithm():
    """Digests are `sha256:` and hex, over the canonical bytes."""
    assert (
        digest({}) == digest_bytes(b"{}") == "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
    )
