"""OpenSLO documents are understood, or refused with the place and the reason."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from airboss.kernel.errors import Invalid
from airboss.kernel.yaml import load_documents
from airboss.watch.slo import IndicatorKind, parse_sli, parse_slo, resolve

FILE = b"""\
apiVersion: openslo/v1
kind: SLI
metadata: {name: checkout-errors}
spec:
  ratioMetric:
    counter: true
    bad: {metricSource: {type: builtin, spec: {signal: spans, service: checkout, status: error}}}
    total: {metricSource: {type: builtin, spec: {signal: spans, service: checkout}}}
---
apiVersion: openslo/v1
kind: SLI
metadata: {name: checkout-latency}
spec:
  thresholdMetric: {metricSource: {type: builtin, spec: {signal: spans, service: checkout, value: duration}}}
---
apiVersion: openslo/v1
kind: SLO
metadata: {name: checkout-availability}
spec:
  service: checkout
  indicatorRef: checkout-errors
  budgetingMethod: Occurrences
  timeWindow: [{duration: 28d, isRolling: true}]
  objectives: [{displayName: requests served without error, target: 0.999}]
"""


def documents() -> list[Any]:
    return load_documents(FILE, "service.yaml")


def test_the_documented_example_is_understood() -> None:
    """The indicators and the objective of the shipped example come out as they are meant."""
    errors, latency, slo = documents()
    ratio = parse_sli(errors.value, errors.place)
    assert (ratio.kind, ratio.service, ratio.environment) == (IndicatorKind.STATUS, "checkout", None)
    assert parse_sli(latency.value).kind is IndicatorKind.DURATION
    found = parse_slo(slo.value, slo.place)
    assert (found.name, found.service, found.indicator_ref) == ("checkout-availability", "checkout", "checkout-errors")
    assert found.window == timedelta(days=28)
    assert [(one.name, one.target, one.limit_us) for one in found.objectives] == [
        ("requests served without error", 0.999, None)
    ]
    assert resolve(found, {"checkout-errors": ratio}) is ratio


def changed(number: int, value: Any, *path: str | int) -> tuple[dict[str, Any], Any]:
    """Return one of the file's documents with a part replaced (or removed), and its places."""
    document = documents()[number]
    inner = document.value
    for step in path[:-1]:
        inner = inner[step]
    if value is None:
        del inner[path[-1]]
    elif isinstance(inner, list) and path[-1] == len(inner):
        inner.append(value)
    else:
        inner[path[-1]] = value
    return document.value, document.place


PROMETHEUS = {"metricSource": {"type": "prometheus", "spec": {"query": "up"}}}


