"""Deciding over the API: decisions explained, what an approver weighs, and every mistake with its place and way out."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from tests.faces.api.desk import CHANGE, Desk
from tests.faces.api.test_errors import problem

YAML = {"Content-Type": "application/yaml"}
NEEDING = """\
apiVersion: airboss/v1
kind: Service
metadata: {name: shop-front}
spec:
  owner: payments
  tier: standard
  stateful: false
  environments: [production]
  depends_on: [checkout]
  telemetry: {service_name: shop-front}
"""
PACK = """\
apiVersion: airboss/v1
kind: PolicyPack
metadata: {name: %s, version: 1}
spec:
  owner: platform
  layer: %s
  rules:
    - id: NO-TAX
      title: No tax today
      at: [approve]
      when: %s
      effect: %s
"""


def _denies(when: str, name: str = "careful", layer: str = "compliance", effect: str = "{deny: {}}") -> str:
    return PACK % (name, layer, when, effect)


def _explained(client: httpx.Client, change: str, **query: str) -> Any:
    answer = client.get(f"/api/v1/changes/{change}/explanation", params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_what_waits_for_people_is_explained_with_who_may(desk: Desk) -> None:
    """Each rule is told with what it read, the quiet ones too; the way out of waiting names group and people."""
    desk.organised()
    change = desk.proposed()
    found = _explained(desk.browser("dev-a"), change["id"])
    assert (found["outcome"], found["tier"], found["same"], found["bundle_in_force"]) == (
        "pending",
        "medium",
        True,
        True,
    )
    [stands] = found["stands"]
    assert stands["kind"] == "approval"
    assert "1 of service-owners" in stands["words"]
    assert stands["approval"]["groups"] == [{"group": "service-owners", "least": 1, "covers": None}]
    assert stands["round"]["missing"] == [{"group": "service-owners", "count": 1, "may": ["dev-b"]}]
    rules = {rule["rule"]: rule for rule in found["rules"]}
    assert (rules["ORDINARY"]["state"], rules["ORDINARY"]["read"]["change.impact.users_percent"]) == ("fired", 40)
    assert (rules["STATEFUL"]["state"], rules["STATEFUL"]["read"]["services[0].stateful"]) == ("quiet", False)
    assert rules["FREEZE"]["state"] == "not_asked"
    assert rules["FREEZE"]["message"] == "it is asked at start, promote only"


def test_a_refusal_is_explained_with_what_would_clear_it(desk: Desk) -> None:
    """The facts named are true: a change with one of them is refused no longer."""
    desk.organised()
    when = "'change.impact.users_percent > 10.0 && !(\"reviewed\" in change.labels)'"
    assert desk.apply(_denies(when)).status_code == 200
    change = desk.proposed()
    found = _explained(desk.browser("dev-a"), change["id"])
    assert found["outcome"] == "block"
    [stands] = [one for one in found["stands"] if one["kind"] == "rule"]
    assert stands["rules"] == ["NO-TAX"]
    facts = {one["fact"]: (one["be"], one["how"]) for one in stands["facts"]}
    assert facts == {
        "change.impact.users_percent": ("at most 10", "edit the change"),
        "change.labels": ("with 'reviewed'", "edit the change"),
    }
    assert stands["words"].startswith("any one of these: change.impact.users_percent at most 10 (edit the change); ")
    cleared = CHANGE.replace("users_percent: 40", "users_percent: 10")
    again = desk.proposed(cleared)
    assert again["phase"] != "in_review"


def test_only_decisions_of_the_change_are_explained(desk: Desk) -> None:
    """An unknown decision, and a draft nobody decided about, say so with the way out."""
    desk.organised()
    change, other = desk.proposed(), desk.proposed(CHANGE.replace("New VAT", "Newer VAT"))
    browser = desk.browser("dev-a")
    theirs = _explained(browser, other["id"])["decision"]
    problem(browser.get(f"/api/v1/changes/{change['id']}/explanation?decision={theirs}"), 404, "decision-not-found")
    draft = browser.post("/api/v1/changes", content=CHANGE, headers=YAML).json()
    told = problem(browser.get(f"/api/v1/changes/{draft['id']}/explanation"), 404, "decision-not-found")
    assert told["way_out"] == "submit it first"
    problem(browser.get(f"/api/v1/changes/{draft['id']}/approval"), 409, "still-a-draft")


def test_an_approver_sees_everything_on_one_view_and_what_changed_since(desk: Desk) -> None:
    """Risk with reasons, objectives, reach with who depends on it, way back, conflicts; after an edit, what is different."""
    desk.organised()
    assert desk.apply(NEEDING).status_code == 200
    change = desk.proposed()
    owner = desk.browser("dev-b")
    url = f"/api/v1/changes/{change['id']}"
    view = owner.get(f"{url}/approval").json()
    assert (view["risk"]["tier"], view["seen"]) == ("medium", change["digest"])
    assert "ORDINARY" in {one["rule"] for one in view["risk"]["reasons"]}
    assert [one["name"] for one in view["objectives"]] == ["checkout-availability"]
    assert view["blast_radius"]["dependents"] == ["shop-front"]
    assert view["blast_radius"]["steps_percent"] == [1, 100]
    assert view["way_back"] == {
        "reversible": True,
        "plan": "flag back to off",
        "window_s": view["way_back"]["window_s"],
        "mitigation": None,
        "by_itself": True,
    }
    assert view["approval"]["may_vote"] is True
    assert (view["calendar"]["open"], view["conflicts"], view["cost"]) == (True, [], None)
    assert view["changed_since"] is None

    # Given somebody who looked, and an edit since
    assert owner.post(f"{url}/looks").status_code == 204
    edited = CHANGE.replace("users_percent: 40", "users_percent: 45")
    version = owner.get(url).headers["etag"]
    done = desk.browser("dev-a").put(url, content=edited, headers={**YAML, "If-Match": version})
    assert done.status_code == 200, done.text
    desk.turn()
    for _ in range(2):  # looking at it is not what takes the news away
        since = owner.get(f"{url}/approval").json()["changed_since"]
        assert since["fields"] == [{"field": "intent.impact.users_percent", "was": 40, "is": 45}]
        owner.post(f"{url}/looks")

    # And another change in flight on what this one's services are needed by
    seen = owner.get(url).json()["digest"]
    assert owner.post(f"{url}/votes", json={"verdict": "approve", "seen": seen}).status_code == 200
    desk.turn()
    second = desk.proposed(CHANGE.replace("New VAT", "Newer VAT"))
    [conflict] = owner.get(f"/api/v1/changes/{second['id']}/approval").json()["conflicts"]
    assert (conflict["id"], conflict["in_flight"], conflict["why"]) == (change["id"], True, "it changes checkout too")


def test_votes_that_may_not_be_change_nothing(desk: Desk) -> None:
    """Twice is once; the requester, an outsider and a stale eye are refused with who may, and nothing is counted."""
    desk.organised()
    outsider = desk.hire("dev-x")
    change = desk.proposed()
    url = f"/api/v1/changes/{change['id']}/votes"
    ballot = {"verdict": "approve", "seen": change["digest"]}
    own = problem(desk.browser("dev-a").post(url, json=ballot), 403, "own-change")
    assert "dev-a requested and wrote this change" in own["detail"]
    assert "dev-b" in own["way_out"]
    foreign = problem(outsider.post(url, json=ballot), 403, "not-among-those-asked")
    assert "in none of the groups asked: service-owners" in foreign["detail"]
    stale = problem(desk.browser("dev-b").post(url, json={**ballot, "seen": "sha256:other"}), 412, "change-moved-on")
    assert stale["way_out"].startswith("look at what changed, then decide: airboss change approval chg_")
    problem(desk.browser("dev-b").post(url, json={**ballot, "verdict": "reject"}), 422, "reason-missing")
    assert desk.browser("dev-b").get(f"/api/v1/changes/{change['id']}").json()["approval"]["votes"] == []
    comment = {"verdict": "comment", "seen": change["digest"], "comment": "why now?"}
    assert desk.browser("dev-a").post(url, json=comment).json()["outcome"] == "open"
    for _ in range(2):
        assert desk.browser("dev-b").post(url, json=ballot).json()["outcome"] == "approved"
    votes = desk.browser("dev-b").get(f"/api/v1/changes/{change['id']}").json()["approval"]["votes"]
    # Both in one instant of this test's clock, so neither is first.
    assert sorted((one["person"], one["verdict"]) for one in votes) == [("dev-a", "comment"), ("dev-b", "approve")]
    token = desk.bearer(desk.token("admin", personal=False, service="checkout", scopes=["changes.write"]))
    problem(token.post(url, json=ballot), 403, "forbidden")


DIGITS = "[0,1,2,3,4,5,6,7,8,9]"
ENDLESS = "'" + "".join(f"{DIGITS}.all({name}, " for name in "abcdef") + "a + b + c + d + e + f >= 0" + ")" * 6 + "'"


@pytest.mark.parametrize(
    ("pack", "says", "place"),
    [
        (_denies("'servces.exists(s, s.stateful)'"), "undeclared reference to 'servces'", "file-1.yaml:11:14"),
        (_denies("'true'", effect="{dney: {}}"), "dney is not an effect", "file-1.yaml:12:16"),
        (_denies("'true'") + _denies("'true'").partition("  rules:\n")[2], "stands twice", "file-1.yaml:13:11"),
        (_denies("'true'", effect="{auto_approve: {}}"), "may only tighten", "file-1.yaml:12:15"),
        (_denies("'true'", name="airboss-default", layer="team"), "cannot take its place", "file-1.yaml:6:10"),
    ],
    ids=["typo", "effect", "twice", "loosens", "replaces"],
)
@pytest.mark.parametrize("dry_run", [False, True])
def test_a_bad_pack_is_refused_at_its_place_and_what_was_in_force_stays(
    desk: Desk, pack: str, says: str, place: str, *, dry_run: bool
) -> None:
    """One clear error with place and way out, by applying and by trying to; the bundle in force is the same."""
    admin = desk.browser("admin")
    before = admin.get("/api/v1/policy").json()["bundle"]
    told = problem(desk.apply(pack, dry_run=dry_run), 422, "bad-policy")
    assert says in told["detail"]
    assert told["place"] == place
    assert told["way_out"]
    assert admin.get("/api/v1/policy").json()["bundle"] == before


def test_an_endless_condition_is_cut_off_and_blocks_with_its_reason(desk: Desk) -> None:
    """A million steps stop at the budget: the change is blocked by that rule, and without the pack the next one goes."""
    desk.organised()
    assert desk.apply(_denies(ENDLESS, name="endless")).status_code == 200
    change = desk.proposed()
    assert change["phase"] == "in_review"
    [stands] = [one for one in _explained(desk.browser("dev-a"), change["id"])["stands"] if one["kind"] == "error"]
    assert "NO-TAX" in stands["why"]
    assert "Iteration budget exceeded" in stands["why"]
    assert desk.browser("admin").delete("/api/v1/policy/endless").status_code == 204
    assert desk.proposed(CHANGE.replace("New VAT", "Newer VAT"))["phase"] == "awaiting_approval"
