"""What the analysis is told and what it answers. Plain values, no rules."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from airboss.kernel.canonical import Json
from airboss.kernel.errors import Invalid
from airboss.watch.analysis.bins import BIN_COUNT, BIN_WIDTH, Counts


class Kind(StrEnum):
    """What a metric measures."""

    RATIO = "ratio"
    LATENCY = "latency"


Packed = tuple[int, tuple[int, ...]]
"""A histogram from its first to its last used bin: the first one's number, and the counts."""


class Design(StrEnum):
    """How canary and baseline came to be, which decides what may be counted (see `counting.py`)."""

    RAMP = "ramp"
    DEPLOY = "deploy"


class Outcome(StrEnum):
    """Answer of a metric or of all of them."""

    FAIL = "fail"
    PASS = "pass"  # noqa: S105 (an outcome, not a secret)
    CONTINUE = "continue"
    INCONCLUSIVE = "inconclusive"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PodCounts:
    """What one pod of an arm did in one block (deploys): its `requests`, the `bad` among them, and, if it is known for
    every pod of the block, the histogram of their durations, int64 of shape (288,).

    `pod` is whatever tells pods apart and stays with one for its life, as `service.instance.id` does.
    """

    pod: str
    requests: int
    bad: int
    hist: Counts | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.bad <= self.requests:
            raise Invalid(f"pod {self.pod}: {self.bad} bad of {self.requests} requests", code="block-counts-negative")
        if self.hist is not None and self.hist.shape != (BIN_COUNT,):
            raise Invalid(
                f"pod {self.pod}: hist has shape {self.hist.shape}, not ({BIN_COUNT},)", code="block-histogram-shape"
            )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ArmCounts:
    """What one arm did in one block.

    `requests`, `bad`, `hist` count requests. `first_*` count subjects over this attempt: first request seen, first bad
    request, duration of the first request. `subjects*` count subjects over this step: first seen in the step, those
    whose that first request was bad, its duration. Histograms are int64 of shape (288,) on the grid of `bins.py`, or
    None where no duration was reported. `pods` (deploys): the same requests by pod; empty when telemetry does not tell
    pods apart, or not all of them.
    """

    requests: int = 0
    bad: int = 0
    hist: Counts | None = None
    first_seen: int = 0
    first_bad: int = 0
    first_hist: Counts | None = None
    subjects: int = 0
    subjects_bad: int = 0
    subjects_hist: Counts | None = None
    pods: tuple[PodCounts, ...] = ()

    def __post_init__(self) -> None:
        for name in ("requests", "bad", "first_seen", "first_bad", "subjects", "subjects_bad"):
            if getattr(self, name) < 0:
                raise Invalid(f"{name} is {getattr(self, name)}; counts are not negative", code="block-counts-negative")
        for name in ("hist", "first_hist", "subjects_hist"):
            histogram: Counts | None = getattr(self, name)
            if histogram is not None and histogram.shape != (BIN_COUNT,):
                raise Invalid(f"{name} has shape {histogram.shape}, not ({BIN_COUNT},)", code="block-histogram-shape")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Block:
    """One sealed interval at one exposure. `start_us`, `end_us`: microseconds since 1970, half open.

    `share_canary` is the designed split 0 < f < 1: for a ramp the share of split subjects that get the new side. It
    must be what was in force in the whole block. Blocks of several strata of one interval are folded one after the other; each compares its arms inside itself.
    """

    start_us: int
    end_us: int
    share_canary: float
    canary: ArmCounts
    baseline: ArmCounts
    stratum: str = ""

    def __post_init__(self) -> None:
        if not 0.0 < self.share_canary < 1.0:
            raise Invalid(f"share_canary is {self.share_canary}; a block needs both arms", code="block-share")
        if self.end_us <= self.start_us:
            raise Invalid("a block ends after it starts", code="block-empty")


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """One measured quantity and what counts as harm and as harmless.

    - `harm_ratio` (ratio metrics): th0 of the harm test; 1 means any increase is harm. Latency harm is any slowing.
    - `margin`: relative non-inferiority margin d. Ratio: canary ≤ (1+d)·baseline. Latency: canary quantile ≤ (1+d)·
      baseline quantile, rounded down to whole bins, hence at least 9.06 %.
    - `ceiling` (ratio metrics): a rate that is fine whatever the baseline does, or None.
    - `weight`: share of the evidence for harm. `critical`: whether it must be certified before the step may end.
    - `label`: words for people; defaults to the name.
    """

    name: str
    kind: Kind
    quantile: float = 0.95
    margin: float = 0.2
    harm_ratio: float = 1.0
    ceiling: float | None = None
    weight: float = 1.0
    critical: bool = True
    label: str = ""

    def __post_init__(self) -> None:
        if not 0.5 <= self.quantile < 1.0:
            raise Invalid(f"{self.name}: quantile {self.quantile} is outside [0.5, 1)", code="metric-quantile")
        least = BIN_WIDTH if self.kind is Kind.LATENCY else 0.0
        if self.margin < least or (self.kind is Kind.RATIO and self.margin == 0.0):
            raise Invalid(
                f"{self.name}: margin {self.margin:.2%} cannot be certified",
                code="metric-margin",
                way_out=f"a margin of at least {least + 1e-4:.2%}",
            )
        if self.harm_ratio < 1.0 or self.weight <= 0.0:
            raise Invalid(f"{self.name}: harm_ratio is at least 1 and weight above 0", code="metric-harm")
        if self.ceiling is not None and (self.kind is Kind.LATENCY or not 0.0 < self.ceiling <= 0.5):
            raise Invalid(f"{self.name}: a ceiling is a rate in (0, 0.5] of a ratio metric", code="metric-ceiling")


