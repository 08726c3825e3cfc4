"""What gates ask and how they answer: pure functions from measured numbers to an `Answer`.

A gate in error never passes and never fails: it holds the step. Missing is not zero: without data the answer is
`error` or `inconclusive`, with the age of what there is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from airboss.act.rollout.model import Answer, Outcome
from airboss.act.rollout.plan import Expose, Gate, Plan
from airboss.kernel.canonical import Json
from airboss.kernel.clock import rfc3339
from airboss.watch.analysis import Kind, Metric, StepContext

_OUTCOMES: Final[Mapping[str, Outcome]] = {
    "fail": "fail",
    "pass": "pass",
    "continue": "inconclusive",
    "inconclusive": "inconclusive",
}

_UNEVEN: Final = (
    "the observed split of new people is not the designed one: an arm's telemetry is missing, or people leave one arm"
)


def metrics_of(gates: Sequence[Gate]) -> tuple[Metric, ...]:
    """Return what the analysis is to measure for the canary gates among `gates`."""
    metrics = []
    for gate in gates:
        if gate.kind != "canary":
            continue
        kind = Kind.LATENCY if gate.signal == "latency" else Kind.RATIO
        margin = {} if gate.margin_pct is None else {"margin": gate.margin_pct / 100}
        quantile = {} if gate.quantile is None else {"quantile": gate.quantile}
        metrics.append(
            Metric(name=gate.id, kind=kind, critical=gate.critical, label=gate.sli or gate.id, **margin, **quantile)
        )
    return tuple(metrics)


def context_of(plan: Plan, index: int, step: Expose) -> StepContext:
    """Return what the analysis needs to know of a judged step."""
    following = plan.next_share(index)
    return StepContext(
        index=index,
        share_canary=step.percent / 100,
        next_share=following,
        allowance=plan.allowance_share,
        is_last_before_full=following >= 1,
    )


def canary_answers(
    gates: Sequence[Gate], evidence: Mapping[str, Any] | None, *, last_block: datetime | None, now: datetime
) -> list[Answer]:
    """Return the answer of each canary gate from the latest verdict (`Verdict.as_json`), None before the first block.

    When the metrics together convict, the one with the most evidence answers `fail`, though none might have alone.
    """
    asked = [gate for gate in gates if gate.kind == "canary"]
    if evidence is None or last_block is None:
        waiting = "no sealed block of this step yet"
        return [Answer(gate=gate.id, kind=gate.kind, outcome="inconclusive", sentence=waiting) for gate in asked]
    age_s = (now - last_block).total_seconds()
    verdicts: dict[str, Mapping[str, Any]] = {metric["metric"]: metric for metric in evidence["metrics"]}
    together = evidence["outcome"] == "fail"
    loudest = max(verdicts.values(), key=lambda metric: float(metric["log_e_harm"]), default=None)
    # Each metric may be harmless by itself while the split of people says that counts are missing: then none passes.
    uneven = "split-mismatch" in evidence.get("reasons", ())
    answers = []
    for gate in asked:
        metric: Mapping[str, Any] | None = verdicts.get(gate.id)
        if metric is None:
            answers.append(
                Answer(
                    gate=gate.id, kind=gate.kind, outcome="error", sentence=f"{gate.id} was not analysed", age_s=age_s
                )
            )
            continue
        outcome = _OUTCOMES[metric["outcome"]]
        if together and metric is loudest:
            outcome = "fail"
        elif age_s > gate.stale_after_s and outcome != "fail":
            outcome = "error"
        sentence = metric["sentence"]
        if outcome == "pass" and uneven:
            outcome, sentence = "inconclusive", f"{sentence}; but {_UNEVEN}"
        if outcome == "error":
            sentence = f"the newest sealed block is {age_s:.0f} s old; nothing is judged on old data"
        elif not gate.critical and outcome == "inconclusive" and not uneven:
            outcome = "pass"
            sentence = f"{sentence} (not critical: it need not be certified)"
        answers.append(
            Answer(
                gate=gate.id, kind=gate.kind, outcome=outcome, sentence=sentence, numbers=_numbers(metric), age_s=age_s
            )
        )
    return answers


def data_answer(gate: Gate, *, newest: datetime | None, events: int | None, now: datetime) -> Answer:
    """Answer whether fresh data of the step is there: `events` seen since the exposure stood, None where unknown."""
    if newest is None or events is None:
        return Answer(gate=gate.id, kind=gate.kind, outcome="error", sentence="no telemetry was ever received")
    age_s = max(0.0, (now - newest).total_seconds())
    numbers: dict[str, Json] = {"events": events, "least_events": gate.least_events, "newest_at": rfc3339(newest)}
    if age_s > gate.stale_after_s:
        sentence = f"the newest telemetry is {age_s:.0f} s old; at most {gate.stale_after_s:g} s is fresh"
        outcome: Outcome = "error"
    elif events < gate.least_events:
        sentence = f"{events} of at least {gate.least_events} requests seen in this step"
        outcome = "inconclusive"
    else:
        sentence = f"{events:,} requests seen in this step, the newest {age_s:.0f} s ago"
        outcome = "pass"
    return Answer(gate=gate.id, kind=gate.kind, outcome=outcome, sentence=sentence, numbers=numbers, age_s=age_s)


def coverage_answer(gate: Gate, *, share: float | None, items: int, age_s: float | None) -> Answer:
    """Answer whether enough of the telemetry names a change; `share` None where there was none."""
    if gate.least_pct is None:
        raise AssertionError("a plan refuses a coverage gate without a bound")
    if share is None:
        return Answer(gate=gate.id, kind=gate.kind, outcome="error", sentence="no telemetry to judge coverage by")
    numbers: dict[str, Json] = {"share_pct": round(share * 100, 3), "least_pct": gate.least_pct, "items": items}
    enough = share * 100 >= gate.least_pct
    sentence = f"{share:.1%} of {items:,} items name their change; at least {gate.least_pct:g} % must"
    return Answer(
        gate=gate.id,
        kind=gate.kind,
        outcome="pass" if enough else "inconclusive",
        sentence=sentence,
        numbers=numbers,
        age_s=age_s,
    )


def _numbers(metric: Mapping[str, Any]) -> dict[str, Any]:
    kept = ("ratio", "ratio_low", "ratio_high", "confidence", "canary_rate", "baseline_rate", "ceiling", "margin")
    evidence = ("log_e_harm", "log_harm_threshold", "log_e_safe", "log_safe_threshold", "needed_canary", "needed_total")
    hists = {name: metric[name] for name in ("canary_hist", "baseline_hist") if metric.get(name) is not None}
    return {**{name: metric[name] for name in kept + evidence}, **metric["numbers"], **hists, "kind": metric["kind"]}
