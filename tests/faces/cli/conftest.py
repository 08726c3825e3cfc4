from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.faces.api.desk import BASE, Desk, InMemory

from airboss.faces.cli.app import run
from airboss.faces.cli.client import Api
from airboss.faces.cli.config import Reach
from airboss.faces.cli.options import WAY
from airboss.testing import ManualClock, SeededChance


@dataclass(frozen=True)
class Ran:
    """What became of one command."""

    code: int
    out: str
    err: str

    def json(self) -> Any:
        return json.loads(self.out)


Airboss = Callable[..., Ran]


class Turning(InMemory):
    """Asks the API in memory; with each answer a second passes and the tower looks, as a running server's does."""

    def __init__(self, desk: Desk) -> None:
        super().__init__(desk.app)
        self._desk = desk

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/events"):
            raise httpx.ConnectError("nothing streams from memory")
        answer = super().handle_request(request)
        assert isinstance(self._desk.house.clock, ManualClock)
        self._desk.house.clock.advance(1)
        self._desk.turn()
        return answer


@pytest.fixture(autouse=True)
def _own_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No test reads the settings of whoever runs it, and none leaves its server to the next."""
    monkeypatch.setenv("AIRBOSS_CONFIG", str(tmp_path / "config" / "cli.json"))
    for name in ("AIRBOSS_SERVER", "AIRBOSS_TOKEN", "NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("COLUMNS", "80")
    WAY._api = None
    yield
    WAY._api = None


@pytest.fixture
def airboss(capsys: pytest.CaptureFixture[str]) -> Airboss:
    """Run a command in this process."""

    def ran(*arguments: str) -> Ran:
        capsys.readouterr()
        code = run(list(arguments))
        said = capsys.readouterr()
        return Ran(code, said.out, said.err)

    return ran


@pytest.fixture
def desk(tmp_path: Path, clock: ManualClock, chance: SeededChance) -> Iterator[Desk]:
    """A house with an organisation, its people and its API in memory."""
    opened = Desk(tmp_path, clock, chance)
    yield opened.organised()
    opened.close()


@pytest.fixture
def become(desk: Desk) -> Callable[[str], None]:
    """Let the next commands be run by somebody, with a token of theirs."""

    def be(handle: str, *scopes: str) -> None:
        wanted = list(scopes) or ["read", "changes.write", "operate", "approve"] + ["admin"] * (handle == "admin")
        reach = Reach(server=BASE, token=desk.token(handle, scopes=wanted), source="a test")
        WAY._api = Api(reach, transport=Turning(desk))

    return be


@pytest.fixture
def record(desk: Desk, tmp_path: Path) -> Path:
    """A copy of a data folder with a signed record in it."""
    desk.proposed()
    desk.house.store.sequence()
    desk.house.checkpoints.write_now()
    copy = tmp_path / "copy"
    copy.mkdir()
    source, target = sqlite3.connect(tmp_path / "data" / "airboss.db"), sqlite3.connect(copy / "airboss.db")
    source.backup(target)
    source.close()
    target.close()
    return copy
