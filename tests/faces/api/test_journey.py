"""One change through the API, from files to the first exposure, by people who are told what they may do."""

from __future__ import annotations

from tests.faces.api.desk import CHANGE, EXAMPLES, ORGANISATION, Desk

from airboss.records.audit import verify_pack


def test_a_change_from_files_to_its_start(desk: Desk) -> None:
    """Files are applied, a change waits for another person, is approved on what they saw, and starts."""
    # Given an organisation in files, applied twice
    first = desk.apply(ORGANISATION).json()
    assert {row["kind"] for row in first["results"]} >= {"Team", "Environment", "Service", "SLI", "SLO", "Flag"}
    assert all(row["outcome"] == "created" and row["place"].startswith("file-1.yaml:") for row in first["results"])
    again = desk.apply(ORGANISATION).json()
    assert {row["outcome"] for row in again["results"]} == {"unchanged"}
    requester, owner = desk.hire("dev-a"), desk.hire("dev-b")

    # When somebody proposes a change of medium risk
    change = desk.proposed()
    assert change["phase"] == "awaiting_approval"
    assert change["approval"]["missing"] == [{"group": "service-owners", "count": 1, "may": ["dev-b"]}]
    assert change["approval"]["may_vote"] is False

    # Then not the requester, but the other owner may let it pass
    ballot = {"verdict": "approve", "seen": change["digest"]}
    own = requester.post(f"/api/v1/changes/{change['id']}/votes", json=ballot)
    assert (own.status_code, own.json()["code"]) == (403, "own-change")
    assert [item["change"]["id"] for item in owner.get("/api/v1/inbox").json()["items"]] == [change["id"]]
    voted = owner.post(f"/api/v1/changes/{change['id']}/votes", json=ballot)
    assert (voted.status_code, voted.json()["outcome"]) == (200, "approved")
    assert voted.json()["seats"] == [{"group": "service-owners", "person": "dev-b"}]

    # And the tower starts it
    desk.turn()
    started = requester.get(f"/api/v1/changes/{change['id']}").json()
    assert started["phase"] == "rolling_out"
    assert "abort" in started["orders"]
    facts = requester.get(f"/api/v1/changes/{change['id']}/facts").json()["items"]
    assert [fact["subject_seq"] for fact in facts] == list(range(1, len(facts) + 1))
    assert {"change.drafted", "change.submitted", "vote.cast", "change.approved"} <= {fact["type"] for fact in facts}

    # And it goes back when somebody says so
    aborted = requester.post(f"/api/v1/changes/{change['id']}/orders", json={"verb": "abort", "reason": "enough"})
    assert aborted.status_code == 200
    desk.turn()
    assert requester.get(f"/api/v1/changes/{change['id']}").json()["phase"] in (
        "rolling_back",
        "rolled_back",
        "reviewing",
        "closed",
    )

    # And the record can be taken away and checked alone
    desk.house.checkpoints.write_now()
    pack = requester.get(f"/api/v1/changes/{change['id']}/evidence-pack")
    assert pack.headers["content-disposition"].startswith("attachment")
    key = requester.get("/api/v1/audit/key").text
    assert verify_pack(pack.json(), public_key=key).ok
    report = requester.post("/api/v1/audit/verify").json()
    assert report["ok"], report["findings"]


def test_the_examples_on_an_empty_store(desk: Desk) -> None:
    """The files users are shown can be applied as they are; a change that names what is not there stays a draft."""
    files = [{"source": path.name, "text": path.read_text()} for path in sorted(EXAMPLES.iterdir())]
    answer = desk.browser("admin").post("/api/v1/apply", json={"files": files})
    assert answer.status_code == 200, answer.text
    told = answer.json()
    assert {row["kind"] for row in told["results"]} >= {"Change", "Flag", "Group", "PolicyPack", "Runbook", "Window"}
    assert len(told["changes"]) == 2
    for change in told["changes"]:
        assert change["submitted"] is (change["refused"] is None)
        if change["refused"]:
            assert change["phase"] == "draft"
            assert change["refused"]["place"].startswith("change-")


