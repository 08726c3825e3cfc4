"""Inbox, reviews and services: what waits for whom, what ended changes teach, what is promised; as the API tells it."""

from __future__ import annotations

import html
from collections.abc import Iterator

import pytest
from tests.faces.web.queries import queries
from tests.faces.web.stories import flags
from tests.faces.web.test_site import Client, client
from tests.tower.world import World, quick_folder, ramp

PAY = """
apiVersion: airboss/v1
kind: Service
metadata: {name: pay}
spec:
  owner: payments
  tier: critical
  stateful: true
  environments: [production]
  depends_on: [checkout]
  telemetry: {service_name: pay}
"""


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with quick_folder() as folder:
        made = World(folder)
        made.apply(flags("one.flag", "two.flag"))
        made.apply(PAY)
        made.run(30)
        yield made
        made.close()


def _shown(own: Client, path: str) -> str:
    answer = own.get(path)
    assert answer.status_code == 200
    return html.unescape(answer.text)


def _taken_back(world: World, flag: str, title: str) -> str:
    made = world.propose(ramp(users=60, flag=flag, title=title))
    world.run(3)
    world.approve(made, "dev-b")
    assert world.run(90, until=lambda: "exposure.reached" in world.facts(made))
    world.order(made, "rollback", by="dev-a")
    assert world.run(90, until=lambda: world.phase(made) == "reviewing")
    return made


def _waiting(world: World, title: str) -> str:
    made = world.propose(ramp(users=60, title=title))
    world.run(3)
    assert world.phase(made) == "awaiting_approval"
    return made


def _called_off(world: World, change: str) -> None:
    world.order(change, "abort", by="dev-a")
    world.run(3)


def test_an_empty_inbox_teaches_and_the_bar_has_no_number(world: World) -> None:
    """Nothing waits: the page says so with the command that tells the same."""
    page = _shown(client(world), "/inbox")
    assert "Nothing waits for you" in page
    assert "airboss inbox" in page
    assert 'class="count"' not in page


def test_the_inbox_says_whom_a_change_waits_for_and_why(world: World) -> None:
    """Tier, reason, since when and whether one looked, with the way to decide; others see it below, without one."""
    change = _waiting(world, "Waits for dev-b")
    own = client(world)
    page, told = _shown(own, "/inbox"), own.get("/api/v1/inbox").json()
    assert [one["change"]["id"] for one in told["items"]] == [change]
    assert told["others"] == []
    assert f'href="/changes/{change}#decide"' in page
    for words in ("medium risk", "A flag-ramp that can reach 60 % of users.", "1 of service-owners (dev-b)"):
        assert words in page
    assert "You have not looked at it yet." in page
    assert '<span class="unseen">, waiting for you: </span>1</span>' in page
    theirs = _shown(client(world, "dev-a"), "/inbox")
    assert "Wait for others" in theirs
    assert f'href="/changes/{change}#decide"' not in theirs
    assert [one["change"]["id"] for one in client(world, "dev-a").get("/api/v1/inbox").json()["others"]] == [change]
    _called_off(world, change)


def test_the_inbox_tells_what_changed_since_the_last_look(world: World) -> None:
    """Nothing after a look; after an edit the fields, what they were and what they are."""
    own = client(world)
    change = _waiting(world, "Looked at")
    own.get(f"/changes/{change}")
    assert "Nothing changed since you last looked." in _shown(own, "/inbox")
    world.edit(change, ramp(users=50, title="Looked at"))
    world.run(3)
    page = _shown(own, "/inbox")
    assert "Changed since you last looked:" in page
    assert "60 → <strong>50</strong>" in page
    _called_off(world, change)
    assert f"/changes/{change}#decide" not in _shown(own, "/inbox")


def test_open_reviews_are_listed_with_what_came_of_the_change(world: World) -> None:
    """Outcome, sentence and figures; closing one on the change's page takes it from the list."""
    own = client(world)
    assert "No review is open" in _shown(own, "/reviews")
    change = _taken_back(world, "one.flag", "To be reviewed")
    page, told = _shown(own, "/reviews"), own.get("/api/v1/reviews").json()["items"]
    assert [(one["change"], one["title"], one["services"]) for one in told] == [
        (change, "To be reviewed", ["checkout"])
    ]
    assert told[0]["sentence"][1:] in page
    assert "rolled back" in page
    assert f'href="/changes/{change}#review"' in page
    assert f'action="/changes/{change}/review/{told[0]["id"]}/close"' in _shown(own, f"/changes/{change}")
    answer = own.post(f"/changes/{change}/review/{told[0]['id']}/close", data={"verdict": "right", "note": "noted"})
    assert answer.status_code == 303
    assert "No review is open" in _shown(own, "/reviews")


def test_the_reviews_page_asks_the_same_queries_for_many_as_for_few(world: World) -> None:
    """The number of rows does not show in the number of queries."""
    own = client(world)
    _taken_back(world, "one.flag", "First")
    own.get("/reviews")
    with queries() as few:
        own.get("/reviews")
    _taken_back(world, "two.flag", "Second")
    own.get("/reviews")
    with queries() as many:
        own.get("/reviews")
    assert len(own.get("/api/v1/reviews").json()["items"]) == 2
    assert len(many) == len(few)


def test_services_stand_with_their_budgets_and_their_telemetry(world: World) -> None:
    """The objective with what is left and how it burns, as the API has it; a service never heard of says so."""
    own = client(world)
    page = _shown(own, "/services")
    told = {one["name"]: one for one in own.get("/api/v1/services").json()["items"]}
    left = round(told["checkout"]["objectives"][0]["budget_left"] * 100, 1)
    assert f"{left:g}\N{NARROW NO-BREAK SPACE}% of the budget left" in page
    assert "No span of it was received within the hour" in page
    assert "No objective: nothing guards its budget." in page


def test_a_service_has_a_page(world: World) -> None:
    """What it promises, who needs it, and its changes; one that promises nothing is taught how; an unknown one is 404."""
    own, change = client(world), _waiting(world, "Seen with its service")
    page = _shown(own, "/services/checkout")
    assert "checkout-availability" in page
    assert '<a href="/services/pay">pay</a>' in page
    assert "Seen with its service" in page
    _called_off(world, change)
    bare = _shown(own, "/services/pay")
    for words in ("It promises nothing yet", "keeps state", "airboss change new --service pay", "telemetry check"):
        assert words in bare
    assert own.get("/services/nothing").status_code == 404


def test_who_is_not_signed_in_sees_none_of_it(world: World) -> None:
    """Every one of these pages leads to the door and back."""
    nobody = client(world, None)
    for path in ("/inbox", "/reviews", "/services", "/services/checkout"):
        answer = nobody.get(path)
        assert answer.status_code == 303
        assert answer.headers["location"] == f"/sign-in?next={path}"
