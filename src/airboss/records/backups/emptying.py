"""Takes back what a restore put into a PostgreSQL database that turned out not to verify.

A restore is one transaction, so everything it made carries that transaction's number (`xmin`) in the catalogue, and nothing
that anybody else made does, before, after or meanwhile.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Final

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from airboss.kernel.errors import AirbossError
from airboss.records.store import parse

# What a dump can hold, each with the query for what one transaction made of it; in this order, for tables take most of the
# others with them.
_MADE: Final = {
    "table": "select c.oid::regclass::text from pg_class c join pg_namespace n on n.oid = c.relnamespace "
    "where n.nspname !~ '^pg_' and n.nspname <> 'information_schema' and c.relkind in ('r', 'p') and c.xmin::text = %s",
    "view": "select c.oid::regclass::text from pg_class c join pg_namespace n on n.oid = c.relnamespace "
    "where n.nspname !~ '^pg_' and n.nspname <> 'information_schema' and c.relkind = 'v' and c.xmin::text = %s",
    "sequence": "select c.oid::regclass::text from pg_class c join pg_namespace n on n.oid = c.relnamespace "
    "where n.nspname !~ '^pg_' and n.nspname <> 'information_schema' and c.relkind = 'S' and c.xmin::text = %s",
    "function": "select p.oid::regprocedure::text from pg_proc p join pg_namespace n on n.oid = p.pronamespace "
    "where n.nspname !~ '^pg_' and n.nspname <> 'information_schema' and p.prokind = 'f' and p.xmin::text = %s",
    "type": "select t.oid::regtype::text from pg_type t join pg_namespace n on n.oid = t.typnamespace "
    "where n.nspname !~ '^pg_' and n.nspname <> 'information_schema' and t.typtype in ('e', 'd') and t.xmin::text = %s",
    "schema": "select quote_ident(n.nspname) from pg_namespace n "
    "where n.nspname !~ '^pg_' and n.nspname <> 'information_schema' and n.xmin::text = %s",
}

_MARKER: Final = "fact"
"""A table that every restore makes."""


@contextlib.contextmanager
def emptied_on_failure(url: str) -> Iterator[None]:
    """Drop what the restore that has just ended well made, if the block fails; what anybody else made is never touched.

    Where even that fails, for others rest on what was restored or hold it, the error of the block says so.
    """
    engine = sa.create_engine(parse(url), poolclass=sa.NullPool)
    with engine.connect() as connection:
        made_by = connection.exec_driver_sql(
            "select xmin::text from pg_class where oid = to_regclass(%s)", (_MARKER,)
        ).scalar_one()
    try:
        yield
    except BaseException as fault:
        try:
            _drop(engine, str(made_by))
        except SQLAlchemyError as stuck:
            if isinstance(fault, AirbossError):
                reason = str(getattr(stuck, "orig", None) or stuck).splitlines()[0]
                fault.way_out = (
                    f"what was filled could not be taken out again ({reason}): do it by hand, or drop the database if nothing "
                    f"else is in it; then: {fault.way_out}"
                )
        raise


def _drop(engine: sa.Engine, made_by: str) -> None:
    """Drop everything that a transaction made, all of it or nothing."""
    with engine.begin() as connection:
        connection.exec_driver_sql("set local lock_timeout = '10s'")
        for kind, query in _MADE.items():
            names = [str(name) for (name,) in connection.exec_driver_sql(query, (made_by,))]
            if names:
                # Together, for they rest on each other; without CASCADE, for others may rest on them.
                connection.exec_driver_sql(f"drop {kind} {', '.join(names)}")
