"""Whether recorded counts, judged again, give the verdicts that were told.

The counts a gate saw are kept twice: their sums with each verdict, as facts, and block by block in the telemetry store. The
second are folded again by `retrace`; here the outcome is held against the first. A difference means that the counts, the
analysis or the record are not what they were.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from airboss.act.rollout import Expose, Plan, gates
from airboss.kernel.clock import parse_rfc3339
from airboss.tower.course import Point

_TOLERANCE: Final = 1e-6
"""Of log e-values: other processors and versions of libraries add in another order."""
_EVIDENCE: Final = ("log_e_harm", "log_e_safe")
_COUNTS: Final = ("canary_seen", "baseline_seen", "canary_bad", "baseline_bad")


@dataclass(frozen=True, slots=True, kw_only=True)
class Replayed:
    """One verdict of a gate that ended a step (number from 1): as told, and as it comes out again.

    `again` is None where the blocks of that time are no longer kept. Both are outcome, e-values and counts by name.
    """

    step: int
    gate: str
    at: datetime
    told: Mapping[str, Any]
    again: Mapping[str, Any] | None

    @property
    def same(self) -> bool | None:
        """Whether both agree; None where nothing can be judged again."""
        if self.again is None:
            return None
        exact = all(self.told[name] == self.again[name] for name in ("outcome", *_COUNTS))
        return exact and all(
            math.isclose(self.told[name], self.again[name], rel_tol=_TOLERANCE, abs_tol=_TOLERANCE)
            for name in _EVIDENCE
        )


def compare(
    plan: Plan, points: Sequence[Point], facts: Sequence[Mapping[str, Any]], *, begun: datetime
) -> tuple[Replayed, ...]:
    """Return each verdict that ended a step of the run that began at `begun`, beside the one of its newest point.

    `facts` are the change's, as {type, at, body}.
    """
    found: list[Replayed] = []
    for fact in facts:
        at = parse_rfc3339(fact["at"])
        if fact["type"] not in ("step.ended", "harm.convicted") or at < begun:
            continue
        body = fact["body"]
        number = int(body["step"])
        told = [one for one in body.get("answers", body.get("gates", ())) if one["kind"] == "canary" and one["numbers"]]
        again = _again(plan, points, number - 1, at) if told else {}
        found += [
            Replayed(
                step=number,
                gate=one["gate"],
                at=at,
                told={"outcome": one["outcome"], **{name: one["numbers"][name] for name in (*_EVIDENCE, *_COUNTS)}},
                again=again.get(one["gate"]),
            )
            for one in told
        ]
    return tuple(found)


def _again(plan: Plan, points: Sequence[Point], index: int, at: datetime) -> dict[str, dict[str, Any]]:
    exposing = plan.exposing_at(index)
    point = next((one for one in reversed(points) if one.step == exposing and one.at <= at), None)
    step = plan.steps[exposing]
    if point is None or not isinstance(step, Expose):
        return {}
    asked = [gate for gate in step.gates if gate.kind == "canary" and gate.applies(step.percent)]
    verdict = {"outcome": point.outcome, "reasons": point.reasons, "metrics": list(point.metrics.values())}
    answers = gates.canary_answers(asked, verdict, last_block=point.at, now=at)
    return {
        one.gate: {"outcome": one.outcome, **{name: one.numbers[name] for name in (*_EVIDENCE, *_COUNTS)}}
        for one in answers
        if one.numbers
    }
