"""One server to a data folder."""

from __future__ import annotations

import stat
from dataclasses import replace
from pathlib import Path

import pytest

from airboss.bootstrap import open_folder
from airboss.faces.server.single import alone
from airboss.kernel.errors import Refused
from airboss.kernel.settings import Settings


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data=tmp_path)


@pytest.mark.parametrize(
    ("first", "second"), [((True, True), (True, True)), ((True, True), (False, True)), ((True, False), (True, False))]
)
def test_a_second_server_on_a_folder_is_refused(
    settings: Settings, first: tuple[bool, bool], second: tuple[bool, bool]
) -> None:
    """Whoever comes second to a folder's embedded databases is told so, and may come when the first has ended."""
    with (
        alone(settings, control=first[0], ingest=first[1]),
        pytest.raises(Refused, match="another server") as caught,
        alone(settings, control=second[0], ingest=second[1]),
    ):
        pass
    assert caught.value.code == "folder-in-use"
    assert caught.value.way_out is not None
    with alone(settings, control=second[0], ingest=second[1]):
        pass


def test_control_and_ingest_share_a_folder(settings: Settings) -> None:
    """The two roles started apart stand in nobody's way."""
    with alone(settings, control=True, ingest=False), alone(settings, control=False, ingest=True):
        pass


def test_servers_of_one_postgresql_work_side_by_side(settings: Settings) -> None:
    """The folder is held only where the data lies in it."""
    shared = replace(settings, database="postgresql://db/airboss")
    with alone(shared, control=True, ingest=True), alone(shared, control=True, ingest=True):
        pass


def test_databases_are_for_their_owner_only(tmp_path: Path) -> None:
    """In a folder that others may enter, the files with people and password hashes are still closed to them."""
    folder = tmp_path / "open"
    folder.mkdir()
    folder.chmod(0o755)
    open_folder(Settings(data=folder))
    for name in ("airboss.db", "telemetry.db"):
        assert stat.S_IMODE((folder / name).stat().st_mode) == 0o600
