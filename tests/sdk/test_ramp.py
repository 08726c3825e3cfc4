"""Buckets, gates, splits and arms."""

from __future__ import annotations

import cbor2
import mmh3
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from airboss.sdk import exposure
from airboss.sdk.bucketing import Generation, cbor_text, hash_text, murmur3_32, pair_hash
from airboss.sdk.evaluator import Reason, compile_flag
from airboss.sdk.faults import BadDefinition

KEYS = [f"user-{number}" for number in range(20_000)]


def flag(percent: float, **more: object) -> dict[str, object]:
    ramp = {
        "change_id": "chg_one",
        "percent": percent,
        "on_variant": "on",
        "off_variant": "off",
        "salt": "chg_one",
        **more,
    }
    variants = {"on": True, "off": False, "blue": True, "green": True}
    return {"state": "ENABLED", "variants": variants, "defaultVariant": "off", "ramp": ramp}


def inside(percent: float, **more: object) -> set[str]:
    compiled = compile_flag("flag", flag(percent, **more))
    return {key for key in KEYS if compiled.evaluate(key, {}).variant != "off"}


@given(st.text())
def test_our_cbor_is_cbor(text: str) -> None:
    """The written-out encoding of a text is what a CBOR encoder gives, at every length."""
    for candidate in (text, text * 30, text * 3000):
        assert cbor_text(candidate) == cbor2.dumps(candidate, canonical=True)


def test_generations_are_what_the_notes_of_flagd_say() -> None:
    """v3 hashes the CBOR of [flag, key], v2 their text; MurmurHash3 has its published values."""
    assert murmur3_32(b"") == 0
    assert murmur3_32(b"hello") == 0x248BFA47  # Appleby's reference implementation, seed 0
    for key in ("u", "a longer targeting key than twenty-three bytes", "ü" * 300):
        expected = mmh3.hash(cbor2.dumps(["flag", key], canonical=True), signed=False)
        assert pair_hash(Generation.V3, "flag")(key) == expected
        assert pair_hash(Generation.V2, "flag")(key) == mmh3.hash(f"flag{key}", signed=False)
    assert hash_text(Generation.V2, "x") != hash_text(Generation.V3, "x")


@pytest.mark.parametrize("version", ["v2", "v3"])
def test_raising_the_percentage_moves_nobody_out(version: str) -> None:
    """Whoever is in stays in, through every step of a ramp."""
    before: set[str] = set()
    for percent in (0, 0.1, 1, 5, 10, 33.333, 50, 99.9, 100):
        source = {**flag(percent), "bucketing": {"version": version}}
        compiled = compile_flag("flag", source)
        now = {key for key in KEYS if compiled.evaluate(key, {}).variant == "on"}
        assert before <= now
        before = now
    assert before == set(KEYS), "100 % is everybody"


def test_shares_are_what_they_say() -> None:
    """0 and 100 are exact; in between the share of 20,000 people is within four standard errors, at 0.1 % too."""
    assert inside(0) == set()
    assert inside(100) == set(KEYS)
    for percent in (0.1, 1, 10, 50):
        share = percent / 100
        error = (share * (1 - share) / len(KEYS)) ** 0.5
        assert abs(len(inside(percent)) / len(KEYS) - share) < 4 * error


def test_changes_and_groups_are_independent() -> None:
    """Two ramps choose different people, and groups are spread evenly over either arm (chi-square, p > 0.001)."""
    both = len(inside(50, salt="chg_one") & inside(50, salt="chg_two"))
    assert abs(both / len(KEYS) - 0.25) < 0.02
    compiled = compile_flag("flag", flag(30))
    table = [[0] * 100, [0] * 100]
    for key in KEYS:
        arm = exposure.read(compiled.evaluate(key, {}).arm or "")
        assert arm is not None
        table[arm.canary][arm.group] += 1
    assert stats.chi2_contingency(table).pvalue > 0.001
    assert stats.chisquare([one + other for one, other in zip(*table, strict=True)]).pvalue > 0.001


