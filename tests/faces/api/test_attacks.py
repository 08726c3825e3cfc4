"""Bad input and bad people: one clear refusal, nothing changed, never a fault of ours."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.faces.api.desk import CHANGE, Desk

from airboss.faces.server import control
from airboss.testing import ManualClock, SeededChance

YAML = {"Content-Type": "application/yaml"}


def refused(answer: Any, status: int, code: str) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    found: dict[str, Any] = answer.json()
    assert found["code"] == code
    return found


@pytest.mark.parametrize(
    ("written", "instead"),
    [
        ("users_percent: 40", f"users_percent: {'9' * 400}"),
        ("users_percent: 40", f"users_percent: 0x{'f' * 300}"),
        ("users_percent: 40", "users_percent: 1e400"),
        ("title: New VAT engine for everybody", r'title: "half \ud800"'),
        ("title: New VAT engine for everybody", r'title: "fpx.\u202Ereversed"'),
        ("why: VAT rules change on 1 December", r'why: "nothing \0"'),
        ("  title: New", '  "\\ud800": 1\n  title: New'),
        ("  impact:", "  schedule: {not_before: 0001-01-01T00:00:00+14:00}\n  impact:"),
        ("  impact:", "  schedule: {not_after: 9999-12-31T23:59:59-14:00}\n  impact:"),
    ],
)
def test_a_change_nobody_can_mean_is_refused_at_its_place(desk: Desk, written: str, instead: str) -> None:
    """Numbers, text and times beyond what can be kept or shown are refused with line and column."""
    desk.organised()
    assert written in CHANGE
    answer = desk.browser("dev-a").post(
        "/api/v1/changes?submit=true", content=CHANGE.replace(written, instead, 1), headers=YAML
    )
    assert answer.status_code == 422, answer.text
    assert answer.json()["place"].startswith("request:")
    assert desk.browser("dev-a").get("/api/v1/changes").json()["items"] == []


def test_json_may_escape_any_character(desk: Desk) -> None:
    """A change sent by a program that writes ASCII only says what it says in UTF-8."""
    desk.organised()
    asked = {
        "apiVersion": "airboss/v1",
        "kind": "Change",
        "spec": {
            "template": "flag-ramp",
            "title": "VAT \N{ROCKET}",
            "services": ["checkout"],
            "owner": {"team": "payments"},
            "impact": {"users_percent": 5, "reversible": True},
            "rollout": {"stages": [{"environment": "production", "target": {"flag": {"name": "tax.engine"}}}]},
        },
    }
    body = json.dumps(asked)
    assert r"\ud83d\ude80" in body
    answer = desk.browser("dev-a").post("/api/v1/changes", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 201, answer.text
    assert answer.json()["title"] == "VAT \N{ROCKET}"


@pytest.mark.parametrize("starts", ["0001-01-01T00:00", "9999-12-31T23:59"])
def test_a_window_stays_within_sight(desk: Desk, starts: str) -> None:
    """A repetition from the beginning or to the end of the calendar is refused, not walked."""
    text = (
        "apiVersion: airboss/v1\nkind: Window\nmetadata: {name: w}\n"
        f'spec: {{allow: true, zone: UTC, starts: {starts}, lasts: 7h, repeats: "FREQ=DAILY"}}\n'
    )
    found = refused(desk.apply(text), 422, "bad-time")
    assert found["place"] == "file-1.yaml:4:40"


TEAM = "apiVersion: airboss/v1\nkind: Team\nmetadata: {name: halfway}\nspec: {members: [dev-a]}\n"
FLAG = """\
apiVersion: airboss/v1
kind: Flag
metadata: {name: %s}
spec:
  owner: payments
  purpose: a test
  kind: release
  remove_by: 2027-02-01
  services: [checkout]
  bucketing: {version: v3, key: targetingKey}
  definition:
    state: ENABLED
    variants: {"on": true, "off": false}
    defaultVariant: "%s"
"""
TYPO = """\
apiVersion: airboss/v1
kind: PolicyPack
metadata: {name: typo, version: 1}
spec:
  owner: platform
  layer: team
  rules:
    - {id: A, title: a, when: change.titel == "x", effect: {warn: {}}, message: '"x"'}
"""


@pytest.mark.parametrize("dry_run", [True, False])
def test_a_policy_that_does_not_compile_holds_all_files_back(desk: Desk, *, dry_run: bool) -> None:
    """What goes with it is not put in force, and only checking says the same as applying."""
    found = refused(desk.apply(TEAM, TYPO, dry_run=dry_run), 422, "bad-policy")
    assert found["place"].startswith("file-2.yaml:8:")
    again = desk.apply(TEAM).json()["results"]
    assert [one["outcome"] for one in again] == ["created"]


def test_who_may_not_apply_one_file_applies_none(desk: Desk) -> None:
    """An engineer may define flags and no policy: both together change nothing."""
    desk.organised()
    good = TYPO.replace("titel", "title")
    refused(desk.apply(FLAG % ("new.flag", "off"), good, by="dev-a"), 403, "forbidden")
    assert "new.flag" not in desk.browser("dev-a").get("/api/v1/flags").text


def test_what_was_applied_before_a_refusal_is_told(desk: Desk) -> None:
    """Where only the state of things refuses, the way out names what is in force by then."""
    desk.organised()
    found = refused(desk.apply(TEAM, FLAG % ("tax.engine", "on")), 409, "flag-edit-moves-people")
    assert "in force already: Team halfway" in found["way_out"]
    assert found["place"].startswith("file-2.yaml:")


def test_whoever_edits_a_change_may_not_approve_it(desk: Desk) -> None:
    """By the shipped policy, an edit makes an author: nobody is alone with what goes out."""
    desk.organised()
    asked = desk.proposed()
    assert asked["phase"] == "awaiting_approval"
    editor = desk.browser("dev-b")
    edited = editor.put(
        f"/api/v1/changes/{asked['id']}",
        content=CHANGE.replace("VAT rules change on 1 December", "mine now").replace(
            "bake: {least: 1m}", "bake: {least: 2m}"
        ),
        headers={**YAML, "If-Match": f'"{asked["version"]}"'},
    )
    assert edited.status_code == 200, edited.text
    desk.turn()
    standing = editor.get(f"/api/v1/changes/{asked['id']}").json()
    assert standing["authors"] == ["dev-a", "dev-b"]
    voted = editor.post(
        f"/api/v1/changes/{asked['id']}/votes", json={"verdict": "approve", "seen": standing["approval"]["seen"]}
    )
    refused(voted, 403, "own-change")


@pytest.mark.parametrize("handle", ["airboss", "system", "anonymous", "local"])
def test_nobody_is_called_like_the_server(desk: Desk, handle: str) -> None:
    """A person whose acts would read as the tower's own is not made."""
    refused(desk.browser("admin").post("/api/v1/people", json={"handle": handle}), 422, "bad-name")


