"""The database: short write transactions, snapshot reads, one schema on SQLite and PostgreSQL.

Every service calls `Store.write` for a use case and `Store.read` for a view. Rooms define their tables on `metadata`.
"""

from airboss.records.store.engine import LeaseClock, Store, open_store
from airboss.records.store.engines import parse
from airboss.records.store.schema import Instant, Kind, insert_only, metadata, subject, upsert
from airboss.records.store.tx import Tx

__all__ = [
    "Instant",
    "Kind",
    "LeaseClock",
    "Store",
    "Tx",
    "insert_only",
    "metadata",
    "open_store",
    "parse",
    "subject",
    "upsert",
]
