"""The journal: one append-only order of facts, written in the transaction that makes them true.

Every service records through `Journal.record`; timelines, the outbox, notifications, analytics and the audit read.
"""

from airboss.records.journal.journal import Journal
from airboss.records.journal.merkle import EMPTY_ROOT, Frontier, leaf_hash, node_hash
from airboss.records.journal.model import FORMAT, Fact, StoredFact
from airboss.records.journal.tables import blob, checkpoint, cursor, entry, fact, head, log, pending
from airboss.records.journal.timekeeping import Timekeeping

__all__ = [
    "EMPTY_ROOT",
    "FORMAT",
    "Fact",
    "Frontier",
    "Journal",
    "StoredFact",
    "Timekeeping",
    "blob",
    "checkpoint",
    "cursor",
    "entry",
    "fact",
    "head",
    "leaf_hash",
    "log",
    "node_hash",
    "pending",
]
