"""Every fault of a file over HTTP: one clear error with place and way out, nothing changed, nothing lost."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

import pytest
from tests.faces.api.desk import Desk
from tests.faces.bad_files import BAD, STOCK, Bad


def facts(desk: Desk) -> Counter[str]:
    """Everything recorded, counted by type."""
    with desk.house.store.read() as connection:
        return Counter(kind for (kind,) in connection.exec_driver_sql("select type from fact"))


def clear(problem: dict[str, Any], bad: Bad) -> None:
    """One error that names the thing, the place and the way out, and shows nothing of how we are built."""
    assert problem["code"] == bad.code, problem
    assert bad.says in problem["detail"], problem
    assert re.search(r":\d+:\d+$", problem["place"]), problem
    assert problem["way_out"], problem
    assert not re.search(r"Traceback|\.py\b|pydantic|sqlalchemy", str(problem)), problem


@pytest.mark.parametrize("bad", BAD, ids=lambda bad: bad.name)
def test_what_is_written_wrong_is_told_and_changes_nothing(desk: Desk, bad: Bad) -> None:
    """Place, reason and way out; at most the draft is kept, so that what was written can be mended."""
    desk.organised()
    assert desk.apply(STOCK).status_code == 200
    before = facts(desk)
    if bad.applied:
        answer = desk.apply(bad.text)
    else:
        answer = desk.browser("dev-a").post(
            "/api/v1/changes?submit=true", content=bad.text, headers={"Content-Type": "application/yaml"}
        )
    assert answer.status_code in (409, 422), answer.text
    clear(answer.json(), bad)
    assert facts(desk) - before == (Counter({"change.drafted": 1}) if bad.draft else Counter())
    kept = desk.browser("dev-a").get("/api/v1/changes").json()["items"]
    assert [one["phase"] for one in kept] == (["draft"] if bad.draft else [])
