"""The pages beside changes. What they show, what their forms do, and that they cost the same however much there is."""

from __future__ import annotations

import asyncio
import io
import json
import zipfile
from collections.abc import Iterator
from datetime import timedelta

import pytest
from tests.faces.web.queries import queries
from tests.faces.web.stories import flags
from tests.faces.web.test_site import Client, client
from tests.tower.world import World, quick_folder, ramp
from tests.watch.telemetry.otlp import Span, request

from airboss.changes import Create
from airboss.faces.reads.controls import controls_of
from airboss.faces.reads.on_call import burning_of
from airboss.people.access import Role
from airboss.people.identity import AddPerson
from airboss.records.audit import verify_pack

WINDOW = """
apiVersion: airboss/v1
kind: Window
metadata: {{name: stocktaking}}
spec: {{allow: false, zone: UTC, starts: "{start}", lasts: 2d, reason: the shop is counted}}
"""


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with quick_folder() as folder:
        made = World(folder)
        made.apply(flags("pay.onepress", "basket.hints"))
        made.run(30)
        yield made
        made.close()


@pytest.fixture(scope="module")
def ramped(world: World) -> str:
    """A change that exposes tax.engine to some."""
    change = world.propose(ramp(users=5))
    assert world.run(60, until=lambda: world.percent() >= 1)
    return change


def asked(own: Client, path: str) -> int:
    """Return how many queries a page costs."""
    assert own.get(path).status_code == 200  # the first visit of a session is noted, which costs some
    with queries() as seen:
        assert own.get(path).status_code == 200
    return len(seen)


def test_flags_say_where_each_stands(world: World, ramped: str) -> None:
    """The list and the API name the same ramp, its change and its share; what was never exposed says so."""
    own = client(world)
    page = own.get("/flags").text
    assert f'href="/changes/{ramped}"' in page
    assert "Ramp at 1" in page
    assert "never" in page
    found = {one["name"]: one for one in own.get("/api/v1/flags").json()["items"]}
    assert found["tax.engine"]["states"][0]["change_id"] == ramped
    assert found["tax.engine"]["exposed_at"] is not None
    assert found["basket.hints"]["exposed_at"] is None


def test_both_tracks_of_a_change_stand_on_their_service(world: World, ramped: str) -> None:
    """Canary and baseline as they were counted, each against the objective; and of spans sent as OTLP, those worth opening."""
    world.run(3)
    arms: dict[str | None, str] = {}
    with world.house.store.read() as connection:
        evaluate = world.house.flags.served(connection).compiled.evaluate
    for number in range(5_000):
        answer = evaluate("tax.engine", f"user-{number}", {})
        if answer.arm is not None:
            arms.setdefault(answer.variant, answer.arm)
    now = world.clock.now()
    failed = Span(end=now, ms=420.0, bad=True, exposures=(arms["on"],))
    sent = request([failed, Span(end=now, ms=12.5, exposures=(arms["off"],))])
    sent.resource_spans[0].scope_spans[0].spans[0].trace_id = bytes.fromhex("0af7651916cd43dd8448eb211c80319c")
    world.send(sent.SerializeToString())
    own = client(world)
    page = own.get(f"/changes/{ramped}").text
    assert "Traces worth opening" in page
    assert page.index("0af7651916cd43dd8448eb211c80319c") < page.index("420\N{NARROW NO-BREAK SPACE}ms") + 2_000
    (track,) = own.get("/api/v1/services/checkout").json()["tracks"]
    counted = world.house.telemetry.arm_counts(ramped, "checkout", "production")
    assert {arm: (track[arm]["requests"], track[arm]["bad"]) for arm in ("canary", "baseline")} == counted
    (objective,) = track["objectives"]
    requests, bad = counted["canary"]
    assert objective["canary_pct"] == round(100 * (requests - bad) / requests, 4)
    for path in ("/services", "/services/checkout"):
        page = own.get(path).text
        assert f"{counted['baseline'][0]:,}" in page
        assert all(word in page for word in ("Canary", "Baseline", "p95", f'href="/changes/{ramped}"'))


