"""The shared table registry, the column types that mean the same on both databases, and tables nothing may rewrite."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final, Literal, Protocol, TypeAlias

from sqlalchemy import BigInteger, Boolean, Column, Connection, Dialect, MetaData, Table, Text, event
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.types import TypeDecorator

from airboss.kernel.clock import from_micros, to_micros

Kind: TypeAlias = Literal["sqlite", "postgresql"]

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


class _HasDialect(Protocol):
    @property
    def dialect(self) -> Kind: ...


def upsert(table: Table, on: _HasDialect | str) -> sqlite.Insert | postgresql.Insert:
    """Return the insert that knows `on_conflict_do_nothing` and `on_conflict_do_update`, for a Tx or a dialect name."""
    dialect = on if isinstance(on, str) else on.dialect
    return sqlite.insert(table) if dialect == "sqlite" else postgresql.insert(table)


INSERT_ONLY: Final = "insert_only"
"""Key in `Table.info` of a table that may only grow."""


def insert_only(table: Table) -> Table:
    """Mark a table that may only grow: UPDATE, DELETE and TRUNCATE are refused by the database itself.

    The guard stops mistakes and grants that are too wide; against an owner of the database stands the audit.
    """
    table.info[INSERT_ONLY] = True

    def _guard(created: Table, connection: Connection, **_: object) -> None:
        for statement in guard_statements(created.name, "sqlite" if connection.dialect.name == "sqlite" else "pg"):
            connection.exec_driver_sql(statement)

    event.listen(table, "after_create", _guard)
    return table


def guard_statements(table: str, dialect: Literal["sqlite", "pg"]) -> list[str]:
    """Return the statements that make a table insert-only."""
    if dialect == "sqlite":
        return [
            f"CREATE TRIGGER {table}_no_{act.lower()} BEFORE {act} ON {table} "
            f"BEGIN SELECT RAISE(ABORT, '{table} is insert-only'); END"
            for act in ("UPDATE", "DELETE")
        ]
    refuse = (
        "CREATE OR REPLACE FUNCTION airboss_insert_only() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION USING MESSAGE = TG_TABLE_NAME || ' is insert-only', "
        "ERRCODE = 'restrict_violation'; END $$"
    )
    act = "EXECUTE FUNCTION airboss_insert_only()"
    return [
        refuse,
        f"CREATE TRIGGER {table}_no_change BEFORE UPDATE OR DELETE ON {table} FOR EACH ROW {act}",
        f"CREATE TRIGGER {table}_no_truncate BEFORE TRUNCATE ON {table} FOR EACH STATEMENT {act}",
    ]
