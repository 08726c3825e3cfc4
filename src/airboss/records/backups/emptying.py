"""Takes back what a restore put into a PostgreSQL database that turned out not to verify."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Final

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from airboss.kernel.errors import AirbossError
from airboss.records.store import parse

# What a dump can hold, each with the query for its own; in this order, for tables take most of the others with them.
_THERE: Final = {
    "table": "select c.oid, c.oid::regclass::text from pg_class c join pg_namespace n on n.oid = c.relnamespace "
    "where n.nspname !~ '^pg_' and n.nspname <> 'information_schema' and c.relkind in ('r', 'p')",
    "view": "select c.oid, c.oid::regclass::text from pg_class c join pg_namespace n on n.oid = c.relnamespace "
    "where n.nspname !~ '^pg_' and n.nspname <> 'information_schema' and c.relkind = 'v'",
    "sequence": "select c.oid, c.oid::regclass::text from pg_class c join pg_namespace n on n.oid = c.relnamespace "
    "where n.nspname !~ '^pg_' and n.nspname <> 'information_schema' and c.relkind = 'S'",
    "function": "select p.oid, p.oid::regprocedure::text from pg_proc p join pg_namespace n on n.oid = p.pronamespace "
    "where n.nspname !~ '^pg_' and n.nspname <> 'information_schema' and p.prokind = 'f'",
    "type": "select t.oid, t.oid::regtype::text from pg_type t join pg_namespace n on n.oid = t.typnamespace "
    "where n.nspname !~ '^pg_' and n.nspname <> 'information_schema' and t.typtype in ('e', 'd')",
    "schema": "select n.oid, quote_ident(n.nspname) from pg_namespace n "
    "where n.nspname !~ '^pg_' and n.nspname <> 'information_schema'",
}


@contextlib.contextmanager
def emptied_on_failure(url: str) -> Iterator[None]:
    """Drop whatever came into a database in the block, if the block fails; what was there before is never touched.

    Where even that fails, the error of the block says that the database is to be dropped.
    """
    engine = sa.create_engine(parse(url), poolclass=sa.NullPool)
    with engine.connect() as connection:
        before = {kind: {oid for oid, _ in _found(connection, kind)} for kind in _THERE}
    try:
        yield
    except BaseException as fault:
        try:
            _drop(engine, before)
        except SQLAlchemyError:
            if isinstance(fault, AirbossError):
                fault.way_out = f"drop the database, for it was filled and could not be emptied; then: {fault.way_out}"
        raise


def _drop(engine: sa.Engine, before: dict[str, set[int]]) -> None:
    with engine.begin() as connection:
        connection.exec_driver_sql("set local lock_timeout = '10s'")
        for kind in _THERE:
            for oid, name in _found(connection, kind):
                if oid not in before[kind]:
                    connection.exec_driver_sql(f"drop {kind} if exists {name} cascade")


def _found(connection: sa.Connection, kind: str) -> list[tuple[int, str]]:
    """Return (oid, quoted name) of every object of a kind that is not the system's."""
    return [(int(oid), str(name)) for oid, name in connection.exec_driver_sql(_THERE[kind])]
