"""Where a verification reads from: a database or an export, opened read-only and told apart by their first bytes."""

from __future__ import annotations

import base64
import contextlib
import json
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple, Protocol
from urllib.parse import quote

import sqlalchemy as sa
from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from airboss.kernel.canonical import canonical
from airboss.kernel.errors import Invalid, Unavailable
from airboss.records.journal import blob, checkpoint, head, log
from airboss.records.store import parse, subject

BATCH: Final = 2_000
STREAM: Final = {"stream_results": True, "max_row_buffer": BATCH}
_FACT_LINE: Final = b'{"fact":'
_LABEL: Final = b',"kind":"fact","position":'


class Row(NamedTuple):
    """A fact as it lies there. What a source does not keep beside the bytes is None."""

    position: int | None
    leaf: bytes | None
    fact_id: str | None
    subject: str | None
    subject_seq: int | None
    type: str | None
    at: int | None  # microseconds since 1970
    stored: bytes | None


class SubjectRow(NamedTuple):
    """What the store knows of a subject."""

    seq: int
    closed: bool
    state_digest: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """What a source says the tree is: its size, and its right edge or its root."""

    size: int
    frontier: bytes | None = None
    root: bytes | None = None


class Source(Protocol):
    """A journal to verify."""

    connection: Connection | None

    def log_id(self) -> str | None: ...

    def head(self) -> Head | None: ...

    def entries(self) -> Iterator[list[Row]]: ...

    def waiting(self) -> Iterator[list[Row]]: ...

    def unnumbered(self) -> Iterator[list[Row]]: ...

    def checkpoints(self) -> list[tuple[str, int | None, bytes]]: ...

    def subjects(self) -> dict[str, SubjectRow] | None: ...

    def texts(self) -> Iterator[tuple[str, bytes | None, bytes | None]] | None: ...


_COLUMNS: Final = "f.fact_id, f.subject, f.subject_seq, f.type, f.at, f.stored"
_ENTRIES: Final = (
    "SELECT e.position, e.leaf, e.fact_id, f.subject, f.subject_seq, f.type, f.at, f.stored "
    "FROM entry e LEFT JOIN fact f ON f.fact_id = e.fact_id ORDER BY e.position"
)
_WAITING: Final = (
    "SELECT NULL, p.leaf, p.fact_id, f.subject, f.subject_seq, f.type, f.at, f.stored "
    "FROM pending p LEFT JOIN fact f ON f.fact_id = p.fact_id ORDER BY p.number"
)
_UNNUMBERED: Final = (
    f"SELECT NULL, NULL, {_COLUMNS} FROM fact f "  # noqa: S608 - constant text
    "WHERE NOT EXISTS (SELECT 1 FROM entry e WHERE e.fact_id = f.fact_id) "
    "AND NOT EXISTS (SELECT 1 FROM pending p WHERE p.fact_id = f.fact_id) ORDER BY f.subject, f.subject_seq"
)


class Database:
    """The tables, seen in one snapshot."""

    def __init__(self, connection: Connection) -> None:
        self.connection: Connection | None = connection
        self._on = connection

    def log_id(self) -> str | None:
        return self._on.execute(sa.select(log.c.log_id)).scalar_one_or_none()

    def head(self) -> Head | None:
        row = self._on.execute(sa.select(head.c.size, head.c.frontier)).one_or_none()
        return None if row is None else Head(size=row.size, frontier=row.frontier)

    def entries(self) -> Iterator[list[Row]]:
        return self._rows(_ENTRIES)

    def waiting(self) -> Iterator[list[Row]]:
        return self._rows(_WAITING)

    def unnumbered(self) -> Iterator[list[Row]]:
        return self._rows(_UNNUMBERED)

    def checkpoints(self) -> list[tuple[str, int | None, bytes]]:
        rows = self._on.execute(sa.select(checkpoint).order_by(checkpoint.c.number))
        return [(f"checkpoint {row.number}", row.size, row.note) for row in rows]

    def subjects(self) -> dict[str, SubjectRow] | None:
        return {row.subject: SubjectRow(row.seq, row.closed, row.state_digest) for row in self._on.execute(_SUBJECTS)}

    def texts(self) -> Iterator[tuple[str, bytes | None, bytes | None]] | None:
        rows = self._on.execute(_TEXTS, execution_options=STREAM)
        return ((row.digest, row.salt, row.bytes) for row in rows)

    def _rows(self, query: str) -> Iterator[list[Row]]:
        # Straight from the driver, on PostgreSQL through a cursor of the server's: a million rows skip a million
        # conversions, and are never held at once.
        raw = self._on.connection.dbapi_connection
        if raw is None:
            raise Unavailable("the connection is gone", way_out="open the source again")
        cursor = raw.cursor() if self._on.dialect.name == "sqlite" else raw.cursor(name="walk")
        try:
            cursor.execute(query)
            while rows := cursor.fetchmany(BATCH):
                yield rows  # type: ignore[misc]  # plain tuples unpack alike
        finally:
            cursor.close()


_SUBJECTS: Final = sa.select(subject)
_TEXTS: Final = sa.select(blob.c.digest, blob.c.salt, blob.c.bytes)


