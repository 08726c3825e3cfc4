"""Brings a database to this version's schema.

Revisions lie in `versions/`, written by `python -m airboss.records.store.migrations.draft` and then frozen: they name
plain column types and import nothing of ours. The schema expands first and contracts one release later.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

import sqlalchemy as sa
from sqlalchemy import Connection

from airboss.kernel.errors import Refused
from airboss.records.store.schema import metadata

if TYPE_CHECKING:
    from alembic.script import ScriptDirectory

FOLDER: Final = Path(__file__).parent
_ONE_AT_A_TIME: Final = 0x61697262  # an advisory lock's number: "airb"


def upgrade(connection: Connection) -> None:
    """Run the revisions a database lacks, in the caller's transaction.

    Raises Refused: `database-newer` for a database that a newer version of Airboss has already changed,
    `database-unversioned` for one whose tables nobody numbered.
    """
    if _is_at(connection, _newest()):
        return
    # Imported here because the toolkit takes a tenth of a second to load, and only a database that lacks something needs it.
    from alembic.config import Config  # noqa: PLC0415
    from alembic.runtime.environment import EnvironmentContext  # noqa: PLC0415

    script = revisions()
    if connection.dialect.name == "postgresql":
        # Servers that start together take turns; a long revision is not a stuck statement.
        connection.exec_driver_sql("SET LOCAL statement_timeout = 0")
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_ONE_AT_A_TIME})")
    if not script.get_heads():
        metadata.create_all(connection)
        return
    known = {revision.revision for revision in script.walk_revisions()}
    if unknown := [revision for revision in current(connection) if revision not in known]:
        raise Refused(
            f"the database is at revision {', '.join(unknown)}, which this version of Airboss does not know",
            code="database-newer",
            way_out="start the newer version again, or restore the backup taken before it",
        )
    if not current(connection) and sa.inspect(connection).has_table("fact"):
        raise Refused(
            "the database has tables of Airboss but no revision",
            code="database-unversioned",
            way_out="it was made by an unreleased version; start with an empty one",
        )
    with EnvironmentContext(Config(), script, fn=lambda at, _: script._upgrade_revs("head", at)) as environment:  # noqa: SLF001 - as Alembic's own command does
        environment.configure(connection=connection, target_metadata=metadata)
        environment.run_migrations()


def _newest() -> str | None:
    """Return the newest revision of this version, which its file's name begins with."""
    return max((path.name.partition("_")[0] for path in (FOLDER / "versions").glob("[0-9]*_*.py")), default=None)


def _is_at(connection: Connection, revision: str | None) -> bool:
    """Return whether the database says that it is at this one revision."""
    if revision is None or not sa.inspect(connection).has_table("alembic_version"):
        return False
    return connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalars().all() == [revision]


def current(connection: Connection) -> tuple[str, ...]:
    """Return the revisions a database is at; none for an empty one."""
    from alembic.runtime.migration import MigrationContext  # noqa: PLC0415

    return MigrationContext.configure(connection).get_current_heads()


def revisions() -> ScriptDirectory:
    """Return the revisions of this version."""
    from alembic.script import ScriptDirectory  # noqa: PLC0415

    return ScriptDirectory(str(FOLDER))
