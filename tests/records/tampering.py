"""Somebody with the database's password: changes what is stored, past every guard."""

from __future__ import annotations

import sqlalchemy as sa

from airboss.records.store import Store, parse


def tamper(store: Store, *statements: str, **values: object) -> None:
    """Take the guards away and run statements on a connection that is not Airboss's."""
    url = parse(store.url.render_as_string(hide_password=False))
    engine = sa.create_engine(url, poolclass=sa.NullPool)
    with engine.begin() as connection:
        for table in ("fact", "entry"):
            for act in ("no_update", "no_delete", "no_change", "no_truncate"):
                on = "" if store.dialect == "sqlite" else f" ON {table}"
                connection.execute(sa.text(f"DROP TRIGGER IF EXISTS {table}_{act}{on}"))
        for statement in statements:
            given = {name: value for name, value in values.items() if f":{name}" in statement}
            connection.execute(sa.text(statement), given)
    engine.dispose()
