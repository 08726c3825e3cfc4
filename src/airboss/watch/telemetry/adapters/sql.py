"""The bucket store on SQLite (a file of its own) and on PostgreSQL (beside the main tables)."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import SQLAlchemyError

from airboss.kernel.errors import Refused, Unavailable
from airboss.watch.telemetry.adapters.tables import (
    FORMAT,
    ROLLUP_US,
    boot,
    bucket,
    coverage,
    detail,
    exemplar,
    meta,
    metadata,
    pack,
    pack_pairs,
    pods,
    series,
    subjects,
    unpack,
    unpack_pairs,
)
from airboss.watch.telemetry.cells import DETAIL_SIZE
from airboss.watch.telemetry.model import NUM_BINS, Ints
from airboss.watch.telemetry.ports import (
    Boot,
    BucketRow,
    CountRow,
    CoverageRow,
    ExemplarRow,
    Flush,
    Series,
    SubjectChunk,
)
from airboss.watch.telemetry.subjects import scope_of

_BUCKET_KEY: Final = ("series", "width_us", "start_us", "source")
_SUMS: Final = ("requests", "bad", "first_seen", "first_bad", "subjects", "subjects_bad")
_COVERAGE_KEY: Final = ("start_us", "service", "environment", "signal", "source")
_SCHEMA_LOCK: Final = 0x41697242
_SERIES_REMEMBERED: Final = 10_000


def series_id(name: Series) -> int:
    """Return the 63-bit number of a series."""
    return scope_of(name.service, name.environment, name.change_id, name.attempt, name.step, name.arm)


class SqlBucketStore:
    """See `ports.BucketStore`. Safe to use from many threads."""

    def __init__(self, engine: sa.Engine, *, plain_width_us: int) -> None:
        self._engine = engine
        self._plain_width_us = plain_width_us
        # Asked several times in each look of the tower, so built once.
        named, since = bucket.c.series == sa.bindparam("name"), bucket.c.start_us >= sa.bindparam("from_us")
        counted = bucket.c.width_us.in_([plain_width_us, ROLLUP_US])
        before = bucket.c.start_us < sa.bindparam("to_us")
        self._sums = sa.select(sa.func.sum(bucket.c.requests), sa.func.sum(bucket.c.bad)).where(
            named, counted, since, before
        )
        # A bucket's newest sample ended in it, so that of the last bucket of each width is the newest: no day is read through.
        last = bucket.alias("last")
        newest = [
            sa.select(sa.func.max(bucket.c.newest_us)).where(
                named,
                bucket.c.width_us == width,
                bucket.c.start_us
                == sa.select(sa.func.max(last.c.start_us))
                .where(
                    last.c.series == sa.bindparam("name"),
                    last.c.width_us == width,
                    last.c.start_us >= sa.bindparam("from_us"),
                    last.c.start_us < sa.bindparam("to_us"),
                )
                .scalar_subquery(),
            )
            for width in (plain_width_us, ROLLUP_US)
        ]
        self._newest = sa.union_all(*newest)
        self._details = sa.select(detail.c.data).where(
            detail.c.series == sa.bindparam("name"),
            detail.c.width_us == plain_width_us,
            detail.c.start_us >= sa.bindparam("from_us"),
            detail.c.start_us < sa.bindparam("to_us"),
        )
        self._count_rows: dict[int, sa.CompoundSelect[Any]] = {}
        self._written: set[int] = set()

    # -- writing

    def create(self) -> None:
        """Create what is missing. Raises Refused (telemetry-store-newer) for a store of a later version."""
        with self._begin() as connection:
            if connection.dialect.name == "postgresql":
                connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_SCHEMA_LOCK)))
            metadata.create_all(connection)
            found = connection.scalar(sa.select(meta.c.format))
            if found is None:
                self._upsert(connection, meta, [{"format": FORMAT}], ("format",))
        if found is not None and found > FORMAT:
            raise Refused(
                f"the telemetry store has format {found}; this version reads up to {FORMAT}",
                code="telemetry-store-newer",
                way_out="run the newer Airboss, or point this one at another telemetry store",
            )

    def begin(self, ingester: str, at_us: int) -> int:
        with self._begin() as connection:
            ours = boot.c.ingester == ingester
            connection.execute(sa.update(boot).where(ours).values(ended=True))
            last = connection.scalar(sa.select(sa.func.max(boot.c.boot)).where(ours)) or 0
            row = {"ingester": ingester, "boot": last + 1, "started_us": at_us, "last_flush_us": at_us, "ended": False}
            return int(connection.execute(sa.insert(boot).values(row).returning(boot.c.source)).scalar_one())

    def flush(self, flush: Flush) -> None:
        names = {series_id(row.series): row.series for row in flush.buckets}
        buckets = [(_bucket_key(row, flush.source), row) for row in flush.buckets]
        with self._begin() as connection:
            self._name(connection, {number: name for number, name in names.items() if number not in self._written})
            self._upsert(
                connection,
                bucket,
                [
                    key
                    | {column: getattr(row, column) for column in _SUMS}
                    | {"saturated": row.saturated, "newest_us": row.newest_us}
                    for key, row in buckets
                ],
                _BUCKET_KEY,
            )
            details = [key | {"data": pack(row.detail)} for key, row in buckets if row.detail is not None]
            self._upsert(connection, detail, details, _BUCKET_KEY)
            by_pod = [key | {"data": pack_pairs(row.pods)} for key, row in buckets if row.pods is not None]
            self._upsert(connection, pods, by_pod, _BUCKET_KEY)
            self._upsert(
                connection, coverage, [_coverage_values(row, flush.source) for row in flush.coverage], _COVERAGE_KEY
            )
            self._upsert(
                connection,
                subjects,
                [
                    {
                        "source": flush.source,
                        "sequence": flush.sequence,
                        "scope": chunk.scope,
                        "change_id": chunk.change_id,
                        "at_us": flush.at_us,
                        "marks": chunk.marks,
                    }
                    for chunk in flush.subjects
                ],
                ("source", "sequence", "scope"),
            )
            self._upsert(
                connection, exemplar, [asdict(row) for row in flush.exemplars], ("change_id", "arm", "why", "slot")
            )
            connection.execute(
                sa.update(boot)
                .where(boot.c.source == flush.source, boot.c.last_flush_us < flush.at_us)
                .values(last_flush_us=flush.at_us)
            )
        if len(self._written) > _SERIES_REMEMBERED:
            self._written.clear()
        self._written |= names.keys()

    def end(self, source: int) -> None:
        with self._begin() as connection:
            connection.execute(sa.update(boot).where(boot.c.source == source).values(ended=True))

    def prune(
        self,
        *,
        fine_before_us: int,
        change_before_us: int,
        plain_before_us: int,
        coverage_before_us: int,
        exemplar_before_us: int,
    ) -> int:
        fine_before_us = fine_before_us // ROLLUP_US * ROLLUP_US
        plain = sa.select(series.c.id).where(series.c.change_id == "").scalar_subquery()
        changes = sa.select(series.c.id).where(series.c.change_id != "").scalar_subquery()
        gone = 0
        with self._begin() as connection:
            self._roll_up(connection, plain, fine_before_us)
            for table in (bucket, detail, pods):
                for where in (
                    (
                        table.c.series.in_(plain),
                        table.c.width_us == self._plain_width_us,
                        table.c.start_us < fine_before_us,
                    ),
                    (table.c.series.in_(plain), table.c.width_us == ROLLUP_US, table.c.start_us < plain_before_us),
                    (table.c.series.in_(changes), table.c.start_us < change_before_us),
                ):
                    gone += connection.execute(sa.delete(table).where(*where)).rowcount
            gone += connection.execute(sa.delete(coverage).where(coverage.c.start_us < coverage_before_us)).rowcount
            gone += connection.execute(sa.delete(exemplar).where(exemplar.c.end_us < exemplar_before_us)).rowcount
            gone += connection.execute(sa.delete(subjects).where(subjects.c.at_us < change_before_us)).rowcount
        return gone

    def _roll_up(self, connection: sa.Connection, plain: sa.ScalarSelect[int], before_us: int) -> None:
        """Sum fine plain buckets older than `before_us` into 5-minute ones; the caller deletes them in this transaction."""
        start = (bucket.c.start_us - bucket.c.start_us % ROLLUP_US).label("start_us")
        summed = [sa.cast(sa.func.sum(bucket.c[column]), sa.BigInteger) for column in _SUMS]
        query = (
            sa.select(
                bucket.c.series,
                sa.literal(ROLLUP_US, sa.BigInteger),
                start,
                bucket.c.source,
                *summed,
                sa.false(),
                sa.func.max(bucket.c.newest_us),
            )
            .where(
                bucket.c.series.in_(plain),
                bucket.c.width_us == self._plain_width_us,
                bucket.c.start_us < before_us,
            )
            .group_by(bucket.c.series, start, bucket.c.source)
        )
        columns = [*_BUCKET_KEY, *_SUMS, "saturated", "newest_us"]
        insert = self._insert(connection, bucket).from_select(columns, query)
        added = {column: bucket.c[column] + insert.excluded[column] for column in _SUMS}
        connection.execute(insert.on_conflict_do_update(index_elements=list(_BUCKET_KEY), set_=added))

    # -- reading

    def subjects(self, change_id: str) -> Sequence[SubjectChunk]:
        query = sa.select(subjects.c.scope, subjects.c.marks).where(subjects.c.change_id == change_id)
        with self._read() as connection:
            rows = connection.execute(query).all()
        return [SubjectChunk(change_id=change_id, scope=scope, marks=bytes(marks)) for scope, marks in rows]

    def subject_sources(self, change_id: str) -> frozenset[int]:
        query = sa.select(subjects.c.source).distinct().where(subjects.c.change_id == change_id)
        with self._read() as connection:
            return frozenset(connection.scalars(query))

    def boots(self, since_us: int) -> Sequence[Boot]:
        latest = sa.select(sa.func.max(boot.c.source)).group_by(boot.c.ingester)
        query = sa.select(boot).where(sa.or_(boot.c.last_flush_us >= since_us, boot.c.source.in_(latest)))
        with self._read() as connection:
            rows = connection.execute(query.order_by(boot.c.source)).mappings().all()
        return [Boot(**row) for row in rows]  # type: ignore[misc,unused-ignore]

    def buckets(
        self, names: Sequence[Series], width_us: int, start_us: int, end_us: int
    ) -> Sequence[tuple[int, BucketRow]]:
        by_id = {series_id(name): name for name in names}
        on_detail, on_pods = (
            sa.and_(*(bucket.c[column] == table.c[column] for column in _BUCKET_KEY)) for table in (detail, pods)
        )
        query = (
            sa.select(bucket, detail.c.data, pods.c.data.label("pods"))
            .select_from(bucket.outerjoin(detail, on_detail).outerjoin(pods, on_pods))
            .where(
                bucket.c.series.in_(list(by_id)),
                bucket.c.width_us == width_us,
                bucket.c.start_us >= start_us,
                bucket.c.start_us < end_us,
            )
            .order_by(bucket.c.start_us, bucket.c.source)
        )
        with self._read() as connection:
            rows = connection.execute(query).mappings().all()
        return [(row["source"], _bucket_row(row, by_id[row["series"]])) for row in rows]

    def sums(self, name: Series, start_us: int, end_us: int) -> tuple[int, int]:
        with self._read() as connection:
            requests, bad = connection.execute(
                self._sums, {"name": series_id(name), "from_us": start_us, "to_us": end_us}
            ).one()
        return int(requests or 0), int(bad or 0)

    def count_rows(
        self, names: Sequence[Series], ranges: Sequence[tuple[int, int]]
    ) -> Mapping[Series, Sequence[CountRow]]:
        by_id = {series_id(name): name for name in names}
        given: dict[str, Any] = {"names": list(by_id)}
        for number, (start_us, end_us) in enumerate(ranges):
            given |= {f"from_{number}": start_us, f"to_{number}": end_us}
        with self._read() as connection:
            rows = connection.execute(self._in_ranges(len(ranges)), given).all()
        found: dict[Series, list[CountRow]] = {}
        for number, *counts in rows:
            found.setdefault(by_id[number], []).append(CountRow(*counts))
        return found

    def _in_ranges(self, count: int) -> sa.CompoundSelect[Any]:
        """Return the query of `count_rows` for so many ranges: each a search of its own in the key, never a scan."""
        known = self._count_rows.get(count)
        if known is None:
            columns = [bucket.c[name] for name in ("series", *CountRow._fields)]
            known = self._count_rows[count] = sa.union_all(
                *(
                    sa.select(*columns).where(
                        bucket.c.series.in_(sa.bindparam("names", expanding=True)),
                        bucket.c.width_us.in_([self._plain_width_us, ROLLUP_US]),
                        bucket.c.start_us >= sa.bindparam(f"from_{number}", type_=sa.BigInteger),
                        bucket.c.start_us < sa.bindparam(f"to_{number}", type_=sa.BigInteger),
                    )
                    for number in range(count)
                )
            )
        return known

    def details(self, name: Series, start_us: int, end_us: int) -> Ints | None:
        with self._read() as connection:
            found = connection.scalars(
                self._details, {"name": series_id(name), "from_us": start_us, "to_us": end_us}
            ).all()
        return unpack(b"".join(found), NUM_BINS) if found else None

    def newest(self, name: Series, start_us: int, end_us: int) -> int | None:
        asked = {"name": series_id(name), "from_us": start_us, "to_us": end_us}
        with self._read() as connection:
            found = connection.scalars(self._newest, asked).all()
        return max((one for one in found if one is not None), default=None)

    def series_of(self, change_id: str) -> Sequence[Series]:
        columns = [column for column in series.c if column.name != "id"]
        with self._read() as connection:
            rows = connection.execute(sa.select(*columns).where(series.c.change_id == change_id)).mappings().all()
        return [Series(**row) for row in rows]  # type: ignore[misc,unused-ignore]

    def sums_of(self, change_id: str) -> Sequence[tuple[Series, int, int]]:
        columns = [column for column in series.c if column.name != "id"]
        query = (
            sa.select(*columns, sa.func.sum(bucket.c.requests), sa.func.sum(bucket.c.bad))
            .join(bucket, bucket.c.series == series.c.id)
            .where(series.c.change_id == change_id)
            .group_by(*columns)
        )
        with self._read() as connection:
            rows = connection.execute(query).all()
        names = [column.name for column in columns]
        return [(Series(**dict(zip(names, row[:-2], strict=True))), int(row[-2]), int(row[-1])) for row in rows]

    def services(self) -> frozenset[str]:
        query = sa.select(series.c.service).distinct().where(series.c.change_id == "")
        with self._read() as connection:
            return frozenset(connection.scalars(query))

    def coverage(self, start_us: int, end_us: int, service: str | None) -> Sequence[CoverageRow]:
        query = sa.select(*(column for column in coverage.c if column.name != "source")).where(
            coverage.c.start_us >= start_us, coverage.c.start_us < end_us
        )
        if service is not None:
            query = query.where(coverage.c.service == service)
        with self._read() as connection:
            rows = connection.execute(query).mappings().all()
        return [CoverageRow(**{**row, "delay_hist": unpack(row["delay_hist"], NUM_BINS)}) for row in rows]

    def exemplars(self, change_id: str) -> Sequence[ExemplarRow]:
        with self._read() as connection:
            rows = connection.execute(sa.select(exemplar).where(exemplar.c.change_id == change_id)).mappings().all()
        return [ExemplarRow(**row) for row in rows]  # type: ignore[misc,unused-ignore]

    def close(self) -> None:
        self._engine.dispose()

    # -- inside

    @contextlib.contextmanager
    def _begin(self) -> Iterator[sa.Connection]:
        with _translated(), self._engine.begin() as connection:
            yield connection

    @contextlib.contextmanager
    def _read(self) -> Iterator[sa.Connection]:
        with _translated(), self._engine.connect() as connection:
            yield connection

    def _name(self, connection: sa.Connection, names: dict[int, Series]) -> None:
        if not names:
            return
        rows = [
            {
                "id": number,
                "service": name.service,
                "environment": name.environment,
                "change_id": name.change_id,
                "attempt": name.attempt,
                "step": name.step,
                "arm": name.arm,
            }
            for number, name in sorted(names.items())
        ]
        connection.execute(self._insert(connection, series).on_conflict_do_nothing(), rows)

    @staticmethod
    def _insert(connection: sa.Connection, table: sa.Table) -> Any:
        return (sqlite if connection.dialect.name == "sqlite" else postgresql).insert(table)

    def _upsert(
        self, connection: sa.Connection, table: sa.Table, rows: list[dict[str, Any]], key: tuple[str, ...]
    ) -> None:
        if not rows:
            return
        insert = self._insert(connection, table)
        rest = {column.name: insert.excluded[column.name] for column in table.c if column.name not in key}
        whole = (
            insert.on_conflict_do_update(index_elements=list(key), set_=rest)
            if rest
            else insert.on_conflict_do_nothing()
        )
        connection.execute(whole, rows)


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except SQLAlchemyError as fault:
        raise Unavailable(
            f"the telemetry store does not answer: {fault.__class__.__name__}",
            code="telemetry-store-unavailable",
            way_out="see the server's log; counters are kept in memory and written when it answers again",
        ) from fault


def _bucket_key(row: BucketRow, source: int) -> dict[str, Any]:
    return {
        "series": series_id(row.series),
        "width_us": row.width_us,
        "start_us": row.start_us,
        "source": source,
    }


def _bucket_row(row: sa.RowMapping, name: Series) -> BucketRow:
    size = DETAIL_SIZE if name.change_id else NUM_BINS
    return BucketRow(
        series=name,
        width_us=row["width_us"],
        start_us=row["start_us"],
        **{column: row[column] for column in _SUMS},
        saturated=row["saturated"],
        newest_us=row["newest_us"],
        detail=None if row["data"] is None else unpack(row["data"], size),
        pods=None if row["pods"] is None else unpack_pairs(row["pods"]),
    )


def _coverage_values(row: CoverageRow, source: int) -> dict[str, Any]:
    values = {
        column.name: getattr(row, column.name) for column in coverage.c if column.name not in {"source", "delay_hist"}
    }
    packed = b"" if row.delay_hist is None else pack(row.delay_hist)
    return values | {"source": source, "delay_hist": packed}


def open_bucket_store(url: str, *, plain_width_us: int = 10_000_000) -> SqlBucketStore:
    """Open `sqlite:////folder/telemetry.db` or `postgresql://…`. Nothing is read or created yet."""
    parsed = sa.make_url(url)
    if parsed.get_backend_name() == "sqlite":
        engine = sa.create_engine(parsed)
        sa.event.listen(engine, "connect", _prepare_sqlite)
    else:
        engine = sa.create_engine(
            parsed.set(drivername="postgresql+psycopg"),
            pool_size=4,
            pool_pre_ping=True,
            connect_args={"options": "-c statement_timeout=10000 -c idle_in_transaction_session_timeout=10000"},
        )
    return SqlBucketStore(engine, plain_width_us=plain_width_us)


def _prepare_sqlite(connection: Any, _record: object) -> None:
    """Readers do not wait for the writer. NORMAL may lose the last second with the power, and its boot's claim with it."""
    for pragma in ("busy_timeout=5000", "journal_mode=WAL", "synchronous=NORMAL", "temp_store=MEMORY"):
        connection.execute(f"PRAGMA {pragma}").close()
