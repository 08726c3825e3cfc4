"""What this room needs from others: who is changing what, who is sending, and a place to keep buckets."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple, Protocol, TypeAlias

from airboss.watch.telemetry.model import ActiveExposure, Ints


class ActiveExposures(Protocol):
    """Knows which exposure was in force when. Filled by the tower; read by the ingest each second and by the reader."""

    def since(self, at: datetime) -> Sequence[ActiveExposure]:
        """Return every row that is open, or ended after `at`."""
        ...

    def of_change(self, change_id: str) -> Sequence[ActiveExposure]:
        """Return all rows of one change, ended ones too."""
        ...

    def known(self, change_ids: frozenset[str]) -> frozenset[str]:
        """Return those of `change_ids` that name a change at all."""
        ...


class Sender(Protocol):
    """Who posts telemetry: a `people.access.Actor` fits."""

    @property
    def id(self) -> str: ...

    @property
    def scopes(self) -> frozenset[str] | None: ...

    @property
    def service(self) -> str | None: ...


Authenticate: TypeAlias = Callable[[Mapping[str, str]], Sender]
"""Lower-case headers → who sends. Raises Unauthenticated or Forbidden. May read a database; called off the event loop."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """What one line of buckets counts. Plain series have no change; a `late` arm counts what came after sealing."""

    service: str
    environment: str
    change_id: str = ""
    attempt: int = 0
    step: int = 0
    arm: str = ""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class BucketRow:
    """The whole value of one bucket of one series at one source. Times in microseconds since 1970."""

    series: Series
    width_us: int
    start_us: int
    requests: int
    bad: int
    first_seen: int = 0
    first_bad: int = 0
    subjects: int = 0
    subjects_bad: int = 0
    saturated: bool = False
    newest_us: int = 0
    detail: Ints | None = None
    """Plain: hist. Change: hist, first_hist, subjects_hist, groups (flat)."""
    pods: Ints | None = None
    """Of a deploy's arm, the durations by pod: rows of (pod · 288 + bin, count), shape (k, 2); None without any."""


class CountRow(NamedTuple):
    """The counts of one plain bucket at one source, without its bins."""

    source: int
    start_us: int
    requests: int
    bad: int
    newest_us: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CoverageRow:
    """The whole value of one minute of one (service, environment, signal) at one source, by time received."""

    start_us: int
    service: str
    environment: str
    signal: str
    total: int
    current: int
    stale: int
    unknown: int
    late: int
    far_off: int
    refused: int
    newest_us: int
    max_delay_us: int
    delay_hist: Ints | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SubjectChunk:
    """Marks newly put into a change's dedupe set, with the scope of each (see `subjects.py`)."""

    change_id: str
    scope: int
    marks: bytes
    """uint64, little-endian."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExemplarRow:
    """One trace worth opening, in one of the few slots its change, arm and kind (`failed` or `slow`) have."""

    change_id: str
    arm: str
    why: str
    slot: int
    service: str
    environment: str
    attempt: int
    step: int
    trace_id: str
    span_id: str
    name: str
    end_us: int
    duration_us: int
    attributes: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Flush:
    """Everything that moved since the last flush, as of `at_us`. Written in one transaction, or not at all."""

    source: int
    sequence: int
    at_us: int
    buckets: Sequence[BucketRow]
    coverage: Sequence[CoverageRow]
    subjects: Sequence[SubjectChunk]
    exemplars: Sequence[ExemplarRow] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Boot:
    """One life of one ingester. It answers for [started_us, last_flush_us)."""

    source: int
    ingester: str
    boot: int
    started_us: int
    last_flush_us: int
    ended: bool
    """It stopped in order, or a later boot of the same ingester exists."""


class BucketStore(Protocol):
    """Keeps buckets. Writers call `begin`, `flush`, `end`, `prune`; readers the rest, from any process.

    Raises Unavailable when the database cannot be reached; then nothing of that call is stored, or all of it.
    A repeated flush changes nothing.
    """

    def create(self) -> None:
        """Create what is missing."""
        ...

    def begin(self, ingester: str, at_us: int) -> int:
        """Record that an ingester starts; mark its earlier boots ended. Return the source number of this boot."""
        ...

    def flush(self, flush: Flush) -> None:
        """Write whole values. Repeating it, or writing an older boot's, harms nothing."""
        ...

    def end(self, source: int) -> None:
        """Record an orderly stop."""
        ...

    def subjects(self, change_id: str) -> Sequence[SubjectChunk]:
        """Return every mark kept for a change, whichever ingester made it."""
        ...

    def subject_sources(self, change_id: str) -> frozenset[int]:
        """Return the sources that have counted subjects of a change."""
        ...

    def boots(self, since_us: int) -> Sequence[Boot]:
        """Return boots whose last flush is at or after `since_us`, and the latest boot of each ingester."""
        ...

    def buckets(
        self, names: Sequence[Series], width_us: int, start_us: int, end_us: int
    ) -> Sequence[tuple[int, BucketRow]]:
        """Return (source, row) of buckets of one width with start in [start_us, end_us), in order of start, with their
        durations by pod.
        """
        ...

    def sums(self, name: Series, start_us: int, end_us: int) -> tuple[int, int]:
        """Return (requests, bad) over buckets of any width with start in [start_us, end_us)."""
        ...

    def count_rows(
        self, names: Sequence[Series], ranges: Sequence[tuple[int, int]]
    ) -> Mapping[Series, Sequence[CountRow]]:
        """Return plain buckets of any width with start in one of the ranges [from, to), which do not overlap. Series
        without any may be missing.
        """
        ...

    def details(self, name: Series, start_us: int, end_us: int) -> Ints | None:
        """Return the summed detail of plain buckets, None without any."""
        ...

    def newest(self, name: Series, start_us: int, end_us: int) -> int | None:
        """Return the newest sample's time among buckets with start in [start_us, end_us)."""
        ...

    def series_of(self, change_id: str) -> Sequence[Series]:
        """Return every series of a change that was ever written."""
        ...

    def sums_of(self, change_id: str) -> Sequence[tuple[Series, int, int]]:
        """Return (series, requests, bad) of every series of a change, over all that is kept."""
        ...

    def services(self) -> frozenset[str]:
        """Return every service that has a plain series."""
        ...

    def coverage(self, start_us: int, end_us: int, service: str | None) -> Sequence[CoverageRow]:
        """Return minutes with start in [start_us, end_us), each source its own row."""
        ...

    def exemplars(self, change_id: str) -> Sequence[ExemplarRow]:
        """Return every exemplar kept of a change."""
        ...

    def prune(
        self,
        *,
        fine_before_us: int,
        change_before_us: int,
        plain_before_us: int,
        coverage_before_us: int,
        exemplar_before_us: int,
    ) -> int:
        """Roll old plain buckets up to 5 minutes, drop what is too old. Return how many rows went."""
        ...

    def close(self) -> None: ...
