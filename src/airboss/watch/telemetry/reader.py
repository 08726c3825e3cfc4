"""What the tower, the pages and the API ask of telemetry. Reads the bucket store, from any process; changes nothing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Final, cast

import numpy as np

from airboss.kernel.clock import from_micros, to_micros
from airboss.watch.telemetry.cells import GROUPS_AT, MINUTE_US
from airboss.watch.telemetry.exposures import arm_series, late_series
from airboss.watch.telemetry.model import (
    ARMS,
    GROUP_FIELDS,
    NUM_BINS,
    NUM_GROUPS,
    SIGNALS,
    ActiveExposure,
    Arm,
    ArmSeries,
    Asked,
    BucketSeries,
    Counts,
    Coverage,
    Delay,
    Exemplar,
    Ints,
    SealedBlock,
    Signal,
    Sums,
    TelemetrySettings,
    WindowCounts,
    no_pairs,
)
from airboss.watch.telemetry.ports import (
    ActiveExposures,
    Boot,
    BucketRow,
    BucketStore,
    CoverageRow,
    ExemplarRow,
    Series,
)
from airboss.watch.telemetry.rules import Fate, Sealing, alive_us, fate, grid, quantile_us
from airboss.watch.telemetry.running import RunningSums

_US: Final = timedelta(microseconds=1)
MOST_BLOCKS: Final = 1_000
MOST_POINTS: Final = 2_000


class TelemetryReader:
    """Counts by block, by window and over time. Every method raises Unavailable when the store does not answer: that is
    an error of the gate that asked, never a zero.
    """

    def __init__(self, store: BucketStore, exposures: ActiveExposures, settings: TelemetrySettings) -> None:
        self._store = store
        self._exposures = exposures
        self._settings = settings
        self._width_us = settings.change_width // _US
        self._running = RunningSums(
            store,
            width_us=settings.plain_width // _US,
            lateness_us=settings.lateness // _US,
            fine_kept_us=settings.fine_kept // _US,
            plain_kept_us=settings.plain_kept // _US,
        )
        self._sealing = Sealing(
            lateness_us=settings.lateness // _US,
            dead_after_us=settings.dead_after // _US,
            flush_us=settings.flush_every // _US,
        )

    def blocks(
        self,
        change_id: str,
        service: str,
        environment: str,
        *,
        attempt: int,
        step: int,
        after: datetime | None,
        now: datetime,
    ) -> tuple[SealedBlock, ...]:
        """Return sealed blocks of a step in order, at most `MOST_BLOCKS`; pass the `end` of the last one as `after` to go
        on. Stops at the first bucket that is not sealed yet.

        Skipped by rule: buckets that are not inside one exposure of the step, or that begin in its warm-up, and buckets in
        which an ingester started or died. A whole bucket in which nobody came is a block of zeros.
        """
        rows = sorted(
            (
                row
                for row in self._exposures.of_change(change_id)
                if (row.service, row.environment, row.attempt, row.step) == (service, environment, attempt, step)
            ),
            key=lambda row: row.start,
        )
        now_us = to_micros(now)
        after_us = -1 if after is None else to_micros(after)
        stretches = [(row, *self._stretch(row, after_us, now_us)) for row in rows]
        starts = [(row, start) for row, begin, end in stretches for start in grid(begin, end, self._width_us)]
        if not starts:
            return ()
        # Boots before buckets: what a boot's last flush sealed is then surely in what is read next.
        boots = self._store.boots(starts[0][1])
        whole: list[tuple[ActiveExposure, int]] = []
        for row, start in starts:
            what = fate(start, start + self._width_us, boots, now_us=now_us, sealing=self._sealing)
            if what is Fate.OPEN or len(whole) == MOST_BLOCKS:
                break
            if what is Fate.WHOLE:
                whole.append((row, start))
        if not whole:
            return ()
        counting = self._store.subject_sources(change_id)
        found = self._arm_rows(rows[0], whole[0][1], whole[-1][1] + self._width_us)
        return tuple(
            _block(row, start, self._width_us, found.get(start, []), shared=_is_shared(boots, counting, start))
            for row, start in whole
        )

    def window_counts(
        self,
        service: str,
        environment: str,
        windows: Sequence[timedelta],
        *,
        at: datetime,
        durations: bool = True,
    ) -> list[WindowCounts]:
        """Return sums over the windows that end at `at`, of buckets that start in (at − window, at], in the given order.

        The newest buckets are not sealed yet and may still grow. Time in which no ingester lived is not in `observed`.
        Without `durations` every `hist` is None: a day of histograms takes a hundred times as long to read as its counts.
        """
        name = Series(service=service, environment=environment)
        end_us = to_micros(at) + 1
        fine_since_us = to_micros(at - self._settings.fine_kept)
        boots = self._store.boots(min((end_us - window // _US for window in windows), default=end_us))
        counted: dict[timedelta, WindowCounts] = {}
        until_us, total, bad = end_us, 0, 0
        hist: Ints | None = np.zeros(NUM_BINS, np.int64) if durations else None
        # From the shortest on, each adds only what it has beyond the one before: no bucket is read twice.
        for window in sorted(set(windows)):
            start_us = end_us - window // _US
            more, worse = self._store.sums(name, start_us, until_us)
            total, bad = total + more, bad + worse
            if start_us <= fine_since_us:
                hist = None
            if hist is not None:
                beyond = self._store.details(name, start_us, until_us)
                hist = hist if beyond is None else hist + beyond
            until_us = start_us
            counted[window] = WindowCounts(
                window=window,
                start=from_micros(start_us - 1),
                end=at,
                total=total,
                bad=bad,
                hist=hist,
                observed=timedelta(microseconds=alive_us(boots, start_us - 1, end_us - 1)),
            )
        return [counted[window] for window in windows]

    def sums_of(self, asked: Sequence[Asked], *, at: datetime) -> list[Sums]:
        """Return for each place the counts of its windows, as `window_counts` would without durations, and the newest
        sample as `freshness` would; in the given order. Windows that are asked for again and again, each a little
        later, are moved on instead of read (`running.py`): for what asks every second, or for hundreds at once.
        """
        end_us = to_micros(at) + 1
        boots = self._store.boots(end_us - max((window for one in asked for window in one.windows), default=_US) // _US)
        lengths: dict[Series, list[int]] = {}
        for one in asked:
            name = Series(service=one.service, environment=one.environment)
            lengths.setdefault(name, []).extend(window // _US for window in one.windows)
        moved = self._running.move(lengths, end_us, boots)
        observed = {
            window: timedelta(microseconds=alive_us(boots, end_us - 1 - window // _US, end_us - 1))
            for one in asked
            for window in one.windows
        }
        found = []
        for one in asked:
            name = Series(service=one.service, environment=one.environment)
            counts = dict(zip(lengths[name], moved[name].counts, strict=True))
            newest_us = moved[name].newest_us
            windows = tuple(
                WindowCounts(
                    window=window,
                    start=at - window,
                    end=at,
                    total=counts[window // _US][0],
                    bad=counts[window // _US][1],
                    hist=None,
                    observed=observed[window],
                )
                for window in one.windows
            )
            found.append(Sums(windows=windows, newest=from_micros(newest_us) if newest_us else None))
        return found

    def arm_counts(self, change_id: str, service: str, environment: str) -> dict[Arm, tuple[int, int]]:
        """Return by arm the (requests, bad ones) of a change that are kept, over all its attempts and steps."""
        found: dict[Arm, tuple[int, int]] = {}
        for name, requests, bad in self._store.sums_of(change_id):
            if (name.service, name.environment) == (service, environment) and name.arm in ARMS:
                before = found.get(name.arm, (0, 0))
                found[name.arm] = (before[0] + requests, before[1] + bad)
        return found

    def bucket_series(
        self,
        change_id: str,
        service: str,
        environment: str,
        *,
        start: datetime,
        end: datetime,
        now: datetime,
        width: timedelta | None = None,
    ) -> BucketSeries:
        """Return both arms of a change over [start, end), all attempts and steps, for plots.

        `width` is rounded up to a multiple of the bucket width, and widened to at most `MOST_POINTS` points.
        """
        wanted_us = max((width or self._settings.change_width) // _US, (end - start) // _US // MOST_POINTS, 1)
        width_us = -(-wanted_us // self._width_us) * self._width_us
        first_us = to_micros(start) // width_us * width_us
        count = max(-(-(to_micros(end) - first_us) // width_us), 0)
        boots = self._store.boots(first_us)
        names = [
            name
            for name in self._store.series_of(change_id)
            if (name.service, name.environment) == (service, environment) and name.arm in ARMS
        ]
        rows = self._store.buckets(names, self._width_us, first_us, first_us + count * width_us)
        arms = []
        for arm in ARMS:
            requests, bad = np.zeros(count, np.int64), np.zeros(count, np.int64)
            hist = np.zeros((count, NUM_BINS), np.int64)
            for _, row in rows:
                if row.series.arm == arm:
                    point = (row.start_us - first_us) // width_us
                    requests[point] += row.requests
                    bad[point] += row.bad
                    hist[point] += _detail(row)[:NUM_BINS]
            arms.append(ArmSeries(requests=requests, bad=bad, hist=hist))
        starts = first_us + np.arange(count, dtype=np.int64) * width_us
        now_us = to_micros(now)
        whole = [
            all(
                fate(part, part + self._width_us, boots, now_us=now_us, sealing=self._sealing) is Fate.WHOLE
                for part in range(point, point + width_us, self._width_us)
            )
            for point in starts.tolist()
        ]
        return BucketSeries(
            starts_us=starts,
            width=timedelta(microseconds=width_us),
            canary=arms[0],
            baseline=arms[1],
            whole=np.array(whole, np.bool_),
        )

    def exemplars(self, change_id: str, *, attempt: int | None = None) -> tuple[Exemplar, ...]:
        """Return traces of a change worth opening, of one attempt or of all that are kept: failed ones before slow ones,
        the newest failed and the slowest first, each trace once an arm.
        """
        rows = [row for row in self._store.exemplars(change_id) if attempt is None or row.attempt == attempt]
        rows.sort(key=lambda row: (row.why, -row.end_us if row.why == "failed" else -row.duration_us))
        seen: dict[tuple[str, str, str], ExemplarRow] = {}
        for row in rows:
            seen.setdefault((row.arm, row.trace_id, row.span_id), row)
        return tuple(
            Exemplar(
                change_id=row.change_id,
                arm=cast(Arm, row.arm),
                why="failed" if row.why == "failed" else "slow",
                service=row.service,
                environment=row.environment,
                attempt=row.attempt,
                step=row.step,
                trace_id=row.trace_id,
                span_id=row.span_id,
                name=row.name,
                end=from_micros(row.end_us),
                duration=timedelta(microseconds=row.duration_us),
                attributes=row.attributes,
            )
            for row in seen.values()
        )

    def freshness(self, service: str, environment: str, *, now: datetime) -> datetime | None:
        """Return when the newest span that was counted ended, None when nothing came for a day.

        What a receiver whose clock ran ahead had counted is not news until its time has come: it would pass for fresh.
        """
        name = Series(service=service, environment=environment)
        newest_us = self._store.newest(name, to_micros(now - timedelta(days=1)), to_micros(now) + MINUTE_US)
        return from_micros(newest_us) if newest_us else None

    def coverage(
        self, *, now: datetime, window: timedelta = timedelta(hours=1), service: str | None = None
    ) -> list[Coverage]:
        """Return annotation coverage by (service, environment, signal), of items received within `window`."""
        rows = self._minutes(now, window, service)
        grouped: dict[tuple[str, str, str], list[CoverageRow]] = {}
        for row in rows:
            grouped.setdefault((row.service, row.environment, row.signal), []).append(row)
        return [
            Coverage(
                service=key[0],
                environment=key[1],
                signal=cast(Signal, key[2]),
                total=sum(row.total for row in ours),
                current=sum(row.current for row in ours),
                stale=sum(row.stale for row in ours),
                unknown=sum(row.unknown for row in ours),
                none=sum(row.total - row.current - row.stale - row.unknown for row in ours),
                late=sum(row.late for row in ours),
                far_off=sum(row.far_off for row in ours),
                refused=sum(row.refused for row in ours),
                newest_received=min(from_micros(max(row.start_us for row in ours) + MINUTE_US), now),
            )
            for key, ours in sorted(grouped.items(), key=lambda entry: (*entry[0][:2], SIGNALS.index(entry[0][2])))
        ]

    def services_ever(self) -> frozenset[str]:
        """Return every service.name of which a request was ever counted."""
        return self._store.services()

    def delay(self, service: str, *, now: datetime, window: timedelta = timedelta(minutes=10)) -> Delay | None:
        """Return how long spans of a service took from their end to our door, None without any."""
        rows = self._minutes(now, window, service)
        hist = sum((row.delay_hist for row in rows if row.delay_hist is not None), np.zeros(NUM_BINS, np.int64))
        median_us = quantile_us(hist, 0.5)
        if median_us is None:
            return None
        most_us = max(row.max_delay_us for row in rows)
        return Delay(median_s=min(median_us, most_us) / 1e6, max_s=most_us / 1e6, count=int(hist.sum()))

    def ingesters(self, *, now: datetime) -> Sequence[Boot]:
        """Return the latest boot of each ingester and every other that wrote within the hour: for health pages."""
        return self._store.boots(to_micros(now - timedelta(hours=1)))

    def _minutes(self, now: datetime, window: timedelta, service: str | None) -> Sequence[CoverageRow]:
        start_us = to_micros(now - window) // MINUTE_US * MINUTE_US
        return self._store.coverage(start_us, to_micros(now) + MINUTE_US, service)

    def _stretch(self, row: ActiveExposure, after_us: int, now_us: int) -> tuple[int, int]:
        begin = to_micros(row.start + self._settings.warm_up)
        end = now_us if row.end is None else min(to_micros(row.end), now_us)
        return max(begin, after_us), end

    def _arm_rows(self, row: ActiveExposure, start_us: int, end_us: int) -> dict[int, list[BucketRow]]:
        names = [*(arm_series(row, arm) for arm in ARMS), late_series(row)]
        found: dict[int, list[BucketRow]] = {}
        for _, bucket in self._store.buckets(names, self._width_us, start_us, end_us):
            found.setdefault(bucket.start_us, []).append(bucket)
        return found


def _detail(row: BucketRow) -> Ints:
    assert row.detail is not None, "a bucket of an arm is stored with its bins"
    return row.detail


def _block(
    exposure: ActiveExposure, start_us: int, width_us: int, rows: Sequence[BucketRow], *, shared: bool
) -> SealedBlock:
    return SealedBlock(
        start=from_micros(start_us),
        end=from_micros(start_us + width_us),
        change_id=exposure.change_id,
        design=exposure.design,
        attempt=exposure.attempt,
        step=exposure.step,
        percent=exposure.percent,
        canary=_counts(row for row in rows if row.series.arm == "canary"),
        baseline=_counts(row for row in rows if row.series.arm == "baseline"),
        saturated=shared or any(row.saturated for row in rows),
        late=sum(row.requests for row in rows if row.series.arm == "late"),
    )


def _is_shared(boots: Sequence[Boot], counting: frozenset[int], start_us: int) -> bool:
    """Say whether two ingesters at once count the subjects of a change: each knows only those it saw, so both may have
    counted the same one. A boot that starts after another's end has loaded what that one knew.
    """
    return sum(boot.source in counting and boot.started_us <= start_us <= boot.last_flush_us for boot in boots) > 1


def _counts(rows: Iterable[BucketRow]) -> Counts:
    """Return the sum over ingesters."""
    ours = list(rows)
    if not ours:
        return Counts()
    detail = np.sum([_detail(row) for row in ours], axis=0)
    return Counts(
        requests=sum(row.requests for row in ours),
        bad=sum(row.bad for row in ours),
        hist=detail[:NUM_BINS],
        first_seen=sum(row.first_seen for row in ours),
        first_bad=sum(row.first_bad for row in ours),
        first_hist=detail[NUM_BINS : 2 * NUM_BINS],
        subjects=sum(row.subjects for row in ours),
        subjects_bad=sum(row.subjects_bad for row in ours),
        subjects_hist=detail[2 * NUM_BINS : GROUPS_AT],
        groups=detail[GROUPS_AT:].reshape(NUM_GROUPS, len(GROUP_FIELDS)),
        pod_bins=np.concatenate([no_pairs(), *(row.pods for row in ours if row.pods is not None)]),
    )
