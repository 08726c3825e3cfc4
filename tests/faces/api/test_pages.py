"""Lists in pages: walking them gives the whole list, whatever comes and goes between two of them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.faces.api.desk import CHANGE, Desk

from airboss.faces.api.pages import Part, cursor_of, key_of, paged
from airboss.kernel.errors import Invalid

keys = st.tuples(st.text(max_size=8), st.integers())


def by(row: Any) -> tuple[str | int, ...]:
    return (row["name"], row["at"])


def rows_of(found: set[tuple[str, int]]) -> list[dict[str, Any]]:
    return [{"name": name, "at": at} for name, at in found]


@given(st.sets(keys, max_size=40), st.integers(1, 7), st.booleans())
def test_walking_the_pages_gives_exactly_the_list(found: set[tuple[str, int]], limit: int, newest: bool) -> None:
    """Every row stands on one page, in the list's order, and no page but the last is short."""
    rows, cursor, pages = rows_of(found), None, []
    while True:
        page = paged(rows, Part(cursor, limit), by=by, newest_first=newest)
        pages.append(page["items"])
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert [by(row) for page in pages for row in page] == sorted(found, reverse=newest)
    assert all(len(page) == limit for page in pages[:-1])


@given(st.sets(keys, min_size=2, max_size=30), st.data())
def test_what_comes_and_goes_between_pages_moves_nothing_else(found: set[tuple[str, int]], data: st.DataObject) -> None:
    """A row that was there all the time is seen once, however many others came or went, the cursor's own too."""
    stays = data.draw(st.sets(st.sampled_from(sorted(found)), min_size=1))
    present, cursor, seen = set(found), None, []
    while True:
        page = paged(rows_of(present), Part(cursor, 2), by=by)
        seen += [by(row) for row in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
        present = stays | {one for one in present if data.draw(st.booleans())} | data.draw(st.sets(keys, max_size=3))
        if len(seen) > 200:
            break  # the strategy feeds the list for ever
    assert len(set(seen)) == len(seen)
    if cursor is None:
        assert stays <= set(seen)


@given(st.lists(st.one_of(st.text(max_size=20), st.integers()), min_size=1, max_size=4))
def test_a_cursor_gives_back_what_it_names(key: list[str | int]) -> None:
    """What a list is ordered by comes through an address unharmed."""
    cursor = cursor_of(tuple(key))
    assert key_of(cursor) == tuple(key)
    assert cursor.isascii()


@given(st.text(max_size=40))
def test_a_strange_cursor_is_refused_at_its_place(text: str) -> None:
    """Whatever is no cursor of the list is refused as `bad-cursor`, never a fault of ours."""
    with pytest.raises(Invalid) as refused:
        paged(rows_of({("a", 1), ("b", 2)}), Part(f"{text}!", 1), by=by)
    assert (refused.value.code, refused.value.place) == ("bad-cursor", "cursor")


def walked(client: Any, path: str, limit: int) -> list[Any]:
    items, cursor = [], None
    while True:
        given_ = {"limit": limit} | ({} if cursor is None else {"cursor": cursor})
        page = client.get(path, params=given_)
        assert page.status_code == 200, page.text
        items += page.json()["items"]
        assert len(page.json()["items"]) <= limit
        cursor = page.json()["next_cursor"]
        if cursor is None:
            return items


def lists(desk: Desk) -> list[str]:
    """Every GET route that takes a cursor."""
    paths = desk.app.openapi()["paths"]
    return [
        path
        for path, methods in paths.items()
        if "cursor" in {one["name"] for one in methods.get("get", {}).get("parameters", [])}
    ]


def test_every_list_comes_in_pages(desk: Desk) -> None:
    """Each route that answers `items` has `cursor`, `limit` and `next_cursor`; its pages together are the whole list."""
    desk.organised()
    for number in range(3):
        desk.proposed(CHANGE.replace("everybody", f"group {number}"))
    for label in "abc":
        desk.token("admin", label=label)
    admin = desk.browser("admin")
    change = admin.get("/api/v1/changes").json()["items"][0]["id"]
    found = lists(desk)
    filled = 0
    for template in found:
        path = template.replace("{change}", change)
        whole = admin.get(path).json()
        assert whole["next_cursor"] is None, path
        assert walked(admin, path, 1) == walked(admin, path, 2) == whole["items"], path
        filled += len(whole["items"]) > 1
        assert admin.get(path, params={"cursor": "x"}).status_code == 422, path
        assert admin.get(path, params={"limit": 0}).status_code == 422, path
    assert filled >= 6
    for template in desk.app.openapi()["paths"]:
        path = template.replace("{change}", change)
        if "{" in path or path.endswith(("/events", "/sse", "/stream", "/export")):
            continue
        answer = admin.get(path, params={"gate": "data", "from": 0})
        if answer.status_code == 200 and answer.headers["content-type"] == "application/json":
            assert ("items" in answer.json()) <= (template in found), template


@pytest.mark.parametrize("cursor", ["WyJhIiwxXQ", "WyJhIl0", "Wy01XQ", "W10", "e30"])
def test_a_cursor_of_another_list_is_refused(desk: Desk, cursor: str) -> None:
    """The journal does not go on from where a list of names stood."""
    answer = desk.browser("admin").get("/api/v1/audit/entries", params={"cursor": cursor})
    assert (answer.status_code, answer.json()["code"]) == (422, "bad-cursor")
