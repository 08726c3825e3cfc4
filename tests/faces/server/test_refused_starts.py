"""A server that cannot start says why in three lines at most, ends with its documented code, and changes nothing."""

from __future__ import annotations

import socket
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from airboss.bootstrap import KEY_FILE, build, open_folder
from airboss.decide.policy import InlineEngine
from airboss.faces.cli.exit_codes import Exit
from airboss.kernel.settings import DATABASE_FILE, Settings


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A folder in which a server has run before."""
    settings = Settings(data=tmp_path / "data")
    open_folder(settings)
    build(settings, engine=InlineEngine()).close()
    return settings.data


def _refused(data: Path, *more: str) -> tuple[int, list[str]]:
    command = [sys.executable, "-m", "airboss.faces.cli", "serve", "--data", str(data), "--ingest-port", "0", *more]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout == ""
    lines = done.stderr.splitlines()
    assert len(lines) <= 3
    assert "Traceback" not in done.stderr
    return done.returncode, lines


def test_a_taken_port_is_named(data: Path) -> None:
    """The port, and the option that names another."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        code, lines = _refused(data, "--port", port)
    assert code == Exit.REFUSED
    assert lines[0] == "Refused (port-taken)"
    assert port in lines[1]
    assert "--port N" in lines[2]


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    """The folder, why, and the option that names another."""
    (tmp_path / "file").write_text("in the way")
    code, lines = _refused(tmp_path / "file" / "data", "--port", "0")
    assert code == Exit.USAGE
    assert lines[0] == "Not understood (bad-data-folder)"
    assert str(tmp_path / "file" / "data") in lines[1]
    assert "--data" in lines[2]


def test_a_database_of_a_newer_version_is_left_alone(data: Path) -> None:
    """Its revision is named, it stays as it is, and the way out is the newer version or the backup before it."""
    with sqlite3.connect(data / DATABASE_FILE) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    code, lines = _refused(data, "--port", "0")
    with sqlite3.connect(data / DATABASE_FILE) as connection:
        assert connection.execute("SELECT version_num FROM alembic_version").fetchall() == [("9999",)]
    assert code == Exit.REFUSED
    assert lines[0] == "Refused (database-newer)"
    assert "9999" in lines[1]
    assert "backup" in lines[2]


def test_a_missing_signing_key_is_not_replaced(data: Path) -> None:
    """The file that is missing, the ways out, and no new key in its place."""
    (data / KEY_FILE).unlink()
    code, lines = _refused(data, "--port", "0")
    assert code == Exit.REFUSED
    assert lines[0] == "Refused (key-missing)"
    assert "audit new-key" in lines[2]
    assert not (data / KEY_FILE).exists()