@pytest.mark.parametrize(
    ("number", "value", "path", "code", "told"),
    [
        (0, {"raw": {}}, ("spec", "ratioMetric"), "openslo-unsupported", "raw ratio"),
        (0, PROMETHEUS, ("spec", "ratioMetric", "bad"), "openslo-unsupported", "prometheus is not built yet"),
        (0, None, ("spec", "ratioMetric", "total"), "bad-openslo", "total is missing"),
        (0, None, ("spec", "ratioMetric", "bad"), "bad-openslo", "either bad or good"),
        (0, "ok", ("spec", "ratioMetric", "bad", "metricSource", "spec", "status"), "bad-openslo", "status: error"),
        (0, "logs", ("spec", "ratioMetric", "total", "metricSource", "spec", "signal"), "openslo-unsupported", "spans"),
        (0, "cart", ("spec", "ratioMetric", "total", "metricSource", "spec", "service"), "bad-openslo", "same service"),
        (0, 3, ("spec", "ratioMetric"), "bad-openslo", "mapping"),
        (0, {}, ("spec", "thresholdMetric"), "bad-openslo", "either ratioMetric or thresholdMetric"),
        (0, "openslo/v2alpha", ("apiVersion",), "bad-openslo", "openslo/v1"),
        (0, "SLO", ("kind",), "bad-openslo", "kind SLI"),
        (1, "size", ("spec", "thresholdMetric", "metricSource", "spec", "value"), "bad-openslo", "duration"),
        (1, 1, ("spec", "thresholdMetric", "metricSource", "spec", "query"), "bad-openslo", "not a field"),
        (2, "Timeslices", ("spec", "budgetingMethod"), "openslo-unsupported", "not built yet"),
        (2, "RatioTimeslices", ("spec", "budgetingMethod"), "openslo-unsupported", "not built yet"),
        (2, "Guessing", ("spec", "budgetingMethod"), "bad-openslo", "not one of OpenSLO"),
        (2, None, ("spec", "indicatorRef"), "bad-openslo", "indicator or indicatorRef"),
        (2, {"startTime": "2026-01-01", "timeZone": "UTC"}, ("spec", "timeWindow", 0, "calendar"), "openslo-unsupported", "calendar"),
        (2, False, ("spec", "timeWindow", 0, "isRolling"), "openslo-unsupported", "calendar"),
        (2, "1M", ("spec", "timeWindow", 0, "duration"), "bad-openslo", "'1M'"),
        (2, "365d", ("spec", "timeWindow", 0, "duration"), "bad-openslo", "90 days"),
        (2, {"duration": "1d", "isRolling": True}, ("spec", "timeWindow", 1), "bad-openslo", "exactly one"),
        (2, [], ("spec", "objectives"), "bad-openslo", "at least one"),
        (2, {}, ("spec", "objectives"), "bad-openslo", "is a list"),
        (2, 1, ("spec", "objectives", 0, "target"), "bad-openslo", "below 1"),
        (2, True, ("spec", "objectives", 0, "target"), "bad-openslo", "is a number"),
        (2, float("nan"), ("spec", "objectives", 0, "target"), "bad-openslo", "is a number"),
        (2, 99.9, ("spec", "objectives", 0, "targetPercent"), "bad-openslo", "either target or targetPercent"),
        (2, 2, ("spec", "objectives", 0, "compositeWeight"), "openslo-unsupported", "composite"),
        (2, "cart-errors", ("spec", "objectives", 0, "indicatorRef"), "openslo-unsupported", "composite"),
        (2, 0.9, ("spec", "objectives", 0, "timeSliceTarget"), "openslo-unsupported", "time slices"),
    ],
)  # fmt: skip
def test_what_is_not_understood_is_refused_with_its_place(
    number: int, value: Any, path: Any, code: str, told: str
) -> None:
    """Each unsupported or mistaken part is refused; the message names it and the place is in the file."""
    content, place = changed(number, value, *path)
    with pytest.raises(Invalid) as caught:
        (parse_slo if number == 2 else parse_sli)(content, place)
    assert caught.value.code == code
    assert told in caught.value.detail
    assert (caught.value.place or "").startswith("service.yaml:")


def test_the_place_is_the_line_of_the_fault() -> None:
    """A wrong target is shown at its own line and column; without a file its path is told."""
    content, place = changed(2, 2, "spec", "objectives", 0, "target")
    with pytest.raises(Invalid) as caught:
        parse_slo(content, place)
    assert caught.value.place == "service.yaml:24:69"
    with pytest.raises(Invalid) as caught:
        parse_slo(content)
    assert caught.value.place == "spec.objectives[0].target"


def test_duration_objectives_have_a_limit() -> None:
    """An objective over durations says what is still good, in seconds or a named unit; other objectives must not."""
    latency = documents()[1].value
    inline = {"metadata": {"name": "inline"}, "spec": latency["spec"]}

    def slo(**objective: Any) -> dict[str, Any]:
        content, _ = changed(2, [{"targetPercent": 99.9, **objective}], "spec", "objectives")
        del content["spec"]["indicatorRef"]
        content["spec"]["indicator"] = inline
        return content

    (found,) = parse_slo(slo(op="lte", value=0.3)).objectives
    assert (found.target, found.limit_us, found.name) == (0.999, 300_000.0, "0.999")
    assert parse_slo(slo(op="lt", value=300, valueUnit="ms")).objectives[0].limit_us == 300_000.0
    for wrong in (
        {},
        {"op": "gte", "value": 1},
        {"op": "lte"},
        {"op": "lte", "value": 0},
        {"op": "lte", "value": 1, "valueUnit": "h"},
    ):
        with pytest.raises(Invalid):
            parse_slo(slo(**wrong))
    with_value, _ = changed(2, 0.3, "spec", "objectives", 0, "value")
    with_value["spec"]["objectives"][0]["op"] = "lte"
    by_reference = parse_slo(with_value)
    assert by_reference.objectives[0].limit_us == 300_000.0
    with pytest.raises(Invalid, match="op and value"):
        resolve(parse_slo(documents()[2].value), {"checkout-errors": parse_sli(latency)})
    with pytest.raises(Invalid) as caught:
        resolve(by_reference, {})
    assert caught.value.code == "openslo-no-sli"
