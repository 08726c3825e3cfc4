"""What is counted, where, and what is not: the aggregation core alone."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.watch.telemetry.conftest import row
from tests.watch.telemetry.otlp import CHANGE, INTERNAL, OTHER_CHANGE, Span, body, exposure

from airboss.kernel.clock import to_micros
from airboss.watch.telemetry import (
    ANY_SERVICE,
    ActiveExposure,
    BucketRow,
    Flush,
    Ingest,
    ProtobufReader,
    Receipt,
    TelemetrySettings,
    bin_index,
    bin_lower_us,
)
from airboss.watch.telemetry.planes import Plane
from airboss.watch.telemetry.subjects import SubjectSet, marks_of

NOW = datetime(2026, 1, 5, 9, 0, 5, tzinfo=UTC)
ROWS = (row(NOW - timedelta(minutes=1)),)


def ingest(*rows: ActiveExposure, **limits: Any) -> Ingest:
    made = Ingest(TelemetrySettings(**limits))
    for change in made.unloaded(rows, now_us=to_micros(NOW)):
        made.load_subjects(change, [])
    made.update(rows, known=frozenset(), now_us=to_micros(NOW))
    return made


def send(to: Ingest, *spans: Span, at: datetime = NOW, sender: str = ANY_SERVICE, **more: Any) -> Receipt:
    columns = ProtobufReader().read(body(spans, **more), "traces")
    return to.accept(columns, signal="traces", sender_service=sender, received_us=to_micros(at))


def take(of: Ingest, at: datetime = NOW) -> Flush:
    return of.take(source=1, at_us=to_micros(at))


def plain(flush: Flush, service: str = "checkout") -> list[BucketRow]:
    return [r for r in flush.buckets if not r.series.change_id and r.series.service == service]


def arm(flush: Flush, name: str = "canary") -> list[BucketRow]:
    return sorted((r for r in flush.buckets if r.series.arm == name), key=lambda r: (r.series.step, r.start_us))


def sixtuple(cell: BucketRow) -> tuple[int, ...]:
    return cell.requests, cell.bad, cell.first_seen, cell.first_bad, cell.subjects, cell.subjects_bad


def test_a_span_counts_in_its_plain_bucket() -> None:
    """Requests, errors and the duration's bin land in the 10 s bucket of the span's end; child spans do not."""
    made = ingest()
    send(made, Span(end=NOW, ms=1), Span(end=NOW, ms=4, bad=True), Span(end=NOW, kind=INTERNAL, parent=True))
    (cell,) = plain(take(made))
    assert (cell.requests, cell.bad, cell.width_us) == (2, 1, 10_000_000)
    assert cell.start_us == to_micros(NOW.replace(second=0))
    assert cell.detail is not None
    assert np.flatnonzero(cell.detail).tolist() == bin_index(np.array([1000.0, 4000.0])).tolist()
    assert cell.newest_us == to_micros(NOW)


def test_bins_are_eighths_of_an_octave() -> None:
    """Bin i begins at 2^(i/8) µs; what is shorter than a microsecond or longer than a day is at the ends."""
    edges = np.array([bin_lower_us(index) * 1.000001 for index in range(1, 288)])
    assert bin_index(edges).tolist() == list(range(1, 288))
    assert bin_index(np.array([0.0, 0.5, 1.0, 1e15])).tolist() == [0, 0, 0, 287]


def test_a_span_that_ends_before_it_starts_has_no_duration() -> None:
    """A clock that was set back between start and end gives the shortest bin, not a huge one."""
    made = ingest()
    send(made, Span(end=NOW, ms=-5))
    (cell,) = plain(take(made))
    assert cell.detail is not None
    assert cell.detail[0] == 1


def test_an_exposed_span_counts_in_its_arm_and_plain() -> None:
    """An element of a change in flight counts in the 2 s bucket of its arm and group; the span counts once, plain."""
    made = ingest(*ROWS)
    send(
        made,
        Span(end=NOW, bad=True, exposures=(exposure(1, group=42),)),
        Span(end=NOW, exposures=(exposure(2, arm="baseline"),)),
    )
    flush = take(made)
    (canary,), (baseline,) = arm(flush), arm(flush, "baseline")
    assert sixtuple(canary) == (1, 1, 1, 1, 1, 1)
    assert sixtuple(baseline) == (1, 0, 1, 0, 1, 0)
    assert (canary.width_us, canary.start_us) == (2_000_000, to_micros(NOW.replace(second=4)))
    assert (canary.series.attempt, canary.series.step) == (1, 1)
    assert canary.detail is not None
    groups = canary.detail[3 * 288 :].reshape(100, 6)
    assert groups[42].tolist() == [1, 1, 1, 1, 1, 1]
    assert groups.sum() == 6
    assert plain(flush)[0].requests == 2


def test_a_span_may_count_in_several_changes() -> None:
    """Two ramps on one request are two independent countings of it."""
    made = ingest(*ROWS, row(NOW - timedelta(minutes=1), change_id=OTHER_CHANGE))
    send(made, Span(end=NOW, exposures=(exposure(1), exposure(1, change=OTHER_CHANGE, arm="baseline"))))
    flush = take(made)
    assert [cell.series.change_id for cell in arm(flush)] == [CHANGE]
    assert [cell.series.change_id for cell in arm(flush, "baseline")] == [OTHER_CHANGE]
    assert plain(flush)[0].requests == 1


def test_a_second_element_of_one_change_is_a_mistake() -> None:
    """Nobody is in both arms: the first element of a change counts, another one on the same span does not."""
    made = ingest(*ROWS)
    send(made, Span(end=NOW, exposures=(exposure(1), exposure(1, arm="baseline"))))
    flush = take(made)
    assert (len(arm(flush)), len(arm(flush, "baseline"))) == (1, 0)


def test_subjects_count_once_an_attempt_and_once_a_step() -> None:
    """First seen and first bad count once in the attempt; a step's trial is the subject's first request in it, by arrival."""
    made = ingest(row(NOW - timedelta(minutes=1), end=NOW), row(NOW, step=2))
    before, after = NOW - timedelta(seconds=1), NOW + timedelta(seconds=1)
    send(made, *[Span(end=before, bad=bad, exposures=(exposure(1),)) for bad in (False, True, True)])
    send(made, *[Span(end=after, bad=bad, exposures=(exposure(1),)) for bad in (True, False)], at=after)
    one, two = arm(take(made))
    assert sixtuple(one) == (3, 2, 1, 1, 1, 0)
    assert sixtuple(two) == (2, 1, 0, 0, 1, 1)
    assert one.detail is not None
    assert two.detail is not None
    assert [int(part.sum()) for part in np.split(one.detail[: 3 * 288], 3)] == [3, 1, 1]
    assert [int(part.sum()) for part in np.split(two.detail[: 3 * 288], 3)] == [2, 0, 1]


def test_another_attempt_counts_anew() -> None:
    """A new attempt of the same change has seen nobody yet."""
    made = ingest(row(NOW - timedelta(minutes=1), end=NOW), row(NOW, attempt=2))
    for end in (NOW - timedelta(seconds=1), NOW):
        send(made, Span(end=end, bad=True, exposures=(exposure(1),)))
    assert [sixtuple(cell) for cell in arm(take(made))] == [(1, 1, 1, 1, 1, 1)] * 2


def test_a_span_belongs_to_the_step_it_ends_in() -> None:
    """The row with from ≤ end < to takes the span; outside all rows it is a stale annotation and counts only plain."""
    made = ingest(row(NOW - timedelta(seconds=4), end=NOW - timedelta(seconds=2)))
    spans = [Span(end=NOW - timedelta(seconds=age), exposures=(exposure(age),)) for age in (5, 4, 3, 2, 1)]
    send(made, *spans)
    flush = take(made)
    assert sum(cell.requests for cell in arm(flush)) == 2
    (minute,) = flush.coverage
    assert (minute.total, minute.current, minute.stale) == (5, 2, 3)


def test_elsewhere_is_not_here() -> None:
    """A change in flight at one service and environment is counted nowhere else."""
    made = ingest(*ROWS)
    for span in (
        Span(end=NOW, service="cart", exposures=(exposure(1),)),
        Span(end=NOW, environment="staging", exposures=(exposure(1),)),
    ):
        send(made, span)
    flush = take(made)
    assert arm(flush) == []
    assert [minute.stale for minute in flush.coverage] == [1, 1]


def test_coverage_tells_current_stale_unknown_and_none() -> None:
    """The best annotation of each root span decides; an ID nobody knows is asked about once, and is then stale or unknown."""
    made = ingest(*ROWS)
    strange = OTHER_CHANGE
    send(
        made,
        Span(end=NOW),
        Span(end=NOW, exposures=(exposure(1, change=strange),)),
        Span(end=NOW, exposures=("nonsense",)),
    )
    send(made, Span(end=NOW), resource={"deployment.id": CHANGE})
    send(made, Span(end=NOW, exposures=(exposure(1, change=strange), exposure(1))))
    (minute,) = take(made).coverage
    assert (minute.total, minute.current, minute.stale, minute.unknown) == (5, 2, 0, 2)
    assert made.unknown_changes() == {strange}
    made.update(ROWS, known=frozenset({strange}), now_us=to_micros(NOW))
    assert made.unknown_changes() == frozenset()
    send(made, Span(end=NOW), resource={"airboss.change.id": strange})
    (minute,) = take(made).coverage
    assert minute.stale == 1


def test_late_spans_are_counted_as_late_only() -> None:
    """After bucket end and lateness a span is in no bucket, plain or arm, and its subject is not marked as seen."""
    made = ingest(*ROWS)
    end = NOW.replace(second=1)
    sealed = NOW.replace(second=2) + timedelta(seconds=8)
    receipt = send(made, Span(end=end, exposures=(exposure(1),)), at=sealed)
    flush = take(made, sealed)
    assert receipt.rejected == 0
    assert arm(flush) == []
    assert [(cell.requests, cell.start_us) for cell in arm(flush, "late")] == [(1, to_micros(NOW.replace(second=0)))]
    assert plain(flush)[0].requests == 1  # the 10 s bucket is still open
    later = NOW.replace(second=18)
    receipt = send(made, Span(end=end), at=later)
    assert (receipt.rejected, "late" in receipt.message) == (0, True)
    assert plain(take(made, later)) == []
    send(made, Span(end=later, exposures=(exposure(1),)), at=later)
    assert arm(take(made, later))[0].first_seen == 1


def test_nothing_is_added_to_what_a_flush_has_sealed() -> None:
    """A flush stamped after the sealing closes the bucket even for a request received before it."""
    made = ingest(*ROWS)
    sealed = NOW.replace(second=4) + timedelta(seconds=2 + 8)
    take(made, sealed)
    send(made, Span(end=NOW, exposures=(exposure(1),)), at=sealed - timedelta(seconds=5))
    assert [cell.series.arm for cell in take(made, sealed).buckets if cell.series.change_id] == ["late"]


@pytest.mark.parametrize(
    "offset", [timedelta(hours=-2), timedelta(seconds=9), timedelta(days=-20000), timedelta(days=100000)]
)
def test_times_far_off_are_refused_and_told(offset: timedelta) -> None:
    """A clock that is an hour behind or ahead of us by more than the lateness opens no bucket, and its owner is told."""
    made = ingest(*ROWS)
    receipt = send(made, Span(end=NOW + offset, exposures=(exposure(1),)))
    flush = take(made)
    assert (receipt.rejected, flush.buckets) == (1, [])
    assert "clock" in receipt.message
    assert flush.coverage[0].far_off == 1


def test_a_token_writes_only_its_own_service() -> None:
    """Spans of other services are refused and told, under the sender's own name; its own are counted."""
    made = ingest()
    receipt = send(
        made,
        Span(end=NOW),
        Span(end=NOW, service="cart"),
        Span(end=NOW, service="cart", parent=True, kind=INTERNAL),
        sender="checkout",
    )
    flush = take(made)
    assert receipt.rejected == 2
    assert "'checkout'" in receipt.message
    assert plain(flush, "cart") == []
    assert plain(flush)[0].requests == 1
    assert {(minute.service, minute.refused) for minute in flush.coverage} == {("checkout", 0), ("checkout", 2)}


