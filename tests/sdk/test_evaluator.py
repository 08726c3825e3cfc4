"""The traps other evaluators fall into, and limits on everything."""

from __future__ import annotations

import copy
from datetime import UTC, date, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airboss.sdk import semver
from airboss.sdk.evaluator import Reason, compile_flag, compile_snapshot
from airboss.sdk.faults import BadDefinition
from airboss.sdk.jsonlogic import DEEPEST, MOST_NODES

GOOD: dict[str, Any] = {"state": "ENABLED", "variants": {"on": True, "off": False}, "defaultVariant": "off"}


def ruled(targeting: Any, **more: Any) -> dict[str, Any]:
    return {**GOOD, "targeting": targeting, **more}


def test_one_bad_flag_harms_nobody_and_keeps_its_last_good_form() -> None:
    """A flag that no longer compiles goes on as it was and is named; the others move on; a new bad one is absent."""
    first = compile_snapshot({"revision": 1, "flags": {"a": ruled({"if": [True, "on"]}), "b": GOOD}})
    second = compile_snapshot(
        {"revision": 2, "flags": {"a": ruled({"nope": []}), "b": {**GOOD, "defaultVariant": "on"}, "c": {"state": 1}}},
        previous=first,
    )
    assert second.evaluate("a", "u", {}).value is True
    assert second.evaluate("b", "u", {}).value is True
    assert second.evaluate("c", "u", {}).error_code == "FLAG_NOT_FOUND"
    assert set(second.faults) == {"a", "c"}
    assert "targeting.nope" in second.faults["a"]


def test_the_kill_switch_works_on_a_flag_that_does_not_compile() -> None:
    """Killing needs one good variant, not a good rule."""
    answer = compile_flag("a", ruled({"nope": []}, killed={"variant": "off"})).evaluate("u", {})
    assert (answer.value, answer.reason, answer.arm) == (False, Reason.STATIC, None)


def test_an_unknown_field_is_no_reason_to_refuse() -> None:
    """A snapshot of a newer server is read as far as it is understood."""
    assert compile_flag("a", {**GOOD, "added_next_year": {"x": 1}}).evaluate("u", {}).variant == "off"


@pytest.mark.parametrize(
    ("targeting", "path"),
    [
        ({"nope": [1]}, ("targeting", "nope")),
        ({"if": [False, {"nope": 1}, "on"]}, ("targeting", "if", 1, "nope")),
        ({"$ref": "nowhere"}, ("targeting", "$ref")),
        ([], None),
        (["on"], ("targeting",)),
    ],
)
def test_unknown_operators_are_found_at_compile(targeting: Any, path: Any) -> None:
    """A branch nobody reaches is checked too, and the path says where the fault is."""
    if path is None:
        compile_flag("a", ruled(targeting))
        return
    with pytest.raises(BadDefinition) as caught:
        compile_flag("a", ruled(targeting))
    assert caught.value.path == path


def test_references_cannot_go_round_in_circles() -> None:
    """An evaluator that needs itself is a fault of the flags that use it."""
    document = {
        "$evaluators": {"a": {"!": {"$ref": "b"}}, "b": {"!": {"$ref": "a"}}},
        "flags": {"x": ruled({"if": [{"$ref": "a"}, "on"]}), "y": GOOD},
    }
    snapshot = compile_snapshot(document)
    assert "refers to itself" in snapshot.faults["x"]
    assert snapshot.evaluate("y", "u", {}).variant == "off"


def test_rules_too_deep_or_too_large_are_refused() -> None:
    """Depth, size and nesting of loops have limits, found at compile."""
    deep: Any = True
    for _ in range(DEEPEST + 1):
        deep = {"!": [deep]}
    wide = {"or": [False] * (MOST_NODES + 1)}
    loops: Any = {"var": ""}
    for _ in range(3):
        loops = {"map": [{"var": "list"}, loops]}
    for targeting in (deep, wide, loops):
        with pytest.raises(BadDefinition):
            compile_flag("a", ruled(targeting))


@pytest.mark.parametrize(
    "greedy",
    [
        {"reduce": [{"var": "list"}, {"*": [{"var": "accumulator"}, {"var": "accumulator"}]}, 9]},
        {"reduce": [{"var": "list"}, {"cat": [{"var": "accumulator"}, {"var": "accumulator"}]}, "x"]},
        {"reduce": [{"var": "list"}, {"merge": [{"var": "accumulator"}, {"var": "accumulator"}]}, [1]]},
        {"map": [{"var": "long"}, 1]},
        {"/": [1, 0]},
    ],
)
def test_no_rule_eats_the_machine(greedy: Any) -> None:
    """Values that grow without end stop at a limit and answer ERROR, as does a division by zero."""
    context = {"list": list(range(100)), "long": list(range(100_000))}
    answer = compile_flag("a", ruled({"if": [greedy, "on"]})).evaluate("u", context)
    assert (answer.reason, answer.error_code) == (Reason.ERROR, "GENERAL")


