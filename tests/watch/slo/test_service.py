"""Budgets and gates from spans, through the store."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from tests.watch.telemetry.line import Line
from tests.watch.telemetry.otlp import Span

from airboss.testing import ManualClock
from airboss.testing.telemetry import ListedExposures
from airboss.watch.slo import Answer, Indicator, IndicatorKind, Objective, Objectives, Slo
from airboss.watch.telemetry import SqlBucketStore, TelemetrySettings, open_bucket_store

SLO = Slo(
    name="availability",
    service="checkout",
    indicator=None,
    indicator_ref="errors",
    window=timedelta(days=28),
    objectives=(
        Objective(name="strict", target=0.99, limit_us=None),
        Objective(name="lax", target=0.9, limit_us=None),
    ),
)
ERRORS = Indicator(name="errors", kind=IndicatorKind.STATUS, service="checkout", environment=None)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqlBucketStore]:
    opened = open_bucket_store(f"sqlite:///{tmp_path / 'telemetry.db'}")
    opened.create()
    yield opened
    opened.close()


def test_spans_spend_the_budget_and_fail_the_gate(store: SqlBucketStore, clock: ManualClock) -> None:
    """Healthy traffic passes, an outage fails the gate and is in the budget, silence is an error; an objective so lenient that
    no burn gate could fail stands all the same.
    """
    line = Line(store, clock, ListedExposures(), TelemetrySettings())
    objectives = Objectives(line.reader)

    def serve(seconds: int, *, bad: int) -> None:
        for _ in range(seconds):
            line.send(*[Span(end=clock.now(), bad=number < bad) for number in range(10)])
            line.run(1)

    serve(300, bad=0)
    well = objectives.burn(SLO, ERRORS, "production", now=clock.now())
    assert (well.answer, well.objective, well.total_long) == (Answer.PASS, "strict", 3000)
    serve(120, bad=8)
    ill = objectives.burn(SLO, ERRORS, "production", now=clock.now())
    assert (ill.answer, ill.bad_long) == (Answer.FAIL, 960)
    strict, lax = objectives.budgets(SLO, ERRORS, "production", now=clock.now())
    assert strict.spent == pytest.approx(960 / 42)
    assert lax.spent == pytest.approx(960 / 420)
    lenient = replace(SLO, name="lenient", objectives=SLO.objectives[1:])
    both = objectives.standings([(SLO, ERRORS, "production"), (lenient, ERRORS, "production")], now=clock.now())
    assert [one.budgets for one in both] == [
        (strict, lax),
        (replace(lax, slo="lenient", sentence=both[1].budgets[0].sentence),),
    ]
    assert [one.burn for one in both] == [pytest.approx(960 / 42), pytest.approx(960 / 420)]
    assert both[0].newest == ill.newest
    line.run(61)
    assert objectives.burn(SLO, ERRORS, "production", now=clock.now()).answer is Answer.ERROR
    assert objectives.burn(SLO, ERRORS, "staging", now=clock.now()).answer is Answer.ERROR
    assert not objectives.budgets(SLO, ERRORS, "staging", now=clock.now())[0].known
