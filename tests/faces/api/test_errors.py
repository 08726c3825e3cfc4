"""Whatever is asked wrongly is answered with a problem that names the place and the way out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.faces.api.desk import BASE, CHANGE, Desk

from airboss.faces.api.gate import BODY_MOST
from airboss.testing import ManualClock, SeededChance

PUBLIC = {("get", "/healthz"), ("get", "/readyz"), ("get", "/docs/errors/{code}"), ("post", "/api/v1/session")}
ID = "chg_01kq3z8x5wf6vtd0c1m2n3p4q5"


def problem(answer: Any, status: int, code: str) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    found: dict[str, Any] = answer.json()
    assert (found["status"], found["code"]) == (status, code)
    assert found["type"].endswith(f"/docs/errors/{code}")
    assert found["title"]
    assert found["detail"]
    return found


def test_every_route_asks_who_is_there(desk: Desk) -> None:
    """No route but the public ones answers to nobody, whatever nobody sends."""
    paths = desk.app.openapi()["paths"]
    asked = 0
    for path, methods in paths.items():
        for method in methods:
            if (method, path) in PUBLIC:
                continue
            url = path.replace("{change}", ID).replace("{position}", "0").replace("{", "").replace("}", "")
            for body in (None, b"{not json"):
                answer = desk.anyone().request(method, url, content=body)
                assert answer.status_code == 401, f"{method} {path}: {answer.status_code}"
            asked += 1
    assert asked > 55


def test_the_type_of_a_problem_leads_to_what_it_means(desk: Desk) -> None:
    """Whoever follows the type of a problem reads what it means and what to do; also without signing in."""
    found = desk.anyone().get("/api/v1/changes").json()
    page = desk.anyone().get(found["type"].removeprefix(BASE))
    assert page.status_code == 200
    assert page.text.startswith(found["code"])
    assert "Way out:" in page.text
    problem(desk.anyone().get("/docs/errors/no-such-code"), 404, "error-unknown")


def test_the_reference_lists_every_route(desk: Desk) -> None:
    """OpenAPI knows each route the application has, bare ones too, and says how problems look."""
    from starlette.routing import Route

    found = desk.anyone().get("/openapi.json").json()
    bare = {route.path for route in desk.app.routes if type(route) is Route} - {"/openapi.json"}
    assert {path.replace("{key:path}", "{key}") for path in bare} <= set(found["paths"])
    assert found["components"]["schemas"]["Problem"]["example"]
    operations = [one["operationId"] for methods in found["paths"].values() for one in methods.values()]
    assert len(operations) == len(set(operations))
    change = found["paths"]["/api/v1/changes"]["post"]["requestBody"]["content"]
    assert change["application/yaml"]["example"].startswith("apiVersion")


def test_the_example_in_the_reference_is_a_change(desk: Desk) -> None:
    """What the reference shows can be sent as it stands, as YAML and as JSON."""
    desk.organised()
    shown = desk.app.openapi()["paths"]["/api/v1/changes"]["post"]["requestBody"]["content"]
    browser = desk.browser("dev-a")
    for kind, text in (
        ("application/yaml", shown["application/yaml"]["example"]),
        ("application/json", json.dumps(shown["application/json"]["example"])),
    ):
        sent = browser.post("/api/v1/changes", content=text, headers={"Content-Type": kind})
        assert sent.status_code == 201, sent.text


def test_unknown_fields_are_named_with_their_place(desk: Desk) -> None:
    """A field too many, a missing one and bad JSON are refused with a path into the body."""
    browser = desk.browser("admin")
    answer = problem(browser.post("/api/v1/apply", json={"files": [{"source": "a", "txt": ""}]}), 422, "bad-input")
    assert {fault["place"] for fault in answer["faults"]} == {"body.files[0].text", "body.files[0].txt"}
    assert "unknown field 'txt'" in [fault["detail"] for fault in answer["faults"]]
    broken = browser.post("/api/v1/people", content=b"{", headers={"Content-Type": "application/json"})
    problem(broken, 422, "bad-input")
    in_file = problem(desk.apply(CHANGE.replace("title:", "titel:")), 422, "unknown-field")
    assert in_file["place"].startswith("file-1.yaml:5:")
    wrong_type = browser.post("/api/v1/changes", content="x", headers={"Content-Type": "text/plain"})
    problem(wrong_type, 415, "media-type")
    assert "awaiting_approval" in problem(browser.get("/api/v1/changes?phase=nope"), 422, "phase-unknown")["way_out"]


def test_a_stale_edit_is_refused(desk: Desk) -> None:
    """An edit names the version it replaces; another's edit in between is not overwritten."""
    desk.organised()
    browser = desk.browser("dev-a")
    yaml = {"Content-Type": "application/yaml"}
    created = browser.post("/api/v1/changes", content=CHANGE, headers=yaml)
    url, etag = created.headers["location"], created.headers["etag"]
    other = CHANGE.replace("everybody", "all")
    problem(browser.put(url, content=other, headers=yaml), 428, "if-match-missing")
    edited = browser.put(url, content=other, headers=yaml | {"If-Match": etag})
    assert (edited.status_code, edited.json()["title"]) == (200, "New VAT engine for all")
    problem(browser.put(url, content=CHANGE, headers=yaml | {"If-Match": etag}), 412, "stale")
    assert browser.post(f"{url}/cancel", json={"reason": "not now"}).json()["phase"] == "cancelled"


