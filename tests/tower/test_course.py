"""The course of a judgement: folded again as the judge folded it, each unit by itself, and what the split says of it."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pytest

from airboss.act.rollout import Expose, Gate, Plan, Unit
from airboss.act.rollout.gates import canary_answers
from airboss.testing import ManualClock
from airboss.tower import retrace
from airboss.tower.judge import as_block
from airboss.watch.analysis import Design, Kind, Metric, StepContext, decide, new_step, start, update
from airboss.watch.telemetry import Counts, SealedBlock

WIDTH = timedelta(seconds=2)
GATE = Gate(id="canary:errors", kind="canary", sli="errors", signal="errors")
SLOW = Gate(id="canary:slow:p95", kind="canary", sli="slow", signal="latency", quantile=0.95, margin_pct=20.0)


class Recorded:
    """Telemetry that has these blocks, and tells those of a unit's service after a moment, as the store does."""

    def __init__(self, blocks: dict[str, list[SealedBlock]]) -> None:
        self._blocks = blocks

    def blocks(
        self, *, service: str, step: int, after: datetime | None, now: datetime, **_of: Any
    ) -> tuple[SealedBlock, ...]:
        """Return what is sealed of a step."""
        return tuple(
            block
            for block in self._blocks[service]
            if block.step == step and (after is None or block.start >= after) and block.end <= now
        )


def _unit(name: str) -> Unit:
    return Unit(name=name, service=name, environment="production", kind="flag", params={}, digest="0" * 64)


def _plan(*gates: Gate) -> Plan:
    steps = tuple(
        Expose(unit=unit, percent=percent, least_s=5, most_s=60, gates=(*gates, Gate(id="data", kind="data")))
        for unit in ("shop", "bank")
        for percent in (10.0, 50.0, 100.0)
    )
    return Plan(units=(_unit("shop"), _unit("bank")), steps=steps, allowance_share=0.005)


def _arm(people: int, bad: int) -> Counts:
    hist = np.zeros(288, np.int64)
    hist[130:140] = people // 10
    return Counts(
        requests=people,
        bad=bad,
        hist=hist,
        first_seen=people,
        first_bad=bad,
        first_hist=hist,
        subjects=people,
        subjects_bad=bad,
        subjects_hist=hist,
    )


def _block(at: datetime, step: int, percent: float, bad: tuple[int, int], lost: float = 0.0) -> SealedBlock:
    mine = round(1000 * percent / 100 * (1 - lost))
    return SealedBlock(
        start=at,
        end=at + WIDTH,
        change_id="chg_1",
        design="ramp",
        attempt=1,
        step=step,
        percent=percent,
        canary=_arm(mine, bad[0]),
        baseline=_arm(round(1000 * (1 - percent / 100)), bad[1]),
        saturated=False,
        late=0,
    )


def _retraced(plan: Plan, told: dict[str, list[SealedBlock]], until: int, begun: datetime, now: datetime, **more: Any):
    return retrace(
        Recorded(told),  # type: ignore[arg-type]  # the one method of it that is asked
        plan,
        change_id="chg_1",
        attempt=1,
        begun=begun,
        until_step=until,
        ended={},
        now=now,
        **more,
    )


def test_each_unit_of_a_rollout_has_evidence_of_its_own():
    """What a first unit's harm process gathered is none of the second's, whose blocks may be older than the first's last."""
    clock = ManualClock()
    begun = clock.now()
    shop = [_block(begun + n * WIDTH, 0, 10.0, (3, 2)) for n in range(5)]
    # Sealed while the first unit still ran: a reader that went by one moment for all units would miss it.
    bank = [_block(begun + (n + 2) * WIDTH, 3, 10.0, (0, 2)) for n in range(4)]
    trace = _retraced(_plan(GATE), {"shop": shop, "bank": bank}, 3, begun, begun + 20 * WIDTH)
    state = start([Metric(name=GATE.id, kind=Kind.RATIO, label="errors")], 0.01, 0.05, 2, design=Design.RAMP)
    state = new_step(
        state, StepContext(index=3, share_canary=0.1, next_share=0.5, allowance=0.005, is_last_before_full=False)
    )
    for block in bank:
        state = update(state, as_block(block, 0.1))
    last = trace.points[-1]
    assert (last.step, last.at) == (3, bank[-1].end)
    assert last.metrics[GATE.id] == decide(state).as_json()["metrics"][0]
    assert [point.step for point in trace.points].count(3) == 4


def test_a_course_may_be_followed_piece_by_piece():
    """Going on from what is known gives the evidence that folding everything at once gives."""
    clock = ManualClock()
    begun = clock.now()
    told = {"shop": [_block(begun + n * WIDTH, 0, 10.0, (n % 2, 1)) for n in range(12)], "bank": []}
    known = None
    for upto in (3, 7, 12):
        known = _retraced(_plan(GATE, SLOW), told, 0, begun, begun + upto * WIDTH, known=known)
    whole = _retraced(_plan(GATE, SLOW), told, 0, begun, begun + 12 * WIDTH)
    assert known is not None
    assert known.points[-1] == whole.points[-1]


@pytest.mark.parametrize("lost", [0.0, 0.3])
def test_no_gate_passes_while_the_split_says_that_counts_are_missing(lost: float):
    """With a third of the canary's telemetry lost every metric looks harmless by itself; the gates hold and say why."""
    clock = ManualClock()
    begun = clock.now()
    told = {"shop": [_block(begun + n * WIDTH, 0, 10.0, (0, 1), lost) for n in range(150)], "bank": []}
    now = begun + 150 * WIDTH
    last = _retraced(_plan(GATE), told, 0, begun, now).points[-1]
    assert last.metrics[GATE.id]["outcome"] == "pass"
    verdict = {"outcome": last.outcome, "reasons": list(last.reasons), "metrics": list(last.metrics.values())}
    (answer,) = canary_answers([GATE], verdict, last_block=now, now=now)
    (lenient,) = canary_answers(
        [Gate(id=GATE.id, kind="canary", sli="errors", signal="errors", critical=False)],
        verdict,
        last_block=now,
        now=now,
    )
    if lost:
        assert (answer.outcome, lenient.outcome) == ("inconclusive", "inconclusive")
        assert "split of new people is not the designed one" in answer.sentence
    else:
        assert (answer.outcome, lenient.outcome) == ("pass", "pass")
