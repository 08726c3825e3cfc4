"""The database: short write transactions, snapshot reads, one schema on SQLite and PostgreSQL.

Every service calls `Store.write` for a use case and `Store.read` for a view. Rooms define their tables on `metadata`.
"""

from airboss.records.store.engine import Store, Tx, open_store
from airboss.records.store.schema import Instant, metadata, upsert

__all__ = ["Instant", "Store", "Tx", "metadata", "open_store", "upsert"]