def test_the_split_of_the_new_side_has_its_own_salt() -> None:
    """Inside the gate people are split by weight, independent of how early they came in; the arm stays canary."""
    split = [["blue", 50], ["green", 50]]
    early = compile_flag("flag", flag(10, split=split))
    late = compile_flag("flag", flag(100, split=split))
    blue = {True: 0, False: 0}
    for key in KEYS:
        first, last = early.evaluate(key, {}), late.evaluate(key, {})
        came_early = first.variant != "off"
        if came_early:
            assert first.variant == last.variant, "growing the gate does not move people inside"
            assert "/canary/" in (first.arm or "")
        blue[came_early] += last.variant == "blue"
    assert abs(blue[True] / len(inside(10)) - 0.5) < 0.05
    assert abs(blue[False] / (len(KEYS) - len(inside(10))) - 0.5) < 0.02


def test_the_arm_is_the_same_everywhere_and_tells_nothing() -> None:
    """An element is a function of change and key alone, is read back, and does not hold the key."""
    answer = compile_flag("flag", flag(50)).evaluate("anna@example.org", {})
    assert answer.reason is Reason.SPLIT
    arm = exposure.read(answer.arm or "")
    assert arm is not None
    assert arm.change_id == "chg_one"
    assert arm.group == exposure.group_of("chg_one", "anna@example.org")
    assert arm.subject == exposure.subject_of("chg_one", "anna@example.org")
    assert arm.subject != exposure.subject_of("chg_two", "anna@example.org")
    assert "anna" not in (answer.arm or "")
    assert len({exposure.subject_of("chg_one", key) for key in KEYS}) == len(KEYS)
    for odd in (
        "",
        "chg_one/canary/100/0000000000000000",
        "chg_one/new/1/0000000000000000",
        "a/b",
        "chg_one/canary/1/x",
    ):
        assert exposure.read(odd) is None


@pytest.mark.parametrize("key", [None, "", 0, True, 1.5, [], {}, "\ud800"])
def test_whoever_has_no_key_is_in_no_arm(key: object) -> None:
    """Without a key to split by people get the old side below 100 %, the new one at 100 %, and are never counted."""
    below = compile_flag("flag", flag(99.9)).evaluate(key, {})
    assert (below.variant, below.reason, below.arm) == ("off", Reason.DEFAULT, None)
    through = compile_flag("flag", flag(100)).evaluate(key, {})
    assert (through.variant, through.reason, through.arm) == ("on", Reason.DEFAULT, None)


def test_another_attribute_may_be_bucketed_by() -> None:
    """With `bucketing.key` a whole company moves together, numbers counting as their decimal text."""
    compiled = compile_flag("flag", {**flag(50), "bucketing": {"version": "v3", "key": "company"}})
    for company in ("acme", 17, "42"):
        answers = {compiled.evaluate(f"user-{n}", {"company": company})[:3] for n in range(20)}
        assert len(answers) == 1
    assert compiled.evaluate("u", {"company": 17}).arm == compiled.evaluate("u", {"company": "17"}).arm
    assert compiled.evaluate("u", {}).arm is None


@pytest.mark.parametrize(
    "broken",
    [
        {"percent": -1},
        {"percent": 101},
        {"percent": "5"},
        {"percent": True},
        {"on_variant": "nope"},
        {"salt": ""},
        {"change_id": None},
        {"split": [["nope", 1]]},
        {"split": [["blue", 0]]},
    ],
)
def test_a_broken_ramp_is_refused(broken: dict[str, object]) -> None:
    """A ramp that cannot be meant does not compile, and the path says where."""
    with pytest.raises(BadDefinition) as caught:
        compile_flag("flag", flag(5) | {"ramp": {**flag(5)["ramp"], **broken}})  # type: ignore[dict-item]
    assert caught.value.path[0] == "ramp"
