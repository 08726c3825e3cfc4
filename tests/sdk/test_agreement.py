"""Our evaluator against flagd-core for Python, on generated definitions and contexts."""

from __future__ import annotations

import copy
import json
import logging
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from openfeature.contrib.tools.flagd.core import FlagdCore
from openfeature.evaluation_context import EvaluationContext

from airboss.sdk.evaluator import Reason, compile_flag, compile_snapshot

VARIANTS = {"red": "R", "green": "G", "true": "T", "false": "F", "5": "five"}
NAMES = ["country", "age", "tags", "user", "version", "email", "missing", "targetingKey", "user.name", "tags.0"]

scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-5, 100),
    st.sampled_from([0.0, 1.5, -2.25, 3.0, 1e20]),
    st.sampled_from(["", "DE", "dev", "red", "1.2.3", "v2.0.0-rc.1", "7", " 8 ", "a@example.org", "ümläut", "inf"]),
)
contexts = st.fixed_dictionaries(
    {},
    optional={
        "country": scalars,
        "age": scalars,
        "tags": st.lists(scalars, max_size=3),
        "user": st.dictionaries(st.sampled_from(["name", "plan"]), scalars, max_size=2),
        "version": st.sampled_from(["1.0.0", "1.2.3", "2.0", "v3", "1.0.0-alpha.1", "nonsense", 2]),
        "email": st.sampled_from(["a@example.org", "b@example.com", ""]),
    },
)
keys = st.one_of(st.none(), st.just(""), st.text(max_size=12), st.integers(0, 10**6).map("user-{}".format))
variables = st.one_of(
    st.sampled_from(NAMES).map(lambda name: {"var": name}),
    st.tuples(st.sampled_from(NAMES), scalars).map(lambda pair: {"var": list(pair)}),
    st.sampled_from([{"var": "$flagd.flagKey"}, {"var": ""}, {"var": 0}, {"var": []}]),
)
BINARY = ["==", "!=", "===", "!==", "<", ">", "<=", ">=", "+", "-", "*", "/", "%", "in", "starts_with", "ends_with"]