@dataclass(frozen=True, slots=True, kw_only=True)
class StepContext:
    """The step being judged: its number, its share, the next share (1 at the end) and the harm allowance.

    `allowance` is excess bad requests as a share of all traffic (0.005 = 0.5 %); step i must certify that the canary's
    rate lies below baseline + allowance / next_share.
    """

    index: int
    share_canary: float
    next_share: float
    allowance: float
    is_last_before_full: bool

    def __post_init__(self) -> None:
        if not 0.0 < self.share_canary < 1.0 or not 0.0 < self.next_share <= 1.0:
            raise Invalid("a judged step has a share between 0 and 1 and a next share up to 1", code="step-share")
        if self.allowance < 0.0:
            raise Invalid("the harm allowance is not negative", code="step-allowance")


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricVerdict:
    """What one metric says, with its numbers.

    Rates are of this step: for latency the quantile in microseconds; for a ratio metric, in a conviction the share of
    units with a harm event (first bad request of the attempt), else the share whose first request was bad. `log_e_harm`, `log_e_safe` are
    natural logarithms of the e-values, to be compared with `log_harm_threshold` and `log_safe_threshold`. `ratio`,
    `ratio_low`, `ratio_high`: canary / baseline over the attempt (latency: the step), each bound holding at all looks
    with probability `confidence`; None means not bounded. A deploy judged by pods has no bounds: they would be those of totals, which
    hold only where pods do not differ. `margin`: by what share the canary may exceed the baseline in this step, as it is tested
    (latency: d scaled by the next share, in whole bins; a ratio metric: on the last step before 100 %, else None).
    `numbers`: the counts judged, by name; `canary_hist`, `baseline_hist` (latency): the histograms of the step, so that
    another margin can be tried on them later. `needed_canary`, `needed_total`: units still to come before it can be
    certified if it is harmless (None: cannot at this rate, or nothing more needed).
    """

    metric: str
    kind: Kind
    outcome: Outcome
    sentence: str
    log_e_harm: float
    log_harm_threshold: float
    log_e_safe: float
    log_safe_threshold: float
    ratio: float | None
    ratio_low: float | None
    ratio_high: float | None
    confidence: float
    canary_rate: float | None
    baseline_rate: float | None
    ceiling: float | None
    margin: float | None
    numbers: Mapping[str, int]
    needed_canary: int | None
    needed_total: int | None
    canary_hist: Packed | None = None
    baseline_hist: Packed | None = None
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What all metrics say together. `reasons` are stable kebab-case codes, `sentence` is for a tired human."""

    outcome: Outcome
    sentence: str
    metrics: tuple[MetricVerdict, ...]
    log_e_harm: float
    log_harm_threshold: float
    looks: int
    needed_canary: int | None
    needed_total: int | None
    reasons: tuple[str, ...] = field(default=())

    def as_json(self) -> Json:
        """Return the verdict as JSON-able values, for facts and evidence."""
        return {
            "format": 1,
            "outcome": self.outcome.value,
            "sentence": self.sentence,
            "log_e_harm": self.log_e_harm,
            "log_harm_threshold": self.log_harm_threshold,
            "looks": self.looks,
            "needed_canary": self.needed_canary,
            "needed_total": self.needed_total,
            "reasons": list(self.reasons),
            "metrics": [_metric_json(metric) for metric in self.metrics],
        }


def _metric_json(verdict: MetricVerdict) -> Json:
    values: dict[str, Json] = {name: getattr(verdict, name) for name in _PLAIN}
    values["kind"] = verdict.kind.value
    values["outcome"] = verdict.outcome.value
    values["numbers"] = dict(verdict.numbers)
    values["reasons"] = list(verdict.reasons)
    for name, hist in (("canary_hist", verdict.canary_hist), ("baseline_hist", verdict.baseline_hist)):
        values[name] = None if hist is None else {"from": hist[0], "counts": list(hist[1])}
    return values


_PLAIN = (
    *("metric", "sentence", "log_e_harm", "log_harm_threshold", "log_e_safe", "log_safe_threshold"),
    *("ratio", "ratio_low", "ratio_high", "confidence", "canary_rate", "baseline_rate", "ceiling"),
    "margin",
    *("needed_canary", "needed_total"),
)
