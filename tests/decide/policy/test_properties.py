"""What holds for every change: one answer for the same bytes, and strictness only grows with rules."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.decide.policy.conftest import pack_bytes

from airboss.decide.policy import (
    Bundle,
    InlineEngine,
    Outcome,
    Pack,
    Point,
    default_pack,
    fixture,
    masked_input,
    overlay,
    parse,
    rule_on,
    ruling_json,
)
from airboss.kernel.canonical import canonical, digest_bytes

ENGINE = InlineEngine()
SHIPPED = default_pack()
AGAIN = Bundle(packs=(parse(SHIPPED.data, SHIPPED.source),))

_maybe = st.none() | st.booleans()
_risk = st.sampled_from([None, "none", "low", "material"])
_service = st.fixed_dictionaries(
    {
        "name": st.sampled_from(["shop", "shop", "tax"]),
        "tier": st.sampled_from([None, "critical", "important", "standard"]),
        "stateful": _maybe,
    }
)
_slo = st.fixed_dictionaries({"budget_left": st.none() | st.floats(-1, 1), "name": st.just("x")})
FACTS = st.fixed_dictionaries(
    {},
    optional={
        "change": st.fixed_dictionaries(
            {
                "kind": st.sampled_from([None, "flag-ramp", "service-release"]),
                "emergency": _maybe,
                "labels": st.lists(st.sampled_from(["reliability", "x"]), max_size=2),
                "environments": st.lists(st.sampled_from(["staging", "production"]), max_size=2),
                "impact": st.fixed_dictionaries(
                    {
                        "users_percent": st.none() | st.floats(0, 100),
                        "reversible": _maybe,
                        "data": st.sampled_from([None, "none", "compatible", "loss"]),
                        "risks": st.fixed_dictionaries({"security": _risk}),
                        "cross_team": _maybe,
                    }
                ),
            }
        ),
        "services": st.none() | st.lists(_service, max_size=3),
        "slos_known": _maybe,
        "slos": st.none() | st.lists(_slo, max_size=2),
        "calendar": st.none() | st.fixed_dictionaries({"frozen": _maybe}),
        "history": st.none() | st.fixed_dictionaries({"last_failed_digest_same": _maybe}),
        "evidence": st.none() | st.fixed_dictionaries({"ci": st.none() | st.fixed_dictionaries({"green": _maybe})}),
    },
)
GAPPED = parse(
    pack_bytes('has(change.kind) && change.kind == "flag-ramp" -> {auto_approve: {}}', name="gapped"), "g.yaml"
)
POINTS = st.sampled_from(list(Point))
STRICTER = st.sampled_from(
    [
        "true -> {deny: {}}",
        "change.impact.users_percent > 3.0 -> {deny: {}}",
        "1 / 0 > 0 -> {warn: {}}",
        "true -> {require_approval: {all_of: [{group: sre}]}}",
        "true -> {set_tier: high}",
        "true -> {add_risk: {points: 30, reason: x}}",
        "true -> {require_evidence: {type: ci, max_age: 1s}}",
        "true -> {obligate: {canary: true}}",
        "services.exists(s, s.stateful) -> {warn: {}}",
        "true -> {deny: {}} ;; mode: shadow",
    ]
)
STRICTNESS = {Outcome.ALLOW: 0, Outcome.PENDING: 1, Outcome.BLOCK: 2}


def _data(point: Point, over: dict[str, Any]) -> bytes:
    return masked_input(point, overlay(fixture(), over))


@settings(max_examples=80, deadline=None)
@given(POINTS, FACTS)
def test_the_same_bytes_give_the_same_ruling(point: Point, over: dict[str, Any]) -> None:
    """A decision is a function of bundle and masked bytes: a fresh engine replays it to the letter."""
    bundle = Bundle(packs=(SHIPPED,))
    data = _data(point, over)
    assert canonical(json.loads(data)) == data, "the stored bytes are canonical, so their digest can be taken again"
    first = canonical(ruling_json(rule_on(ENGINE, bundle, data)))
    assert AGAIN.digest == bundle.digest
    assert canonical(ruling_json(rule_on(InlineEngine(), AGAIN, bytes(data)))) == first
    assert digest_bytes(data) == digest_bytes(_data(point, over))


@settings(max_examples=150, deadline=None)
@given(POINTS, FACTS, STRICTER, st.sampled_from([SHIPPED, GAPPED]), st.sampled_from(["compliance", "team"]))
def test_a_lower_pack_only_tightens(point: Point, over: dict[str, Any], rule: str, base: Pack, layer: str) -> None:
    """Adding a lower layer's rule never makes an outcome milder, a tier lower or a requirement vanish.

    Also where the layers above leave a gap: who a team asks does not stand for the word of those above it.
    """
    data = _data(point, over)
    before = rule_on(ENGINE, Bundle(packs=(base,)), data)
    team = parse(pack_bytes(rule, name="team", layer=layer), "team.yaml")
    after = rule_on(ENGINE, Bundle(packs=(base, team)), data)
    assert STRICTNESS[after.outcome] >= STRICTNESS[before.outcome]
    assert after.tier.rank >= before.tier.rank
    assert after.score >= before.score
    asked = {seats.group for need in before.approvals for seats in need.groups}
    if before.tier is after.tier:
        assert asked <= {seats.group for need in after.approvals for seats in need.groups}


@settings(max_examples=100, deadline=None)
@given(POINTS, FACTS)
def test_block_says_why_and_how_out(point: Point, over: dict[str, Any]) -> None:
    """Every block has a reason and a way out; nothing else has a denial."""
    ruling = rule_on(ENGINE, Bundle(packs=(SHIPPED,)), _data(point, over))
    assert bool(ruling.denials) is (ruling.outcome is Outcome.BLOCK)
    assert all(denial.message and denial.way_out for denial in ruling.denials)
    assert (ruling.outcome is Outcome.PENDING) <= bool(
        ruling.approvals or [need for need in ruling.evidence if not need.met]
    )


@pytest.mark.parametrize("point", list(Point))
def test_nothing_known_is_never_allowed_early(point: Point) -> None:
    """With no facts at all, no point before completion lets a change pass."""
    ruling = rule_on(ENGINE, Bundle(packs=(SHIPPED,)), masked_input(point, {}))
    assert ruling.outcome is Outcome.BLOCK