def test_only_what_would_be_accepted_is_offered(world: World) -> None:
    """Whose rights are narrowed to another team finds no button for a draft, and why; whose team owns it finds both."""
    identity, root = world.house.identity, world.people["root"]
    draft = world.house.changes.create(
        Create(data=ramp(flag="basket.hints").encode(), source="draft.yaml"), actor=world.people["dev-a"]
    ).id
    for handle, team in (("dev-n", "search"), ("dev-o", "payments")):
        identity.persons.add(AddPerson(handle=handle, role=Role.ENGINEER, teams=(team,)), root)
    own, other = client(world, "dev-o"), client(world, "dev-n")
    page = other.get(f"/changes/{draft}").text
    assert f'action="/changes/{draft}/submit"' not in page
    assert f'action="/changes/{draft}/cancel"' not in page
    assert "rights are narrowed to team search, and this concerns team payments" in page
    assert other.post(f"/changes/{draft}/submit").status_code == 403
    assert "narrowed to" not in client(world, "viewer").get(f"/changes/{draft}").text
    page = own.get(f"/changes/{draft}").text
    assert "narrowed to" not in page
    assert f'action="/changes/{draft}/cancel"' in page
    assert own.post(f"/changes/{draft}/submit").status_code == 303


def test_a_list_of_flags_costs_the_same_however_long(world: World) -> None:
    """Twenty flags more, killed ones among them, and not one query more."""
    own = client(world)
    before = asked(own, "/flags")
    names = [f"more.flag-{number}" for number in range(20)]
    world.apply(flags(*names))
    for name in names[:5]:
        world.house.flags.kill(name, "tried", actor=world.people["dev-b"])
    assert asked(own, "/flags") == before


def test_a_flag_is_killed_and_restored_with_its_reason(world: World) -> None:
    """Two presses kill it for everybody, the page says who and why, two more restore it; each is in the record."""
    own = client(world)
    assert "Kill it now" in own.get("/flags/pay.onepress").text
    assert own.post("/flags/pay.onepress/kill", data={"environment": "production", "reason": " "}).status_code == 422
    told = {"environment": "production", "reason": "totals <b>wrong</b>"}
    assert own.post("/flags/pay.onepress/kill", data=told).headers["location"] == "/flags/pay.onepress"
    page = own.get("/flags/pay.onepress").text
    assert "dev-b: totals &lt;b&gt;wrong&lt;/b&gt;" in page
    assert "Restore now" in page
    assert "The kill switch is on." in own.get("/flags/pay.onepress?who=user-1").text
    assert own.post("/flags/pay.onepress/unkill", data={"environment": "production"}).status_code == 303
    assert "Killed" not in own.get("/flags/pay.onepress").text.partition("flash")[0]
    assert world.facts("flag/pay.onepress")[-2:] == ["flag.killed", "flag.unkilled"]


def test_who_may_not_kill_finds_no_switch(world: World) -> None:
    """A viewer reads the flag, finds no form, and is refused when they make one."""
    viewer = client(world, "viewer")
    assert "/kill" not in viewer.get("/flags/pay.onepress").text
    assert viewer.post("/flags/pay.onepress/kill", data={"reason": "x"}).status_code == 403
    assert viewer.get("/flags/no.such").status_code == 404


def test_an_evaluation_is_the_services_own(world: World, ramped: str) -> None:
    """Page and API answer as the evaluator does, key by key, and nobody is exposed by asking."""
    own = client(world)
    with world.house.store.read() as connection:
        evaluate = world.house.flags.served(connection).compiled.evaluate
    facts = len(world.facts("flag/tax.engine"))
    variants = set()
    for number in range(0, 300, 7):
        key = f"user-{number}"
        said = own.post(
            "/api/v1/flags/tax.engine/evaluate", json={"context": {"targetingKey": key, "plan": "premium"}}
        ).json()
        expected = evaluate("tax.engine", key, {"plan": "premium"})
        assert (said["variant"], said["value"], said["exposure"]) == (expected.variant, expected.value, expected.arm)
        variants.add(said["variant"])
    assert "off" in variants
    page = own.get("/flags/tax.engine?who=user-0&attributes=plan+%3D+premium").text
    assert "The ramp dealt this key to that side." in page
    assert len(world.facts("flag/tax.engine")) == facts


