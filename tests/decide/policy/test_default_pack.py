"""The shipped pack and the example pack say what they promise."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from airboss.decide.policy import (
    Bundle,
    InlineEngine,
    Outcome,
    Point,
    Tier,
    default_bytes,
    default_pack,
    fixture,
    masked_input,
    overlay,
    parse,
    rule_on,
    test,
)

EXAMPLE = (Path(__file__).parent / "example.yaml").read_bytes()


@pytest.fixture(scope="module")
def engine() -> InlineEngine:
    return InlineEngine()


@pytest.fixture(scope="module")
def shipped() -> Bundle:
    return Bundle(packs=(default_pack(),))


@pytest.mark.parametrize("data", [default_bytes(), EXAMPLE], ids=["shipped", "example"])
def test_own_tests_pass(data: bytes, engine: InlineEngine) -> None:
    """Every test beside the rules comes out as written, each pack alone."""
    [report] = test([("pack.yaml", data)], engine=engine)
    assert report.problems == ()
    assert [(case.name, case.faults) for case in report.cases if not case.passed] == []
    assert report.good


def test_every_shipped_rule_is_shown_both_ways(engine: InlineEngine) -> None:
    """The shipped pack has, for each rule, a case that fires and one that does not."""
    [report] = test([("pack.yaml", default_bytes())], engine=engine)
    assert report.unproven == ()


def _judge(engine: InlineEngine, bundle: Bundle, point: str, over: dict[str, Any]) -> Any:
    return rule_on(engine, bundle, masked_input(Point(point), overlay(fixture(), over)))


def test_example_lies_over_the_shipped_pack(engine: InlineEngine) -> None:
    """Packs add up: what the shipped pack asks of a critical service, auto_approve of the example does not undo."""
    both = Bundle(packs=(default_pack(), parse(EXAMPLE, "policy.yaml")))
    assert both.rules[0].pack == "production"
    over = {
        "change": {"kind": "flag-ramp", "impact": {"users_percent": 5, "reversible": True}},
        "services": [{"tier": "critical"}],
    }
    ruling = _judge(engine, both, "submit", over)
    assert "LIGHT-BEHIND-FLAG" in {item.rule for item in ruling.fired}
    assert ruling.outcome is Outcome.PENDING
    assert ruling.tier is Tier.MEDIUM
    [need] = ruling.approvals
    assert [(seats.group, seats.least) for seats in need.groups] == [("service-owners", 1)]
    assert need.distinct_from == {"requester", "authors"}


def test_needs_unite_over_packs(engine: InlineEngine) -> None:
    """Two rules that ask for owners and SRE make one need, the strictest of both, with both named."""
    both = Bundle(packs=(default_pack(), parse(EXAMPLE, "policy.yaml")))
    over = {"change": {"impact": {"users_percent": 40}}, "services": [{"name": "checkout", "tier": "critical"}]}
    ruling = _judge(engine, both, "approve", over)
    [need] = ruling.approvals
    assert need.rules == ("HIGH-NEEDS-OWNER-AND-SRE", "HIGH-NEEDS-OWNER-AND-SRE")
    assert {seats.group for seats in need.groups} == {"service-owners", "sre"}
    assert need.backup == "platform-leads"
    assert need.sla_s == 4 * 3600
    assert ruling.obligations.canary
    assert ruling.obligations.largest_step_percent == 50


@pytest.mark.parametrize("group", ["change", "services", "calendar", "history"])
def test_a_group_that_could_not_be_fetched_blocks(group: str, engine: InlineEngine, shipped: Bundle) -> None:
    """Left out is not empty: the rules that need the facts are in error, and that blocks, with the group named."""
    ruling = _judge(engine, shipped, "start", {"change": {"kind": "flag-ramp"}, group: None})
    assert ruling.outcome is Outcome.BLOCK
    assert any(denial.kind == "error" and f"{group} could not be read" in denial.message for denial in ruling.denials)


@pytest.mark.parametrize("field", ["users_percent", "reversible", "data"])
def test_an_unstated_impact_blocks(field: str, engine: InlineEngine, shipped: Bundle) -> None:
    """No word on the impact never makes a change light."""
    ruling = _judge(engine, shipped, "submit", {"change": {"kind": "flag-ramp", "impact": {field: None}}})
    assert ruling.outcome is Outcome.BLOCK
    assert ruling.tier is Tier.HIGH


def test_an_unknown_tier_of_a_service_blocks(engine: InlineEngine, shipped: Bundle) -> None:
    """A service whose tier nobody said is not taken for an ordinary one, though null == "critical" is false in CEL."""
    ruling = _judge(engine, shipped, "submit", {"change": {"kind": "flag-ramp"}, "services": [{"tier": None}]})
    assert ruling.outcome is Outcome.BLOCK
    assert any("services[0].tier is not set" in denial.message for denial in ruling.denials)
