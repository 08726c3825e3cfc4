"""A command whose answer is lost on the way sends the same act again with the same key, and it is done once."""

from __future__ import annotations

import httpx
import pytest
from tests.faces.api.desk import BASE, CHANGE, Desk, InMemory

from airboss.faces.cli.client import Api
from airboss.faces.cli.config import Reach
from airboss.faces.cli.exit_codes import Exit
from airboss.faces.cli.problems import Problem


class Breaking(httpx.BaseTransport):
    """A network that delivers every request, and loses the first answers to POSTs; then, perhaps, is gone."""

    def __init__(self, desk: Desk, *, lost: int, gone: bool = False) -> None:
        self._inner = InMemory(desk.app)
        self._lost = lost
        self._gone = gone

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        if request.method == "POST" and self._lost == 0 and self._gone:
            raise httpx.ConnectError("connection refused")
        answer = self._inner.handle_request(request)
        if request.method == "POST" and self._lost:
            self._lost -= 1
            raise httpx.ReadError("connection reset by peer")
        return answer


@pytest.fixture
def secret(desk: Desk) -> str:
    return desk.token("admin", scopes=["read", "changes.write"])


def _api(secret: str, network: Breaking) -> Api:
    return Api(Reach(server=BASE, token=secret, source="test"), transport=network)


def test_a_lost_answer_is_asked_for_again(desk: Desk, secret: str) -> None:
    """Two answers lost: the third try is told what the first one did, and there is one change."""
    api = _api(secret, Breaking(desk, lost=2))
    made = api.post("/changes", text=CHANGE)
    assert [one["id"] for one in api.get("/changes")["items"]] == [made["id"]]


def test_a_server_that_is_gone_after_it_took_the_act_leaves_the_outcome_unknown(desk: Desk, secret: str) -> None:
    """When no try is answered the command says that it may have happened, not that nothing did."""
    api = _api(secret, Breaking(desk, lost=1, gone=True))
    with pytest.raises(Problem, match="may have happened") as told:
        api.post("/changes", text=CHANGE)
    assert told.value.exit_code is Exit.UNKNOWN
    assert len(api.get("/changes")["items"]) == 1
