"""What telemetry is, once it is counted: exposures, counts, blocks, coverage, and the limits it is taken in under."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from airboss.sdk import attributes

Ints: TypeAlias = NDArray[np.int64]
Arm: TypeAlias = Literal["canary", "baseline"]
Design: TypeAlias = Literal["ramp", "deploy"]
"""How the arms of a unit came to be: people split by a flag, or processes that run another version."""
Signal: TypeAlias = Literal["traces", "metrics", "logs"]

ARMS: Final[tuple[Arm, Arm]] = ("canary", "baseline")
SIGNALS: Final[tuple[Signal, ...]] = ("traces", "metrics", "logs")
NUM_BINS: Final = 288
"""Duration bins: bin i holds durations of [2^(i/8), 2^((i+1)/8)) microseconds; the last is open (from 18 hours)."""
NUM_GROUPS: Final = 100
GROUP_FIELDS: Final = ("requests", "bad", "first_seen", "first_bad", "subjects", "subjects_bad")
"""The columns of `Counts.groups`, in order."""
ENVIRONMENT_ATTRIBUTES: Final = (attributes.ENVIRONMENT, "deployment.environment")
CHANGE_ATTRIBUTES: Final = (attributes.CHANGE_ID, attributes.DEPLOYMENT_ID)
INSTANCE_ATTRIBUTES: Final = (attributes.SERVICE_INSTANCE, "k8s.pod.uid", "k8s.pod.name")
"""What tells the pods of a service apart; the first one present wins."""
UNKNOWN: Final = "unknown"
"""Service or environment of telemetry that names none."""
OTHER: Final = "other"
"""Service or environment everything past the cardinality limits is counted under."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RampedFlag:
    """The flag of a ramp that splits by targeting key: what its two sides answer."""

    key: str
    canary_variants: frozenset[str]
    baseline_variant: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ActiveExposure:
    """One stretch of time in which one unit of a change stood at one exposure, as observed: [start, end).

    `design` says where the arm of a span comes from: of a `ramp` the span's exposure element, or the answer its `flag`
    gave (None where people are split by something else than their targeting key, which is all a hook tells); of a
    `deploy` the change named by the resource of the process that made it.
    """

    change_id: str
    design: Design
    service: str
    environment: str
    unit: str
    attempt: int
    step: int
    start: datetime
    end: datetime | None
    percent: float
    flag: RampedFlag | None = None


def no_pairs() -> Ints:
    """Return no rows of (index, count)."""
    return np.zeros((0, 2), np.int64)


def _bins() -> Ints:
    return np.zeros(NUM_BINS, np.int64)


