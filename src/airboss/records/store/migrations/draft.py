"""Writes a revision from the tables the rooms define: `python -m airboss.records.store.migrations.draft [message]`.

Without a message it writes the first revision anew from every table (only until the first release). With one it
compares what the revisions give with the tables and writes the difference as the next revision, to be read before it
is kept.
"""

from __future__ import annotations

import importlib
import sys
import textwrap
from pathlib import Path
from typing import Any, Final, Literal

import sqlalchemy as sa
from alembic.autogenerate import produce_migrations, render_python_code
from alembic.autogenerate.api import AutogenContext
from alembic.operations.ops import CreateTableOp, UpgradeOps
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, MetaData
from sqlalchemy.types import TypeDecorator

from airboss.records.store import migrations
from airboss.records.store.schema import INSERT_ONLY, guard_statements, metadata

FIRST: Final = "0001"
_OPTIONS: Final[dict[str, Any]] = {"compare_type": True, "compare_server_default": False}


def every_table() -> MetaData:
    """Load every module that defines a table and return the registry.

    They are found by reading the source: this floor imports none above it.
    """
    import airboss  # noqa: PLC0415

    root = Path(airboss.__path__[0])
    for path in sorted(root.rglob("*.py")):
        text = path.read_text()
        if "Table(" in text and "metadata," in text and "migrations" not in path.parts:
            parts = path.relative_to(root).with_suffix("").parts
            importlib.import_module(".".join(("airboss", *parts)).removesuffix(".__init__"))
    return metadata


def difference(connection: Connection) -> UpgradeOps:
    """Return what a database lacks, or has too much, against the tables."""
    context = MigrationContext.configure(connection, opts=_OPTIONS)
    found = produce_migrations(context, every_table()).upgrade_ops
    if found is None:
        raise RuntimeError("the toolkit gave no answer")
    return found


def source(operations: UpgradeOps, context: MigrationContext, *, revision: str, after: str | None, title: str) -> str:
    """Return the text of a revision that does these operations and guards the insert-only tables it creates."""
    options: dict[str, Any] = {
        "render_item": _plain_type,
        "alembic_module_prefix": "op.",
        "sqlalchemy_module_prefix": "sa.",
    }
    code = render_python_code(operations, render_as_batch=False, migration_context=context, **options)
    lines = [line for line in code.splitlines() if not line.strip().startswith("#")]
    body = textwrap.indent(textwrap.dedent("\n".join(lines)), "    ").strip()
    created = [operation.table_name for operation in operations.ops if isinstance(operation, CreateTableOp)]
    return _TEMPLATE.format(
        title=title,
        revision=revision,
        after=after,
        body=body,
        guards=_guards([name for name in created if metadata.tables[name].info.get(INSERT_ONLY)]),
    )


def _guards(tables: list[str]) -> str:
    if not tables:
        return ""
    lines = ['    if op.get_bind().dialect.name == "sqlite":']
    lines += _executes(tables, "sqlite")
    lines.append("    else:")
    lines += _executes(tables, "pg")
    return "\n".join(lines)


def _executes(tables: list[str], dialect: Literal["sqlite", "pg"]) -> list[str]:
    # Only what differs between tables is repeated: the function of the triggers is made once.
    statements = dict.fromkeys(statement for table in tables for statement in guard_statements(table, dialect))
    return [f'        op.execute("""{statement}""")' for statement in statements]


def _plain_type(kind: str, item: object, _: AutogenContext) -> str | Literal[False]:
    """Name the column type that is kept, not our wrapper of it: a revision must outlive our code."""
    if kind == "type" and isinstance(item, TypeDecorator):
        return f"sa.{type(item.impl_instance).__name__}()"
    return False


def write(message: str | None, *, folder: Path = migrations.FOLDER / "versions") -> Path:
    """Write the revision into `folder` and return its path. Raises SystemExit when there is nothing to write."""
    engine = sa.create_engine("sqlite://")
    script = migrations.revisions()
    with engine.connect() as connection:
        every_table()
        if message is None:
            heads = list(script.walk_revisions())
            if len(heads) > 1:
                raise SystemExit("there are later revisions; say what changes instead of writing the first one anew")
            revision, after, title = FIRST, None, "Everything the first release keeps."
        else:
            migrations.upgrade(connection)
            after = script.get_current_head()
            revision, title = f"{int(after or 0) + 1:04d}", message
        operations = difference(connection)
        if not operations.ops:
            raise SystemExit("the revisions and the tables agree; nothing to write")
        context = MigrationContext.configure(connection, opts=_OPTIONS)
        text = source(operations, context, revision=revision, after=after, title=title)
    words = "".join(letter if letter.isalnum() else "_" for letter in (message or "first").lower())
    path = folder / f"{revision}_{words}.py"
    path.write_text(text)
    return path


_TEMPLATE: Final = '''"""{title}"""
# ruff: noqa: PLR0915 - as long as there are tables

import sqlalchemy as sa
from alembic import op

revision = "{revision}"
down_revision = {after!r}
branch_labels = None
depends_on = None


def upgrade() -> None:
    {body}
{guards}


def downgrade() -> None:
    raise NotImplementedError("a database does not go back; restore the backup taken before the upgrade")
'''


if __name__ == "__main__":
    print(write(" ".join(sys.argv[1:]) or None).name)  # noqa: T201 - a tool for developers answers on the terminal