@pytest.mark.parametrize("query", ["attributes=nonsense", "who=a&environment=-!"])
def test_a_context_nobody_can_mean_is_told_at_its_field(world: World, query: str) -> None:
    """What was written stays in its field, the reason stands under it; never a fault page."""
    answer = client(world).get(f"/flags/tax.engine?{query}")
    assert answer.status_code == 422
    assert 'role="alert"' in answer.text
    assert "What would somebody get?" in answer.text


def test_on_call_sees_what_moves_and_what_follows(world: World, ramped: str) -> None:
    """The page and the API name the change that is out, what comes next, and only what the reader may do about it."""
    own = client(world)
    page = own.get("/on-call").text
    assert "New VAT engine" in page
    assert "Harm takes it back by itself" in page
    assert f"/changes/{ramped}/orders/rollback" in page
    assert "/orders/" not in client(world, "viewer").get("/on-call").text
    found = own.get("/api/v1/on-call").json()
    assert [one["id"] for one in found["moving"]] == [ramped]
    assert found["position"] >= 0
    assert 'hx-swap-oob="true"' in own.get("/on-call/live").text


def test_a_burning_objective_names_its_suspects_newest_first() -> None:
    """Whatever has been out on the service is suspected, the last to begin first; other services' changes are not."""
    changes = [
        {"id": "a", "title": "A", "phase": "rolling_out", "services": ["pay"], "started_at": "2026-11-23T14:00:00Z"},
        {"id": "b", "title": "B", "phase": "completed", "services": ["pay"], "started_at": "2026-11-23T14:05:00Z"},
        {"id": "c", "title": "C", "phase": "rolling_out", "services": ["mail"], "started_at": "2026-11-23T14:06:00Z"},
        {"id": "d", "title": "D", "phase": "validating", "services": ["pay"], "started_at": None},
    ]

    def objective(name: str, burn: float | None, left: float | None) -> dict[str, object]:
        known = burn is not None
        return {"name": name, "environment": "production", "known": known, "burn": burn, "budget_left": left}

    objectives = [objective("calm", 0.4, 0.9), objective("hot", 20.0, 0.5), objective("gone", 0.2, -0.04)]
    services = [{"name": "pay", "owner": "payments", "objectives": [*objectives, objective("dark", None, None)]}]
    found = burning_of(services, changes)
    assert [one["objective"] for one in found] == ["hot", "gone"]
    assert [one["id"] for one in found[0]["suspects"]] == ["b", "a"]
    assert found[0]["sentence"] == "hot burns at 20 times what it may; 50 % of the budget left"
    assert found[1]["sentence"] == "gone: its budget is spent; it burns at 0.2 times what it may"


QUIET = ["/policy", "/policy?change={change}", "/calendar", "/versions", "/people", "/audit", "/audit?change={change}"]


@pytest.mark.parametrize("path", QUIET)
def test_everybody_reads_what_binds_everybody(world: World, ramped: str, path: str) -> None:
    """Each page has its one heading, and a viewer finds no form on it that they may not send."""
    page = client(world, "viewer").get(path.format(change=ramped))
    assert page.status_code == 200
    assert page.text.count("<h1>") == 1
    for form in ("/versions/lift", "/people/", 'action="/people"'):
        assert f"{form}" not in page.text.replace('href="/people"', "")


def test_a_freeze_stands_in_the_calendar_with_its_days(world: World) -> None:
    """What is applied as a window is named with its spans of the next 14 days, on the page and in the API."""
    own = client(world)
    assert "No windows and no freezes" in own.get("/calendar").text
    start = (world.clock.now() + timedelta(days=3)).replace(tzinfo=None, microsecond=0)
    world.apply(WINDOW.format(start=start.isoformat()))
    page = own.get("/calendar").text
    assert "Freeze: stocktaking" in page
    (found,) = own.get("/api/v1/calendar").json()["items"]
    assert [span["start"][:19] for span in found["ahead"]] == [start.isoformat()]
    before = asked(own, "/calendar")
    world.apply(WINDOW.format(start=start.isoformat()).replace("stocktaking", "another"))
    assert asked(own, "/calendar") == before