def test_a_flood_of_services_is_bounded() -> None:
    """Past the limit of services, and of environments of one, everything goes to `other`, and is still counted."""
    made = ingest(max_services=20, max_environments_per_service=3)
    for number in range(10):
        send(made, Span(end=NOW, environment=f"e{number}"))
    for number in range(100):
        send(made, Span(end=NOW, service=f"s{number}"))
    flush = take(made)
    assert len(flush.buckets) == 20
    assert sum(cell.requests for cell in flush.buckets) == 110
    assert {cell.series.environment for cell in plain(flush)} == {"e0", "e1", "e2", "other"}
    assert sum(cell.requests for cell in plain(flush, "other")) == 85


def test_a_flood_does_not_become_the_baseline_of_a_change() -> None:
    """Where a change is in flight is a place of its own, though the limit was reached before: neither its deploy nor its
    ramp counts what strangers sent.
    """
    made = ingest(max_services=5)
    for number in range(20):
        send(made, Span(end=NOW, service=f"s{number}"))
    rows = (*ROWS, row(NOW - timedelta(minutes=1), change_id=OTHER_CHANGE, design="deploy"))
    for change in made.unloaded(rows, now_us=to_micros(NOW)):
        made.load_subjects(change, [])
    made.update(rows, known=frozenset(), now_us=to_micros(NOW))
    for number in range(20):
        send(made, Span(end=NOW, service=f"s{number}", exposures=(exposure(number),)))
    send(made, Span(end=NOW, exposures=(exposure(99),)))
    flush = take(made)
    assert [cell.requests for cell in arm(flush)] == [1]
    assert [(cell.series.change_id, cell.requests) for cell in arm(flush, "baseline")] == [(OTHER_CHANGE, 1)]
    assert [cell.requests for cell in plain(flush)] == [1]