def grown(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    pair = st.tuples(inner, inner).map(list)
    few = st.lists(inner, max_size=4)
    version = st.one_of(st.just({"var": "version"}), st.sampled_from(["1.0.0", "1.2", "2.0.0-rc.1", "x"]))
    operator = st.sampled_from(["=", "!=", "<", "<=", ">", ">=", "^", "~", "?"])
    weight = st.one_of(st.integers(-1, 60), st.just(True), st.just("5"))
    variant = st.one_of(st.sampled_from([*VARIANTS, True, False, None, 5, "purple"]), inner)
    share = st.one_of(st.tuples(variant, weight).map(list), variant.map(lambda name: [name]))
    return st.one_of(
        st.tuples(st.sampled_from(BINARY), pair).map(lambda made: {made[0]: made[1]}),
        st.tuples(st.sampled_from(["if", "?:", "and", "or"]), st.lists(inner, max_size=5)).map(lambda m: {m[0]: m[1]}),
        st.tuples(st.sampled_from(["!", "!!", "-", "cat", "min", "max", "merge", "+", "*"]), few).map(
            lambda made: {made[0]: made[1]}
        ),
        st.tuples(st.sampled_from(["<", "<="]), st.tuples(inner, inner, inner).map(list)).map(lambda m: {m[0]: m[1]}),
        st.tuples(inner, st.integers(-4, 4), st.one_of(st.none(), st.integers(-4, 4))).map(
            lambda made: {"substr": list(made)}
        ),
        st.lists(st.sampled_from(NAMES), max_size=3).map(lambda names: {"missing": names}),
        st.tuples(st.integers(0, 3), st.lists(st.sampled_from(NAMES), max_size=3)).map(
            lambda made: {"missing_some": list(made)}
        ),
        st.tuples(
            st.sampled_from(["map", "filter", "all", "some", "none"]),
            st.one_of(st.just({"var": "tags"}), st.lists(scalars, max_size=3)),
            st.one_of(
                st.just({"var": ""}), st.just({">": [{"var": ""}, 3]}), st.just({"in": [{"var": ""}, "DE"]}), scalars
            ),
        ).map(lambda made: {made[0]: [made[1], made[2]]}),
        st.just({"reduce": [{"var": "tags"}, {"+": [{"var": "accumulator"}, {"var": "current"}]}, 0]}),
        st.tuples(version, operator, version).map(lambda made: {"sem_ver": list(made)}),
        st.lists(share, min_size=0, max_size=4).map(lambda shares: {"fractional": shares}),
        st.tuples(inner, st.lists(share, min_size=1, max_size=3)).map(lambda made: {"fractional": [made[0], *made[1]]}),
    )


nodes = st.recursive(st.one_of(scalars, variables, st.sampled_from(list(VARIANTS))), grown, max_leaves=14)
targetings = nodes.filter(lambda node: isinstance(node, dict) and len(node) == 1)
shares = st.lists(
    st.tuples(st.sampled_from(["red", "green", "true", "5"]), st.integers(0, 100)).map(list), min_size=1, max_size=4
)
ordinary = st.one_of(
    shares.map(lambda made: {"fractional": made}),
    st.tuples(targetings, st.sampled_from(list(VARIANTS)), shares).map(
        lambda made: {"if": [made[0], made[1], {"fractional": made[2]}]}
    ),
)


def theirs(definition: dict[str, Any], key: str | None, context: dict[str, Any]) -> tuple[Any, str | None, str]:
    core = FlagdCore()
    core.set_flags(json.dumps({"flags": {"flag": definition}}))
    try:
        found = core.resolve_string_value("flag", "default", EvaluationContext(key, context))
    except Exception:  # noqa: BLE001 - flagd-core raises whatever it runs into
        return None, None, "ERROR"
    return found.value, found.variant, str(found.reason)


def agree(definition: dict[str, Any], key: str | None, context: dict[str, Any]) -> str:
    expected = theirs(definition, key, context)
    before = copy.deepcopy((definition, context))
    ours = compile_flag("flag", definition).evaluate(key, context)
    assert (definition, context) == before, "what was given is unchanged"
    reason = "TARGETING_MATCH" if ours.reason is Reason.SPLIT else str(ours.reason)
    value = "default" if ours.variant is None and ours.reason is not Reason.ERROR else ours.value
    assert (value, ours.variant, reason) == expected
    return str(ours.reason)


@pytest.fixture(autouse=True)
def quiet() -> Any:
    """flagd-core logs every odd argument."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


CALM = settings(deadline=None, max_examples=600, suppress_health_check=[HealthCheck.too_slow], derandomize=True)


@CALM
@given(
    targeting=st.one_of(targetings, ordinary),
    default=st.sampled_from(["red", "", None, False]),
    state=st.sampled_from(["ENABLED", "ENABLED", "ENABLED", "DISABLED"]),
    key=keys,
    context=contexts,
)
def test_generated_definitions_answer_alike(targeting, default, state, key, context):
    """Any definition gives the value, variant and reason flagd-core gives, SPLIT being flagd's TARGETING_MATCH."""
    agree(
        {"state": state, "variants": VARIANTS, "defaultVariant": default, "targeting": targeting},
        key,
        context,
    )


def test_the_corpus_reaches_every_reason():
    """Definitions that people write, 2,000 users each, agree; and every reason but ERROR occurs among them."""
    written: list[dict[str, Any]] = [
        {"targeting": {"fractional": [["red", 25], ["green", 75]]}},
        {"targeting": {"fractional": [{"cat": ["salt", {"var": "targetingKey"}]}, ["red", 1], ["green", 99]]}},
        {"targeting": {"fractional": [{"var": "age"}, ["red", 1], ["green", 1]]}},
        {"targeting": {"if": [{"in": [{"var": "country"}, ["DE", "AT"]]}, "green", None]}},
        {"targeting": {"if": [{"sem_ver": [{"var": "version"}, ">=", "1.2"]}, "green", {"fractional": [["red"]]}]}},
        {"targeting": {"ends_with": [{"var": "email"}, "@example.org"]}},
        {},
        {"state": "DISABLED"},
    ]
    seen = set()
    for extra in written:
        definition = {"state": "ENABLED", "variants": VARIANTS, "defaultVariant": "red", **extra}
        core = FlagdCore()
        core.set_flags(json.dumps({"flags": {"flag": definition}}))
        ours = compile_flag("flag", definition)
        for number in range(2000):
            context = {
                "country": ("DE", "FR")[number % 2],
                "age": number / 2,
                "version": f"1.{number % 4}.0",
                "email": f"u{number}@example.{('org', 'com')[number % 2]}",
            }
            expected = core.resolve_string_value("flag", "d", EvaluationContext(f"user-{number}", context))
            answer = ours.evaluate(f"user-{number}", context)
            assert (answer.value if answer.variant else "d", answer.variant) == (expected.value, expected.variant)
            seen.add(answer.reason)
    assert seen == set(Reason) - {Reason.ERROR}


def test_evaluators_are_resolved_as_a_tree():
    """`$evaluators` hold backslashes, quotes and each other without breaking the set, and references are shared."""
    document = {
        "$evaluators": {
            "windows": {"starts_with": [{"var": "path"}, 'C:\\Users\\"x"\\']},
            "insider": {"or": [{"$ref": "windows"}, {"ends_with": [{"var": "email"}, "@example.org"]}]},
        },
        "flags": {
            "flag": {
                "state": "ENABLED",
                "variants": VARIANTS,
                "defaultVariant": "red",
                "targeting": {"if": [{"$ref": "insider"}, "green"]},
            }
        },
    }
    snapshot = compile_snapshot(document)
    assert not snapshot.faults
    assert snapshot.evaluate("flag", "u", {"path": 'C:\\Users\\"x"\\me'}).variant == "green"
    assert snapshot.evaluate("flag", "u", {"email": "a@example.org"}).variant == "green"
    assert snapshot.evaluate("flag", "u", {"path": "/home"}).reason is Reason.DEFAULT