def test_a_refused_submit_keeps_the_draft(desk: Desk) -> None:
    """Whoever creates and submits at once is told which draft was kept when only the submit is refused."""
    desk.organised()
    text = CHANGE.replace("tax.engine", "no.such.flag")
    headers = {"Content-Type": "application/yaml"}
    answer = desk.browser("dev-a").post("/api/v1/changes?submit=true", content=text, headers=headers)
    assert answer.status_code in (404, 409, 422), answer.text
    (draft,) = desk.browser("dev-a").get("/api/v1/changes?phase=draft").json()["items"]
    assert draft["id"] in answer.json()["way_out"]


def test_votes_and_orders_that_may_not_be(desk: Desk) -> None:
    """A vote on something else than was seen, and an order on a change that ended, are refused with what is possible."""
    desk.organised()
    change = desk.proposed()
    url = f"/api/v1/changes/{change['id']}"
    owner = desk.browser("dev-b")
    problem(owner.post(f"{url}/votes", json={"verdict": "approve", "seen": "sha256:other"}), 412, "change-moved-on")
    refused = problem(owner.post(f"{url}/orders", json={"verb": "promote", "reason": "go"}), 409, "order-not-possible")
    assert "abort" in refused["way_out"]
    assert owner.post(f"{url}/cancel", json={"reason": "not now"}).status_code == 200
    ended = problem(owner.post(f"{url}/orders", json={"verb": "pause"}), 409, "order-not-possible")
    assert ended["way_out"] == "nothing can be ordered any more"
    problem(owner.post(f"{url}/orders", json={"verb": "explode"}), 422, "order-unknown")


def test_tokens_are_as_good_as_their_scope_and_time(desk: Desk, clock: ManualClock) -> None:
    """Unknown, foreign, narrow and expired tokens open nothing more than they were issued for."""
    desk.organised()
    problem(desk.bearer("abt_unknown").get("/api/v1/me"), 401, "unauthenticated")
    problem(desk.bearer("abs_wrong-kind").get("/api/v1/me"), 401, "unauthenticated")
    basic = desk.anyone().get("/api/v1/me", headers={"Authorization": "Basic abc"})
    assert problem(basic, 401, "unauthenticated")
    assert basic.headers["www-authenticate"] == "Bearer"
    reader = desk.bearer(desk.token("dev-a"))
    assert reader.get("/api/v1/me").json()["scopes"] == ["read"]
    problem(
        reader.post("/api/v1/changes", content=CHANGE, headers={"Content-Type": "application/yaml"}), 403, "forbidden"
    )
    problem(reader.post("/api/v1/tokens", json={"label": "x", "scopes": ["read"], "personal": True}), 403, "forbidden")
    foreign = desk.bearer(desk.token("admin", personal=False, service="search", scopes=["changes.write"]))
    headers = {"Content-Type": "application/yaml"}
    problem(foreign.post("/api/v1/changes", content=CHANGE, headers=headers), 403, "forbidden")
    ci = desk.bearer(desk.token("admin", personal=False, service="checkout", scopes=["changes.write"]))
    made = ci.post("/api/v1/changes?submit=true", content=CHANGE, headers=headers)
    assert (made.status_code, made.json()["phase"]) == (201, "in_review")
    problem(ci.get(f"/api/v1/changes/{made.json()['id']}"), 403, "forbidden")
    evidence = {"type": "ci", "green": True, "source": "build 7"}
    assert ci.post(f"/api/v1/changes/{made.json()['id']}/evidence", json=evidence).status_code == 201
    clock.advance(2 * 86400)
    problem(reader.get("/api/v1/me"), 401, "unauthenticated")