def test_memory_is_flat_under_a_flood_of_names() -> None:
    """Services, environments, pods, changes and span names never seen before leave nothing behind but what is bounded."""
    made = ingest(row(NOW - timedelta(minutes=1), design="deploy"), max_services=50)
    reader = ProtobufReader()

    def flood(first: int) -> int:
        for number in range(first, first + 2_000):
            change = f"chg_{number:026}"
            span = Span(
                end=NOW, service=f"s{number}" if number % 2 else "checkout", exposures=(exposure(1, change=change),)
            )
            names = {"service.instance.id": f"p{number}", "deployment.id": change}
            made.accept(
                reader.read(body([span], resource=names), "traces"),
                signal="traces",
                sender_service=ANY_SERVICE,
                received_us=to_micros(NOW),
            )
        made.update((), known=frozenset(), now_us=to_micros(NOW))
        flush = take(made)
        made.confirm(flush)
        return len(flush.buckets) + len(flush.coverage) + len(flush.exemplars)

    written = [flood(first) for first in range(0, 10_000, 2_000)]
    assert max(written) <= 120
    sizes = (len(made._unknown), len(made._known), len(made._asked), len(made._origins), len(reader._origins))
    assert max(sizes) <= 10_000
    assert len(made._cells._places) <= 52


def test_a_full_set_is_told_in_the_bucket() -> None:
    """When a change's dedupe set is full, its buckets say so; what it holds still counts nobody twice."""
    made = ingest(*ROWS, subjects_per_change=4)
    send(made, Span(end=NOW, exposures=(exposure(1),)), Span(end=NOW, exposures=(exposure(2),)))
    assert not arm(take(made))[0].saturated
    send(made, Span(end=NOW, exposures=(exposure(1),)), Span(end=NOW, exposures=(exposure(3),)))
    (cell,) = arm(take(made))
    assert cell.saturated
    assert sixtuple(cell)[:3] == (4, 0, 2)


