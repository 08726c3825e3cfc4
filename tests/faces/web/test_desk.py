"""The pages beside changes. What they show, what their forms do, and that they cost the same however much there is."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import sqlalchemy as sa
from tests.faces.web.stories import flags
from tests.faces.web.test_site import Client, client
from tests.tower.world import World, quick_folder, ramp

from airboss.faces.reads.on_call import burning_of


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
    seen: list[str] = []

    def note(_connection, _cursor, statement, *_: object) -> None:  # type: ignore[no-untyped-def]
        seen.append(statement)

    sa.event.listen(sa.Engine, "before_cursor_execute", note)
    try:
        assert own.get(path).status_code == 200
    finally:
        sa.event.remove(sa.Engine, "before_cursor_execute", note)
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
