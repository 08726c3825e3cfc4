"""Every kind of change is watched by its signals: told by the service, held by the engine, or waived with a reason."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.changes.desk import ADMIN, DEV, EXAMPLES, KNOWN, RAMP, Desk

from airboss.catalog import read_model
from airboss.changes import (
    MEASURED,
    BurnRateGate,
    CanaryGate,
    Change,
    Create,
    Submit,
    Template,
    expand,
    read_change,
    sound,
    template,
    templates,
    unfit,
)
from airboss.kernel.errors import Invalid, Refused
from airboss.kernel.yaml import load_one

KINDS = {
    "service-release": {"errors", "latency"},
    "api-version": {"client-errors", "latency", "rollback-time"},
    "feature-launch": {"conversion", "errors", "latency"},
    "flag-ramp": {"errors", "latency"},
    "database-migration": {"lock-wait", "duration", "errors"},
    "platform-upgrade": {"restarts", "evictions", "workload-objectives"},
    "infrastructure": {"host-health", "instance-churn"},
    "autoscaling-policy": {"latency", "scaling-events", "cost-delta"},
    "cost-optimisation": {"preemptions", "latency", "savings"},
    "dependency-upgrade": {"heap", "exceptions", "integration-tests"},
    "security-patch": {"coverage", "time-to-remediate", "incidents"},
    "traffic-shift": {"latency", "server-errors", "cache-hits"},
    "serverless-function": {"invocation-errors", "cold-starts"},
    "ci-pipeline": {"build-failures", "deploy-time"},
    "security-policy": {"authentication-failures"},
    "observability-rule": {"alert-volume", "false-positives", "time-to-detect", "rule-errors"},
    "configuration": {"errors", "latency"},
    "data-job": {"job-success", "data-drift"},
    "vm-image": {"host-health", "instance-churn"},
    "cdn-rule": {"latency", "server-errors", "cache-hits", "blocked-requests"},
    "paas-setting": {"errors", "latency"},
    "failover": {"objectives", "failover-time", "failback-time"},
    "failover-exercise": {"errors", "latency", "objectives", "failback-time"},
    "operational-practice": {"incidents"},
}
OWN = (EXAMPLES / "template.yaml").read_bytes()
MIGRATION = RAMP.replace(b"flag-ramp", b"database-migration").replace(
    b"  rollout:\n", b"  runbook: tax-engine-off\n  rollout:\n", 1
)
LOCKS = b"""
apiVersion: openslo/v1
kind: SLI
metadata: {name: checkout-locks, labels: {airboss.dev/signal: lock-wait}}
spec:
  thresholdMetric: {metricSource: {type: builtin, spec: {signal: spans, service: %s, value: duration}}}
"""


def test_every_kind_carries_its_signals():
    """The shipped templates are these, each is sound, and each is watched by exactly what its kind is known for."""
    assert {one.metadata.name: {signal.name for signal in one.spec.signals} for one in templates()} == KINDS
    for one in templates():
        assert list(sound(one)) == [], one.metadata.name
        assert any(signal.by in MEASURED for signal in one.spec.signals)


@pytest.mark.parametrize(
    ("old", "new", "code"),
    [
        (b"  signals:  ", b"  signals: []\n  summary:  ", "bad-yaml"),
        (b"by: rollback-deadline", b"by: hope", "bad-value"),
        (b"strategies: [canary]", b"strategies: [ramp]", "bad-strategy"),
        (b"always: [data]", b"always: [{annotation_coverage: {least: 90%}}]", "bad-gate"),
        (b"expose: 25%", b"expose: 0.5%", "step-back"),
        (b"name: errors,", b"name: voided-receipts,", "doubled"),
        (b"margin: 20%}", b"margin: 0%}", "gate-cannot-pass"),
        (b"by: rollback-deadline", b"by: rollback-deadline, margin: 1%", "bad-signal"),
        (b"name: till-release", b"name: flag-ramp", "template-shipped"),
    ],
)
def test_a_template_that_would_not_hold_is_refused(desk, old, new, code):
    """A template of somebody's own is judged like ours, at its line, before it is in force."""
    assert old in OWN
    with pytest.raises(Invalid) as caught:
        desk.kinds.parse(OWN.replace(old, new, 1), "t.yaml")
    assert caught.value.code == code
    assert caught.value.place.startswith("t.yaml:")


