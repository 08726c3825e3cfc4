"""The schema: made from nothing or brought to head, guarded, and refused when it is from the future."""

from __future__ import annotations

import importlib.util
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from airboss.kernel.errors import Refused
from airboss.records.store import Store, migrations, open_store
from airboss.records.store.migrations import draft
from airboss.testing import ManualClock


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of revisions of this test's own."""
    monkeypatch.setattr(migrations, "FOLDER", tmp_path / "migrations")
    (tmp_path / "migrations" / "versions").mkdir(parents=True)
    return tmp_path / "migrations" / "versions"


@pytest.fixture
def template_of_databases() -> str:
    """An empty database: the schema is what is made here."""
    return "template1"


@pytest.fixture
def store(store_url: str, clock: ManualClock) -> Iterator[Store]:
    """A store nobody has created the schema of yet."""
    opened = open_store(store_url, clock=clock)
    yield opened
    opened.close()


def _tables(store: Store) -> set[str]:
    with store.read() as connection:
        return set(sa.inspect(connection).get_table_names())


def test_creating_twice_is_harmless(store: Store):
    """A server that starts on a database of its own version changes nothing."""
    store.create()
    before = _tables(store)
    store.create()
    assert _tables(store) == before
    assert {"fact", "entry", "head", "pending", "subject", "checkpoint"} <= before


def test_two_servers_may_start_at_once(store_url: str, clock: ManualClock):
    """Servers that create the schema of one empty database together take turns."""
    stores = [open_store(store_url, clock=clock) for _ in range(3)]
    raised: list[BaseException] = []

    def start(store: Store) -> None:
        try:
            store.create()
        except BaseException as fault:  # noqa: BLE001 - handed to the test
            raised.append(fault)

    threads = [threading.Thread(target=start, args=(store,)) for store in stores]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert raised == []
    assert "fact" in _tables(stores[0])
    for each in stores:
        each.close()


def test_the_drafted_revision_gives_the_tables_the_rooms_define(folder: Path, store: Store):
    """A database made by the drafted first revision differs in nothing from the registry, and its guards hold."""
    path = draft.write(None, folder=folder)
    assert path.name == "0001_first.py"
    assert "airboss" not in path.read_text().replace("airboss_insert_only", "")
    store.create()
    store.create()
    with store.write() as tx:
        assert migrations.current(tx.connection) == ("0001",)
        assert draft.difference(tx.connection).ops == []
    with store.write() as tx:
        tx.execute(sa.text("INSERT INTO entry (position, fact_id, leaf) VALUES (0, 'x', :leaf)"), {"leaf": b""})
    with pytest.raises(IntegrityError, match="insert-only"), store.write() as tx:
        tx.execute(sa.text("DELETE FROM entry"))


def test_our_revisions_give_the_tables_the_rooms_define(store: Store):
    """A database at this version's head differs in nothing from what the rooms define.

    When this fails, write the difference down: python -m airboss.records.store.migrations.draft [what changes]
    """
    draft.every_table()
    store.create()
    with store.write() as tx:
        assert draft.difference(tx.connection).as_diffs() == []


def test_the_newest_revision_is_known_by_its_file(store: Store):
    """The name of the newest file is the one head, so that a start of a database there loads no toolkit."""
    store.create()
    newest = migrations._newest()
    assert migrations.revisions().get_heads() == [newest]
    with store.read() as connection:
        assert migrations._is_at(connection, newest)
        assert not migrations._is_at(connection, "0000")


def test_tables_nobody_numbered_are_refused(folder: Path, store: Store):
    """Tables without a revision are of no released version: nothing is guessed, nothing is changed."""
    store.create()  # while there are no revisions, the tables are made as they are
    draft.write(None, folder=folder)
    with pytest.raises(Refused) as told:
        store.create()
    assert told.value.code == "database-unversioned"


def test_a_later_revision_runs_on_what_the_first_made(folder: Path, store: Store):
    """A database at the first revision is brought to the second with its rows kept."""
    draft.write(None, folder=folder)
    store.create()
    with store.write() as tx:
        tx.execute(sa.text("INSERT INTO cursor (reader, position) VALUES ('outbox', 7)"))
    (folder / "0002_more.py").write_text(
        "import sqlalchemy as sa\nfrom alembic import op\nrevision, down_revision = '0002', '0001'\n"
        "branch_labels = depends_on = None\n"
        "def upgrade():\n    op.add_column('cursor', sa.Column('note', sa.Text()))\n"
    )
    store.create()
    with store.read() as connection:
        assert connection.execute(sa.text("SELECT reader, position, note FROM cursor")).one() == ("outbox", 7, None)
        assert migrations.current(connection) == ("0002",)


def test_a_database_of_a_newer_version_is_refused_untouched(folder: Path, store: Store):
    """A revision we do not know: nothing is changed, and the refusal says what to do."""
    draft.write(None, folder=folder)
    store.create()
    with store.write() as tx:
        tx.execute(sa.text("UPDATE alembic_version SET version_num = '0999'"))
    before = _tables(store)
    with pytest.raises(Refused) as told:
        store.create()
    assert (told.value.code, bool(told.value.way_out)) == ("database-newer", True)
    assert "0999" in str(told.value)
    assert _tables(store) == before


def test_a_revision_that_fails_leaves_nothing_half_done(folder: Path, store: Store):
    """The second statement of a revision fails: the first is undone with it, and the version stays."""
    draft.write(None, folder=folder)
    store.create()
    (folder / "0002_bad.py").write_text(
        "import sqlalchemy as sa\nfrom alembic import op\nrevision, down_revision = '0002', '0001'\n"
        "branch_labels = depends_on = None\n"
        "def upgrade():\n    op.create_table('half', sa.Column('id', sa.Text()))\n    op.drop_table('no_such_table')\n"
    )
    with pytest.raises(sa.exc.DBAPIError):
        store.create()
    assert "half" not in _tables(store)
    with store.read() as connection:
        assert migrations.current(connection) == ("0001",)


def test_a_draft_that_would_say_nothing_is_not_written(folder: Path):
    """When revisions and tables agree there is no second revision; and a first is not written over later ones."""
    draft.write(None, folder=folder)
    with pytest.raises(SystemExit, match="nothing to write"):
        draft.write("nothing", folder=folder)
    (folder / "0002_more.py").write_text(
        "revision, down_revision = '0002', '0001'\nbranch_labels = depends_on = None\ndef upgrade():\n    pass\n"
    )
    with pytest.raises(SystemExit, match="later revisions"):
        draft.write(None, folder=folder)


def test_a_drafted_revision_is_readable_python(folder: Path):
    """The file loads on its own, names its place in the line, and refuses to go back."""
    path = draft.write(None, folder=folder)
    spec = importlib.util.spec_from_file_location("drafted", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert (module.revision, module.down_revision) == ("0001", None)
    with pytest.raises(NotImplementedError):
        module.downgrade()
