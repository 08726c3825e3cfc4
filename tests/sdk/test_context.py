"""The change ID in baggage and in logs."""

from __future__ import annotations

import io
import logging

import pytest
from opentelemetry import context as otel
from opentelemetry.baggage.propagation import W3CBaggagePropagator

from airboss.sdk import ChangeIdFilter, change_of, process_change, with_change, without_change
from airboss.sdk.ids import encode, uuid7

CHANGE = encode("chg", uuid7(1_767_600_000_000, b"0123456789"))
OTHER = encode("chg", uuid7(1_767_600_000_001, b"0123456789"))


def test_the_change_travels_in_w3c_baggage() -> None:
    """OpenTelemetry's own propagator carries the change from a caller to whom it calls, beside what was there."""
    carrier = {"baggage": "team=shop"}
    context = with_change(CHANGE, W3CBaggagePropagator().extract(carrier))
    W3CBaggagePropagator().inject(carrier, context)
    assert sorted(carrier["baggage"].split(",")) == [f"airboss.change.id={CHANGE}", "team=shop"]
    assert change_of(W3CBaggagePropagator().extract(carrier)) == CHANGE


def test_the_change_is_taken_out_before_a_call_leaves_the_house() -> None:
    """Without it, baggage holds what it held before and names no change."""
    context = without_change(with_change(CHANGE, W3CBaggagePropagator().extract({"baggage": "team=shop"})))
    carrier: dict[str, str] = {}
    W3CBaggagePropagator().inject(carrier, context)
    assert carrier == {"baggage": "team=shop"}
    assert change_of(context) is None


@pytest.mark.parametrize(
    "sent", ["chg_", "x" * 5000, "chg_" + "z" * 26, CHANGE + "\n", CHANGE.upper(), "ten_" + CHANGE[4:]]
)
def test_what_a_stranger_sent_is_no_change(sent: str) -> None:
    """Only a well-formed change ID is taken from baggage, and only one is put into it."""
    context = W3CBaggagePropagator().extract({"baggage": f"airboss.change.id={sent}"})
    assert change_of(context) in (None, CHANGE if sent.strip() == CHANGE else None)
    with pytest.raises(ValueError, match="no change ID"):
        with_change(sent)


def test_log_records_name_the_change(monkeypatch: pytest.MonkeyPatch) -> None:
    """A record has the change of the request that is on, else that of the process, else nothing."""
    monkeypatch.delenv("AIRBOSS_CHANGE_ID", raising=False)
    out = io.StringIO()
    handler = logging.StreamHandler(out)
    handler.addFilter(ChangeIdFilter())
    handler.setFormatter(logging.Formatter("[%(airboss_change_id)s] %(message)s"))
    log = logging.getLogger("tests.sdk.context")
    log.addHandler(handler)
    try:
        log.warning("before")
        monkeypatch.setenv("AIRBOSS_CHANGE_ID", CHANGE)
        assert process_change() == CHANGE
        log.warning("started")
        token = otel.attach(with_change(OTHER))
        log.warning("asked")
        otel.detach(token)
        monkeypatch.setenv("AIRBOSS_CHANGE_ID", "rubbish")
        log.warning("after")
    finally:
        log.removeHandler(handler)
    assert out.getvalue().splitlines() == ["[] before", f"[{CHANGE}] started", f"[{OTHER}] asked", "[] after"]
