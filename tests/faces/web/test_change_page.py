"""The page of a change decides, explains and shows: all of it from the same reads as the API, on one page."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator

import pytest
from tests.faces.web.queries import queries
from tests.faces.web.test_site import Client, client
from tests.tower.world import RISING, World, quick_folder, ramp

from airboss.changes import Create
from airboss.decide.evidence import Record
from airboss.faces.web.plots import times

QUERIES_MOST = 70
LONG = RISING.replace("most: 120s", "most: 3600s")


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with quick_folder() as folder:
        made = World(folder)
        made.run(30)
        yield made
        made.close()


def _asked(world: World, title: str, **more: object) -> str:
    made = world.propose(ramp(users=60, title=title, **more))
    world.run(3)
    assert world.phase(made) == "awaiting_approval"
    return made


def _shown(own: Client, change: str) -> str:
    return html.unescape(own.get(f"/changes/{change}").text)


def _api(own: Client, change: str, view: str = "") -> dict:
    return own.get(f"/api/v1/changes/{change}{view}").json()


def test_only_who_may_vote_has_the_votes(world: World) -> None:
    """Approve, reject, ask and abstain for those asked; for everybody else a comment, and all that is weighed."""
    change = _asked(world, "Who votes")
    verdicts = {
        who: set(re.findall(rf'formaction="/changes/{change}/votes/(\w+)"', _shown(client(world, who), change)))
        for who in ("dev-b", "dev-a", "viewer")
    }
    assert verdicts == {
        "dev-b": {"approve", "reject", "ask", "comment", "abstain"},
        "dev-a": {"comment"},
        "viewer": {"comment"},
    }
    assert "Why it is risky" in _shown(client(world, "viewer"), change)


def test_a_comment_and_a_question_need_a_reason_and_are_told(world: World) -> None:
    """Without a reason they are refused with words; with one they stand in the record, by the web."""
    change = _asked(world, "Commented")
    own, seen = client(world), world.change(change).digest
    refused = own.post(f"/changes/{change}/votes/comment", data={"seen": seen})
    assert refused.status_code == 422
    assert "takes a reason" in refused.text
    assert own.post(f"/changes/{change}/votes/comment", data={"seen": seen, "comment": "why now?"}).status_code == 303
    assert own.post(f"/changes/{change}/votes/ask", data={"seen": seen, "comment": "smaller steps"}).status_code == 303
    cast = world.bodies(change, "vote.cast")
    assert [(body["verdict"], body["channel"]) for body in cast] == [("comment", "web"), ("ask", "web")]


def test_what_changed_since_the_last_look_stands_on_the_card(world: World) -> None:
    """Opening the page is a look; after an edit the next one names the field, what it was and what it is."""
    change = _asked(world, "Before the edit")
    own = client(world)
    assert "Changed since you last looked" not in _shown(own, change)
    world.edit(change, ramp(users=50, title="After the edit"))
    world.run(3)
    page = _shown(own, change)
    assert "Changed since you last looked" in page
    assert "<del>60</del>" in page
    assert "<ins>50</ins>" in page
    fields = {one["field"] for one in _api(own, change, "/approval")["changed_since"]["fields"]}
    assert {"intent.impact.users_percent", "presentation.title"} <= fields


def test_a_decision_is_explained_with_what_clears_it(world: World) -> None:
    """Each rule with the values it read, the silent ones folded, what is in the way and the way out: as the API tells it."""
    change = _asked(world, "Explained")
    own = client(world)
    page, told = _shown(own, change), _api(own, change, "/explanation")
    card = page[page.index('id="decision"') : page.index('id="review"')]
    for rule in told["rules"]:
        assert rule["rule"] in card
    assert "users_percent = 60" in card
    for one in told["stands"]:
        assert one["words"][1:] in card
        assert one["round"]["sentence"] in card
    assert told["decision"] in card


def test_evidence_stands_with_its_place(world: World) -> None:
    """A result is shown with its colour, its source as a link and the artifact it is about."""
    change = _asked(world, "Proven")
    source = "https://ci.example.com/builds/812"
    world.house.evidence.record(
        Record(change_id=change, type="ci", green=False, source=source, digest=None), world.people["root"]
    )
    page = _shown(client(world), change)
    assert f'<a href="{source}" rel="noreferrer">' in page
    assert "ci is red" in page


BUTTONS = {
    "draft": {"submit", "cancel"},
    "rolling_out": {"pause", "promote", "rollback"},
    "rolling_out, paused": {"resume", "promote", "rollback"},
    "rolling_back": set(),
    "reviewing": {"retry"},
}
"""An abort stands only where nothing is exposed; where something is, the same is called rolling back."""


def test_the_buttons_are_the_orders_of_the_state(world: World) -> None:
    """In every state through which a change goes the page has a form for each act that is possible, and no other."""
    document = ramp(users=5, title="Ordered", steps=LONG).encode()
    change = world.house.changes.create(Create(data=document, source="a.yaml"), actor=world.people["dev-a"]).id
    own, seen = client(world, "dev-a"), {}

    def look() -> None:
        view = _api(own, change)
        acts = re.findall(rf'action="/changes/{change}/(?:orders/)?(\w+)"', own.get(f"/changes/{change}").text)
        paused = bool(view["rollout"] and view["rollout"]["paused"])
        seen[view["phase"] + (", paused" if paused else "")] = set(acts)
        assert set(acts) <= {*view["orders"], "cancel"}

    look()
    world.submit(change)
    assert world.run(60, until=lambda: "exposure.reached" in world.facts(change))
    look()
    world.order(change, "pause", by="dev-a")
    world.run(2)
    look()
    world.order(change, "rollback", by="dev-a")
    assert world.run(60, until=lambda: world.phase(change) == "rolling_back")
    look()
    assert world.run(60, until=lambda: world.phase(change) == "reviewing")
    look()
    assert seen == BUTTONS


def test_odds_are_told_as_people_bet() -> None:
    """An e-value of 100 is 100 : 1 for the claim, of a fiftieth 1 : 50 against it; nothing is no bet."""
    assert times(4.605170186) == "100 : 1"
    assert times(-3.912023005) == "1 : 50"
    assert times(0.0) == "1 : 1"
    assert times(None) == "–"
    assert times(1e9).endswith(": 1")


def test_a_page_asks_a_bounded_number_of_queries(world: World) -> None:
    """However long the record of a change is."""
    change = _asked(world, "Counted")
    own, seen = client(world), world.change(change).digest
    own.post(f"/changes/{change}/votes/comment", data={"seen": seen, "comment": "one word"})
    own.get(f"/changes/{change}")
    with queries() as before:
        own.get(f"/changes/{change}")
    for number in range(30):
        own.post(f"/changes/{change}/votes/comment", data={"seen": seen, "comment": f"word {number}"})
    with queries() as after:
        own.get(f"/changes/{change}")
    assert len(after) == len(before) <= QUERIES_MOST


def test_one_card_has_everything_an_approver_weighs(world: World) -> None:
    """Risk with the values its rules read, reach, budget, way back, authors, what is missing, conflicts: as the API tells it."""
    change, other = _asked(world, "Weighed"), _asked(world, "Beside it")
    world.approve(other, "dev-b")
    world.run(2)
    own = client(world)
    page, view = _shown(own, change), _api(own, change, "/approval")
    for rule in view["risk"]["reasons"]:
        assert rule["rule"] in page
        assert "users_percent = 60" in page
    assert "60\N{NARROW NO-BREAK SPACE}% of the users of checkout (standard) in production." in page
    assert "of checkout-availability, burning at" in page
    assert "Flag back to off. By itself, when a gate fails. No data is touched." in page
    assert "dev-a wrote it and may not approve it." in page
    assert "1 of service-owners (dev-b)." in page
    assert f'href="/changes/{other}"' in page
    assert [one["id"] for one in view["conflicts"]] == [other]