def test_a_token_is_bound_to_a_name(desk: Desk) -> None:
    """What a token is bound to may name a service, or is every service of a collector."""
    admin = desk.browser("admin")
    asked = {"label": "x", "scopes": ["telemetry.write"], "days": 1}
    refused(admin.post("/api/v1/tokens", json={**asked, "service": "../x"}), 422, "bad-name")
    for good in ("checkout", "*"):
        assert admin.post("/api/v1/tokens", json={**asked, "service": good}).status_code == 201


def test_a_body_that_cannot_be_read_has_a_way_out(desk: Desk) -> None:
    """JSON nested by the thousand is refused like any other bad input."""
    sent = desk.browser("admin").post(
        "/api/v1/apply", content=b"[" * 100_000 + b"]" * 100_000, headers={"Content-Type": "application/json"}
    )
    assert refused(sent, 400, "bad-request")["way_out"]


def test_two_aborts_at_once_are_one(desk: Desk) -> None:
    """Both are answered and the change is taken back once; a third one later changes nothing."""
    desk.organised()
    change = desk.proposed()
    url = f"/api/v1/changes/{change['id']}"
    owner = desk.browser("dev-b")
    seen = owner.get(url).json()["digest"]
    assert owner.post(f"{url}/votes", json={"verdict": "approve", "seen": seen}).status_code == 200
    desk.turn()
    order = {"verb": "abort", "reason": "totals are wrong"}
    with ThreadPoolExecutor(2) as pool:
        both = list(pool.map(lambda who: desk.browser(who).post(f"{url}/orders", json=order), ("dev-a", "dev-b")))
    assert {answer.status_code for answer in both} <= {200, 409}
    assert 200 in {answer.status_code for answer in both}
    assert isinstance(desk.house.clock, ManualClock)
    for _ in range(12):
        desk.turn()
        desk.house.clock.advance(5)
    told = [fact["type"] for fact in owner.get(f"{url}/facts").json()["items"]]
    assert told.count("rollback.started") == 1
    assert owner.get(url).json()["outcome"] == "rolled back"
    assert owner.post(f"{url}/orders", json=order).status_code == 200  # what is asked for is so already
    assert [fact["type"] for fact in owner.get(f"{url}/facts").json()["items"]] == told


def test_a_clock_that_was_set_back_is_said(
    tmp_path: Path, clock: ManualClock, chance: SeededChance, caplog: pytest.LogCaptureFixture
) -> None:
    """A server whose clock is behind its record says so at its start and is not ready; what it does is recorded all the same."""
    after = Desk(tmp_path, clock, chance)
    after.organised()
    after.house.store.sequence()
    after.close()
    early = ManualClock(clock.now() - timedelta(hours=1))
    after.reopen(tmp_path, early, chance)
    try:
        control._tell_of_the_clock(after.house)
        assert "more than 5 minutes ahead of this server's clock" in caplog.text
        checks = {one["name"]: one for one in after.anyone().get("/readyz").json()["checks"]}
        assert checks["clock"]["ok"] is False
        assert "set it right" in checks["clock"]["sentence"]
        assert after.browser("admin").post("/api/v1/people", json={"handle": "late"}).status_code == 201
        after.house.store.sequence()
        assert after.browser("admin").post("/api/v1/audit/verify").json()["ok"] is True
        early.advance(3700)
        again = {one["name"]: one for one in after.anyone().get("/readyz").json()["checks"]}
        assert again["clock"]["ok"] is True
    finally:
        after.close()


@pytest.mark.parametrize("verb", ["pause", "resume", "promote", "retry"])
def test_nothing_is_ordered_of_a_change_that_ended(desk: Desk, verb: str) -> None:
    """An order on a change that was called off is refused with its state, and its record does not grow."""
    desk.organised()
    asker = desk.browser("dev-a")
    made = asker.post("/api/v1/changes", content=CHANGE, headers=YAML).json()["id"]
    url = f"/api/v1/changes/{made}"
    assert asker.post(f"{url}/cancel", json={"reason": "not now"}).status_code == 200
    facts = asker.get(f"{url}/facts").json()["items"]
    found = refused(asker.post(f"{url}/orders", json={"verb": verb, "reason": "go"}), 409, "order-not-possible")
    assert made in found["detail"]
    assert found["way_out"]
    assert asker.get(f"{url}/facts").json()["items"] == facts