def test_a_template_without_signals_is_refused(desk):
    """A template with no signal, or with none that is measured, is none."""
    start, end = OWN.index(b"  signals:"), OWN.index(b"  evidence:")
    held = b"  signals: [{name: rollback-time, about: how long, by: rollback-deadline}]\n"
    for signals, code in (
        (b"", "missing-field"),
        (b"  signals: []\n", "bad-value"),
        (held, "template-watches-nothing"),
    ):
        with pytest.raises(Invalid) as caught:
            desk.kinds.parse(OWN[:start] + signals + OWN[end:], "t.yaml")
        assert caught.value.code == code


def _migrate(desk: Desk, data: bytes = MIGRATION) -> Change:
    draft = desk.changes.create(Create(data=data, source="m.yaml"), actor=DEV)
    return desk.changes.submit(Submit(change_id=draft.id), actor=DEV)


def test_a_signal_nothing_tells_keeps_the_change_on_the_desk(desk):
    """The refusal names the signal, the service, how to declare it and how to go without; the draft stays."""
    with pytest.raises(Refused) as caught:
        _migrate(desk)
    fault = caught.value
    assert (fault.code, fault.place) == ("signal-missing", "m.yaml:4:13")
    assert "lock-wait" in fault.detail
    assert "checkout" in fault.detail
    assert "airboss.dev/signal: lock-wait" in fault.way_out
    assert "waive: {lock-wait:" in fault.way_out
    (kept,) = desk.changes.list(actor=DEV).items
    assert kept.phase == "draft"


def test_a_labelled_indicator_becomes_a_gate(desk):
    """Once an SLI of the service carries the label, the change is watched by it, though it names gates of its own."""
    desk.kinds.apply_all(desk.kinds.parse(LOCKS % b"checkout", "locks.yaml"), actor=ADMIN)
    spec = _migrate(desk).expanded()
    gate = next(gate for gate in spec.gates if isinstance(gate, CanaryGate) and gate.sli == "checkout-locks")
    assert (gate.quantile, gate.margin_share) == (0.99, 0.2)
    signals = {signal.name: signal for signal in spec.signals}
    assert signals["lock-wait"].gates == ("canary:checkout-locks",)
    assert (signals["duration"].by, signals["duration"].gates) == ("step-deadline", ())


def test_what_another_service_counts_is_no_canary(desk):
    """An SLI counted from another service's spans has no arms of this one: said so, and an SLO over it is watched."""
    desk.kinds.apply_all(desk.kinds.parse(LOCKS % b"checkout-db", "locks.yaml"), actor=ADMIN)
    slo = """
apiVersion: openslo/v1
kind: SLO
metadata: {name: locks-short, labels: {airboss.dev/signal: [lock-wait]}}
spec:
  service: checkout
  indicatorRef: checkout-locks
  budgetingMethod: Occurrences
  timeWindow: [{duration: 28d, isRolling: true}]
  objectives: [{displayName: short, target: 0.9, op: lte, value: 0.1}]
"""
    desk.kinds.apply_all(desk.kinds.parse(slo.encode(), "slo.yaml"), actor=ADMIN)
    spec = _migrate(desk).expanded()
    assert BurnRateGate(slo="locks-short", above=6.0) in spec.gates
    gates = b"      - {canary: {sli: checkout-locks}}\n      - {canary: {sli: checkout-errors}}\n"
    with pytest.raises(Refused) as caught:
        _migrate(desk, MIGRATION.replace(b"      - {canary: {sli: checkout-errors}}\n", gates))
    assert (caught.value.code, caught.value.place) == ("canary-elsewhere", "m.yaml:24:24")


def test_a_waived_signal_is_seen(desk):
    """A waiver with its reason lets the change go, and stands in the plan and among what approvers are told."""
    waived = MIGRATION.replace(b"  rollout:\n", b"  waive: {lock-wait: the table has no rows yet}\n  rollout:\n", 1)
    change = _migrate(desk, waived)
    (signal,) = [signal for signal in change.expanded().signals if signal.waived is not None]
    assert (signal.name, signal.waived, signal.gates) == ("lock-wait", "the table has no rows yet", ())
    told = desk.facts(change.id)[-1].body["findings"]
    assert "signal-waived" in {finding["code"] for finding in told}


@pytest.mark.parametrize(
    ("waive", "code"),
    [
        ("{lock-wayt: the table has no rows yet}", "unknown-signal"),
        ("{lock-wait: no}", "bad-value"),
        ("{lock-wait: 5}", "bad-value"),
    ],
)
def test_a_waiver_is_meant(desk, waive, code):
    """A signal the kind does not have cannot be waived, nor one without a sentence that says why."""
    text = MIGRATION.replace(b"  rollout:\n", f"  waive: {waive}\n  rollout:\n".encode(), 1)
    with pytest.raises((Invalid, Refused)) as caught:
        _migrate(desk, text)
    assert caught.value.code == code


