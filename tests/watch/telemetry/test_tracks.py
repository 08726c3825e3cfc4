"""The tracks of a deploy: which process is the canary, which the baseline, and which pod it is."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.watch.telemetry.conftest import row
from tests.watch.telemetry.line import Line
from tests.watch.telemetry.otlp import CHANGE, OTHER_CHANGE, Span, exposure
from tests.watch.telemetry.test_ingest import arm, ingest, plain, send, sixtuple, take

from airboss.testing import ManualClock
from airboss.testing.telemetry import ListedExposures
from airboss.watch.telemetry import NUM_BINS, ActiveExposure, Counts, SqlBucketStore, TelemetrySettings
from airboss.watch.telemetry.rules import bin_index
from airboss.watch.telemetry.tracks import NO_POD, Pods

NOW = datetime(2026, 1, 5, 9, 0, 5, tzinfo=UTC)
SINCE = NOW - timedelta(minutes=1)


def deploy(start: datetime = SINCE, **more: object) -> ActiveExposure:
    return row(start, design="deploy", **more)  # type: ignore[arg-type]


def pod(name: str, change: str = "", key: str = "deployment.id") -> dict[str, str]:
    return {"service.instance.id": name} | ({key: change} if change else {})


@pytest.mark.parametrize("key", ["deployment.id", "airboss.change.id"])
def test_the_track_of_a_deploy_comes_from_the_resource(key: str) -> None:
    """Spans of processes that name the change are its canary, all others of the service and environment its baseline."""
    made = ingest(deploy())
    send(made, Span(end=NOW, bad=True), Span(end=NOW), resource=pod("a", CHANGE, key))
    send(made, Span(end=NOW), Span(end=NOW), Span(end=NOW), resource=pod("b"))
    send(made, Span(end=NOW), resource=pod("c", OTHER_CHANGE, key))
    flush = take(made)
    (canary,), (baseline,) = arm(flush), arm(flush, "baseline")
    assert sixtuple(canary) == (2, 1, 0, 0, 0, 0)
    assert sixtuple(baseline) == (4, 0, 0, 0, 0, 0)
    assert plain(flush)[0].requests == 6
    assert flush.subjects == []


def test_a_ramp_never_takes_its_arm_from_the_resource() -> None:
    """A process that runs because of a ramp's change serves both of the ramp's arms: its resource says nothing of them."""
    made = ingest(row(SINCE))
    send(made, Span(end=NOW), resource=pod("a", CHANGE))
    assert arm(take(made)) == []


def test_a_deploy_takes_no_arm_from_an_exposure_element() -> None:
    """An element that names a deploy is a known change in the wrong place, and moves no span to the canary."""
    made = ingest(deploy())
    send(made, Span(end=NOW, exposures=(exposure(1),)))
    flush = take(made)
    assert arm(flush) == []
    assert [sixtuple(cell)[:2] for cell in arm(flush, "baseline")] == [(1, 0)]
    assert [(r.stale, r.unknown) for r in flush.coverage] == [(1, 0)]


def test_only_the_deploys_own_place_is_a_track() -> None:
    """Other services and environments are no baseline, even if they name the change."""
    made = ingest(deploy())
    for where in ({"service": "basket"}, {"environment": "staging"}):
        send(made, Span(end=NOW, **where), resource=pod("a", CHANGE))  # type: ignore[arg-type]
    flush = take(made)
    assert arm(flush) + arm(flush, "baseline") == []


def test_what_another_deploy_put_there_is_in_neither_arm() -> None:
    """While two deploys are in force at one place, neither counts the other's canary as its baseline."""
    made = ingest(deploy(), deploy(change_id=OTHER_CHANGE))
    send(made, Span(end=NOW), resource=pod("a", CHANGE))
    send(made, Span(end=NOW), resource=pod("b", OTHER_CHANGE))
    send(made, Span(end=NOW), resource=pod("c"))
    flush = take(made)
    counted = {
        (cell.series.change_id, name): cell.requests for name in ("canary", "baseline") for cell in arm(flush, name)
    }
    assert counted == {(change, name): 1 for change in (CHANGE, OTHER_CHANGE) for name in ("canary", "baseline")}


def test_processes_of_a_change_that_is_over_are_the_next_ones_baseline() -> None:
    """What the last deploy put there is what the next one is compared with."""
    over = deploy(SINCE, change_id=OTHER_CHANGE, end=NOW - timedelta(seconds=30))
    made = ingest(over, deploy())
    send(made, Span(end=NOW), resource=pod("a", OTHER_CHANGE))
    flush = take(made)
    assert arm(flush) == []
    assert [(cell.series.change_id, cell.requests) for cell in arm(flush, "baseline")] == [(CHANGE, 1)]


def test_a_span_counts_in_the_step_that_was_in_force_when_it_ended() -> None:
    """Around a change of exposure, time decides; before the first there is no arm; what comes late is only told."""
    turn = NOW - timedelta(seconds=3)
    made = ingest(deploy(NOW - timedelta(seconds=6), end=turn), deploy(turn, step=2))
    for seconds in (1, 4, 7, 60):
        send(made, Span(end=NOW - timedelta(seconds=seconds)), resource=pod("a", CHANGE))
    assert [(cell.series.step, cell.requests) for cell in arm(take(made))] == [(1, 1), (2, 1)]
    made = ingest(deploy())
    send(made, Span(end=NOW - timedelta(seconds=30)), resource=pod("a", CHANGE))
    flush = take(made)
    assert (arm(flush), [cell.requests for cell in arm(flush, "late")]) == ([], [1])


