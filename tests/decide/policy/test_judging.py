"""What rules mean: traps of the engine closed, two passes, and how answers add up."""

from __future__ import annotations

import json

import pytest
from tests.decide.policy.conftest import Judge, bundle_of, input_of

from airboss.decide.policy import (
    InlineEngine,
    Outcome,
    Tier,
    WrongFact,
    fixture,
    masked_input,
    overlay,
    rule_on,
    schema,
)
from airboss.decide.policy.model import Point

UNSET = {"change": {"impact": {"users_percent": None, "reversible": None, "data": None}, "kind": None}}


@pytest.mark.parametrize(
    "when",
    [
        "change.impact.users_percent > 5.0",
        "change.impact.users_percent <= 5.0",
        "change.impact.users_percent <= 5.0 && !change.impact.reversible",
        "change.impact.users_percent == 5.0",
        "change.impact.users_percent != 5.0",
        "!change.impact.reversible",
        "change.impact.reversible",
        "change.impact.reversible ? false : false",
        'change.kind == "flag-ramp"',
        'change.kind != "flag-ramp"',
        '"flag-ramp" != change.kind',
        'change.impact.data in ["none"]',
        '!(change.kind in ["flag-ramp"])',
        '["flag-ramp"].exists(k, k != change.kind)',
        '[change.kind] != ["x"]',
        "dyn(change.kind) != 5",
        'change.kind.startsWith("flag")',
        "change.impact == change.impact && change.impact.users_percent == change.impact.users_percent",
    ],
)
@pytest.mark.parametrize("effect", ["{warn: {}}", "{set_tier: low}"])
def test_an_unset_scalar_in_a_comparison_blocks(when: str, effect: str, judge: Judge) -> None:
    """Whatever compares a value nobody said is in error, also where CEL would say false or true."""
    ruling = judge(f"{when} -> {effect}", over=UNSET)
    assert ruling.outcome is Outcome.BLOCK
    [denial] = ruling.denials
    assert denial.kind == "error"
    assert "is not set" in denial.message
    assert denial.place == "mine.yaml:8:7"


@pytest.mark.parametrize(
    ("when", "holds"),
    [
        ("has(change.impact.users_percent)", False),
        ("!has(change.kind)", True),
        ("change.kind == null", True),
        ("null != change.kind", False),
        ('has(change.kind) && change.kind == "flag-ramp"', False),
        ('change.strategy == "canary"', True),
        ("change.labels.size() == 0", True),
        ("services.all(s, has(s.tier))", True),
        ("has(change.artifact) && change.rollback_window_s > 0.0", True),
        ("history.service_failures_30d + 1 == 1", True),
    ],
)
def test_absence_may_be_asked_about(when: str, holds: bool, judge: Judge) -> None:
    """has(…) and comparing with null are the ways to ask; what is set reads as it is."""
    ruling = judge(f"{when} -> {{warn: {{}}}}", over=UNSET)
    assert ruling.denials == ()
    assert bool(ruling.fired) is holds


def test_an_error_is_not_true(judge: Judge) -> None:
    """An error value is truthy in Python; a rule in error neither fires nor stays quiet."""
    ruling = judge("1 / history.service_failures_30d > 0 -> {auto_approve: {}}", point="submit")
    assert ruling.outcome is Outcome.BLOCK
    assert ruling.fired == ()
    assert ruling.not_fired == ()
    assert "divide by zero" in ruling.denials[0].message


def test_an_absent_group_is_named(judge: Judge) -> None:
    """Facts that could not be fetched are an error that says so."""
    ruling = judge("history.service_failures_30d > 3 -> {warn: {}}", over={"history": None})
    assert ruling.outcome is Outcome.BLOCK
    assert "history could not be read" in ruling.denials[0].message


