"""The server's own metrics: what stands there is true, Prometheus's own tool finds nothing to mend, and nobody else reads."""

from __future__ import annotations

import re
import shutil
import subprocess

import pytest
from tests.faces.api.desk import CHANGE, ORGANISATION, Desk

from airboss.testing import ManualClock


def _read(desk: Desk) -> str:
    answer = desk.bearer(desk.token("admin")).get("/metrics")
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    return answer.text


def _value(text: str, series: str) -> float:
    found = re.search(rf"^{re.escape(series)} (\S+)$", text, re.MULTILINE)
    assert found is not None, text
    return float(found.group(1))


def test_metrics_say_what_is_true(desk: Desk) -> None:
    """Counts are those of the lists, a live change stands there by its ID, and the sizes are the journal's."""
    desk.organised()
    change = desk.proposed()["id"]
    desk.browser("dev-a").post("/api/v1/changes", content=CHANGE, headers={"Content-Type": "application/yaml"})
    desk.house.checkpoints.write_now()
    text = _read(desk)
    phase = desk.browser("dev-a").get(f"/api/v1/changes/{change}").json()["phase"]
    assert _value(text, 'airboss_changes{kind="flag-ramp",phase="draft",outcome=""}') == 1
    assert f'airboss_change_info{{change_id="{change}",kind="flag-ramp",phase="{phase}"' in text
    assert text.count("airboss_change_info{") == 1
    assert _value(text, "airboss_services_unobserved") == 1
    assert _value(text, "airboss_journal_size") >= _value(text, "airboss_journal_signed_size") > 5
    assert _value(text, 'airboss_metrics_readable{group="changes"}') == 1


def test_how_long_things_took_and_what_is_left(desk: Desk, clock: ManualClock) -> None:
    """A change that was taken back is measured: its wait, its way back, the rollback; who waits longest is told."""
    desk.organised()
    change = desk.proposed()["id"]
    clock.advance(90)
    text = _read(desk)
    assert _value(text, "airboss_approval_oldest_wait_seconds") == 90
    assert "airboss_change_approval_time_seconds{" not in text
    owner = desk.browser("dev-b")
    url = f"/api/v1/changes/{change}"
    owner.post(f"{url}/votes", json={"verdict": "approve", "seen": owner.get(url).json()["digest"]})
    desk.turn()
    owner.post(f"{url}/orders", json={"verb": "abort", "reason": "totals are wrong"})
    for _ in range(200):
        desk.turn()
        if owner.get("/api/v1/reviews").json()["items"]:
            break
        clock.advance(5)
    desk.house.store.sequence()
    text = _read(desk)
    assert _value(text, 'airboss_change_approval_time_seconds{percentile="50"}') == 90
    assert _value(text, 'airboss_change_rollback_time_seconds{percentile="90"}') >= 0
    assert "airboss_change_lead_time_seconds{" not in text
    assert _value(text, "airboss_approval_oldest_wait_seconds") == 0
    assert _value(text, 'airboss_gate_answers{outcome="fail"}') == 0
    assert "airboss_rollbacks_started " in text
    assert "airboss_objective_budget_left_ratio{" not in text  # nothing was received: unknown is not shown as whole
    for group in ("outcomes", "gates", "objectives"):
        assert _value(text, f'airboss_metrics_readable{{group="{group}"}}') == 1


def test_prometheus_has_nothing_to_mend(desk: Desk) -> None:
    """`promtool check metrics` reads the whole exposition and finds no fault in format, names, units or help."""
    tool = shutil.which("promtool")
    if tool is None:
        pytest.skip("promtool is not installed (Debian: prometheus)")
    desk.apply(ORGANISATION)
    desk.proposed(by="admin")
    desk.house.checkpoints.write_now()
    done = subprocess.run([tool, "check", "metrics"], input=_read(desk), capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_metrics_are_for_known_callers(desk: Desk) -> None:
    """They name services and changes: without a token nothing is said, nor to a token of another scope."""
    assert desk.anyone().get("/metrics").status_code == 401
    desk.apply(ORGANISATION)
    flags = desk.token("admin", scopes=["flags.read"], personal=False, service="checkout")
    assert desk.bearer(flags).get("/metrics").status_code == 403


def test_what_cannot_be_read_is_left_out(desk: Desk) -> None:
    """With the telemetry store damaged the other groups stand, and the missing one is said to be missing, not zero."""
    file = desk.house.settings.data / "telemetry.db"
    desk.house.buckets.close()
    for beside in file.parent.glob("telemetry.db-*"):
        beside.unlink()
    file.write_bytes(b"this is no database " * 1000)
    text = _read(desk)
    assert _value(text, 'airboss_metrics_readable{group="telemetry"}') == 0
    assert "airboss_services_unobserved" not in text
    assert _value(text, "airboss_journal_size") > 0