HOSTILE: list[tuple[str, str, Any]] = [
    ("get", "/api/v1/changes/%00", None),
    ("get", "/api/v1/changes/chg_%00/facts", None),
    ("post", "/api/v1/changes/a%00b/orders", {"verb": "abort"}),
    ("post", "/api/v1/changes/a%00b/votes", {"verdict": "approve", "seen": "x"}),
    ("post", f"/api/v1/changes/{ID}/votes", {"verdict": "approve", "seen": "a\0"}),
    ("post", f"/api/v1/changes/{ID}/evidence", {"type": "ci", "green": True, "source": "a\0"}),
    ("get", "/api/v1/flags/a%00b", None),
    ("post", "/api/v1/flags/x/kill", {"reason": "x", "environment": "a\0b"}),
    ("get", "/api/v1/services/%ff%fe", None),
    ("get", "/api/v1/changes?service=%00", None),
    ("get", "/api/v1/changes?team=%00", None),
    ("get", "/api/v1/changes?cursor=%00", None),
    ("get", "/api/v1/flags?environment=%00", None),
    ("delete", "/api/v1/tokens/%00", None),
    ("post", "/api/v1/tokens/..%2f/rotate", None),
    ("post", "/api/v1/reviews/%00/close", {}),
    ("post", "/api/v1/people/%00/link", None),
    ("post", "/api/v1/people", {"handle": "a\0"}),
    ("post", "/api/v1/people", {"handle": "x", "name": "\ud800"}),
    ("delete", "/api/v1/policy/%00", None),
    ("post", "/api/v1/blocked-versions/lift", {"service": "a\0", "digest": "b", "reason": "c"}),
    ("post", "/api/v1/session", {"link": "\ud800"}),
    ("post", "/api/v1/session", {"handle": "nobody", "password": "a\0b"}),
    ("get", "/api/v1/audit/proof/99999999999999999999999", None),
    ("get", "/api/v1/audit/proof/x", None),
    ("get", f"/api/v1/changes/{ID}/series?gate=%00", None),
]


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_hostile_names_are_the_askers_fault(
    database: str, tmp_path: Path, clock: ManualClock, chance: SeededChance, request: pytest.FixtureRequest
) -> None:
    """NUL, broken UTF-8 and lone surrogates in addresses and bodies are answered 4xx, never 5xx, on both databases."""
    url = request.getfixturevalue("postgresql_url") if database == "postgresql" else None
    desk = Desk(tmp_path, clock, chance, database=url)
    try:
        for method, path, body in HOSTILE:
            content = None if body is None else json.dumps(body).encode()
            headers = {} if body is None else {"Content-Type": "application/json"}
            answer = desk.browser("admin").request(method, path, content=content, headers=headers)
            assert 400 <= answer.status_code < 500, f"{method} {path} {body}: {answer.text}"
    finally:
        desk.close()


def test_huge_bodies_are_not_read(desk: Desk) -> None:
    """More than two megabytes are refused, whether their length is told or not."""
    browser = desk.browser("admin")
    headers = {"Content-Type": "application/json"}
    problem(browser.post("/api/v1/apply", content=b"x" * (BODY_MOST + 1), headers=headers), 413, "body-too-large")
    pieces = (b"x" * 100_000 for _ in range(30))
    problem(browser.post("/api/v1/apply", content=pieces, headers=headers), 413, "body-too-large")
    yaml = {"Content-Type": "application/yaml"}
    pieces = (b"x" * 100_000 for _ in range(30))
    problem(browser.post("/api/v1/changes", content=pieces, headers=yaml), 413, "body-too-large")


