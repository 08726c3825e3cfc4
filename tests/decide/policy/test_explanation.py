"""Explanations: what is said to clear a refusal clears it, and every rule is told with what it read."""

from __future__ import annotations

import json
import re
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.decide.policy.conftest import bundle_of, input_of

from airboss.decide.policy import Bundle, InlineEngine, Outcome, Point, default_pack
from airboss.decide.policy.explanation import without_engine
from airboss.decide.policy.model import EvidenceNeed, Ruling, Tier
from airboss.kernel.canonical import canonical

ENGINE = InlineEngine()
SHIPPED = Bundle(packs=(default_pack(),))
NUMBERS = st.sampled_from([-1.0, 0.0, 0.5, 3.0, 10.0, 40.0])
RULES = bundle_of(
    "change.impact.users_percent > 3.0 && !change.impact.reversible -> {deny: {}}",
    'services.exists(s, s.tier == "critical") || services.exists(s, s.stateful) -> {deny: {}}',
    'slos.exists(s, s.budget_left <= 0.0) && !("reliability" in change.labels) -> {deny: {}}',
    'change.impact.data in ["loss", "incompatible"] && history.service_failures_30d >= 3 -> {deny: {}}',
    'change.environments.exists(e, e == "production") -> {deny: {}}',
    "change.impact.users_percent >= 10.0 || change.largest_step_percent >= 10.0 -> {deny: {}}",
)
FACTS = st.fixed_dictionaries(
    {
        "change": st.fixed_dictionaries(
            {
                "labels": st.sampled_from([[], ["reliability"], ["other"]]),
                "largest_step_percent": NUMBERS,
                "environments": st.sampled_from([["production"], ["staging"], ["staging", "production"]]),
                "impact": st.fixed_dictionaries(
                    {
                        "users_percent": NUMBERS,
                        "reversible": st.booleans(),
                        "data": st.sampled_from(["none", "loss", "incompatible"]),
                    }
                ),
            }
        ),
        "services": st.lists(
            st.fixed_dictionaries({"tier": st.sampled_from(["critical", "standard"]), "stateful": st.booleans()}),
            min_size=1,
            max_size=3,
        ),
        "slos": st.lists(st.fixed_dictionaries({"budget_left": NUMBERS}), min_size=1, max_size=3),
        "history": st.fixed_dictionaries({"service_failures_30d": st.sampled_from([0, 3, 5])}),
    }
)


def _set(values: Any, steps: list[str], value: Any) -> Any:
    """The facts with another value at a name of the explanation; `[]` is every entry."""
    if not steps:
        return value
    step, rest = steps[0], steps[1:]
    if isinstance(values, list):
        return [_set(item, rest, value) if step in ("", str(at)) else item for at, item in enumerate(values)]
    return {**values, step: _set(values[step], rest, value)}


def _steps(name: str) -> list[str]:
    return re.sub(r"\[(\d*)\]", r".\1", name).split(".")


@settings(max_examples=120, deadline=None)
@given(FACTS)
def test_what_is_said_to_clear_a_rule_clears_it(over: dict[str, Any]) -> None:
    """With the one fact named so, the rule does not fire; and no fact is named that is what it is already."""
    data = input_of(over)
    fired = [item["rule"] for item in ENGINE.judge(RULES, data)["answers"]]
    told = ENGINE.explain(RULES, data, fired)
    assert set(told["clears"]) == {str(rule) for rule in fired}
    for rule, clears in told["clears"].items():
        for one in clears:
            assert one["value"] != one["now"]
            other = _set(json.loads(data), _steps(one["fact"]), one["value"])
            again = {item["rule"] for item in ENGINE.judge(RULES, canonical(other))["answers"]}
            assert int(rule) not in again, one


@settings(max_examples=40, deadline=None)
@given(FACTS)
def test_every_rule_that_was_asked_is_told_with_what_it_read(over: dict[str, Any]) -> None:
    """Fired and quiet rules together are those of the point, and the values told are those of the input."""
    data = input_of(over)
    told = ENGINE.explain(SHIPPED, data, [])
    asked = {index for index, rule in enumerate(SHIPPED.rules) if "start" in rule.at}
    assert {item["rule"] for item in told["answers"]} | {int(index) for index in told["quiet_read"]} == asked
    facts = json.loads(data)
    for read in told["quiet_read"].values():
        for name, value in read.items():
            if name.startswith("change.impact.") and name.count(".") == 2:
                assert facts["change"]["impact"][name.rpartition(".")[2]] == value


def test_a_rule_over_several_services_is_cleared_by_all_of_them_together() -> None:
    """One of two critical services changed alone clears nothing, so all are named as one."""
    data = input_of({"services": [{"tier": "critical"}, {"name": "b", "tier": "critical"}]})
    told = ENGINE.explain(bundle_of('services.exists(s, s.tier == "critical") -> {deny: {}}'), data, [0])
    assert [(one["fact"], one["be"]) for one in told["clears"]["0"]] == [("services[].tier", "anything but 'critical'")]


def test_the_way_out_of_missing_evidence_can_be_run_as_it_stands() -> None:
    """The command names the change the decision is about, also where the engine gives no answer."""
    need = EvidenceNeed(type="ci", max_age_s=None, met=False, why="it has to be tested", rules=("r",))
    ruling = Ruling(point=Point.START, outcome=Outcome.BLOCK, score=0, tier=Tier.LOW, evidence=(need,))
    (stands,) = without_engine(RULES, ruling, "is away", about="chg_01").stands
    assert "airboss change evidence chg_01 --type ci --green" in stands.words
