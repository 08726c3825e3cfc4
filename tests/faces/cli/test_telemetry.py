"""Commands about telemetry, over the real API and the real bucket store."""

from __future__ import annotations

from typing import Any

from tests.faces.api.desk import CHANGE, Desk

from airboss.faces.cli.exit_codes import Exit
from airboss.kernel.clock import to_micros
from airboss.watch.telemetry import BucketRow, CoverageRow, ExemplarRow, Flush, Series

SECOND = 1_000_000


def _covered(desk: Desk, service: str = "checkout", **more: Any) -> CoverageRow:
    counts = dict.fromkeys(("current", "stale", "unknown", "late", "far_off", "refused"), 0)
    values: dict[str, Any] = {
        "start_us": to_micros(desk.house.clock.now()) // (60 * SECOND) * 60 * SECOND,
        "environment": "production",
        "signal": "traces",
        "total": 100,
        "newest_us": 0,
        "max_delay_us": 0,
        **counts,
    }
    return CoverageRow(service=service, **(values | more))


def _flush(
    desk: Desk, *rows: CoverageRow, exemplars: tuple[ExemplarRow, ...] = (), buckets: tuple[Any, ...] = ()
) -> None:
    now_us = to_micros(desk.house.clock.now())
    source = desk.house.buckets.begin("ing_test", now_us)
    desk.house.buckets.flush(
        Flush(
            source=source,
            sequence=1,
            at_us=now_us,
            buckets=buckets,
            coverage=rows,
            subjects=(),
            exemplars=exemplars,
        )
    )


def test_a_service_never_heard_of_offends(airboss, become, desk):
    """The catalogue says who should be heard: a silent service fails the check and is named."""
    become("dev-a")
    ran = airboss("telemetry", "check")
    assert ran.code == Exit.FAULT
    assert "checkout: no request was ever received as service.name 'checkout'" in ran.out
    _flush(
        desk,
        buckets=(
            BucketRow(
                series=Series(service="checkout", environment="production"),
                width_us=10 * SECOND,
                start_us=0,
                requests=1,
                bad=0,
            ),
        ),
    )
    ran = airboss("telemetry", "check")
    assert "checkout: nothing was received within the last hour" in ran.out


def test_a_service_that_is_heard_is_well(airboss, become, desk):
    """Spans within the hour that name known changes or none are no problem; strangers are told and fail nothing."""
    become("dev-a")
    logs = _covered(desk, current=99, signal="logs")
    _flush(desk, _covered(desk, current=40, stale=10), logs, _covered(desk, "ghost"))
    ran = airboss("telemetry", "check")
    assert ran.code == Exit.OK, ran.out
    assert "50.0 %" in ran.out
    assert "In no catalogue: ghost" in ran.out
    told = airboss("telemetry", "check", "--json").json()
    assert (told["unknown"], told["observed_pct"]) == (["ghost"], 100.0)
    assert told["services"][0]["signals"] == {"traces": 100, "metrics": 0, "logs": 100}
    assert told["below_target"] == [{"service": "checkout", "signal": "traces", "annotated_pct": 50.0}]
    assert "checkout: 50 % of its traces name a change; the aim is 95 %" in ran.out


def test_what_is_wrong_is_said_of_whom(airboss, become, desk):
    """Unknown IDs, broken clocks, late spans and foreign items each have their sentence."""
    become("dev-a")
    _flush(desk, _covered(desk, unknown=7, far_off=3, late=5, refused=2), _covered(desk, environment="staging"))
    ran = airboss("telemetry", "check", "--json")
    assert ran.code == Exit.FAULT
    (service,) = ran.json()["services"]
    assert [problem.partition(" ")[2] for problem in service["problems"]] == [
        "of production: 7 of 100 items name a change nobody knows",
        "of production: 3 spans end too far from now and are not counted; a clock is wrong",
        "of production: 5 of 100 spans come too late to be judged; export sooner",
        "2 items of other services came with this service's token",
    ]


def test_exemplars_of_a_change_are_listed(airboss, become, desk, tmp_path):
    """Both arms, failed before slow, with the trace's whole ID; a change without any says so."""
    become("dev-a")
    file = tmp_path / "change.yaml"
    file.write_text(CHANGE)
    change = airboss("change", "submit", str(file), "--no-wait", "--json").json()
    assert "No trace is kept" in airboss("change", "traces", change["id"]).out

    def kept(arm: str, why: str, trace: str, attempt: int) -> ExemplarRow:
        return ExemplarRow(
            change_id=change["id"],
            arm=arm,
            why=why,
            slot=attempt,
            service="checkout",
            environment="production",
            attempt=attempt,
            step=0,
            trace_id=trace * 32,
            span_id="b" * 16,
            name="GET /cart",
            end_us=to_micros(desk.house.clock.now()),
            duration_us=12_500,
            attributes={"http.route": "/cart"},
        )

    attempt = change["attempt"]
    rows = [
        kept("canary", "slow", "1", attempt),
        kept("canary", "failed", "2", attempt),
        kept("baseline", "slow", "3", attempt),
        kept("canary", "failed", "4", attempt + 1),
    ]
    _flush(desk, exemplars=tuple(rows))
    told = airboss("change", "traces", change["id"], "--json").json()
    assert [(one["why"], one["trace_id"][0]) for one in told["canary"]] == [("failed", "2"), ("slow", "1")]
    assert [one["trace_id"][0] for one in told["baseline"]] == ["3"]
    assert told["canary"][0]["step"] == 1
    assert told["canary"][0]["duration_ms"] == 12.5
    assert "baseline" in airboss("change", "traces", change["id"]).out