def test_modes(judge: Judge) -> None:
    """`warn` says what it would do, `shadow` only records, and their errors block nothing."""
    ruling = judge(
        "true -> {deny: {}} ;; mode: warn",
        "true -> {deny: {}} ;; mode: shadow",
        "1 / 0 > 0 -> {deny: {}} ;; mode: warn",
        "1 / 0 > 0 -> {set_tier: high} ;; mode: shadow",
    )
    assert ruling.outcome is Outcome.ALLOW
    assert ruling.tier is Tier.LOW
    assert [item.rule for item in ruling.fired] == ["R0"]
    assert [item.rule for item in ruling.shadow] == ["R1", "R3"] or [item.rule for item in ruling.shadow] == [
        "R3",
        "R1",
    ]
    assert sorted(item.rule for item in ruling.warnings) == ["R0", "R2"]


def test_rules_end_by_themselves(judge: Judge) -> None:
    """A rule past its expiry is not asked; one before it is."""
    rules = (
        "true -> {deny: {}} ;; expires: 2026-01-10T00:00:00Z",
        "true -> {warn: {}} ;; expires: 2026-01-20T00:00:00Z",
    )
    ruling = judge(*rules)
    assert ruling.outcome is Outcome.ALLOW
    assert [item.rule for item in ruling.fired] == ["R1"]


def test_points(judge: Judge) -> None:
    """A rule speaks only at its points."""
    rule = "true -> {deny: {}} ;; at: [start]"
    assert judge(rule, point="start").outcome is Outcome.BLOCK
    assert judge(rule, point="promote").outcome is Outcome.ALLOW


@pytest.mark.parametrize(
    ("points", "tier"),
    [([], "low"), ([29], "low"), ([30], "medium"), ([29, 1], "medium"), ([59], "medium"), ([30, 30], "high")],
)
def test_scores_add_up_to_tiers(points: list[int], tier: str, judge: Judge) -> None:
    """The score is the sum, and the tier follows it."""
    ruling = judge("true -> {warn: {}}", *(f"true -> {{add_risk: {{points: {n}, reason: x}}}}" for n in points))
    assert (ruling.score, ruling.tier.value) == (sum(points), tier)


def test_the_highest_tier_wins_and_the_second_pass_sees_it(judge: Judge) -> None:
    """set_tier never lowers, and rules of the second pass read what the first came to."""
    ruling = judge(
        "true -> {set_tier: high}",
        "true -> {set_tier: low}",
        'risk.tier == "high" && risk.score == 0 -> {deny: {}}',
    )
    assert ruling.tier is Tier.HIGH
    assert ruling.denials[0].read == {"risk.tier": "high", "risk.score": 0}


def test_a_risk_rule_in_error_makes_the_risk_high(judge: Judge) -> None:
    """Not knowing the risk is a high risk, and blocks besides."""
    ruling = judge("change.impact.reversible -> {add_risk: {points: 1, reason: x}}", over=UNSET)
    assert (ruling.tier, ruling.outcome) == (Tier.HIGH, Outcome.BLOCK)


@pytest.mark.parametrize("point", ["submit", "approve"])
def test_silence_clears_nothing(point: str, judge: Judge) -> None:
    """Where nobody says who approves, and nobody says that none is needed, the change is blocked."""
    ruling = judge("true -> {warn: {}}", point=point)
    assert ruling.outcome is Outcome.BLOCK
    assert ruling.denials[0].kind == "unclear"
    assert "no rule says who may clear this" in ruling.denials[0].message


@pytest.mark.parametrize("point", ["start", "promote", "complete"])
def test_later_points_ask_only_for_refusals(point: str, judge: Judge) -> None:
    """What was cleared goes on unless something stands against it."""
    assert judge("true -> {warn: {}}", point=point).outcome is Outcome.ALLOW


