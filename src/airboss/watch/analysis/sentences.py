"""Verdicts in words, for a tired human at night: what was seen, of how many, what it means, what is missing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from airboss.watch.analysis.model import Design, Kind, Metric, MetricVerdict, Outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What a sentence about one metric is made of; rates as in MetricVerdict."""

    metric: Metric
    design: Design
    outcome: Outcome
    canary_rate: float | None
    baseline_rate: float | None
    canary_seen: int
    baseline_seen: int
    ratio: float | None
    low: float | None
    high: float | None
    confidence: float
    ceiling: float | None
    margin: float | None
    needed: int | None
    short: int
    warming: bool
    not_robust: bool
    apart: int


def of_metric(facts: Facts) -> str:
    """Return one sentence for a metric's verdict."""
    text = f"{_name(facts.metric)}: {_seen(facts)}: {_meaning(facts)}"
    if facts.not_robust:
        text += "; not robust to pod differences"
    if facts.apart:
        looks = "block is" if facts.apart == 1 else f"{facts.apart:,} blocks are"
        text += f"; the newest {looks} not judged: the requests of its pods differ by more than 20 %"
    return text


def combined(outcome: Outcome, verdicts: Sequence[MetricVerdict], *, mismatch: bool) -> str:
    """Return one sentence for the whole verdict; it leads with what decided."""
    if outcome is Outcome.FAIL:
        culprits = [v.sentence for v in verdicts if v.outcome is Outcome.FAIL]
        return "Harm. " + "; ".join(culprits)
    if mismatch:
        text = (
            "The observed split of new subjects is not the designed one: an arm's telemetry is missing, or subjects "
            "leave one arm; nothing can be certified. "
        )
        return text + "; ".join(v.sentence for v in verdicts)
    if outcome is Outcome.PASS:
        return "Harmless within its margins. " + "; ".join(v.sentence for v in verdicts)
    lead = "Not decided in time. " if outcome is Outcome.INCONCLUSIVE else "Not decided yet. "
    waiting = [v.sentence for v in verdicts if v.outcome is not Outcome.PASS]
    return lead + "; ".join(waiting)


def _seen(facts: Facts) -> str:
    unit = _unit(facts.design)
    canary, baseline = _rate(facts.metric, facts.canary_rate), _rate(facts.metric, facts.baseline_rate)
    if facts.metric.kind is Kind.RATIO:
        return f"canary {canary} bad of {facts.canary_seen:,} {unit}, baseline {baseline} of {facts.baseline_seen:,}"
    return f"canary {canary} over {facts.canary_seen:,} {unit}, baseline {baseline} over {facts.baseline_seen:,}"


def _meaning(facts: Facts) -> str:
    match facts.outcome:
        case Outcome.FAIL:
            return _harm(facts)
        case Outcome.PASS:
            return _harmless(facts)
        case Outcome.CONTINUE | Outcome.INCONCLUSIVE:
            return _missing(facts)


def _harm(facts: Facts) -> str:
    sure = f"({100 * facts.confidence:.4g} %)"
    text = "harm" if facts.ratio is None else f"harm, {facts.ratio:.2g} times the baseline"
    if facts.low is not None and facts.low > 1.0:
        text += f"{',' if facts.ratio is not None else ''} at least {facts.low:.2g} times {sure}"
    return text


def _harmless(facts: Facts) -> str:
    if facts.metric.kind is Kind.LATENCY:
        return f"harmless, not more than {100 * (facts.margin or 0.0):.3g} % slower"
    parts = [f"below the ceiling of {_rate(facts.metric, facts.ceiling)}"] if facts.ceiling is not None else []
    if facts.margin is not None:
        parts.append(f"within {100 * facts.margin:.3g} % of the baseline")
    return "harmless, " + " or ".join(parts)


def _missing(facts: Facts) -> str:
    unit = _unit(facts.design)
    if facts.warming:
        return "the baseline's distribution is still being learnt"
    if facts.needed is None:
        return "no number of requests at this rate can show it harmless within its margin"
    if facts.short and facts.needed <= facts.short:
        return f"hold: {facts.short:,} more canary {unit}"
    return f"{facts.needed:,} more canary {unit} needed to call it harmless"


def _name(metric: Metric) -> str:
    name = metric.label or metric.name
    return name if metric.kind is Kind.RATIO else f"{name} p{100 * metric.quantile:.4g}"


def _unit(design: Design) -> str:
    return "users" if design is Design.RAMP else "requests"


def _rate(metric: Metric, value: float | None) -> str:
    if value is None:
        return "no data"
    if metric.kind is Kind.RATIO:
        return f"{100 * value:.2g} %"
    if value < 1_000:
        return f"{value:.0f} µs"
    return f"{value / 1_000:.3g} ms" if value < 1_000_000 else f"{value / 1_000_000:.3g} s"