def test_a_target_that_is_not_there_is_named_at_submit(desk):
    """A change to something nothing here carries stays a draft, with the targets its kind could take instead."""
    text = MIGRATION.replace(b'{flag: {name: tax.engine, old: "off", new: "on"}}', b"{database: {name: orders}}")
    with pytest.raises(Refused) as caught:
        _migrate(desk, text)
    assert (caught.value.code, caught.value.place) == ("unknown-target", "m.yaml:16:17")
    assert "database-migration can also go to flag" in caught.value.way_out


def test_a_template_of_ones_own(desk):
    """An applied template is used by name; another content needs another version, and the older one is still found."""
    desk.kinds.apply_all(desk.kinds.parse(OWN, "t.yaml"), actor=ADMIN)
    assert "till-release" in {one.metadata.name for one in desk.changes.templates(actor=DEV)}
    with pytest.raises(Invalid) as caught:
        desk.kinds.apply_all(desk.kinds.parse(OWN.replace(b"least: 1h", b"least: 2h"), "t.yaml"), actor=ADMIN)
    assert (caught.value.code, caught.value.place) == ("template-version", "t.yaml:4:41")
    newer = OWN.replace(b"least: 1h", b"least: 2h").replace(b"version: 1", b"version: 2")
    desk.kinds.apply_all(desk.kinds.parse(newer, "t.yaml"), actor=ADMIN)
    text = RAMP.replace(b"flag-ramp", b"till-release@%d").replace(b"    strategy: ramp\n", b"")
    for version, way in ((1, None), (2, None), (3, "unknown-template")):
        data = text.replace(b"%d", str(version).encode())
        if way is None:
            assert desk.changes.create(Create(data=data, source="c.yaml"), actor=DEV).kind == "till-release"
        else:
            with pytest.raises(Invalid) as unknown:
                desk.changes.create(Create(data=data, source="c.yaml"), actor=DEV)
            assert (unknown.value.code, unknown.value.place) == (way, "c.yaml:4:13")


def test_a_patch_says_its_deadline():
    """A security patch names the time by which it must start, or waives that."""
    text = RAMP.replace(b"flag-ramp", b"security-patch")
    draft = read_change(load_one(text, "c.yaml"))
    faults = [fault.code for fault in unfit(draft.spec, template("security-patch"), KNOWN)]
    assert faults == ["signal-missing"]
    line = b"  schedule: {not_after: 2026-12-01T00:00:00Z}\n  rollout:\n"
    draft = read_change(load_one(text.replace(b"  rollout:\n", line, 1), "c.yaml"))
    assert list(unfit(draft.spec, template("security-patch"), KNOWN)) == []


def test_what_tests_must_have_said_is_kept():
    """A dependency upgrade expects green tests, whatever policy asks."""
    text = RAMP.replace(b"flag-ramp", b"dependency-upgrade").replace(
        b"  rollout:\n", b"  waive: {heap: it is a build tool, exceptions: it is a build tool}\n  rollout:\n", 1
    )
    draft = read_change(load_one(text, "c.yaml"))
    assert expand(draft, template("dependency-upgrade"), KNOWN).evidence == ("ci",)


def test_a_mitigation_is_made_for_it():
    """A runbook that is not meant for mitigation is none; a flag that can be switched off is."""
    text = RAMP.replace(b"reversible: true", b"reversible: false").replace(
        b"  rollback: {plan: flag back to off}\n", b"  rollback: {window: 1h}\n  mitigation: {plan: off, %s}\n"
    )
    known = replace(KNOWN, mitigating=frozenset(), flags=frozenset({"tax.engine"}))
    for means, codes in (
        (b"runbook: tax-engine-off", ["no-way-back"]),
        (b"flag: tax.engine", []),
        (b"flag: x", ["unknown-reference"]),
    ):
        draft = read_change(load_one(text.replace(b"%s", means), "c.yaml"))
        assert [fault.code for fault in unfit(draft.spec, template("flag-ramp"), known)] == codes


def test_the_wider_of_declared_and_known_counts():
    """State and reach are as the catalog says even where the change says less."""
    known = replace(KNOWN, services={"checkout": True}, owners={"checkout": "search"})
    text = RAMP.replace(b"data: none", b"data: none, stateful: false, cross_team: false")
    draft = read_change(load_one(text, "c.yaml"))
    impact = expand(draft, template("flag-ramp"), known).impact
    assert (impact.stateful, impact.cross_team) == (True, True)


def test_read_model_reads_the_example():
    """The example template is one."""
    assert read_model(Template, load_one(OWN, "t.yaml")).metadata.name == "till-release"