def test_policy_says_who_put_which_rule_there(world: World, ramped: str) -> None:
    """The default pack with its version, its rules and their tests; a change's decision with the values that were read."""
    own = client(world)
    page = own.get("/policy").text
    found = own.get("/api/v1/policy").json()
    for pack in found["packs"]:
        assert pack["version"] in page
        assert pack["tests"]
        assert all(rule["when"] for rule in pack["rules"])
        for rule in pack["rules"]:
            assert rule["id"] in page
    assert "Decision of policy" in own.get(f"/policy?change={ramped}").text
    wrong = own.get("/policy?change=chg_nonsense")
    assert wrong.status_code == 422
    assert 'role="alert"' in wrong.text


def test_people_are_managed_by_who_may(world: World) -> None:
    """An admin adds, gives a role, lets go and back in; anybody else is refused, form or no form."""
    root, own = client(world, "root"), client(world)
    assert own.post("/people", data={"handle": "new-x", "role": "viewer"}).status_code == 403
    answer = root.post("/people", data={"handle": "new-x", "role": "viewer", "name": "New"})
    assert answer.status_code == 200
    assert "/sign-in/" in answer.text
    assert "/sign-in/" not in root.get("/people").text
    again = root.post("/people", data={"handle": "new-x", "role": "viewer"})
    assert again.status_code in (409, 422)
    assert 'value="new-x"' in again.text
    assert root.post("/people/new-x/role", data={"role": "engineer"}).status_code == 303
    assert root.post("/people/new-x/role", data={"role": "king"}).status_code == 422
    narrowed = {"role": "engineer", "teams": ["payments"]}
    assert root.post("/api/v1/people/new-x/role", json=narrowed).status_code == 204
    assert root.post("/people/new-x/role", data={"role": "engineer"}).status_code == 303
    assert "for what payments own" in own.get("/people").text
    assert root.post("/people/new-x/disable").status_code == 303
    assert "Disabled" in root.get("/people").text
    assert root.post("/people/new-x/enable").status_code == 303
    assert own.post("/people/new-x/link").status_code == 403
    role = {one["handle"]: one["role"] for one in root.get("/api/v1/people").json()["items"]}["new-x"]
    assert role == "engineer"


def test_a_tokens_secret_is_shown_once(world: World) -> None:
    """Made on the page it works at the API, is never shown again, and once revoked is refused."""
    own = client(world)
    data = {"label": "laptop of dev-b", "days": "30", "kind": "personal", "scope-read": "on"}
    made = own.post("/tokens", data=data).text
    secret = "abt_" + made.partition("abt_")[2].partition("<")[0]
    assert secret not in own.get("/people").text
    api = Client(world)
    reach = {"headers": {"authorization": f"Bearer {secret}", "accept": "application/json"}}
    assert asyncio.run(api._web.get("/api/v1/me", **reach)).json()["name"] == "dev-b"
    token = next(one for one in own.get("/api/v1/tokens").json()["items"] if one["label"] == data["label"])
    assert own.post(f"/tokens/{token['id']}/revoke").status_code == 303
    assert asyncio.run(api._web.get("/api/v1/me", **reach)).status_code == 401
    for wrong in ({"days": "x"}, {"scope-read": ""}, {"kind": "own"}):
        answer = own.post("/tokens", data={**data, **wrong})
        assert answer.status_code in (403, 422)
        assert 'role="alert"' in answer.text


def test_a_convicted_version_is_lifted_with_a_reason(world: World) -> None:
    """What was blocked stands there with its change; without a reason nothing is lifted."""
    own = client(world)
    world.nature.flag, world.nature.bad_new = "pay.onepress", 0.08
    change = world.propose(ramp(flag="pay.onepress", users=5, title="One-press payment"))
    assert world.run(300, until=lambda: world.phase(change) == "reviewing")
    (blocked,) = own.get("/api/v1/blocked-versions").json()["items"]
    assert f'href="/changes/{change}"' in own.get("/versions").text
    given = {"service": blocked["service"], "digest": blocked["digest"]}
    assert own.post("/versions/lift", data={**given, "reason": " "}).status_code == 422
    assert own.post("/versions/lift", data={**given, "reason": "a fixture was missing"}).status_code == 303
    assert "No version is blocked" in own.get("/versions").text


