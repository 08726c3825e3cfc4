"""An engineer of one team at another team's things, over the API."""

from __future__ import annotations

import pytest
from tests.faces.api.desk import CHANGE, ORGANISATION, Desk

YAML = {"Content-Type": "application/yaml"}


@pytest.fixture
def narrowed(desk: Desk) -> Desk:
    """`out` is an engineer for the team search only; payments own checkout, its changes and its flag."""
    desk.organised()
    desk.hire("out")
    told = desk.browser("admin").post("/api/v1/people/out/role", json={"role": "engineer", "teams": ["search"]})
    assert told.status_code == 204
    return desk


def _refused(answer: object, *, concerns: str = "team payments") -> None:
    assert answer.status_code == 403, answer.text  # type: ignore[attr-defined]
    problem = answer.json()  # type: ignore[attr-defined]
    assert problem["code"] == "forbidden"
    assert f"narrowed to team search, and this concerns {concerns}" in problem["detail"]
    assert "whose rights reach there" in problem["way_out"]


def test_another_teams_change_is_read_and_stopped_and_not_moved_on(narrowed: Desk) -> None:
    """No submit, edit, cancel or promotion; what one may not do is not offered; pause and abort are, and work."""
    change = narrowed.proposed()["id"]
    out = narrowed.browser("out")
    shown = out.get(f"/api/v1/changes/{change}")
    assert shown.status_code == 200
    version = shown.headers["etag"]
    _refused(out.put(f"/api/v1/changes/{change}", content=CHANGE, headers={**YAML, "If-Match": version}))
    _refused(out.post(f"/api/v1/changes/{change}/cancel", json={"reason": "not mine"}))
    _refused(out.post(f"/api/v1/changes/{change}/orders", json={"verb": "promote", "reason": "hurry"}))
    assert set(shown.json()["orders"]) <= {"pause", "abort", "rollback"}
    assert "abort" in shown.json()["orders"]
    assert out.post(f"/api/v1/changes/{change}/orders", json={"verb": "abort"}).status_code == 200


def test_a_change_that_touches_anothers_service_needs_rights_there(narrowed: Desk) -> None:
    """Written for one's own team it may be kept as a draft; whoever owns the service decides whether it is proposed."""
    mine = CHANGE.replace("owner: {team: payments}", "owner: {team: search}")
    team = ORGANISATION.split("---")[0].replace("payments", "search").replace("dev-b", "out")
    assert narrowed.apply(team).status_code == 200
    out = narrowed.browser("out")
    created = out.post("/api/v1/changes", content=mine, headers=YAML)
    assert created.status_code == 201, created.text
    _refused(out.post(f"/api/v1/changes/{created.json()['id']}/submit"))
    assert narrowed.browser("dev-a").post(f"/api/v1/changes/{created.json()['id']}/submit").status_code == 200


def test_another_teams_flag_is_killed_and_not_defined(narrowed: Desk) -> None:
    """The kill switch is anybody's who may kill; the definition is its owner's."""
    flag = next(part for part in ORGANISATION.split("---") if "kind: Flag" in part)
    answer = narrowed.apply(flag.replace("new VAT engine", "another purpose"), by="out")
    assert answer.status_code == 403, answer.text
    out = narrowed.browser("out")
    killed = out.post("/api/v1/flags/tax.engine/kill", json={"environment": "production", "reason": "it burns"})
    assert killed.status_code in (200, 204), killed.text


def test_what_one_may_is_told(narrowed: Desk) -> None:
    """To oneself, and to whoever reads the list of people."""
    assert narrowed.browser("out").get("/api/v1/me").json()["teams"] == ["search"]
    people = narrowed.browser("admin").get("/api/v1/people").json()["items"]
    assert {one["handle"]: one["teams"] for one in people}["out"] == ["search"]