def _groups() -> Ints:
    return np.zeros((NUM_GROUPS, len(GROUP_FIELDS)), np.int64)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Counts:
    """What one arm did in one block.

    `requests`, `bad`, `hist` count server and local root spans. `first_*` count subjects once per attempt: seen for the
    first time, first bad request, duration of the first request. `subjects*` count them once per step: first request in
    this step, whether it was bad, how long it took. Histograms have `NUM_BINS` bins; `groups` is (100, 6) in the order of
    `GROUP_FIELDS`: of a ramp by hash group, of a deploy by pod (which has no subjects, so theirs are zero). `pod_bins` are a
    deploy's durations by pod, rows of (pod · 288 + bin, count), which may repeat.
    """

    requests: int = 0
    bad: int = 0
    hist: Ints = field(default_factory=_bins)
    first_seen: int = 0
    first_bad: int = 0
    first_hist: Ints = field(default_factory=_bins)
    subjects: int = 0
    subjects_bad: int = 0
    subjects_hist: Ints = field(default_factory=_bins)
    groups: Ints = field(default_factory=_groups)
    pod_bins: Ints = field(default_factory=no_pairs)

    def by_pod(self) -> Mapping[int, tuple[int, int]] | None:
        """Return (requests, bad) of every pod a deploy's arm was served by, by the number the receiver gave it; None
        when some request named no pod.

        Pods beyond a hundred share a number, and so may two pods that report to different receivers: a group is then
        several pods, never part of one within a receiver.
        """
        if int(self.groups[:, 0].sum()) != self.requests:
            return None
        return {
            number: (requests, bad) for number, (requests, bad) in enumerate(self.groups[:, :2].tolist()) if requests
        }

    def hist_by_pod(self) -> Mapping[int, Ints] | None:
        """Return the histogram of every pod of `by_pod`, shape (288,) each; None when the durations of some pod are not
        all there, as in what a receiver of an earlier version has counted.
        """
        by_pod = self.by_pod()
        if by_pod is None:
            return None
        found = {number: _bins() for number in by_pod}
        pod, bins = np.divmod(self.pod_bins[:, 0], NUM_BINS)
        for number, hist in found.items():
            ours = pod == number
            np.add.at(hist, bins[ours], self.pod_bins[ours, 1])
        whole = all(int(hist.sum()) == by_pod[number][0] for number, hist in found.items())
        return found if whole else None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SealedBlock:
    """A whole bucket of one step at one exposure; nothing will be added to it. Zeros mean nobody came.

    `saturated`: subject counts are not exact (the dedupe set is full, or two ingesters saw the same change): do not judge
    by them. `late` points came after sealing and are in no count.
    """

    start: datetime
    end: datetime
    change_id: str
    design: Design
    attempt: int
    step: int
    percent: float
    canary: Counts
    baseline: Counts
    saturated: bool
    late: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class WindowCounts:
    """Sums over one window. `observed` is the part of the window in which a receiver was alive: zero is a measurement
    there, and unknown elsewhere. `hist` is None where the window reaches further back than histograms are kept.
    """

    window: timedelta
    start: datetime
    end: datetime
    total: int
    bad: int
    hist: Ints | None
    observed: timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One place, and the windows whose counts are asked for."""

    service: str
    environment: str
    windows: tuple[timedelta, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sums:
    """What was asked for, in its order, without histograms; and when the newest span that was counted ended, None when
    nothing came for a day.
    """

    windows: tuple[WindowCounts, ...]
    newest: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ArmSeries:
    """One arm over n plot points."""

    requests: Ints
    bad: Ints
    hist: Ints
    """(n, NUM_BINS)"""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class BucketSeries:
    """Both arms of a change over time, for plots. `whole[i]` says the point is sealed and unbroken; elsewhere its counts
    are a lower bound and zero means unknown.
    """

    starts_us: Ints
    width: timedelta
    canary: ArmSeries
    baseline: ArmSeries
    whole: NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class Coverage:
    """How much of one service's telemetry names a change, by the best annotation each item carries.

    `current`: a change in flight here at that time. `stale`: a change we know, not in flight here then. `unknown`: an ID
    nobody knows or a malformed annotation. For traces an item is a server or local root span.
    """

    service: str
    environment: str
    signal: Signal
    total: int
    current: int
    stale: int
    unknown: int
    none: int
    late: int
    far_off: int
    refused: int
    newest_received: datetime

    @property
    def annotated_share(self) -> float | None:
        """Share of items with any known change ID; None without items."""
        return (self.current + self.stale) / self.total if self.total else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Delay:
    """Export delay of one service: received − span end. The median is the geometric middle of its bin (± 4.4 %)."""

    median_s: float
    max_s: float
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Exemplar:
    """One trace worth opening. `why` says what it was kept for; `attributes` are those of a short list, as text."""

    change_id: str
    arm: Arm
    why: Literal["failed", "slow"]
    service: str
    environment: str
    attempt: int
    step: int
    trace_id: str
    span_id: str
    name: str
    end: datetime
    duration: timedelta
    attributes: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class TelemetrySettings:
    """Limits and rhythms. Both processes must agree on widths, lateness and warm-up."""

    plain_width: timedelta = timedelta(seconds=10)
    change_width: timedelta = timedelta(seconds=2)
    lateness: timedelta = timedelta(seconds=8)
    """A bucket is sealed this long after its end."""
    future: timedelta = timedelta(seconds=8)
    """A span may end this far in our future; more is a broken clock."""
    far_off: timedelta = timedelta(hours=1)
    """Older than this is not late but wrong, and rejected with a message."""
    changes_idle: timedelta = timedelta(minutes=65)
    """Exposures that ended so long ago are let go. No span that may still come ended in one."""
    warm_up: timedelta = timedelta(seconds=2)
    """Buckets this soon after an exposure change are skipped."""
    flush_every: timedelta = timedelta(seconds=1)
    dead_after: timedelta = timedelta(seconds=20)
    """An ingester that wrote nothing for so long is taken for dead."""
    subjects_per_change: int = 2_000_000
    max_services: int = 1_000
    max_environments_per_service: int = 16
    max_body_bytes: int = 4 << 20
    max_inflated_bytes: int = 16 << 20
    max_held_bytes: int = 64 << 20
    max_open_cells: int = 100_000
    authentication_kept: timedelta = timedelta(seconds=5)
    fine_kept: timedelta = timedelta(hours=48)
    """Plain 10 s buckets are rolled up to 5 minutes after this, and their histograms dropped."""
    changes_kept: timedelta = timedelta(days=14)
    plain_kept: timedelta = timedelta(days=100)
    coverage_kept: timedelta = timedelta(days=14)
    exemplars_kept: timedelta = timedelta(days=7)
    """Traces are seldom kept for longer where they are opened."""

    def __post_init__(self) -> None:
        if self.changes_kept <= self.far_off or self.fine_kept <= self.far_off:
            raise ValueError("telemetry must be kept for longer than the oldest point that is taken in")
        if self.changes_idle <= self.far_off:
            raise ValueError("exposures must be known for longer than the oldest point that is taken in")
