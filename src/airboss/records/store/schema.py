"""The shared table registry and the column types that mean the same on both databases."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, Boolean, Column, Dialect, MetaData, Table, Text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.types import TypeDecorator

from airboss.kernel.clock import from_micros, to_micros

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
    }
)


class Instant(TypeDecorator[datetime]):
    """An aware UTC time, kept as microseconds since 1970 so that both databases compare and round alike."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> int | None:  # noqa: ARG002
        return None if value is None else to_micros(value)

    def process_result_value(self, value: Any | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        return None if value is None else from_micros(int(value))


subject = Table(
    "subject",
    metadata,
    Column("subject", Text, primary_key=True),
    Column("seq", BigInteger, nullable=False),
    Column("closed", Boolean, nullable=False),
    # Written by the journal with each fact that carries one; what the state row must digest to.
    Column("state_digest", Text),
)
"""One row for each thing facts are about; its lock orders the writers of that thing."""


def upsert(table: Table, dialect: str) -> sqlite.Insert | postgresql.Insert:
    """Return the insert of a dialect that knows `on_conflict_do_nothing` and `on_conflict_do_update`."""
    return sqlite.insert(table) if dialect == "sqlite" else postgresql.insert(table)