@pytest.mark.parametrize(
    ("others", "outcome"),
    [
        ([], Outcome.ALLOW),
        (["true -> {deny: {}}"], Outcome.BLOCK),
        (["1 / 0 > 0 -> {warn: {}}"], Outcome.BLOCK),
        (["true -> {set_tier: medium}"], Outcome.BLOCK),
        (["true -> {require_evidence: {type: ci, max_age: 5m}}"], Outcome.PENDING),
        (["true -> {require_evidence: {type: ci, max_age: 15m}}"], Outcome.ALLOW),
        (["true -> {require_approval: {any_of: [{group: sre}]}}"], Outcome.PENDING),
        (["true -> {require_approval: {any_of: [{group: sre}]}} ;; mode: warn"], Outcome.ALLOW),
    ],
)
def test_auto_approve_needs_everything_else_in_order(others: list[str], outcome: Outcome, judge: Judge) -> None:
    """Nothing denied, nothing in error, no evidence missing, nobody asked for, and the tier allowed."""
    assert judge("true -> {auto_approve: {}}", *others, point="submit").outcome is outcome


def test_auto_approve_up_to_medium(judge: Judge) -> None:
    """A rule may let medium risk flow; high it may not."""
    rule = "true -> {auto_approve: {up_to: medium}}"
    assert judge(rule, "true -> {set_tier: medium}", point="approve").outcome is Outcome.ALLOW
    blocked = judge(rule, "true -> {set_tier: high}", point="approve")
    assert "R0 up to medium" in blocked.denials[0].message


def test_requirements_unite_and_obligations_take_the_strictest(judge: Judge) -> None:
    """The larger number, the union of the excluded, the shorter time; the smaller step, the longer bake."""
    ruling = judge(
        "true -> {require_approval: {all_of: [{group: sre}], distinct_from: [authors], sla: 8h}}",
        "true -> {require_approval: {all_of: [{group: sre, least: 2}, {group: dba}], distinct_from: [requester], sla: 4h}}",
        "true -> {require_approval: {any_of: [{group: legal}, {group: risk}]}}",
        "true -> {obligate: {largest_step: 50%, bake_least: 5m}}",
        "true -> {obligate: {largest_step: 25%, canary: true}}",
        "true -> {schedule: {windows: [night]}}",
        "true -> {schedule: {windows: [day, night], not_before: 2026-02-01T00:00:00Z}}",
        point="approve",
    )
    every, some = ruling.approvals
    assert [(seats.group, seats.least) for seats in every.groups] == [("sre", 2), ("dba", 1)]
    assert (every.distinct_from, every.sla_s, every.rules) == ({"requester", "authors"}, 14400, ("R0", "R1"))
    assert (some.of, [seats.group for seats in some.groups]) == ("any", ["legal", "risk"])
    wanted = ruling.obligations
    assert (wanted.largest_step_percent, wanted.bake_least_s, wanted.canary, wanted.review) == (25, 300, True, False)
    assert ruling.schedule.windows == ("night", "day")
    assert ruling.schedule.not_before is not None


@pytest.mark.parametrize(
    ("evidence", "why"),
    [
        ({"ci": None}, "no evidence of ci"),
        ({"ci": {"green": False}}, "not green"),
        ({"ci": {"green": None}}, "not green"),
        ({"ci": {"age_s": None}}, "unknown age"),
        ({"ci": {"age_s": 90000}}, "90000 s old"),
    ],
)
def test_evidence_counts_only_when_it_is_fresh_and_green(evidence: dict[str, object], why: str, judge: Judge) -> None:
    """Evidence that is absent, red, too old or of unknown age is missing."""
    ruling = judge("true -> {require_evidence: {type: ci, max_age: 24h}}", over={"evidence": evidence})
    assert ruling.outcome is Outcome.PENDING
    assert why in ruling.evidence[0].why


def test_messages_and_the_values_read(judge: Judge) -> None:
    """A rule says its message and the input values its condition read; an error in the message shows the title."""
    ruling = judge(
        'services.exists(s, s.tier == "critical" && s.name.startsWith("c")) && change.impact.users_percent > 5.0 -> '
        '{warn: {}} ;; message: \'"to " + string(change.impact.users_percent) + " %"\'',
        "true -> {warn: {}} ;; message: services[7].name",
        over={"services": [{"name": "checkout", "tier": "critical"}, {}], "change": {"impact": {"users_percent": 40}}},
    )
    first, second = ruling.fired
    assert first.message == "to 40 %"
    assert first.read == {
        "services[0].tier": "critical",
        "services[1].tier": "standard",
        "services[0].name": "checkout",
        "services[1].name": "shop",
        "change.impact.users_percent": 40,
    }
    assert second.message == "Rule 1"
    assert ruling.outcome is Outcome.ALLOW


