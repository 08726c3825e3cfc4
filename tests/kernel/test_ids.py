"""Identifiers: the TypeID standard's own examples, order in time, and what is refused."""

from __future__ import annotations

import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airboss.kernel.errors import Invalid
from airboss.kernel.ids import SystemChance, TimeOrderedIds, change_id, name
from airboss.sdk.ids import BadId, decode, encode, unix_ms, uuid7
from airboss.testing import ManualClock, SeededChance

# From the TypeID 0.3 specification's valid.yml.
VALID = [
    ("prefix_0123456789abcdefghjkmnpqrs", "0110c853-1d09-52d8-d73e-1194e95b5f19"),
    ("prefix_01h455vb4pex5vsknk084sn02q", "01890a5d-ac96-774b-bcce-b302099a8057"),
    ("pre_fix_00000000000000000000000000", "00000000-0000-0000-0000-000000000000"),
    ("prefix_7zzzzzzzzzzzzzzzzzzzzzzzzz", "ffffffff-ffff-ffff-ffff-ffffffffffff"),
]
# From its invalid.yml, without the prefixless form, which we do not take.
INVALID = [
    "PREFIX_00000000000000000000000000",
    "12345_00000000000000000000000000",
    "pre.fix_00000000000000000000000000",
    "préfix_00000000000000000000000000",
    "  prefix_00000000000000000000000000",
    "abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyzabcdefghijkl_00000000000000000000000000",
    "_00000000000000000000000000",
    "_",
    "prefix_1234567890123456789012345",
    "prefix_123456789012345678901234567",
    "prefix_1234567890123456789012345 ",
    "prefix_0123456789ABCDEFGHJKMNPQRS",
    "prefix_123456789-123456789-123456",
    "prefix_ooooooiiiiiiuuuuuuulllllll",
    "prefix_i23456789ol23456789oi23456",
    "prefix_123456789-0123456789-0123456",
    "prefix_8zzzzzzzzzzzzzzzzzzzzzzzzz",
    "_prefix_00000000000000000000000000",
    "prefix__00000000000000000000000000",
    "",
]


@pytest.mark.parametrize(("text", "value"), VALID)
def test_examples_of_the_standard(text: str, value: str):
    """Each example of the specification reads to its UUID and writes back to itself."""
    assert uuid.UUID(int=decode(text)) == uuid.UUID(value)
    assert encode(text.rpartition("_")[0], decode(text)) == text


@pytest.mark.parametrize("text", INVALID)
def test_refusals_of_the_standard(text: str):
    """Each text the specification calls invalid is refused."""
    with pytest.raises(BadId):
        decode(text)


@given(st.integers(0, 2**128 - 1))
def test_any_value_comes_back(value: int):
    """Writing and reading any 128 bits changes nothing."""
    assert decode(encode("chg", value), "chg") == value


@given(st.integers(0, 2**48 - 1), st.binary(min_size=10, max_size=10))
def test_uuid7_has_the_fields_of_the_standard(at: int, chance: bytes):
    """RFC 9562 section 5.7: time, version 7 and variant stand where they must, and the time is read back."""
    value = uuid.UUID(int=uuid7(at, chance))
    assert (value.version, value.variant) == (7, uuid.RFC_4122)
    assert unix_ms(encode("chg", value.int)) == at


def test_ids_sort_by_time(clock: ManualClock):
    """Of two identifiers the later one sorts later, as plain text."""
    ids = TimeOrderedIds(clock, SystemChance())
    made = []
    for _ in range(50):
        made.append(ids.new("chg"))
        clock.advance(0.001)
    assert made == sorted(made)
    assert len(set(made)) == len(made)


def test_a_seed_repeats_its_ids(clock: ManualClock):
    """The same clock and seed mint the same identifiers: a simulated day can be run again."""
    first, again = (TimeOrderedIds(clock, SeededChance(3)) for _ in range(2))
    assert [first.new("chg") for _ in range(5)] == [again.new("chg") for _ in range(5)]


def test_a_change_id_of_another_kind_is_refused(clock: ManualClock):
    """A person's ID is no change ID, and the refusal says how to get one."""
    other = TimeOrderedIds(clock, SeededChance()).new("usr")
    with pytest.raises(Invalid) as told:
        change_id(other)
    assert (told.value.code, told.value.way_out) == ("bad-change-id", "mint one with: airboss id new")


@pytest.mark.parametrize("text", ["a", "shop-api", "payments.eu_1", "0", "x" * 63])
def test_names_that_may_be(text: str):
    """Lower-case letters, digits and . _ - inside may name a thing."""
    assert name(text, of="service") == text


@pytest.mark.parametrize("text", ["", "-a", "a-", "A", "a b", "é", "x" * 64, "a/b", "a\n"])
def test_names_that_may_not_be(text: str):
    """What would break in a path, a label or a header is refused."""
    with pytest.raises(Invalid):
        name(text, of="service")
