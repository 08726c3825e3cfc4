# ruff: noqa: DTZ001 - times are drawn bare and given their zone
"""A draft becomes a change with nothing left open, and stays what it was made."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.changes.desk import KNOWN, RAMP, RELEASE

from airboss.catalog import dotted
from airboss.changes import (
    BurnRateGate,
    CanaryGate,
    DataGate,
    Expose,
    Hold,
    Section,
    affected,
    expand,
    read_change,
    read_spec,
    section_digests,
    template,
    total_digest,
    unfit,
)
from airboss.kernel.errors import Refused
from airboss.kernel.yaml import load_one


def _draft(text: bytes | str):
    return read_change(load_one(text if isinstance(text, bytes) else text.encode(), "c.yaml"))


def _spec(text: bytes | str, known=KNOWN):
    draft = _draft(text)
    defaults = template(draft.spec.template)
    assert list(unfit(draft.spec, defaults, known)) == []
    return expand(draft, defaults, known)


def _without(text: bytes, *keys: str) -> str:
    """Return the ramp with whole parts of its rollout left out."""
    out = text.decode()
    for key in keys:
        out = re.sub(rf"(?m)^( +){key}:.*\n(?:\1 +.*\n)*", "", out)
    return out


def test_what_is_said_is_kept():
    """The release expands to exactly what its file says."""
    spec = _spec(RELEASE)
    assert (spec.kind, spec.strategy, spec.allowance_share) == ("service-release", "canary", 0.0005)
    staging, production = spec.stages
    assert spec.gates_of(staging) == (DataGate(),)
    assert production.needs == "staging"
    assert production.steps[0] == Expose(percent=1.0, least_s=120, most_s=1200)
    assert production.steps[-1] == Expose(percent=100.0, least_s=600, most_s=2400)
    assert spec.gates_of(production)[:2] == (
        CanaryGate(sli="checkout-errors", sli_kind="ratio", margin_share=0.2, quantile=None, critical=True),
        CanaryGate(sli="checkout-latency", sli_kind="threshold", margin_share=0.1, quantile=0.95, critical=True),
    )
    assert spec.on_inconclusive == Hold(hold_s=1200, then="ask")
    assert spec.rollback.window_s == 72 * 3600


def test_what_is_left_open_comes_from_the_template():
    """Steps, gates, allowance and policies of a bare ramp are the template's, by the catalog's objectives."""
    spec = _spec(_without(RAMP, "steps", "allowance", "gates"))
    assert [step.percent for step in spec.stages[0].steps] == [1, 10, 50, 100]
    assert spec.gates == (
        CanaryGate(sli="checkout-errors", sli_kind="ratio", margin_share=0.2, quantile=None, critical=True),
        CanaryGate(sli="checkout-latency", sli_kind="threshold", margin_share=0.1, quantile=0.95, critical=True),
        BurnRateGate(slo="checkout-availability", above=14.4),
        DataGate(),
    )
    assert spec.allowance_share == 0.0005  # half of the 0.1 % budget
    assert (spec.on_inconclusive.then, spec.max_extensions, spec.verify_s) == ("rollback", 2, 300)
    assert spec.slos == ("checkout-availability",)


def test_inner_stages_take_the_gentle_defaults():
    """Away from users a stage that says nothing goes through its short steps with the data gate."""
    text = _without(RAMP, "steps", "gates").replace("environment: production", "environment: staging")
    (stage,) = _spec(text).stages
    assert [step.percent for step in stage.steps] == [50, 100]
    assert stage.gates == (DataGate(),)


def test_most_has_a_floor():
    """`most` is four times `least`, and never so short that nothing can be learnt."""
    spec = _spec(RAMP.replace(b"least: 1m", b"least: 2s"))
    assert spec.stages[0].steps[0] == Expose(percent=1.0, least_s=2, most_s=30)


def test_json_round_trip_is_exact():
    """Stored bytes read back as the same spec, and that gives the same bytes."""
    for text in (RAMP, RELEASE):
        spec = replace(_spec(text), pinned={"flag/tax.engine": "sha256:00"})
        assert read_spec(spec.stored()) == spec
        assert read_spec(spec.stored()).stored() == spec.stored()


EXPANDED = _spec(RELEASE)


@given(
    percents=st.lists(st.floats(0.001, 100, allow_nan=False), min_size=1, max_size=5).map(sorted),
    least=st.integers(1, 10**6),
    allowance=st.floats(1e-9, 0.5),
    before=st.none() | st.datetimes(datetime(2020, 1, 1), datetime(2100, 1, 1)).map(lambda at: at.replace(tzinfo=UTC)),
)
def test_any_spec_survives_storage(percents, least, allowance, before):
    """Whatever numbers and times a spec holds, storing and reading changes none of them."""
    base = EXPANDED
    steps = tuple(Expose(percent=percent, least_s=least, most_s=4 * least) for percent in percents)
    spec = replace(
        base,
        allowance_share=allowance,
        stages=(replace(base.stages[0], steps=steps), base.stages[1]),
        schedule=replace(base.schedule, not_before=before),
    )
    assert read_spec(spec.stored()) == spec


EDITS = [
    (Section.PRESENTATION, "title: Checkout 2.4.0 with the new tax engine", "title: Checkout"),
    (Section.PRESENTATION, "pull/812", "pull/813"),
    (Section.INTENT, "why: VAT rules change on 1 December", "why: because"),
    (Section.INTENT, "users_percent: 40", "users_percent: 41"),
    (Section.INTENT, "security: none", "security: low"),
    (Section.INTENT, "amount: 120", "amount: 121"),
    (Section.SCOPE, "person: owner@example.com", "person: other@example.com"),
    (Section.PAYLOAD, "version: 2.4.0", "version: 2.4.1"),
    (Section.PAYLOAD, "sha256:6", "sha256:7"),
    (Section.PAYLOAD, "new: checkout-green", "new: checkout-red"),
    (Section.PLAN, "expose: 10%", "expose: 20%"),
    (Section.PLAN, "least: 5m, most: 30m", "least: 6m, most: 30m"),
    (Section.PLAN, "allowance: 0.05%", "allowance: 0.06%"),
    (Section.PLAN, "critical: true", "critical: false"),
    (Section.PLAN, "above: 14.4", "above: 6"),
    (Section.PLAN, "gates: [data]", "gates: [data, {annotation_coverage: {least: 5%}}]"),
    (Section.PLAN, "hold: 20m, then: ask", "hold: 20m, then: extend"),
    (Section.WAY_BACK, "window: 72h", "window: 71h"),
    (Section.WAY_BACK, "plan: switch tax.engine off", "plan: roll forward"),
    (Section.SCHEDULE, "{window: business-hours}", "{not_before: 2026-12-01T00:00:00Z}"),
]


@pytest.mark.parametrize(("section", "old", "new"), EDITS)
def test_an_edit_touches_exactly_its_section(section, old, new):
    """Changing one field changes the digest of its section, of the whole, and of nothing else."""
    text = RELEASE.decode()
    assert old in text
    before, after = section_digests(_spec(text).stored()), section_digests(_spec(text.replace(old, new)).stored())
    assert affected(before, after) == {section}
    assert total_digest(before) != total_digest(after)


def test_what_an_inspector_pins_is_payload():
    """Another digest of a named flag is another payload."""
    spec = _spec(RAMP)
    pinned = replace(spec, pinned={"flag/tax.engine": "sha256:00"})
    assert affected(section_digests(spec.stored()), section_digests(pinned.stored())) == {Section.PAYLOAD}


def test_a_template_is_never_read_again():
    """A stored change reads the same though the catalog and its objectives have changed since."""
    text = _without(RAMP, "steps", "allowance", "gates")
    stored = _spec(text).stored()
    elsewhere = replace(KNOWN, slis_of={}, slos={})
    assert _spec(text, elsewhere).stored() != stored
    assert read_spec(stored).stored() == stored


@pytest.mark.parametrize(
    ("old", "new", "place", "code"),
    [
        ("quantile: p95", "quantile: p95", None, None),
        ("{canary: {sli: checkout-errors}}", "{canary: {sli: checkout-errors, quantile: p95}}", "23:51", "bad-gate"),
        ("above: 14.4", "above: 1000", "25:57", "gate-cannot-fail"),
        ("allowance: 0.05%", "allowance: 10%", "21:16", "gate-cannot-fail"),
        ("allowance: 0.05%", "allowance: 9.9%", None, None),
    ],
)
def test_a_gate_that_cannot_fail_is_refused(old, new, place, code):
    """Numbers under which no evidence could fail a gate are refused at the line that makes it so."""
    text = RAMP.decode().replace(old, new)
    if code is None:
        _spec(text)
        return
    with pytest.raises(Refused) as caught:
        _spec(text)
    assert (caught.value.code, caught.value.place) == (code, f"c.yaml:{place}")


@pytest.mark.parametrize(
    ("text", "old", "new", "path", "code"),
    [
        (RAMP, "services: [checkout]", "services: [chekout]", "spec.services[0]", "unknown-reference"),
        (RAMP, "team: payments", "team: payment", "spec.owner.team", "unknown-reference"),
        (
            RAMP,
            "environment: production",
            "environment: prod",
            "spec.rollout.stages[0].environment",
            "unknown-reference",
        ),
        (RAMP, "sli: checkout-errors", "sli: checkout-error", "spec.rollout.gates[0].canary.sli", "unknown-reference"),
        (RAMP, "slo: checkout-a", "slo: a", "spec.rollout.gates[2].burn_rate.slo", "unknown-reference"),
        (
            RAMP,
            "{flag: {name: tax.engine,",
            "{envoy: {route: checkout,",
            "spec.rollout.stages[0].target.envoy",
            "bad-target",
        ),
        (RAMP, "  rollback: {plan: flag back to off}\n", "", "spec.rollback", "no-way-back"),
        (RAMP, "reversible: true", "reversible: false", "spec.mitigation", "no-way-back"),
        (RAMP, "data: none", "data: loss", "spec.mitigation", "no-way-back"),
        (RELEASE, "ask: payments-leads", "ask: boss", "spec.rollout.stages[1].steps[2].ask", "unknown-reference"),
        (RELEASE, "edge-production", "edge", "spec.rollout.stages[1].target.envoy.connection", "unknown-reference"),
        (RELEASE, "runbook: tax-engine-off", "runbook: none", "spec.mitigation.runbook", "unknown-reference"),
        (RELEASE, "window: business-hours", "window: tea-time", "spec.schedule.window", "unknown-reference"),
        (RELEASE, "window: business-hours", "window: year-end-freeze", "spec.schedule.window", "bad-schedule"),
    ],
)
def test_what_keeps_a_draft_on_the_desk(text, old, new, path, code):
    """A name nobody knows, or no way back, is found with its field before review."""
    draft = _draft(text.decode().replace(old, new, 1))
    found = next(unfit(draft.spec, template(draft.spec.template), KNOWN))
    assert (dotted(found.path), found.code) == (path, code)
    assert found.way_out


def test_state_demands_a_mitigation_and_a_window():
    """A service that keeps state needs a runbook and a stated rollback window even when the change is reversible."""
    draft = _draft(RAMP)
    known = replace(KNOWN, services={"checkout": True})
    faults = list(unfit(draft.spec, template("flag-ramp"), known))
    assert [fault.path for fault in faults] == [("spec", "mitigation"), ("spec", "rollback")]
    release = _draft(RELEASE)
    assert list(unfit(release.spec, template("service-release"), known)) == []