class Export:
    """A file of JSON lines written by `export`."""

    connection: Connection | None = None

    def __init__(self, path: Path) -> None:
        self._path = path
        self._log_id: str | None = None
        self._head: Head | None = None
        self._checkpoints: list[tuple[str, int | None, bytes]] = []
        for number, value in self._others():
            match value.get("kind"):
                case "journal":
                    self._log_id = value.get("log_id")
                case "checkpoint":
                    self._checkpoints.append((f"line {number}", None, str(value.get("note", "")).encode()))
                case "end":
                    self._head = Head(size=int(value["size"]), root=base64.b64decode(value["root"]))
                case _:
                    continue

    def log_id(self) -> str | None:
        return self._log_id

    def head(self) -> Head | None:
        return self._head

    def entries(self) -> Iterator[list[Row]]:
        batch: list[Row] = []
        with self._path.open("rb") as file:
            for line in file:
                row = _row_of(line)
                if row is not None:
                    batch.append(row)
                if len(batch) >= BATCH:
                    yield batch
                    batch = []
        yield batch

    def waiting(self) -> Iterator[list[Row]]:
        return iter(())

    def unnumbered(self) -> Iterator[list[Row]]:
        return iter(())

    def checkpoints(self) -> list[tuple[str, int | None, bytes]]:
        return self._checkpoints

    def subjects(self) -> dict[str, SubjectRow] | None:
        return None

    def texts(self) -> Iterator[tuple[str, bytes | None, bytes | None]] | None:
        return None

    def _others(self) -> Iterator[tuple[int, dict[str, Any]]]:
        with self._path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                if not line.startswith(_FACT_LINE) and line.strip():
                    with contextlib.suppress(ValueError):
                        value = json.loads(line)
                        if isinstance(value, dict):
                            yield number, value


def _row_of(line: bytes) -> Row | None:
    """Return the fact of a line: its very bytes where the line is as we wrote it, else its canonical form again."""
    if line.startswith(_FACT_LINE):
        middle = line.rfind(_LABEL)
        number = line[middle + len(_LABEL) :].rstrip().removesuffix(b"}")
        if middle > 0 and number.isdigit():
            return _bare(int(number), line[len(_FACT_LINE) : middle])
    with contextlib.suppress(ValueError, TypeError, KeyError):
        value = json.loads(line)
        if value["kind"] == "fact":
            return _bare(int(value["position"]), canonical(value["fact"]))
    return None


def _bare(position: int, stored: bytes) -> Row:
    return Row(position, None, None, None, None, None, None, stored)


@contextlib.contextmanager
def open_source(source: str | Path | Connection) -> Iterator[Source]:
    """Open what is to be verified: a database address, the path of an SQLite file or of an export, or a connection.

    Nothing is written to it. Raises Invalid for what is none of these, Unavailable for a database that is away.
    """
    if isinstance(source, Connection):
        yield Database(source)
        return
    text = str(source)
    if text.startswith("postgresql"):
        with _connected(_postgresql(text)) as connection:
            connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            connection.exec_driver_sql("SET LOCAL statement_timeout = 0")
            yield Database(connection)
        return
    path = Path(parse(text).database or "") if text.startswith("sqlite:") else Path(text)
    if not path.is_file():
        raise Invalid(f"there is no {path}", code="audit-source", way_out="give a database's address or an export")
    with path.open("rb") as file:
        start = file.read(16)
    if start == b"SQLite format 3\0":
        with _connected(_sqlite(path)) as connection:
            connection.exec_driver_sql("BEGIN")
            yield Database(connection)
    elif start[:1] == b"{":
        yield Export(path)
    else:
        raise Invalid(
            f"{path} is neither an SQLite database nor an export",
            code="audit-source",
            way_out="give airboss.db, a postgresql:// address, or a file written by `airboss audit export`",
        )


def _postgresql(url: str) -> sa.Engine:
    return sa.create_engine(parse(url), poolclass=sa.NullPool, connect_args={"connect_timeout": 10})


def _sqlite(path: Path) -> sa.Engine:
    def connect() -> sqlite3.Connection:
        # A copy on read-only media cannot be locked; without a log beside it, it cannot change either.
        address = f"file:{quote(str(path.resolve()))}?mode=ro"
        made = sqlite3.connect(address, uri=True, timeout=30, check_same_thread=False)
        try:
            made.execute("SELECT count(*) FROM sqlite_master").fetchone()
        except sqlite3.OperationalError:
            made.close()
            if path.with_name(path.name + "-wal").exists():
                raise
            made = sqlite3.connect(f"{address}&immutable=1", uri=True, check_same_thread=False)
        made.isolation_level = None
        return made

    return sa.create_engine("sqlite://", creator=connect, poolclass=sa.NullPool, isolation_level="AUTOCOMMIT")


@contextlib.contextmanager
def _connected(engine: sa.Engine) -> Iterator[Connection]:
    try:
        with engine.connect() as connection:
            yield connection
    except SQLAlchemyError as fault:
        reason = str(getattr(fault, "orig", None) or fault).splitlines()[0]
        raise Unavailable(
            f"the database cannot be read: {reason}",
            code="audit-source",
            way_out="check its address, and that it is a database of Airboss",
        ) from fault
    finally:
        engine.dispose()