def test_a_dry_run_changes_nothing(desk: Desk) -> None:
    """What is only checked is not there afterwards."""
    told = desk.apply(ORGANISATION, CHANGE, dry_run=True).json()
    assert {row["outcome"] for row in told["results"]} == {"valid"}
    assert told["changes"] == []
    browser = desk.browser("admin")
    assert browser.get("/api/v1/services").json()["items"] == []
    assert browser.get("/api/v1/changes").json()["items"] == []


def test_lists_and_views_answer(desk: Desk) -> None:
    """Every list is there, and says what was applied."""
    desk.organised()
    change = desk.proposed()
    browser = desk.browser("dev-a")
    (service,) = browser.get("/api/v1/services").json()["items"]
    assert (service["owner"], [one["name"] for one in service["objectives"]]) == ("payments", ["checkout-availability"])
    assert browser.get("/api/v1/services/checkout").json()["dependants"] == []
    (flag,) = browser.get("/api/v1/flags").json()["items"]
    assert (flag["name"], flag["state"]["serves"]) == ("tax.engine", "off")
    assert browser.get("/api/v1/flags/tax.engine").json()["definition"]["state"] == "ENABLED"
    assert "tax.engine" in browser.get("/api/v1/flags/export").json()["flags"]
    killed = browser.post("/api/v1/flags/tax.engine/kill", json={"reason": "totals are wrong"}).json()
    assert killed["killed"] is True
    assert browser.get("/api/v1/flags/tax.engine").json()["kill"]["reason"] == "totals are wrong"
    assert browser.post("/api/v1/flags/tax.engine/unkill", json={}).json()["killed"] is False
    packs = browser.get("/api/v1/policy").json()["packs"]
    assert [pack["name"] for pack in packs] == ["airboss-default", "house-rules"]
    assert browser.get("/api/v1/policy/schema").json()["items"]
    for path in ("coverage", "calendar", "reviews", "blocked-versions", "people", "tokens", "audit/entries", "inbox"):
        assert browser.get(f"/api/v1/{path}").status_code in (200, 403), path
    listed = browser.get("/api/v1/changes?phase=awaiting_approval,draft&service=checkout&team=payments&kind=flag-ramp")
    assert [one["id"] for one in listed.json()["items"]] == [change["id"]]
    assert browser.get("/api/v1/changes?phase=closed").json()["items"] == []
    decisions = browser.get(f"/api/v1/changes/{change['id']}/decisions").json()["items"]
    assert decisions[-1]["outcome"] == "pending"
    assert browser.get(f"/api/v1/changes/{change['id']}/forecast").status_code == 200


def test_the_record_over_http(desk: Desk) -> None:
    """Checkpoint, proofs and export are handed out; a proof asked for what is not there is refused."""
    desk.organised()
    assert desk.browser("admin").get("/api/v1/audit/checkpoint").status_code == 404
    desk.house.checkpoints.write_now()
    browser = desk.browser("dev-a")
    size = int(browser.get("/api/v1/audit/checkpoint").text.split("\n")[1])
    assert browser.get("/api/v1/audit/entries?limit=1").json()["items"][0]["position"] == 0
    assert browser.get("/api/v1/audit/proof/0").json()["size"] == size
    assert browser.get(f"/api/v1/audit/consistency?from=1&to={size}").json()["proof"]
    assert browser.get(f"/api/v1/audit/proof/{size + 5}").status_code == 422
    assert len(browser.get("/api/v1/audit/export").text.splitlines()) >= size


def test_policies_are_tried_in_a_worker(desk: Desk) -> None:
    """A misspelt fact is found with its place, without putting anything in force."""
    pack = ORGANISATION[ORGANISATION.index("kind: PolicyPack") - len("apiVersion: airboss/v1\n") :]
    files = [
        {"source": "p.yaml", "text": pack},
        {"source": "q.yaml", "text": pack.replace("change.title", "change.titel")},
    ]
    told = desk.browser("admin").post("/api/v1/policy/check", json={"files": files}).json()
    assert told["good"] is False
    assert [one["good"] for one in told["packs"]] == [True, False]
    assert told["packs"][1]["problems"][0]["place"].startswith("q.yaml:")