def test_other_sites_cannot_use_a_session(desk: Desk) -> None:
    """A foreign Origin, or none with a cookie, opens nothing; a token needs no Origin; reading is free of it."""
    browser = desk.browser("admin")
    asked = {"handle": "mallory"}
    for origin in ("https://evil.example", "null", "http://127.0.0.1:9999", ""):
        browser.headers["Origin"] = origin
        problem(browser.post("/api/v1/people", json=asked), 403, "origin-foreign")
    del browser.headers["Origin"]
    problem(browser.post("/api/v1/people", json=asked), 403, "origin-foreign")
    assert browser.get("/api/v1/people").status_code == 200
    same = browser.post("/api/v1/people", json=asked, headers={"Sec-Fetch-Site": "same-origin"})
    assert same.status_code == 201
    admin = desk.bearer(desk.token("admin", scopes=["admin", "read"]))
    assert admin.post("/api/v1/people", json={"handle": "carol"}).status_code == 201
    planted = desk.anyone().post("/api/v1/session", json={"link": "x"}, headers={"Origin": "https://evil.example"})
    problem(planted, 403, "origin-foreign")


def test_only_our_own_names_are_answered(desk: Desk) -> None:
    """A host name that was bent to this address (DNS rebinding) is refused; loopback names and health are not."""
    anyone = desk.anyone()
    problem(anyone.get("/openapi.json", headers={"Host": "evil.example"}), 421, "host-unknown")
    problem(anyone.get("/openapi.json", headers={"Host": "127.0.0.1:1"}), 421, "host-unknown")
    assert anyone.get("/openapi.json", headers={"Host": "localhost:8700"}).status_code == 200
    assert anyone.get("/healthz", headers={"Host": "10.0.0.7"}).status_code == 200


def test_the_cookie_and_the_headers(desk: Desk) -> None:
    """The session's cookie is out of reach of scripts and other sites; every answer carries the strict headers."""
    link = (
        desk.browser("admin").post("/api/v1/people", json={"handle": "eve"})
        and desk.browser("admin").post("/api/v1/people/eve/link").json()["link"]
    )
    signed = desk.anyone().post("/api/v1/session", json={"link": link.rpartition("/")[2]})
    cookie = signed.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=lax" in cookie
    for answer in (signed, desk.anyone().get("/nope"), desk.anyone().get("/healthz")):
        assert answer.headers["content-security-policy"].startswith("default-src 'none'")
        assert answer.headers["x-content-type-options"] == "nosniff"
    browser = desk.anyone()
    browser.cookies.set("airboss_session", signed.cookies["airboss_session"])
    assert browser.get("/api/v1/me").json()["name"] == "eve"
    assert browser.delete("/api/v1/session", headers={"Origin": BASE}).status_code == 204
    problem(browser.get("/api/v1/me"), 401, "unauthenticated")


def test_a_bug_of_ours_tells_nothing_but_its_number(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What falls over inside is answered 500 without a word of it, and stands in the log under the number given."""
    from airboss.people.identity import Persons

    def broken(*_: object) -> None:
        raise ZeroDivisionError("secret of the house")

    monkeypatch.setattr(Persons, "all", broken)
    answer = problem(desk.browser("admin").get("/api/v1/people"), 500, "internal")
    assert "secret of the house" not in json.dumps(answer)
    assert "Traceback" not in json.dumps(answer)
    assert any(answer["incident"] in record.getMessage() for record in caplog.records)


def test_unknown_addresses_and_methods(desk: Desk) -> None:
    """Where there is nothing, the answer is a problem too."""
    problem(desk.anyone().get("/api/v1/nothing"), 404, "route-not-found")
    answer = desk.anyone().patch("/api/v1/changes")
    problem(answer, 405, "method-not-allowed")
    assert answer.headers["allow"]


def test_readiness_says_what_does_not_work(desk: Desk) -> None:
    """Without an ingest the server is not ready, and says that this is why."""
    answer = desk.anyone().get("/readyz")
    assert answer.status_code == 503
    checks = {check["name"]: check["ok"] for check in answer.json()["checks"]}
    assert checks == {"database": True, "journal": True, "clock": True, "tower": True, "policy": True, "ingest": False}


def test_a_wrong_method_is_told_every_right_one(desk: Desk) -> None:
    """`Allow` names each method an address has, also where several routes share it."""
    for path, methods in (
        ("/api/v1/changes", {"GET", "POST"}),
        (f"/api/v1/changes/{ID}", {"GET", "PUT"}),
        ("/api/v1/session", {"POST", "DELETE"}),
        ("/api/v1/tokens", {"GET", "POST"}),
        ("/api/v1/policy/profile", {"GET", "POST"}),
    ):
        answer = desk.anyone().patch(path)
        problem(answer, 405, "method-not-allowed")
        assert methods <= set(answer.headers["allow"].split(", ")) <= methods | {"HEAD"}, path
