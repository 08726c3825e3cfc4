"""The shipped pack and the example pack say what they promise."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airboss.decide.policy import (
    PROFILES,
    Bundle,
    InlineEngine,
    Outcome,
    Pack,
    Point,
    Tier,
    default_pack,
    fixture,
    masked_input,
    overlay,
    parse,
    profile_pack,
    rule_on,
    test,
)
from airboss.decide.policy.packs import SHIPPED_NAME, profile_bytes

EXAMPLE = parse((Path(__file__).parent / "example.yaml").read_bytes(), "policy.yaml")
SHIPPED = {profile: profile_pack(profile) for profile in PROFILES}
ENGINE = InlineEngine()


@pytest.fixture(scope="module")
def engine() -> InlineEngine:
    return ENGINE


@pytest.fixture(scope="module")
def shipped() -> Bundle:
    return Bundle(packs=(default_pack(),))


@pytest.mark.parametrize("pack", [*SHIPPED.values(), EXAMPLE], ids=[*SHIPPED, "example"])
def test_own_tests_pass(pack: Pack, engine: InlineEngine) -> None:
    """Every test beside the rules comes out as written, each pack alone."""
    [report] = test([("pack.yaml", pack.data)], engine=engine)
    assert report.problems == ()
    assert [(case.name, case.faults) for case in report.cases if not case.passed] == []
    assert report.good


@pytest.mark.parametrize("profile", SHIPPED)
def test_every_shipped_rule_is_shown_both_ways(profile: str, engine: InlineEngine) -> None:
    """A shipped pack has, for each rule, a case that fires and one that does not."""
    [report] = test([("pack.yaml", SHIPPED[profile].data)], engine=engine)
    assert report.unproven == ()


@pytest.mark.parametrize("profile", PROFILES)
def test_a_start_knows_the_shipped_pack_by_its_bytes_alone(profile: str) -> None:
    """Each file holds one pack, of the one name, byte for byte: so a start compares bytes and reads no YAML."""
    assert SHIPPED[profile].data == profile_bytes(profile)
    assert SHIPPED[profile].name == SHIPPED_NAME


def test_every_shipped_file_is_a_profile() -> None:
    """No pack lies in the folder that the tests above do not see, and all have one name, so that one is in force."""
    folder = files("airboss.decide.policy").joinpath("packs")
    assert {file.name for file in folder.iterdir()} == set(PROFILES.values())
    assert {pack.name for pack in SHIPPED.values()} == {"airboss-default"}


CHECKLIST = {"STATEFUL", "MATERIAL-RISK", "CROSS-TEAM", "NO-WAY-BACK", "DATA-AT-STAKE", "UNKNOWN-SERVICE"}
GUARDS = {"FREEZE", "FREEZE-AHEAD", "BUDGET-SPENT", "OBJECTIVES-UNKNOWN", "FAILED-BEFORE", "HIGH-NEEDS-OWNER-AND-SRE"}
GUARDS.add("INTERFACE-NEEDS-DEPENDENTS")


@pytest.mark.parametrize("profile", SHIPPED)
def test_the_checklist_and_the_guards_are_the_same_in_every_profile(profile: str) -> None:
    """What forces the full process, and what stops a start, is not a matter of the profile."""
    rules = {rule.id: rule for rule in SHIPPED[profile].rules}
    usual = {rule.id: rule for rule in SHIPPED["intermediate"].rules}
    for name in CHECKLIST | GUARDS:
        mine, theirs = rules[name], usual[name]
        assert (mine.when, mine.effect, mine.at, mine.message) == (
            theirs.when,
            theirs.effect,
            theirs.at,
            theirs.message,
        )


STRICTNESS = {Outcome.ALLOW: 0, Outcome.PENDING: 1, Outcome.BLOCK: 2}


@settings(max_examples=60, deadline=None)
@given(
    st.fixed_dictionaries(
        {
            "change": st.fixed_dictionaries(
                {
                    "kind": st.sampled_from(["flag-ramp", "service-release", "infrastructure"]),
                    "behind_flag": st.booleans(),
                    "automated_rollback": st.booleans(),
                    "environments": st.sampled_from([["staging"], ["staging", "production"]]),
                    "impact": st.fixed_dictionaries(
                        {
                            "users_percent": st.sampled_from([0.5, 1.0, 3.0, 10.0, 15.0, 25.0, 60.0]),
                            "reversible": st.booleans(),
                            "risks": st.fixed_dictionaries({"security": st.sampled_from(["none", "low", "material"])}),
                        }
                    ),
                }
            ),
            "services": st.just([{}]) | st.just([{"tier": "critical"}]) | st.just([{"stateful": True}]),
            "evidence": st.fixed_dictionaries(
                {
                    "ci": st.sampled_from([None, {"green": True}, {"green": False}]),
                    "staging": st.sampled_from([None, {"green": True, "age_s": 5}]),
                }
            ),
            "history": st.fixed_dictionaries({"service_failures_30d": st.sampled_from([0, 1, 2, 3, 5])}),
        }
    ),
    st.sampled_from(["submit", "approve"]),
)
def test_the_profiles_are_ordered_by_strictness(over: dict[str, Any], point: str) -> None:
    """What a stricter profile lets pass, or finds light, a milder one does too."""
    engine = ENGINE
    order = ["advanced", "intermediate", "beginner", "regulated"]
    rulings = [_judge(engine, Bundle(packs=(SHIPPED[profile],)), point, over) for profile in order]
    tiers = [ruling.tier.rank for ruling in rulings]
    outcomes = [STRICTNESS[ruling.outcome] for ruling in rulings]
    assert tiers == sorted(tiers)
    assert outcomes == sorted(outcomes)


def _judge(engine: InlineEngine, bundle: Bundle, point: str, over: dict[str, Any]) -> Any:
    return rule_on(engine, bundle, masked_input(Point(point), overlay(fixture(), over)))


def test_example_lies_over_the_shipped_pack(engine: InlineEngine) -> None:
    """Packs add up: what the shipped pack asks of a critical service, auto_approve of the example does not undo."""
    both = Bundle(packs=(default_pack(), EXAMPLE))
    assert both.rules[0].pack == "production"
    over = {
        "change": {"kind": "flag-ramp", "behind_flag": True, "impact": {"users_percent": 5, "reversible": True}},
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
    both = Bundle(packs=(default_pack(), EXAMPLE))
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
    ruling = _judge(engine, shipped, "start", {"change": {"kind": "flag-ramp", "behind_flag": True}, group: None})
    assert ruling.outcome is Outcome.BLOCK
    assert any(denial.kind == "error" and f"{group} could not be read" in denial.message for denial in ruling.denials)


@pytest.mark.parametrize("field", ["users_percent", "reversible", "data"])
def test_an_unstated_impact_blocks(field: str, engine: InlineEngine, shipped: Bundle) -> None:
    """No word on the impact never makes a change light."""
    ruling = _judge(
        engine, shipped, "submit", {"change": {"kind": "flag-ramp", "behind_flag": True, "impact": {field: None}}}
    )
    assert ruling.outcome is Outcome.BLOCK
    assert ruling.tier is Tier.HIGH


def test_an_unknown_tier_of_a_service_blocks(engine: InlineEngine, shipped: Bundle) -> None:
    """A service whose tier nobody said is not taken for an ordinary one, though null == "critical" is false in CEL."""
    ruling = _judge(
        engine, shipped, "submit", {"change": {"kind": "flag-ramp", "behind_flag": True}, "services": [{"tier": None}]}
    )
    assert ruling.outcome is Outcome.BLOCK
    assert any("services[0].tier is not set" in denial.message for denial in ruling.denials)
