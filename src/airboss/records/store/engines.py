"""How connections are made, and what each of them is told first."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy import Engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import SQLAlchemyError

from airboss.kernel.errors import Invalid

STATEMENT_MOST_MS: Final = 5_000
CONNECTION_WAIT_S: Final = 5.0
POOL: Final = {"pool_size": 8, "max_overflow": 32, "pool_timeout": CONNECTION_WAIT_S}


def parse(url: str) -> URL:
    """Return the address of a database we know. Raises Invalid."""
    way_out = "use sqlite:////folder/airboss.db or postgresql://user@host/name"
    try:
        parsed = make_url(url)
        backend = parsed.get_backend_name()
    except SQLAlchemyError as fault:
        raise Invalid("the database address cannot be read", code="bad-database-url", way_out=way_out) from fault
    if backend == "sqlite":
        if not parsed.database or parsed.database == ":memory:":
            raise Invalid("SQLite needs a file", code="bad-database-url", way_out=way_out)
        folder = Path(parsed.database).parent
        if not folder.is_dir():
            raise Invalid(f"the data folder {folder} does not exist", code="bad-data-folder", way_out="create it first")
        return parsed
    if backend == "postgresql":
        return parsed.set(drivername="postgresql+psycopg")
    raise Invalid(f"{backend} is not a database we know", code="bad-database-url", way_out=way_out)


def sqlite_engine(url: URL, *, read_only: bool) -> Engine:
    """Return an engine that leaves BEGIN and COMMIT to us: a pool for readers, single connections for the writer."""
    engine = sa.create_engine(
        url,
        isolation_level="AUTOCOMMIT",
        poolclass=sa.QueuePool if read_only else sa.NullPool,
        connect_args={"check_same_thread": False, "timeout": CONNECTION_WAIT_S},
        **(POOL if read_only else {}),
    )

    @event.listens_for(engine, "connect")
    def _prepare(connection: Any, _: Any) -> None:
        cursor = connection.cursor()
        cursor.execute("PRAGMA foreign_keys = ON")
        if read_only:
            cursor.execute("PRAGMA query_only = ON")
        else:
            cursor.execute("PRAGMA journal_mode = WAL")
            cursor.execute("PRAGMA synchronous = FULL")
            # So that INSERT OR REPLACE meets the triggers of insert-only tables too.
            cursor.execute("PRAGMA recursive_triggers = ON")
        cursor.close()

    return engine


def postgresql_engine(url: URL, *, read_only: bool) -> Engine:
    """Return a pool. Readers see one snapshot (repeatable read, read only), writers what others have committed.

    Timeouts and keepalives bound how long a dead holder of a lock can keep the others waiting.
    """
    options = {
        "statement_timeout": STATEMENT_MOST_MS,
        "idle_in_transaction_session_timeout": STATEMENT_MOST_MS,
        "timezone": "UTC",
        "default_transaction_isolation": "repeatable\\ read" if read_only else "read\\ committed",
        "default_transaction_read_only": "on" if read_only else "off",
        "application_name": "airboss",
    }
    return sa.create_engine(
        url,
        pool_pre_ping=True,
        connect_args={
            "options": " ".join(f"-c {name}={value}" for name, value in options.items()),
            "connect_timeout": int(CONNECTION_WAIT_S),
            "keepalives_idle": 5,
            "keepalives_interval": 2,
            "keepalives_count": 2,
        },
        **POOL,
    )