def test_a_ramp_and_a_deploy_count_the_same_span_each_its_own_way() -> None:
    """A request served by a canary pod to a person in a ramp's baseline is in both countings."""
    made = ingest(deploy(), row(SINCE, change_id=OTHER_CHANGE))
    element = exposure(1, arm="baseline", change=OTHER_CHANGE)
    send(made, Span(end=NOW, exposures=(element,)), resource=pod("a", CHANGE))
    flush = take(made)
    assert [cell.series.change_id for cell in arm(flush)] == [CHANGE]
    assert [(cell.series.change_id, cell.subjects) for cell in arm(flush, "baseline")] == [(OTHER_CHANGE, 1)]


def test_a_block_of_a_deploy_knows_its_pods(
    buckets: SqlBucketStore, clock: ManualClock, settings: TelemetrySettings
) -> None:
    """Through the store and back, each pod of an arm has its own requests, failures and durations; one pod unnamed, and
    none is told.
    """
    start = clock.now()
    line = Line(buckets, clock, ListedExposures([deploy(start - timedelta(minutes=1))]), settings)
    for name, count, bad in (("a", 5, 1), ("b", 4, 0), ("c", 6, 2)):
        spans = [Span(end=start + timedelta(seconds=1), ms=float(count), bad=number < bad) for number in range(count)]
        line.send(*spans[:3], resource=pod(name, CHANGE if name == "a" else ""))
        line.flush()
        line.send(*spans[3:], resource=pod(name, CHANGE if name == "a" else ""))
    line.run(3)
    line.send(Span(end=start + timedelta(seconds=3)), resource={"service.version": "1"})
    line.run(12)
    first, second = line.blocks(after=start)[:2]
    assert (first.design, list((first.canary.by_pod() or {}).values())) == ("deploy", [(5, 1)])
    assert sorted((first.baseline.by_pod() or {}).values()) == [(4, 0), (6, 2)]
    told = {number: np.flatnonzero(hist).tolist() for number, hist in (first.baseline.hist_by_pod() or {}).items()}
    assert sorted(told.values()) == [[bin_index(np.array([1000.0 * count]))[0]] for count in (4, 6)]
    assert {number: int(hist.sum()) for number, hist in (first.baseline.hist_by_pod() or {}).items()} == {
        number: requests for number, (requests, _) in (first.baseline.by_pod() or {}).items()
    }
    assert not first.saturated
    assert (second.baseline.requests, second.baseline.by_pod(), second.baseline.hist_by_pod()) == (1, None, None)
    assert second.canary.by_pod() == {}


def test_pods_have_numbers_of_their_own_while_there_are_a_hundred() -> None:
    """Up to a hundred pods are told apart; a flood of names after that shares numbers and is not remembered."""
    pods = Pods()
    numbers = [pods.number(f"pod-{name}") for name in range(100)]
    assert sorted(numbers) == list(range(100))
    assert [pods.number(f"pod-{name}") for name in range(100)] == numbers
    assert all(0 <= pods.number(f"flood-{name}") < 100 for name in range(10_000))
    assert len(pods._numbers) == 100
    assert pods.number("") == NO_POD


def test_receivers_agree_on_the_number_of_a_pod() -> None:
    """Whichever pods a receiver saw before, few enough have the number their name gives them."""
    alone = [Pods().number(f"pod-{name}") for name in range(10)]
    assert [Pods().number(f"pod-{name}") for name in range(10)] == alone
    assert len(set(alone)) > 5


sends = st.lists(
    st.tuples(st.sampled_from(["a", "b", "c", ""]), st.sampled_from(["", CHANGE, OTHER_CHANGE]), st.booleans()),
    min_size=1,
    max_size=30,
)


@given(sends)
def test_every_root_span_of_the_place_is_in_exactly_one_arm(parts: list[tuple[str, str, bool]]) -> None:
    """With one deploy in force, canary and baseline add up to all requests and all failures of the place."""
    made = ingest(deploy())
    for name, change, bad in parts:
        send(made, Span(end=NOW, bad=bad), resource=pod(name, change) if name else pod("x", change))
    flush = take(made)
    both = arm(flush) + arm(flush, "baseline")
    (whole,) = plain(flush)
    assert sum(cell.requests for cell in both) == whole.requests
    assert sum(cell.bad for cell in both) == whole.bad
    assert sum(cell.requests for cell in arm(flush)) == sum(change == CHANGE for _, change, _ in parts)
    for cell in both:
        assert cell.pods is not None
        assert cell.detail is not None
        bins = np.bincount(cell.pods[:, 0] % NUM_BINS, cell.pods[:, 1], NUM_BINS)
        assert bins.tolist() == cell.detail[:NUM_BINS].tolist()


def test_durations_by_pod_survive_a_flush_that_failed() -> None:
    """What could not be written goes with the next flush, whole, with what came to the bucket since."""
    made = ingest(deploy())
    send(made, Span(end=NOW), resource=pod("a", CHANGE))
    made.restore(take(made))
    send(made, Span(end=NOW), resource=pod("b", CHANGE))
    again = take(made)
    made.confirm(again)
    (cell,) = arm(again)
    assert cell.pods is not None
    assert (len({index // NUM_BINS for index in cell.pods[:, 0].tolist()}), int(cell.pods[:, 1].sum())) == (2, 2)


def test_durations_that_are_not_all_there_are_none() -> None:
    """Of a bucket that a receiver of an earlier version counted in part, pods keep their counts and have no histograms."""
    groups = np.zeros((100, 6), np.int64)
    groups[3, 0] = 2
    counts = Counts(requests=2, groups=groups, pod_bins=np.array([[3 * NUM_BINS + 90, 1]]))
    assert (counts.by_pod(), counts.hist_by_pod()) == ({3: (2, 0)}, None)


def test_no_requests_are_no_pods() -> None:
    """An arm in which nobody came has no pods, which is not the same as pods that are not known."""
    assert Counts().by_pod() == {}