def test_a_second_read_through_filters(judge: Judge) -> None:
    """Reads are followed through filter and index."""
    ruling = judge('services.filter(s, s.stateful == false)[0].owner == "shop-team" -> {warn: {}}')
    assert ruling.fired[0].read == {"services[0].stateful": False, "services[0].owner": "shop-team"}


def test_facts_must_fit_the_declaration() -> None:
    """A fact that is not declared, of another type, or computed only by rules is refused by its path."""
    for over, path in (
        ({"change": {"impct": {}}}, "change.impct"),
        ({"change": {"impact": {"users_percent": "5"}}}, "change.impact.users_percent"),
        ({"services": [{"stateful": "no"}]}, "services[0].stateful"),
        ({"services": {"name": "x"}}, "services"),
        ({"risk": {"tier": "low"}}, "risk"),
        ({"change": {"labels": [1]}}, "change.labels[0]"),
        ({"now": "yesterday"}, "now"),
    ):
        with pytest.raises(WrongFact) as refused:
            masked_input(Point.SUBMIT, overlay(fixture(), over))
        assert refused.value.place == path


def test_a_number_that_is_not_finite_is_unset(judge: Judge) -> None:
    """Not a number is no number: comparing it blocks."""
    ruling = judge("slos.exists(s, s.budget_left <= 0.0) -> {deny: {}}", over={"slos": [{"budget_left": float("nan")}]})
    assert ruling.denials[0].kind == "error"


def test_personal_data_is_struck_out_before_judging() -> None:
    """E-mail addresses and secrets in free text never reach the engine or the stored input."""
    title = "Ask jo@example.com, key AKIAABCDEFGHIJKLMNOP"
    data = masked_input(Point.SUBMIT, overlay(fixture(), {"change": {"title": title}}))
    assert json.loads(data)["change"]["title"] == "Ask <e-mail>, key <secret>"


def test_a_long_title_is_masked_in_linear_time() -> None:
    """Masking is no way to make the server think for long."""
    facts = overlay(fixture(), {"change": {"title": "a" * 200_000 + "@"}})
    assert len(masked_input(Point.SUBMIT, facts)) > 200_000


def test_the_vocabulary_is_listed() -> None:
    """Every declared fact is in the reference, with type and meaning."""
    rows = {name: kind for name, kind, meaning in schema() if meaning}
    assert rows["services[].tier"] == "string"
    assert rows["change.impact.users_percent"] == "double"
    assert rows["change.labels"] == "list(string)"
    assert rows["risk.score"] == "int"
    assert len(rows) == len(schema())


def test_the_fixture_is_complete(inline: InlineEngine) -> None:
    """Every declared fact but `risk` is set in the fixture, so that a test which overlays nothing has no unset value."""
    scalars = [name for name, kind, _ in schema() if kind not in {"group", "list"} and not name.startswith("risk")]
    asks = [
        f"services.all(s, has(s.{name.split('.', 1)[1]})) -> {{warn: {{}}}}"
        if name.startswith("services[]")
        else f"slos.all(s, has(s.{name.split('.', 1)[1]})) -> {{warn: {{}}}}"
        if name.startswith("slos[]")
        else f"has({name}) || {name} == [] -> {{warn: {{}}}}"
        if name.count(".") and name.split(".")[-1] in {"labels", "environments", "dependents", "waived_signals"}
        else f"has({name}) -> {{warn: {{}}}}"
        for name in scalars
        if "." in name
    ]
    bundle = bundle_of(*asks)
    assert inline.check(bundle) == []
    ruling = rule_on(inline, bundle, input_of())
    assert ruling.not_fired == ()
    assert ruling.denials == ()
