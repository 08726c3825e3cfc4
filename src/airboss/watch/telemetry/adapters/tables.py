"""Tables of the bucket store, on metadata of their own: on SQLite they are another file than the main database.

Rows are narrow, because windows of days are summed over them; histograms lie apart. `series.id` is a hash of the name, so
ingesters need not agree on numbers. `source` numbers one boot of one ingester.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import sqlalchemy as sa

from airboss.watch.telemetry.model import Ints

FORMAT: Final = 1
ROLLUP_US: Final = 300_000_000

metadata = sa.MetaData()

meta = sa.Table("telemetry_meta", metadata, sa.Column("format", sa.Integer, primary_key=True, autoincrement=False))

boot = sa.Table(
    "telemetry_boot",
    metadata,
    sa.Column("source", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("ingester", sa.Text, nullable=False),
    sa.Column("boot", sa.Integer, nullable=False),
    sa.Column("started_us", sa.BigInteger, nullable=False),
    sa.Column("last_flush_us", sa.BigInteger, nullable=False),
    sa.Column("ended", sa.Boolean, nullable=False),
    sa.UniqueConstraint("ingester", "boot"),
)

series = sa.Table(
    "telemetry_series",
    metadata,
    sa.Column("id", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("service", sa.Text, nullable=False),
    sa.Column("environment", sa.Text, nullable=False),
    sa.Column("change_id", sa.Text, nullable=False),
    sa.Column("attempt", sa.Integer, nullable=False),
    sa.Column("step", sa.Integer, nullable=False),
    sa.Column("arm", sa.Text, nullable=False),
    sa.Index("telemetry_series_change", "change_id"),
)


def _bucket_key() -> list[sa.Column[int]]:
    return [
        sa.Column("series", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("width_us", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("start_us", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("source", sa.Integer, primary_key=True, autoincrement=False),
    ]


bucket = sa.Table(
    "telemetry_bucket",
    metadata,
    *_bucket_key(),
    sa.Column("requests", sa.BigInteger, nullable=False),
    sa.Column("bad", sa.BigInteger, nullable=False),
    sa.Column("first_seen", sa.BigInteger, nullable=False),
    sa.Column("first_bad", sa.BigInteger, nullable=False),
    sa.Column("subjects", sa.BigInteger, nullable=False),
    sa.Column("subjects_bad", sa.BigInteger, nullable=False),
    sa.Column("saturated", sa.Boolean, nullable=False),
    sa.Column("newest_us", sa.BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

detail = sa.Table(
    "telemetry_detail",
    metadata,
    *_bucket_key(),
    sa.Column("data", sa.LargeBinary, nullable=False),
    sqlite_with_rowid=False,
)

pods = sa.Table(
    "telemetry_pods",
    metadata,
    *_bucket_key(),
    sa.Column("data", sa.LargeBinary, nullable=False),
    sqlite_with_rowid=False,
)
"""Durations by pod of the buckets of deploys. A table of its own, so that a server of an earlier version reads on."""

coverage = sa.Table(
    "telemetry_coverage",
    metadata,
    sa.Column("start_us", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("service", sa.Text, primary_key=True),
    sa.Column("environment", sa.Text, primary_key=True),
    sa.Column("signal", sa.Text, primary_key=True),
    sa.Column("source", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("total", sa.BigInteger, nullable=False),
    sa.Column("current", sa.BigInteger, nullable=False),
    sa.Column("stale", sa.BigInteger, nullable=False),
    sa.Column("unknown", sa.BigInteger, nullable=False),
    sa.Column("late", sa.BigInteger, nullable=False),
    sa.Column("far_off", sa.BigInteger, nullable=False),
    sa.Column("refused", sa.BigInteger, nullable=False),
    sa.Column("newest_us", sa.BigInteger, nullable=False),
    sa.Column("max_delay_us", sa.BigInteger, nullable=False),
    sa.Column("delay_hist", sa.LargeBinary, nullable=False),
    sqlite_with_rowid=False,
)

subjects = sa.Table(
    "telemetry_subjects",
    metadata,
    sa.Column("source", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("sequence", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("scope", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("change_id", sa.Text, nullable=False),
    sa.Column("at_us", sa.BigInteger, nullable=False),
    sa.Column("marks", sa.LargeBinary, nullable=False),
    sa.Index("telemetry_subjects_change", "change_id", "source"),
)

exemplar = sa.Table(
    "telemetry_exemplar",
    metadata,
    sa.Column("change_id", sa.Text, primary_key=True),
    sa.Column("arm", sa.Text, primary_key=True),
    sa.Column("why", sa.Text, primary_key=True),
    sa.Column("slot", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("service", sa.Text, nullable=False),
    sa.Column("environment", sa.Text, nullable=False),
    sa.Column("attempt", sa.Integer, nullable=False),
    sa.Column("step", sa.Integer, nullable=False),
    sa.Column("trace_id", sa.Text, nullable=False),
    sa.Column("span_id", sa.Text, nullable=False),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("end_us", sa.BigInteger, nullable=False),
    sa.Column("duration_us", sa.BigInteger, nullable=False),
    sa.Column("attributes", sa.JSON, nullable=False),
    sqlite_with_rowid=False,
)

_PAIR: Final = np.dtype([("index", "<u2"), ("count", "<u4")])


def pack(values: Ints) -> bytes:
    """Return the non-zero bins as (uint16 index, uint32 count) pairs: packed arrays may be joined, and then add up."""
    index = np.flatnonzero(values)
    return pack_pairs(np.column_stack([index, values[index]]))


def pack_pairs(rows: Ints) -> bytes:
    """Return rows of (index, count), shape (k, 2), as `pack` writes them."""
    pairs = np.empty(len(rows), _PAIR)
    pairs["index"], pairs["count"] = rows[:, 0], rows[:, 1]
    return pairs.tobytes()


def unpack_pairs(data: bytes) -> Ints:
    """Return the rows of (index, count), shape (k, 2), of packed arrays."""
    pairs = np.frombuffer(data, _PAIR)
    return np.column_stack([pairs["index"].astype(np.int64), pairs["count"].astype(np.int64)])


def unpack(data: bytes, size: int) -> Ints:
    """Return the sum of packed arrays, `size` bins long."""
    pairs = np.frombuffer(data, _PAIR)
    values = np.zeros(size, np.int64)
    np.add.at(values, pairs["index"].astype(np.int64), pairs["count"].astype(np.int64))
    return values