def test_a_failed_flush_goes_with_the_next() -> None:
    """What could not be written is written later as the same whole values, with its subjects."""
    made = ingest(*ROWS)
    send(made, Span(end=NOW, bad=True, exposures=(exposure(1),)))
    lost = take(made)
    made.restore(lost)
    send(made, Span(end=NOW, exposures=(exposure(2),)))
    again = take(made)
    assert sixtuple(arm(again)[0]) == (2, 1, 2, 1, 2, 1)
    assert sum(len(chunk.marks) for chunk in again.subjects) == 8 * 5
    made.confirm(again)
    assert take(made).buckets == []


def test_sealed_buckets_leave_memory() -> None:
    """Once written after its sealing a bucket is forgotten; an open one is not."""
    made = ingest(*ROWS, max_open_cells=3)
    send(made, Span(end=NOW, exposures=(exposure(1),)), Span(end=NOW, exposures=(exposure(1, arm="baseline"),)))
    assert made.is_full
    made.confirm(take(made, NOW + timedelta(seconds=2)))
    assert made.is_full
    made.confirm(take(made, NOW + timedelta(minutes=2)))
    assert not made.is_full


def test_what_is_over_leaves_no_name_and_its_numbers_are_used_again() -> None:
    """Over a hundred changes, one after the other, no more names are held than of those that may still be sent to, and
    none is counted for another, not even where a late span or a failed flush kept something of one open.
    """
    made = ingest()
    held = []
    for number in range(100):
        now = NOW + number * timedelta(minutes=30)
        name = f"chg_{number:026}"
        rows = [row(now - timedelta(seconds=30), change_id=name)]
        if number:
            before = f"chg_{number - 1:026}"
            rows.append(row(now - timedelta(minutes=30), end=now - timedelta(minutes=20), change_id=before))
        for change in made.unloaded(rows, now_us=to_micros(now)):
            made.load_subjects(change, [])
        made.update(rows, known=frozenset(), now_us=to_micros(now))
        late = now - timedelta(seconds=20)
        send(
            made,
            Span(end=now, bad=True, exposures=(exposure(1, change=name), exposure(1, change=name, arm="baseline"))),
            Span(end=late, exposures=(exposure(2, change=name),)),
            at=now,
        )
        flush = take(made, at=now)
        if number % 7 == 3:  # it goes with the next, by which time its change is over
            made.restore(flush)
            continue
        told = sorted((cell.series.change_id, cell.series.arm, cell.requests) for cell in flush.buckets)
        wanted = [("", "", 1), (name, "canary", 1), (name, "late", 1)]
        if number % 7 == 4:
            wanted = sorted([*wanted, *((change and before, arm, count) for change, arm, count in wanted)])
        assert told == wanted
        made.confirm(flush)
        held.append((len(made._cells._series), len(made._cells._series_list), len(made._cells._change_numbers)))
    assert max(held) <= (20, 20, 6)
    assert held[-1] == held[len(held) // 2]


def test_loaded_subjects_are_not_counted_again() -> None:
    """A new boot that loads what the old one wrote counts nobody twice."""
    first = ingest(*ROWS)
    send(first, Span(end=NOW, bad=True, exposures=(exposure(1),)))
    second = Ingest(TelemetrySettings())
    second.load_subjects(CHANGE, take(first).subjects)
    second.update(ROWS, known=frozenset(), now_us=to_micros(NOW))
    send(second, Span(end=NOW, bad=True, exposures=(exposure(1),)))
    assert sixtuple(arm(take(second))[0]) == (1, 1, 0, 0, 0, 0)


def test_subjects_of_what_is_over_are_let_go() -> None:
    """Once a change's last bucket is sealed its subjects leave the memory; a new attempt asks for those that are stored."""
    end = NOW + timedelta(seconds=1)
    over = (row(NOW - timedelta(minutes=1), end=end),)
    made = ingest(*ROWS)
    send(made, *(Span(end=NOW, exposures=(exposure(number),)) for number in range(6000)))
    at_most = len(made._subjects._keys)
    assert len(made._subjects) == 12_000
    for at, held in ((NOW + timedelta(seconds=70), 12_000), (NOW + timedelta(seconds=72), 0)):
        made.update(over, known=frozenset(), now_us=to_micros(at))
        assert len(made._subjects) == held
    assert at_most >= 32_768
    assert len(made._subjects._keys) == 4096
    send(made, Span(end=NOW, exposures=(exposure(1),)), at=NOW + timedelta(seconds=72))
    assert sum(counted.requests for counted in take(made).buckets if counted.series.arm == "late") == 1
    again = (*over, row(NOW + timedelta(seconds=80), attempt=2))
    assert made.unloaded(again, now_us=to_micros(NOW + timedelta(seconds=81))) == {CHANGE}


SPANS = st.lists(
    st.builds(
        Span,
        end=st.integers(0, 12_000).map(lambda ms: NOW - timedelta(milliseconds=ms)),
        ms=st.floats(0, 5000),
        bad=st.booleans(),
        service=st.sampled_from(["checkout", "cart"]),
        parent=st.booleans(),
        kind=st.sampled_from([1, 2]),
        exposures=st.lists(
            st.builds(
                exposure,
                st.integers(0, 5),
                arm=st.sampled_from(["canary", "baseline"]),
                group=st.integers(0, 99),
                change=st.sampled_from([CHANGE, OTHER_CHANGE]),
            ),
            max_size=2,
        ).map(tuple),
    ),
    max_size=30,
)
TWO_STEPS = (
    row(NOW - timedelta(seconds=9), end=NOW - timedelta(seconds=4)),
    row(NOW - timedelta(seconds=4), step=2),
    row(NOW - timedelta(seconds=7), change_id=OTHER_CHANGE, service="cart"),
)


def comparable(flush: Flush) -> object:
    buckets = {
        (r.series, r.start_us): (sixtuple(r), r.newest_us, None if r.detail is None else r.detail.tobytes())
        for r in flush.buckets
    }
    minutes = {
        (r.service, r.environment): (r.total, r.current, r.stale, r.unknown, r.late, r.max_delay_us)
        for r in flush.coverage
    }
    marks = {(c.scope, m) for c in flush.subjects for m in np.frombuffer(c.marks, "<u8").tolist()}
    return buckets, minutes, marks


@settings(deadline=None, max_examples=60)
@given(spans=SPANS, cuts=st.sets(st.integers(0, 30)))
def test_any_cutting_into_requests_gives_the_same_counters(spans: list[Span], cuts: set[int]) -> None:
    """The same spans in the same order count the same, in one request or in many."""
    whole, parts = ingest(*TWO_STEPS), ingest(*TWO_STEPS)
    send(whole, *spans)
    edges = [0, *sorted(cut for cut in cuts if cut < len(spans)), len(spans)]
    for start, end in itertools.pairwise(edges):
        send(parts, *spans[start:end])
    assert comparable(take(whole)) == comparable(take(parts))


@settings(deadline=None, max_examples=60)
@given(spans=SPANS)
def test_the_counters_are_what_a_plain_loop_counts(spans: list[Span]) -> None:
    """The array arithmetic agrees with the definition, written as a loop over spans with Python sets."""
    made = ingest(*TWO_STEPS)
    send(made, *spans)
    assert {
        (r.series, r.start_us): sixtuple(r) for r in take(made).buckets if r.series.arm in {"canary", "baseline"}
    } == loop(spans)


def loop(spans: list[Span]) -> dict[Any, tuple[int, ...]]:
    from airboss.watch.telemetry import Series

    seen: set[Any] = set()
    cells: dict[Any, list[int]] = {}
    for span in spans:
        if span.parent and span.kind == INTERNAL:
            continue
        done = set()
        for element in span.exposures:
            change, name, _, subject = element.split("/")
            if change in done:
                continue
            done.add(change)
            for r in TWO_STEPS:
                here = (r.change_id, r.service) == (change, span.service)
                if not here or not r.start <= span.end or (r.end is not None and span.end >= r.end):
                    continue
                start = to_micros(span.end) // 2_000_000 * 2_000_000
                if start + 10_000_000 <= to_micros(NOW):
                    continue
                key = Series(
                    service=r.service, environment=r.environment, change_id=change, attempt=1, step=r.step, arm=name
                )
                cell = cells.setdefault((key, start), [0] * 6)
                marks = [
                    (change, r.service, subject),
                    (change, r.service, subject, "bad"),
                    (change, r.service, subject, r.step),
                ]
                fresh = [mark not in seen for mark in marks]
                for index, counts in enumerate(
                    (True, span.bad, fresh[0], span.bad and fresh[1], fresh[2], fresh[2] and span.bad)
                ):
                    cell[index] += counts
                seen |= {mark for mark, use in zip(marks, (True, span.bad, True), strict=True) if use}
    return {key: tuple(cell) for key, cell in cells.items()}


@settings(deadline=None, max_examples=60)
@given(batches=st.lists(st.lists(st.integers(1, 400), max_size=120), max_size=12), most=st.integers(1, 500))
def test_the_subject_set_is_a_bounded_set(batches: list[list[int]], most: int) -> None:
    """It answers like a Python set that takes in nothing new once it is full, through growth and dropping."""
    ours, model = SubjectSet(most), set[int]()
    for batch in batches:
        numbers = np.array(batch, np.uint64)
        marks = marks_of(numbers, np.full(len(numbers), 5, np.uint64))
        new, refused = ours.add(marks, np.zeros(len(marks), np.int64))
        told = []
        for number in batch:
            fresh = number not in model and len(model) < most
            model |= {number} if fresh else set()
            told.append((fresh, number not in model))
        assert [(bool(a), bool(b)) for a, b in zip(new, refused, strict=True)] == told
        ours.add(np.array([7], np.uint64), np.array([1]))
    assert len(ours) == len(model) + bool(batches)
    ours.drop(0)
    assert list(ours.all()) == [7] * bool(batches)


def test_a_plane_keeps_values_through_growth() -> None:
    """Cells keep their numbers when the arrays grow, and a released slot comes back as zeros."""
    plane: Plane[int] = Plane(counts=1)
    for key in range(1000):
        slots = plane.slots([key])
        plane.counts[slots, 0] += key
    assert {key: int(plane.counts[slot, 0]) for key, slot in plane.dirty()} == {key: key for key in range(1000)}
    plane.release(lambda key: key >= 10)
    assert len(plane) == 10
    slots = plane.slots([5000])
    assert int(plane.counts[slots, 0].sum()) == 0
