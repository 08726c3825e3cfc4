"""The site without a browser: who is let in, what a form does, what is refused and how."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Iterator
from datetime import timedelta

import httpx
import pytest
from tests.tower.world import World, quick_folder, ramp

from airboss.changes import Create
from airboss.faces.api import create_app
from airboss.faces.reads import Wanted, facts_view, replay_view, search_view
from airboss.faces.web import error_page, routes
from airboss.faces.web.plots import times
from airboss.kernel.clock import parse_rfc3339, rfc3339
from airboss.records.audit import verify_pack

BASE = "http://127.0.0.1:8700"


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with quick_folder() as folder:
        made = World(folder)
        made.run(30)
        yield made
        made.close()


@pytest.fixture(scope="module")
def change(world: World) -> str:
    """A ramp that waits for people."""
    made = world.propose(ramp(users=60))
    world.run(3)
    assert world.phase(made) == "awaiting_approval"
    return made


class Client:
    """A browser without a screen: keeps cookies, follows nothing, names where its forms come from."""

    def __init__(self, world: World) -> None:
        house = world.house
        app = create_app(house, web_routes=routes(house), error_page=error_page(house))
        headers = {"accept": "text/html", "origin": BASE}
        self._web = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=BASE, headers=headers)
        self.cookies = self._web.cookies

    def get(self, path: str) -> httpx.Response:
        return asyncio.run(self._web.get(path))

    def post(self, path: str, **given) -> httpx.Response:
        return asyncio.run(self._web.post(path, **given))


def client(world: World, handle: str | None = "dev-b") -> Client:
    made = Client(world)
    if handle is not None:
        signing = world.house.identity.sign_in
        link = signing.issue_link(handle, world.people["root"])
        made.cookies.set("airboss_session", signing.use_link(link.secret).secret)
    return made


PAGES = ["/", "/changes", "/changes/{change}", "/changes/{change}/live", "/changes/{change}/evidence-pack", "/password"]


@pytest.mark.parametrize("path", PAGES)
def test_who_is_not_signed_in_is_led_to_the_door_and_back(world: World, change: str, path: str) -> None:
    """Nobody sees a page without a session; the address asked for goes along."""
    answer = client(world, None).get(path.format(change=change))
    assert answer.status_code == 303
    assert answer.headers["location"].startswith("/sign-in")
    assert path == "/" or "next=/" in answer.headers["location"]


@pytest.mark.parametrize("path", ["votes/approve", "orders/abort", "submit", "cancel", "review/rev_x/close"])
def test_nothing_is_done_for_nobody(world: World, change: str, path: str) -> None:
    """A form without a session changes nothing and is refused as what it is."""
    before = world.change(change).version
    assert client(world, None).post(f"/changes/{change}/{path}").status_code == 401
    assert world.change(change).version == before


@pytest.mark.parametrize("path", ["votes/approve", "orders/abort", "submit", "cancel"])
def test_another_site_cannot_press_our_buttons(world: World, change: str, path: str) -> None:
    """A form that another site makes a browser send is refused before anybody reads it."""
    answer = client(world).post(f"/changes/{change}/{path}", headers={"origin": "https://elsewhere.example"})
    assert answer.status_code == 403


@pytest.mark.parametrize("away", ["https://elsewhere.example", "//elsewhere.example", "/\\elsewhere.example", "", "x"])
def test_signing_in_never_leads_away(world: World, away: str) -> None:
    """Whatever an address says comes next, it is a page of ours."""
    link = world.house.identity.sign_in.issue_link("dev-a", world.people["root"])
    answer = client(world, None).post("/sign-in", data={"link": link.secret, "next": away})
    assert answer.headers["location"] == "/password?next=/"
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=lax" in cookie


def test_looking_at_a_link_does_not_spend_it(world: World) -> None:
    """A scanner that opens every address in a mail leaves the link good."""
    link = world.house.identity.sign_in.issue_link("dev-a", world.people["root"])
    door = client(world, None)
    assert "Sign in as dev-a" in door.get(link.path).text
    assert "Sign in as dev-a" in door.get(link.path).text
    answer = door.get(link.path)
    assert answer.headers["referrer-policy"] == "same-origin"
    assert answer.headers["cache-control"] == "no-store"


def test_a_wrong_password_is_told_on_the_page(world: World) -> None:
    """The name stays in its field, the reason stands above it, nothing says which of the two was wrong."""
    answer = client(world, None).post("/sign-in", data={"handle": "dev-a", "password": "no"})
    assert answer.status_code == 401
    assert 'value="dev-a"' in answer.text
    assert "Name or password is wrong." in answer.text


def test_every_page_carries_its_guards(world: World, change: str) -> None:
    """No page may be framed, sniffed, cached or run a script that is not ours."""
    for path in ("/", f"/changes/{change}", "/nowhere", "/sign-in"):
        headers = client(world, None if path == "/sign-in" else "dev-b").get(path).headers
        assert "script-src 'self'" in headers["content-security-policy"]
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
        assert headers["cache-control"] == "no-store"


def test_a_vote_is_bound_to_what_was_seen(world: World, change: str) -> None:
    """Approving what has changed since is refused with the way out, as a page."""
    answer = client(world).post(f"/changes/{change}/votes/approve", data={"seen": "sha256:" + "0" * 64})
    assert answer.status_code == 412
    assert "Look at what changed, then decide" in answer.text
    assert f'href="/changes/{change}"' in answer.text


def test_the_requester_may_not_approve(world: World, change: str) -> None:
    """There is no card for them, and the form by itself is refused."""
    own = client(world, "dev-a")
    assert "votes/approve" not in own.get(f"/changes/{change}").text
    seen = world.change(change).digest
    answer = own.post(f"/changes/{change}/votes/approve", data={"seen": seen})
    assert answer.status_code == 403
    assert "somebody else must decide" in answer.text


@pytest.mark.parametrize(("path", "status"), [("votes/maybe", 404), ("orders/explode", 422), ("orders/pause", 409)])
def test_what_is_not_possible_is_said(world: World, change: str, path: str, status: int) -> None:
    """An unknown word and an order out of turn are pages with a way out, never a fault."""
    answer = client(world).post(f"/changes/{change}/{path}")
    assert answer.status_code == status
    assert "<h1>" in answer.text


def test_a_viewer_orders_nothing(world: World, change: str) -> None:
    """Neither by a button, which is absent, nor by a form of their own."""
    viewer = client(world, "viewer")
    assert "/orders/" not in viewer.get(f"/changes/{change}").text
    assert viewer.post(f"/changes/{change}/orders/abort").status_code == 403


def test_a_form_is_a_form_and_has_an_end(world: World, change: str) -> None:
    """Other bodies, and endless ones, are refused before they are understood."""
    own = client(world)
    assert own.post(f"/changes/{change}/votes/approve", json={"seen": "x"}).status_code == 422
    assert own.post(f"/changes/{change}/votes/approve", data={"comment": "x" * 70_000}).status_code == 422


def test_a_flash_is_told_once_and_cannot_be_markup(world: World, change: str) -> None:
    """What an action came to stands on the next page, on no other, and as text."""
    own = client(world)
    own.cookies.set("airboss_flash", "not-base64!")
    assert own.get("/").status_code == 200
    own.cookies.set("airboss_flash", "eyJ0b25lIjogIndlbGwiLCAid29yZCI6ICI8Yj4iLCAic2VudGVuY2UiOiAiPGk-In0=")
    answer = own.get("/")
    assert "&lt;b&gt;" in answer.text
    assert "Max-Age=0" in answer.headers["set-cookie"]


def test_searching(world: World, change: str) -> None:
    """Words are looked for in titles, owners and services; fields narrow down; an ID leads to its change."""
    own = client(world)
    assert "New VAT engine" in own.get("/changes?q=vat").text
    assert "New VAT engine" in own.get("/changes?q=service:checkout+VAT").text
    assert "Nothing found" in own.get("/changes?q=service:pay+vat").text
    assert own.get(f"/changes?q={change}").headers["location"] == f"/changes/{change}"


def test_filters_narrow_a_list_that_can_be_shared(world: World, change: str) -> None:
    """State, risk, owner, team, service and kind each narrow down, stand in their fields again, and the API says the same."""
    own = client(world)
    tier = own.get(f"/api/v1/changes/{change}").json()["tier"]
    found = {"state": "approval", "tier": tier, "owner": "dev-a", "team": "payments", "service": "checkout"}
    for field, value in found.items():
        page = own.get(f"/changes?{field}={value}").text
        assert change in page, field
        assert value in page
    other = {"state": "over", "tier": "low" if tier != "low" else "high", "owner": "dev-c", "team": "x", "kind": "x"}
    for field, value in other.items():
        assert f"/changes/{change}" not in own.get(f"/changes?{field}={value}").text, field
    said = own.get(f"/api/v1/changes?owner=dev-a&tier={tier}&q=vat+ENGINE&phase=awaiting_approval").json()
    assert [one["id"] for one in said["items"]] == [change]
    assert said["items"][0]["tier"] == tier


@pytest.mark.parametrize(("field", "value"), [("state", "gone"), ("tier", "huge"), ("team", "-!"), ("before", "x")])
def test_a_filter_nobody_can_mean_is_told_on_the_page(world: World, field: str, value: str) -> None:
    """What is wrong with a filter stands at its field, with what can be done; never a fault page."""
    answer = client(world).get(f"/changes?{field}={value}")
    assert answer.status_code == 422
    assert "<h1>Changes</h1>" in answer.text
    assert 'role="alert"' in answer.text


def test_a_long_list_goes_on_where_it_ended(world: World) -> None:
    """Every change is on exactly one page, however small pages are and however few rows a search keeps."""
    for number in range(5):
        text = ramp(users=5, title=f"Paged {number}").encode()
        world.house.changes.create(Create(data=text, source="paged.yaml"), actor=world.people["dev-a"])
    seen: list[str] = []
    cursor = None
    for _ in range(10):
        wanted = Wanted(words=("paged",))
        page = search_view(world.house, world.people["dev-a"], wanted, cursor=cursor, limit=2)
        seen += [one["title"] for one in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert sorted(seen) == [f"Paged {number}" for number in range(5)]


def test_a_watched_ramp_has_its_course(world: World) -> None:
    """The plot's numbers are the judge's own, block by block: bounds around the canary, marks, verdicts; JSON throughout.
    Evidence for and against stands beside its thresholds, and the recorded counts judged again say the same.
    """
    ramped = world.propose(ramp(users=5, title="Watched"))
    assert world.run(400, until=lambda: world.phase(ramped) in ("verifying", "completed", "closed"))
    own = client(world)
    data = own.get(f"/changes/{ramped}/plots/canary:checkout-errors.json").json()
    lengths = {
        len(data[name]) for name in ("t", "canary", "baseline", "low", "high", "margin", "harm", "safe", "needed")
    }
    assert len(lengths) == 1
    assert data["t"] == sorted(data["t"])
    assert [mark["label"] for mark in data["marks"]] == ["1 %", "10 %", "50 %", "100 %"]
    bounded = [at for at, high in enumerate(data["high"]) if high is not None and data["canary"][at] is not None]
    assert len(bounded) > 10
    assert all((data["low"][at] or 0) <= data["high"][at] for at in bounded)
    assert {verdict["tone"] for verdict in data["verdicts"]} == {"well"}
    told = world.bodies(ramped, "step.ended")[0]["answers"][0]["numbers"]  # type: ignore[index]
    first = [at for at, t in enumerate(data["t"]) if t < data["marks"][1]["t"] and data["canary"][at] is not None][-1]
    assert data["canary"][first] == pytest.approx(100 * told["canary_rate"], abs=1e-4)
    assert data["margin"][first] == pytest.approx(100 * told["ceiling"], abs=1e-4)
    course = _evidence_of(own, ramped)
    last = max(at for at, value in enumerate(data["safe"]) if value is not None)
    assert 10 ** data["safe"][last] == pytest.approx(math.exp(course["log_e_safe"][last]), rel=0.01)
    assert max(value for value in data["harm"] if value is not None) < data["harm_at"]
    assert data["needed"] == course["needed_total"]
    _replayed_late(world, ramped)
    page = own.get(f"/changes/{ramped}").text
    assert "The same numbers as a table" in page
    assert "Evidence, on a scale of powers of ten" in page
    assert times(course["log_e_safe"][last]) in page
    assert own.get(f"/changes/{ramped}/plots/canary:nothing.json").status_code == 404


def _evidence_of(own: Client, ramped: str) -> dict:
    course = own.get(f"/api/v1/changes/{ramped}/course?gate=canary:checkout-errors").json()
    columns = ("canary", "log_e_harm", "log_e_safe", "log_e_together", "needed_total", "needed_canary", "outcome")
    assert {len(course[name]) for name in columns} == {len(course["t"])}
    assert max(value for value in course["log_e_safe"] if value is not None) >= course["log_safe_threshold"] > 0
    assert max(value for value in course["log_e_harm"] if value is not None) < course["log_harm_threshold"]
    passed = [at for at, outcome in enumerate(course["outcome"]) if outcome == "pass"]
    assert passed
    assert all(course["needed_total"][at] == 0 for at in passed)
    again = own.get(f"/api/v1/changes/{ramped}/replay").json()
    assert again["same"] is True
    assert {one["step"] for one in again["verdicts"]} >= {1, 2, 3}
    assert all(one["told"]["canary_seen"] == one["again"]["canary_seen"] > 0 for one in again["verdicts"])
    assert own.get(f"/api/v1/changes/{ramped}/course?gate=canary:nothing").status_code == 404
    return course


def _replayed_late(world: World, ramped: str) -> None:
    """Facts written five seconds after the look that decided, as on a busy machine, give the same verdicts again."""
    with world.house.store.read() as connection:
        change = world.house.changes.read(connection, ramped)
        told = facts_view(world.house, connection, ramped)
    late = [{**fact, "at": rfc3339(parse_rfc3339(fact["at"]) + timedelta(seconds=5))} for fact in told]
    again = replay_view(world.house, change, told=late, now=world.house.clock.now())
    assert again["same"] is True


def test_the_record_of_a_change_verifies_by_itself(world: World, change: str) -> None:
    """The file a page hands out stands without the server that made it."""
    world.house.checkpoints.write_now()
    answer = client(world).get(f"/changes/{change}/evidence-pack")
    assert "attachment" in answer.headers["content-disposition"]
    assert json.loads(answer.text)["subject"] == change
    assert verify_pack(answer.text, public_key=world.house.signer.vkey).findings == ()
