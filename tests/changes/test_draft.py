"""What people write is read, and refused with the place of the mistake."""

from __future__ import annotations

import json

import pytest
from tests.changes.desk import RAMP, RELEASE

from airboss.changes import read_change
from airboss.kernel.errors import Invalid
from airboss.kernel.yaml import load_one


def _read(text: bytes | str, source: str = "c.yaml"):
    return read_change(load_one(text if isinstance(text, bytes) else text.encode(), source))


def test_the_examples_are_read():
    """Both example changes are read, with durations in seconds and exposure in percent."""
    ramp, release = _read(RAMP), _read(RELEASE)
    assert ramp.id is None
    assert release.id == "chg_01kq3z8x5wf6vtd0c1m2n3p4q5"
    assert [step.expose for step in ramp.spec.rollout.stages[0].steps] == [1, 10, 50, 100]
    assert release.spec.rollout.stages[1].steps[2].expires == 4 * 3600
    assert release.spec.rollout.allowance == 0.0005
    assert release.spec.artifact.version == "2.4.0"


def test_json_and_yaml_are_the_same_change():
    """The API's JSON and the file give the same draft."""
    value = json.dumps(load_one(RELEASE, "c.yaml").value).encode()
    assert _read(value).document == _read(RELEASE).document


@pytest.mark.parametrize(
    ("old", "new", "place", "code"),
    [
        ("title: New", "tittle: New", "5:3", "unknown-field"),
        ("  title: New VAT engine for everybody\n", "", "4:3", "missing-field"),
        ("template: flag-ramp", "template: flag-romp", "4:13", "unknown-template"),
        ("template: flag-ramp", "template: flag-ramp@99", "4:13", "unknown-template"),
        ("services: [checkout]", "services: []", "7:13", "bad-value"),
        ("services: [checkout]", "services: checkout", "7:13", "wrong-type"),
        ("services: [checkout]", "services: [checkout]\n  services: [tax]", "8:3", "bad-yaml"),
        ("users_percent: 5", "users_percent: 500", "9:27", "bad-value"),
        ("users_percent: 5", "users_percent: '5'", "9:27", "wrong-type"),
        ("data: none", "data: some", "9:54", "bad-value"),
        ("strategy: ramp", "strategy: canary", "12:15", "bad-strategy"),
        ("expose: 10%", "expose: 0.5%", "18:22", "step-back"),
        ("expose: 10%", "expose: 10", "18:22", "bad-percent"),
        ("expose: 10%", "expose: 110%", "18:22", "bad-percent"),
        ("expose: 10%", "expose: -1%", "18:22", "bad-percent"),
        ("expose: 1%,", "expose: 0%,", "17:22", "bad-step"),
        ("expose: 1%,", "expose: 100%,", "17:22", "ramp-starts-full"),
        ("expose: 10%, bake: {least: 2m}", "expose: 10%", "18:13", "missing-field"),
        ("{least: 1m}", "{least: 1m, most: 30s}", "17:51", "bad-step"),
        ("{least: 1m}", "{least: 0s}", "17:41", "bad-value"),
        ("{least: 1m}", "{least: 60}", "17:41", "bad-duration"),
        ("- {expose: 1%,  bake: {least: 1m}}", "- {ask: sre, expires: 4h}", "17:13", "bad-step"),
        ("- {expose: 1%,  bake: {least: 1m}}", "- {wait: 5m}", "17:13", "bad-step"),
        ("- {expose: 1%,  bake: {least: 1m}}", "- {expose: 1%, ask: sre, bake: {least: 1m}}", "17:13", "bad-step"),
        ("target: {flag:", "target: {envoy: {}, flag:", "15:17", "bad-target"),
        ("environment: production", "environment: production\n        needs: staging", "15:16", "bad-needs"),
        ("allowance: 0.05%", "allowance: 0%", "21:16", "gate-cannot-pass"),
        ("{canary: {sli: checkout-errors}}", "{annotation_coverage: {least: 0%}}", "23:39", "gate-cannot-fail"),
        ("margin: 10%", "margin: 0%", "24:65", "gate-cannot-pass"),
        ("quantile: p95", "quantile: p100", "24:52", "bad-value"),
        ("above: 14.4", "above: 0", "25:57", "bad-value"),
        ("{canary: {sli: checkout-errors}}", "coverage", "23:9", "bad-gate"),
        (
            "{burn_rate: {slo: checkout-availability, above: 14.4}}",
            "{canary: {sli: checkout-errors}}",
            "25:9",
            "doubled",
        ),
        ("apiVersion: airboss/v1", "apiVersion: airboss/v1\nmetadata: {id: chg_nonsense}", "2:16", "bad-change-id"),
    ],
)
def test_every_fault_names_its_place(old, new, place, code):
    """A mistake in a change file is refused with its line and column and a stable code."""
    text = RAMP.decode()
    assert text.count(old) >= 1
    with pytest.raises(Invalid) as caught:
        _read(text.replace(old, new, 1))
    assert (caught.value.place, caught.value.code) == (f"c.yaml:{place}", code)


def test_too_many_steps_are_refused():
    """A thousand steps are the most one change may have."""
    steps = "[" + ",".join(["{expose: 1%, bake: {least: 1m}}"] * 1001) + "]"
    text = RAMP.decode()
    start, end = text.index("        steps:"), text.index("    allowance:")
    with pytest.raises(Invalid) as caught:
        _read(text[:start] + f"        steps: {steps}\n" + text[end:])
    assert (caught.value.code, caught.value.place) == ("too-many-steps", "c.yaml:16:16")


def test_a_schedule_that_ends_before_it_begins():
    """`not_after` lies after `not_before`, and times carry their zone."""
    line = "  rollback: {plan: flag back to off}\n"
    text = RAMP.decode()
    for schedule, code in (
        ("not_before: 2026-12-02T09:00:00Z, not_after: 2026-12-01T09:00:00Z", "bad-schedule"),
        ("not_before: 2026-12-02T09:00:00", "bad-time"),
    ):
        with pytest.raises(Invalid) as caught:
            _read(text.replace(line, f"{line}  schedule: {{{schedule}}}\n"))
        assert caught.value.code == code


def test_two_stages_of_one_environment_are_refused():
    """A stage is known by its environment, so there is one of each."""
    text = RELEASE.decode().replace("environment: production", "environment: staging")
    with pytest.raises(Invalid) as caught:
        _read(text)
    assert caught.value.code == "doubled"
