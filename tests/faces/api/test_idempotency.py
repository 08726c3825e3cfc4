"""A POST with an Idempotency-Key is done once, on both databases, whatever happens to its answer."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
from tests.faces.api.desk import CHANGE, Desk

from airboss.kernel import failpoints
from airboss.records.idempotency import LIFE
from airboss.records.idempotency.tables import idempotency
from airboss.testing import ManualClock, SeededChance

YAML = {"Content-Type": "application/yaml"}


@pytest.fixture(params=["sqlite", "postgresql"])
def desk(request: pytest.FixtureRequest, tmp_path: Path, clock: ManualClock, chance: SeededChance) -> Iterator[Desk]:
    """A house with its people, once on each database."""
    url = None if request.param == "sqlite" else str(request.getfixturevalue("postgresql_url"))
    opened = Desk(tmp_path, clock, chance, database=url)
    opened.hire("dev-a")
    yield opened
    opened.close()


def _propose(client: httpx.Client, key: str, text: str = CHANGE, **params: Any) -> httpx.Response:
    return client.post("/api/v1/changes", content=text, headers={**YAML, "Idempotency-Key": key}, params=params)


def _count(desk: Desk) -> int:
    return len(desk.browser("dev-a").get("/api/v1/changes").json()["items"])


def test_a_retry_is_answered_as_the_first_time(desk: Desk) -> None:
    """The same key with the same request gives the same answer and one change, also after a restart's worth of time."""
    browser = desk.browser("dev-a")
    first = _propose(browser, "key-1")
    again = _propose(browser, "key-1")
    assert (first.status_code, again.status_code, _count(desk)) == (201, 201, 1)
    assert again.content == first.content
    assert again.headers["etag"] == first.headers["etag"]
    assert again.headers["location"] == first.headers["location"]
    assert again.headers["idempotency-replayed"] == "true"
    assert "idempotency-replayed" not in first.headers


def test_a_key_stands_for_one_request_of_one_caller(desk: Desk) -> None:
    """Another body, query or address with a used key is refused and changes nothing; another person's key is another key."""
    browser = desk.browser("dev-a")
    first = _propose(browser, "key-1").json()
    for other in (
        _propose(browser, "key-1", CHANGE.replace("everybody", "a few")),
        _propose(browser, "key-1", submit="true"),
        browser.post(f"/api/v1/changes/{first['id']}/submit", headers={"Idempotency-Key": "key-1"}),
    ):
        assert (other.status_code, other.json()["code"]) == (422, "idempotency-key-reused")
        assert other.json()["place"] == "Idempotency-Key"
        assert other.json()["way_out"]
    assert _count(desk) == 1
    assert _propose(desk.browser("admin"), "key-1").status_code == 201
    assert _count(desk) == 2


def test_a_key_that_is_none_is_refused(desk: Desk) -> None:
    """An empty, overlong or blank key is an error of its own, and nothing happens."""
    browser = desk.browser("dev-a")
    for key in ("", " ", "k" * 256, "with space"):
        refused = _propose(browser, key)
        assert (refused.status_code, refused.json()["code"]) == (422, "idempotency-key-bad"), key
    assert _count(desk) == 0


def test_what_was_refused_is_judged_anew(desk: Desk) -> None:
    """A refusal that wrote nothing does not use the key up; one after something was written is given again."""
    browser = desk.browser("dev-a")
    bad = _propose(browser, "key-1", "kind: Change")
    assert bad.status_code == 422
    assert _propose(browser, "key-1").status_code == 201
    unknown = CHANGE.replace("flag: {name: tax.engine", "flag: {name: no.such")
    kept = _propose(browser, "key-2", unknown, submit="true")
    again = _propose(browser, "key-2", unknown, submit="true")
    assert kept.status_code == again.status_code
    assert kept.json()["code"] not in ("idempotency-in-progress", "answer-lost")
    assert again.content == kept.content
    assert again.headers["idempotency-replayed"] == "true"
    assert _count(desk) == 2


def test_at_once_is_done_once(desk: Desk) -> None:
    """Six requests with one key at the same moment make one change; the others are told to ask again, and then told of it."""
    browser = desk.browser("dev-a")
    start = threading.Barrier(6)
    answers: list[httpx.Response] = []

    def send() -> None:
        start.wait(20)
        answers.append(_propose(browser, "key-1"))

    threads = [threading.Thread(target=send) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert _count(desk) == 1
    made = {answer.json()["id"] for answer in answers if answer.status_code == 201}
    assert len(made) == 1
    waiting = [answer for answer in answers if answer.status_code != 201]
    assert {answer.json()["code"] for answer in waiting} <= {"idempotency-in-progress"}
    assert all(answer.headers["retry-after"] for answer in waiting)
    assert _propose(browser, "key-1").json()["id"] in made


def test_a_crash_between_commit_and_answer_does_not_repeat_the_act(desk: Desk, clock: ManualClock) -> None:
    """The act and its key are one transaction: a retry after a crash finds the key, and says that the answer is lost."""
    browser = desk.browser("dev-a")
    failpoints.arm("store.after_commit")
    assert _propose(browser, "key-1").status_code == 500
    failpoints.disarm()
    assert _count(desk) == 1
    soon = _propose(browser, "key-1")
    assert (soon.status_code, soon.json()["code"]) == (409, "idempotency-in-progress")
    clock.advance(31)
    later = _propose(browser, "key-1")
    assert (later.status_code, later.json()["code"], _count(desk)) == (409, "answer-lost", 1)


def test_a_crash_before_the_commit_uses_nothing_up(desk: Desk) -> None:
    """What was undone may be sent again with its key, and happens then."""
    browser = desk.browser("dev-a")
    failpoints.arm("store.before_commit")
    assert _propose(browser, "key-1").status_code == 500
    failpoints.disarm()
    assert _count(desk) == 0
    assert _propose(browser, "key-1").status_code == 201
    assert _count(desk) == 1


def test_a_secret_is_shown_once(desk: Desk) -> None:
    """The answer that holds a token's secret is kept nowhere; a retry makes no second token and says how to get one."""
    browser = desk.browser("admin")
    wanted = {"label": "of a test", "scopes": ["read"], "personal": True, "days": 1}
    before = len(browser.get("/api/v1/tokens").json()["items"])
    issued = browser.post("/api/v1/tokens", json=wanted, headers={"Idempotency-Key": "key-1"})
    assert issued.status_code == 201
    with desk.house.store.read() as connection:
        row = connection.execute(sa.select(idempotency)).one()
    assert row.status is row.headers is row.body is None
    assert "key-1" not in repr(row)
    assert browser.post("/api/v1/tokens", json=wanted, headers={"Idempotency-Key": "key-1"}).status_code == 409
    assert len(browser.get("/api/v1/tokens").json()["items"]) == before + 1


def test_keys_end(desk: Desk, clock: ManualClock) -> None:
    """After a day a key is free again and its row is swept, so the table does not grow for ever."""
    token = desk.bearer(desk.token("dev-a", scopes=["read", "changes.write"], days=30))
    assert _propose(token, "key-1").status_code == 201
    clock.advance(LIFE.total_seconds())
    assert _propose(token, "key-1").status_code == 201
    assert _propose(token, "key-2").status_code == 201
    with desk.house.store.read() as connection:
        assert len(connection.execute(sa.select(idempotency)).all()) == 2
    assert _count_by(token) == 2 + 1


def _count_by(client: httpx.Client) -> int:
    return len(client.get("/api/v1/changes").json()["items"])