def test_the_record_is_checked_from_its_page(world: World) -> None:
    """A press reads the whole record; head, key and checkpoint are those of the API."""
    world.house.checkpoints.write_now()
    own = client(world)
    said = own.get("/api/v1/audit").json()
    page = own.get("/audit").text
    assert said["checkpoint"]["root"] in page
    assert said["fingerprint"] in page
    assert "As it was recorded" in own.post("/audit/verify").text


def test_the_evidence_of_a_change_stands_alone(world: World, ramped: str) -> None:
    """The archive's facts verify with its key; its page names every fact with its proof and asks nobody for anything."""
    world.house.checkpoints.write_now()
    own = client(world)
    answer = own.get(f"/changes/{ramped}/evidence-pack.zip")
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        files = {name.rpartition("/")[2]: archive.read(name).decode() for name in archive.namelist()}
    assert set(files) == {"READ-ME.txt", "audit.pub", "checkpoint.txt", "evidence.html", "evidence.json"}
    report = verify_pack(files["evidence.json"], public_key=files["audit.pub"].strip())
    assert report.ok
    assert report.signatures == 1
    page = files["evidence.html"]
    for one in json.loads(files["evidence.json"])["facts"]:
        assert f'id="fact-{one["position"]}"' in page
        assert all(step in page for step in one["proof"])
    assert "http" not in page.replace("http-equiv", "")
    assert "<script" not in page
    assert own.get(f"/changes/{ramped}/evidence-pack.zip").content == answer.content
    assert own.get(f"/api/v1/changes/{ramped}/evidence-pack/page").text == page
    assert own.get(f"/api/v1/changes/{ramped}/evidence-pack/archive").content == answer.content


def test_controls_say_what_no_fact_shows() -> None:
    """A control claims only what a fact says: without a vote nobody approved, and one's own vote is nobody else's."""

    def fact(position: int, kind: str, actor: str, **body: object) -> dict[str, object]:
        return {"position": position, "type": kind, "actor": actor, "body": body}

    asked_ = fact(0, "change.submitted", "dev-a")
    (soc, iso, pci) = controls_of([asked_])
    assert [line["positions"] for line in soc["shows"]] == [[0]]
    for one in (soc, iso, pci):
        assert any(line.startswith("Who approved it: no fact") for line in one["not_shown"])
    own = fact(1, "vote.cast", "dev-a", verdict="approve")
    other = fact(2, "vote.cast", "dev-b", verdict="approve")
    apart = "That whoever approved was not whoever asked"
    assert any(line.startswith(apart) for line in controls_of([asked_, own])[0]["not_shown"])
    shown = {line["sentence"]: line["positions"] for line in controls_of([asked_, own, other])[2]["shows"]}
    assert shown[apart] == [2]
    assert shown["Who approved it: dev-a, dev-b"] == [1, 2]
    no = fact(3, "vote.cast", "dev-c", verdict="reject")
    assert not any("Who approved it" in line["sentence"] for line in controls_of([asked_, no])[0]["shows"])


def test_pages_cost_the_same_however_much_stands_on_them(world: World, ramped: str) -> None:
    """Two more changes wait, two more move and somebody came: not one query more for inbox, on-call, people, or a change."""
    own = client(world)
    world.apply(flags(*(f"cost.of-{number}" for number in range(6))))

    def propose(number: int, users: int) -> str:
        return world.propose(ramp(flag=f"cost.of-{number}", users=users, title=f"Number {number}"))

    first, _ = propose(0, 60), propose(1, 5)
    world.run(4)
    paths = {"/inbox": 12, "/on-call": 42, "/people": 15, f"/changes/{first}": 70}
    before = {path: asked(own, path) for path in paths}
    for number in (2, 3, 4, 5):
        propose(number, 60 if number < 4 else 5)
    world.run(4)
    world.house.identity.persons.add(AddPerson(handle="dev-z", role=Role.ENGINEER), world.people["root"])
    shown = own.get("/inbox").text
    assert all(f"Number {number}" in shown for number in (0, 2, 3))
    shown = own.get("/on-call").text
    assert all(f"Number {number}" in shown for number in (1, 4, 5))
    assert {path: asked(own, path) for path in paths} == before
    assert before == {path: min(before[path], most) for path, most in paths.items()}
