"""OpenSLO v1 documents to indicators and objectives; what is not built is refused with place and reason.

Works on mappings that were parsed already (`kernel.yaml`). Source: OpenSLO v1 specification, objects SLI and SLO.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any, Final, NoReturn

from airboss.kernel.errors import Invalid
from airboss.watch.slo.model import Indicator, IndicatorKind, Objective, Path, Place, Slo, path_place

_DURATION: Final = re.compile(r"([1-9][0-9]{0,5})([mhdw])")
_UNITS: Final = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_SHORTEST: Final = timedelta(hours=1)
_LONGEST: Final = timedelta(days=90)
_SECONDS: Final = {"us": 1.0, "ms": 1e3, "s": 1e6}


def parse_sli(document: Mapping[str, Any], place: Place = path_place) -> Indicator:
    """Return the indicator of an OpenSLO SLI.

    Raises Invalid: `bad-openslo` for what the specification does not allow, `openslo-unsupported` for what is not built.
    """
    part = _Part(document, (), place)
    part.envelope("SLI")
    return _indicator(part.part("spec"), part.part("metadata").text("name"))


def parse_slo(document: Mapping[str, Any], place: Place = path_place) -> Slo:
    """Return the objectives of an OpenSLO SLO. Raises Invalid like `parse_sli`."""
    part = _Part(document, (), place)
    part.envelope("SLO")
    name, spec = part.part("metadata").text("name"), part.part("spec")
    spec.only(
        "description",
        "service",
        "indicator",
        "indicatorRef",
        "timeWindow",
        "budgetingMethod",
        "objectives",
        "alertPolicies",
    )
    method = spec.text("budgetingMethod")
    if method != "Occurrences":
        known = method in {"Timeslices", "RatioTimeslices"}
        spec.refuse(
            "budgetingMethod",
            f"budgetingMethod {method} is not {'built yet' if known else 'one of OpenSLO'}; use Occurrences",
            built=not known,
        )
    indicator = _inline(spec)
    reference = spec.optional_text("indicatorRef")
    if (indicator is None) == (reference is None):
        spec.refuse(None, "an SLO has either indicator or indicatorRef")
    objectives = tuple(_objective(one, indicator) for one in spec.parts("objectives"))
    if not objectives:
        spec.refuse("objectives", "an SLO has at least one objective")
    return Slo(
        name=name,
        service=spec.optional_text("service"),
        indicator=indicator,
        indicator_ref=reference,
        window=_window(spec),
        objectives=objectives,
    )


def resolve(slo: Slo, indicators: Mapping[str, Indicator]) -> Indicator:
    """Return the indicator an SLO is about. Raises Invalid when it names one that does not exist, or that does not fit."""
    if slo.indicator is not None:
        return slo.indicator
    found = indicators.get(slo.indicator_ref or "")
    if found is None:
        raise Invalid(
            f"SLO {slo.name} refers to the SLI {slo.indicator_ref}, which does not exist",
            code="openslo-no-sli",
            way_out="apply the SLI first, or mend indicatorRef",
        )
    if found.kind is IndicatorKind.DURATION and any(objective.limit_us is None for objective in slo.objectives):
        raise Invalid(
            f"SLO {slo.name} is about durations ({found.name}) and has an objective without op and value",
            code="bad-openslo",
            way_out="say what is still good: op: lte, value: 0.3 (seconds)",
        )
    return found


class _Part:
    """A mapping inside a document, and its path."""

    def __init__(self, value: Mapping[str, Any], path: Path, place: Place) -> None:
        self._value, self._path, self._place = value, path, place

    def envelope(self, kind: str) -> None:
        if self.text("apiVersion") != "openslo/v1":
            self.refuse("apiVersion", "only openslo/v1 is read")
        if self.text("kind") != kind:
            self.refuse("kind", f"a document of kind {kind} is expected")

    def has(self, key: str) -> bool:
        return self._value.get(key) is not None

    def only(self, *keys: str) -> None:
        for key in self._value:
            if key not in keys:
                self.refuse(key, f"{key} is not a field here; there are {', '.join(keys)}")

    def get(self, key: str) -> Any:
        value = self._value.get(key)
        if value is None:
            self.refuse(key, f"{key} is missing")
        return value

    def text(self, key: str) -> str:
        value = self.get(key)
        if not isinstance(value, str) or not value:
            self.refuse(key, f"{key} is a text, not {value!r}")
        return value

    def optional_text(self, key: str) -> str | None:
        return self.text(key) if self.has(key) else None

    def number(self, key: str) -> float:
        value = self.get(key)
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            self.refuse(key, f"{key} is a number, not {value!r}")
        return float(value)

    def part(self, key: str) -> _Part:
        value = self.get(key)
        if not isinstance(value, Mapping):
            self.refuse(key, f"{key} is a mapping, not {value!r:.40}")
        return _Part(value, (*self._path, key), self._place)

    def parts(self, key: str) -> Iterable[_Part]:
        values = self.get(key)
        if not isinstance(values, list | tuple):
            self.refuse(key, f"{key} is a list, not {values!r:.40}")
        for index, value in enumerate(values):
            if not isinstance(value, Mapping):
                self.refuse(key, f"{key}[{index}] is a mapping, not {value!r:.40}")
            yield _Part(value, (*self._path, key, index), self._place)

    def refuse(self, key: str | None, detail: str, *, built: bool = True) -> NoReturn:
        path = self._path if key is None else (*self._path, key)
        raise Invalid(detail, code="bad-openslo" if built else "openslo-unsupported", place=self._place(path))


def _inline(spec: _Part) -> Indicator | None:
    if not spec.has("indicator"):
        return None
    indicator = spec.part("indicator")
    return _indicator(indicator.part("spec"), indicator.part("metadata").text("name"))


def _indicator(spec: _Part, name: str) -> Indicator:
    spec.only("description", "ratioMetric", "thresholdMetric")
    if spec.has("ratioMetric") == spec.has("thresholdMetric"):
        spec.refuse(None, "an SLI has either ratioMetric or thresholdMetric")
    if spec.has("thresholdMetric"):
        threshold = spec.part("thresholdMetric")
        threshold.only("metricSource")
        source = _source(threshold, "value")
        if source.optional_text("value") != "duration":
            source.refuse("value", "the one value of built-in spans is duration")
        return _made(name, IndicatorKind.DURATION, source)
    ratio = spec.part("ratioMetric")
    if ratio.has("raw"):
        ratio.refuse(
            "raw", "a raw ratio cannot be summed over time and is not built; give bad (or good) and total", built=False
        )
    ratio.only("counter", "bad", "good", "total")
    if ratio.has("bad") == ratio.has("good"):
        ratio.refuse(None, "a ratioMetric has total and either bad or good")
    side, status = ("bad", "error") if ratio.has("bad") else ("good", "ok")
    part, total = _source(ratio.part(side), "status"), _source(ratio.part("total"))
    if part.optional_text("status") != status:
        part.refuse("status", f"{side} spans are told by status: {status}")
    for key in ("service", "environment"):
        if part.optional_text(key) != total.optional_text(key):
            part.refuse(key, f"{side} and total are about the same {key}")
    return _made(name, IndicatorKind.STATUS, part)


def _made(name: str, kind: IndicatorKind, source: _Part) -> Indicator:
    return Indicator(
        name=name, kind=kind, service=source.text("service"), environment=source.optional_text("environment")
    )


def _source(part: _Part, *more: str) -> _Part:
    """Return the `spec` of a built-in metric source."""
    source = part.part("metricSource")
    source.only("type", "metricSourceRef", "spec")
    kind = source.optional_text("type")
    if kind != "builtin" or source.has("metricSourceRef"):
        source.refuse("type", f"metric source {kind or 'by reference'} is not built yet; there is builtin", built=False)
    spec = source.part("spec")
    spec.only("signal", "service", "environment", *more)
    if spec.text("signal") != "spans":
        spec.refuse("signal", "built-in indicators are about spans; other signals are not built yet", built=False)
    return spec


def _window(spec: _Part) -> timedelta:
    windows = list(spec.parts("timeWindow"))
    if len(windows) != 1:
        spec.refuse("timeWindow", "an SLO has exactly one timeWindow")
    (window,) = windows
    if window.has("calendar") or window.get("isRolling") is not True:
        window.refuse("isRolling", "calendar-aligned windows are not built yet; use isRolling: true", built=False)
    window.only("duration", "isRolling")
    text = window.text("duration")
    match = _DURATION.fullmatch(text)
    if match is None:
        window.refuse("duration", f"{text!r} is not a rolling duration: a whole number and m, h, d or w")
    duration = timedelta(**{_UNITS[match[2]]: int(match[1])})
    if not _SHORTEST <= duration <= _LONGEST:
        window.refuse("duration", f"{text} is not between 1 hour and 90 days, for which events are kept")
    return duration


def _objective(part: _Part, indicator: Indicator | None) -> Objective:
    if part.has("indicator") or part.has("indicatorRef") or part.has("compositeWeight"):
        part.refuse(None, "composite objectives are not built yet; write one SLO for each indicator", built=False)
    if part.has("timeSliceTarget") or part.has("timeSliceWindow"):
        part.refuse(None, "time slices are not built yet; the budget counts occurrences", built=False)
    part.only("displayName", "op", "value", "valueUnit", "target", "targetPercent")
    if part.has("target") == part.has("targetPercent"):
        part.refuse(None, "an objective has either target or targetPercent")
    key = "target" if part.has("target") else "targetPercent"
    # Rounded, because 99.9 / 100 is not 0.999 in binary and the two must mean the same.
    target = part.number(key) if key == "target" else round(part.number(key) / 100, 12)
    if not 0 < target < 1:
        part.refuse(key, "the target is a share above 0 and below 1: at 1 there is no budget to spend")
    return Objective(
        name=part.optional_text("displayName") or f"{target:.10g}", target=target, limit_us=_limit(part, indicator)
    )


def _limit(part: _Part, indicator: Indicator | None) -> float | None:
    if not part.has("op") and not part.has("value"):
        if indicator is not None and indicator.kind is IndicatorKind.DURATION:
            part.refuse(None, "an objective about durations has op and value")
        return None
    if indicator is not None and indicator.kind is IndicatorKind.STATUS:
        part.refuse("value", "a ratioMetric has no value to compare; drop op and value")
    if part.text("op") not in {"lte", "lt"}:
        part.refuse("op", "short durations are the good ones: op is lte or lt")
    unit = part.optional_text("valueUnit") or "s"
    if unit not in _SECONDS:
        part.refuse("valueUnit", f"{unit} is not one of {', '.join(_SECONDS)}")
    limit_us = part.number("value") * _SECONDS[unit]
    if limit_us < 1:
        part.refuse("value", "the longest good duration is at least one microsecond")
    return limit_us