def test_splits_say_split() -> None:
    """A split is told from a match, also behind conditions, and a split used as a condition is a match."""
    split = {"fractional": [["on", 50], ["off", 50]]}
    for targeting, reason in (
        (split, Reason.SPLIT),
        ({"if": [{"var": "vip"}, "on", split]}, Reason.SPLIT),
        ({"or": [{"var": "vip"}, split]}, Reason.SPLIT),
        ({"if": [{"==": [split, "on"]}, "on", "off"]}, Reason.TARGETING_MATCH),
    ):
        assert compile_flag("a", ruled(targeting)).evaluate("user", {}).reason is reason
    names = compile_flag("a", ruled({"fractional": [[True, 1]]}, variants={"true": 1, "off": 2}))
    assert names.evaluate("user", {}).variant == "true"


def test_nothing_given_is_changed_and_nothing_kept_can_be() -> None:
    """Definition and context stay as they were, and changing the definition afterwards changes no answer."""
    definition = ruled({"if": [{"in": [{"var": "x"}, ["a"]]}, "on"]})
    context = {"x": "a", "list": [1]}
    kept = copy.deepcopy((definition, context))
    compiled = compile_flag("a", definition)
    assert compiled.evaluate("u", context).value is True
    assert (definition, context) == kept
    definition["variants"]["on"] = "poisoned"
    definition["targeting"]["if"][0]["in"][1].clear()
    assert compiled.evaluate("u", context).value is True


class Hostile:
    """Raises whatever is done to it."""

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("no")

    def __hash__(self) -> int:
        raise RuntimeError("no")

    def __str__(self) -> str:
        raise RuntimeError("no")

    __bool__ = __len__ = __repr__ = __float__ = __str__  # type: ignore[assignment]


anything = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(),
        st.text(),
        st.binary(max_size=4),
        st.just(datetime(2026, 1, 1, tzinfo=UTC)),
        st.just(date(2026, 1, 1)),
        st.builds(Hostile),
        st.just("\ud800"),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=3), inner, max_size=3), st.tuples(inner, inner)
    ),
    max_leaves=6,
)
EVERYTHING = [
    {"if": [{"==": [{"var": "x"}, {"var": "y"}]}, "on"]},
    {"if": [{"<": [{"var": "x"}, {"var": "y"}]}, "on"]},
    {"if": [{"in": [{"var": "x"}, ["a", "b"]]}, "on"]},
    {"if": [{"in": [{"var": "x"}, {"var": "y"}]}, "on"]},
    {"if": [{"sem_ver": [{"var": "x"}, ">", {"var": "y"}]}, "on"]},
    {"if": [{"map": [{"var": "x"}, {"+": [{"var": ""}, 1]}]}, "on"]},
    {"if": [{"substr": [{"var": "x"}, {"var": "y"}]}, "on"]},
    {"if": [{"missing": [{"var": "x"}]}, "on"]},
    {"var": "x"},
    {"cat": [{"var": "x"}, {"var": "y"}]},
    {"fractional": [{"var": "x"}, ["on", 1], ["off", 1]]},
    {"fractional": [["on", {"var": "x"}], ["off", 1]]},
]


@settings(max_examples=300, deadline=None, derandomize=True)
@given(targeting=st.sampled_from(EVERYTHING), key=anything, x=anything, y=anything)
def test_no_context_makes_an_evaluation_raise(targeting: Any, key: Any, x: Any, y: Any) -> None:
    """Whatever strangers put into a context, there is an answer."""
    ramp = {"change_id": "c", "percent": 50, "on_variant": "on", "off_variant": "off", "salt": "s"}
    for definition in (ruled(targeting), {**GOOD, "ramp": ramp}):
        answer = compile_flag("a", definition).evaluate(key, {"x": x, "y": y})
        assert answer.reason in set(Reason)
    assert compile_flag("a", ruled(targeting)).evaluate(key, x).reason in set(Reason)


def test_precedence_of_versions() -> None:
    """The order of section 11 of Semantic Versioning, and that build metadata does not count."""
    order = ["1.0.0-alpha", "1.0.0-alpha.1", "1.0.0-alpha.beta", "1.0.0-beta.2", "1.0.0-beta.11", "1.0.0-rc.1", "1.0.0"]
    parsed = [semver.parse(text) for text in order]
    assert parsed == sorted(parsed, key=lambda version: version or ())
    assert len(set(parsed)) == len(order)
    assert semver.parse("1.0.0+a") == semver.parse("v1")
    assert semver.parse("1.0.0.0") is None
    assert semver.parse("1." + "9" * 300) is None
