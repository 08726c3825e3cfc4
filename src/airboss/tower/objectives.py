"""Objectives as they stand: the catalogue's documents and telemetry's counts brought together, for gates, policy, pages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, TypeAlias

from sqlalchemy import Connection

from airboss import catalog
from airboss.act.rollout import Answer, ExposureRow, exposures_of
from airboss.catalog import Catalog
from airboss.changes import Change
from airboss.kernel.clock import rfc3339
from airboss.kernel.errors import AirbossError, NotFound
from airboss.records.store import Store
from airboss.watch.slo import Answer as Burning
from airboss.watch.slo import (
    Before,
    BurnRule,
    Indicator,
    IndicatorKind,
    Objectives,
    Slo,
    Standing,
    can_fail,
    events,
    parse_sli,
    parse_slo,
    resolve,
    rules_for,
    rules_of_gate,
    span,
    unite,
)
from airboss.watch.telemetry import ARMS, TelemetryReader, WindowCounts

FRESH: Final = timedelta(seconds=60)

Span: TypeAlias = tuple[datetime, datetime]


@dataclass(frozen=True, slots=True, kw_only=True)
class Out:
    """Which change is out where, and since when. `compared`: a canary of it is found harmless beside its baseline now."""

    change_id: str
    attempt: int
    unit: str
    exposed: timedelta
    compared: bool = False


class Standings:
    """Answers what objectives say now."""

    def __init__(self, *, store: Store, catalog: Catalog, telemetry: TelemetryReader) -> None:
        self._store = store
        self._catalog = catalog
        self._telemetry = telemetry
        self._objectives = Objectives(telemetry)

    def burn(self, gate: str, name: str, environment: str, above: float, at: datetime, out: Out) -> Answer:
        """Answer whether an objective's budget burns faster than `above` times what it may, over an hour and five
        minutes, or over longer windows at proportionally less, and whether it did so before the change was out.
        """
        rules = rules_of_gate(above)
        try:
            with self._store.read() as connection:
                slo, indicator = self._resolved(connection, name)
            answers = self._objectives.burns(slo, indicator, environment, now=at, rules=rules, max_age=FRESH)
            pairs = list(zip(rules, answers, strict=True))
            burning = [rule for rule, one in pairs if one.answer is Burning.FAIL]
            before = self._before(slo, indicator, environment, at, out, burning) if burning else {}
        except AirbossError as fault:
            return Answer(gate=gate, kind="burn_rate", outcome="error", sentence=fault.detail)
        came_to = unite(pairs, out.exposed, before, compared=out.compared)
        said, own, was = came_to.said, answers[0], came_to.before
        rates = {
            f"burn_{span(length)}": rate
            for rule, one in zip(rules, answers, strict=True)
            for length, rate in ((rule.long, one.burn_long), (rule.short, one.burn_short))
        }
        return Answer(
            gate=gate,
            kind="burn_rate",
            outcome=came_to.answer.value,
            sentence=came_to.sentence,
            patient=came_to.patient,
            numbers={
                **rates,
                "rule": said.rule,
                "above": said.bound,
                "events": said.total_long,
                "bad": said.bad_long,
                "target": slo.strictest.target,
                **(
                    {}
                    if was is None
                    else {
                        "burn_before": was.short,
                        "burn_since": was.since_long,
                        "burn_since_short": was.since_short,
                        "began_before": was.began,
                        "got_worse": was.worse,
                    }
                ),
            },
            age_s=None if own.age is None else max(0.0, own.age.total_seconds()),
        )

    def _before(
        self, slo: Slo, indicator: Indicator, environment: str, at: datetime, out: Out, rules: Sequence[BurnRule]
    ) -> Mapping[str, Before]:
        """Return how pairs that burn did before the change was out; those it was out before itself are left out."""
        with self._store.read() as connection:
            rows = exposures_of(connection, out.change_id)
        ours = [row for row in rows if row.environment == environment and row.percent > 0]
        began = min(
            (row.from_at for row in ours if row.attempt == out.attempt and row.unit == out.unit),
            default=at - out.exposed,
        )
        # A burn of an attempt before this one is the change's own.
        last = max((row.to_at or at for row in ours if row.attempt < out.attempt), default=None)
        asked = [rule for rule in rules if last is None or last <= began - rule.short]
        return self._objectives.before(slo, indicator, environment, out=began, now=at, rules=asked) if asked else {}

    def budgets(
        self, slos: Sequence[catalog.Slo], environment: str, at: datetime
    ) -> Mapping[str, Mapping[str, Any]] | None:
        """Return by objective what policy may read of it and how old that is; without those that cannot be known.

        One query, and some of telemetry for each. Raises NotFound, or Invalid for what cannot be read.
        """
        with self._store.read() as connection:
            indicators = self._indicators(connection)
        return self._known_of([_pair(one, indicators) for one in slos], environment, at)

    def _known_of(
        self, pairs: Sequence[tuple[Slo, Indicator]], environment: str, at: datetime
    ) -> dict[str, Mapping[str, Any]]:
        found: dict[str, Mapping[str, Any]] = {}
        standings = self._objectives.standings([(*pair, environment) for pair in pairs], now=at)
        for (slo, _), standing in zip(pairs, standings, strict=True):
            known = _known(standing, at)
            if known is not None:
                found[slo.name] = known
        return found

    def view(self, connection: Connection, change: Change, at: datetime) -> list[dict[str, Any]]:
        """Return the objectives at stake in a change, how each burns over every pair of windows, and what it lost while
        the change was out. One query for each service, two more, and telemetry's for each objective.
        """
        if change.spec is None:
            return []
        given = change.expanded()
        environment = given.environments[-1]
        slos = [slo for name in given.services for slo in self._catalog.slos_of(connection, name)]
        spans = _out(exposures_of(connection, change.id), environment, at)
        indicators = self._indicators(connection)
        pairs: dict[str, tuple[Slo, Indicator]] = {}
        for slo in slos:
            with suppress(AirbossError):  # one that cannot be read is shown as not known, and hides no other
                pairs[slo.name] = _pair(slo, indicators)
        try:
            known = self._known_of(list(pairs.values()), environment, at)
        except AirbossError:
            known = {}
        return [
            {
                **_shown(slo, known.get(slo.name)),
                "windows": self._windows(pairs.get(slo.name), environment, at),
                "during": self._during(change.id, pairs.get(slo.name), environment, spans),
            }
            for slo in slos
        ]

    def apart(
        self,
        connection: Connection,
        slos: Sequence[catalog.Slo],
        service: str,
        environment: str,
        counts: Mapping[str, WindowCounts],
    ) -> list[dict[str, Any]]:
        """Return what share of good events each arm of a change has had, by objective: {name, target, canary_pct,
        baseline_pct}, None where nothing was counted. One query.

        `counts` are the arms of spans whose service.name is `service`; objectives about anything else are left out.
        """
        indicators = self._indicators(connection) if slos else {}
        found = []
        for stored in slos:
            try:
                slo, indicator = _pair(stored, indicators)
            except AirbossError:
                continue  # the list of objectives says that it cannot be read
            if indicator.service == service and indicator.environment in (None, environment):
                shares = {f"{arm}_pct": _good_pct(slo, indicator, counts.get(arm)) for arm in ARMS}
                found.append({"name": slo.name, "target": slo.strictest.target, **shares})
        return found

    def _windows(self, pair: tuple[Slo, Indicator] | None, environment: str, at: datetime) -> list[dict[str, Any]]:
        """Return the alerts of an objective: each pair of windows with its bound; none where nothing can be said."""
        if pair is None:
            return []
        slo, indicator = pair
        try:
            rules = [rule for rule in rules_for(slo.window) if can_fail(rule, slo.strictest)]
            answers = self._objectives.burns(slo, indicator, environment, now=at, rules=rules, max_age=FRESH)
        except AirbossError:
            return []
        return [
            {
                "rule": rule.name,
                "severity": rule.severity,
                "long_s": rule.long.total_seconds(),
                "short_s": rule.short.total_seconds(),
                "above": rule.factor,
                "burn_long": said.burn_long,
                "burn_short": said.burn_short,
                "answer": said.answer.value,
                "sentence": said.sentence,
            }
            for rule, said in zip(rules, answers, strict=True)
        ]

    def _during(
        self, change_id: str, pair: tuple[Slo, Indicator] | None, environment: str, spans: Sequence[Span]
    ) -> dict[str, Any] | None:
        """Return what an objective lost while a change was out, None before that and where nothing can be said."""
        if not spans or pair is None:
            return None
        slo, indicator = pair
        try:
            use = self._objectives.use(slo, indicator, environment, spans)
            where = indicator.environment or environment
            arms = self._telemetry.arm_counts(change_id, indicator.service, where)
        except AirbossError:
            return None
        canary = arms.get("canary") if indicator.kind is IndicatorKind.STATUS else None
        return {
            "from": rfc3339(min(start for start, _ in spans)),
            "to": rfc3339(max(end for _, end in spans)),
            "total": use.total,
            "bad": use.bad,
            "burn": use.burn,
            "budget_spent": use.spent,
            "canary": None if canary is None else {"total": canary[0], "bad": canary[1]},
            "sentence": use.sentence,
        }

    def _resolved(self, connection: Connection, name: str) -> tuple[Slo, Indicator]:
        """Return an objective and what it measures. Raises NotFound, or Invalid for what cannot be read."""
        stored = self._catalog.slo(connection, name)
        if stored is None:
            raise NotFound(f"there is no objective {name}", code="slo-not-found", way_out="apply it first")
        kept = None if stored.indicator is None else self._catalog.sli(connection, stored.indicator)
        return _pair(stored, {} if kept is None else {kept.name: kept})

    def _indicators(self, connection: Connection) -> Mapping[str, catalog.Sli]:
        return {one.name: one for one in self._catalog.slis(connection)}


def _pair(stored: catalog.Slo, indicators: Mapping[str, catalog.Sli]) -> tuple[Slo, Indicator]:
    """Return an objective and what it measures. Raises NotFound, or Invalid for what cannot be read."""
    slo = parse_slo(stored.content)
    kept = None if slo.indicator_ref is None else indicators.get(slo.indicator_ref)
    return slo, resolve(slo, {} if kept is None else {kept.name: parse_sli(kept.content)})


def _known(standing: Standing, at: datetime) -> Mapping[str, Any] | None:
    """Return an SLO's state by its objective with the least budget left, None where there is no data for one of them."""
    left = [one.left for one in standing.budgets if one.left is not None]
    if len(left) < len(standing.budgets) or standing.newest is None or standing.burn is None:
        return None
    worst = standing.budgets[left.index(min(left))]
    return {
        "fact": {"budget_left": worst.left, "burn": standing.burn, "target": worst.target},
        "age_s": max(0.0, (at - standing.newest).total_seconds()),
        "sentence": worst.sentence,
    }


def _good_pct(slo: Slo, indicator: Indicator, counts: WindowCounts | None) -> float | None:
    told = None if counts is None else events(indicator, slo.strictest, counts)
    return None if told is None or not told[0] else round(100 * (told[0] - told[1]) / told[0], 4)


def _shown(slo: catalog.Slo, known: Mapping[str, Any] | None) -> dict[str, Any]:
    fact = None if known is None else known["fact"]
    return {
        "name": slo.name,
        "service": slo.service,
        "target": slo.target,
        "window": slo.window,
        "known": known is not None,
        "budget_left": None if fact is None else fact["budget_left"],
        "burn": None if fact is None else fact["burn"],
        "age_s": None if known is None else known["age_s"],
        "sentence": "no data yet" if known is None else known["sentence"],
    }


def _out(rows: Sequence[ExposureRow], environment: str, at: datetime) -> list[Span]:
    """Return from when to when each attempt of a change was out in an environment.

    An attempt is out from its first exposure until its last one ended, or still.
    """
    spans: dict[int, Span] = {}
    for row in rows:
        if row.environment == environment and row.percent > 0:
            end = at if row.to_at is None else row.to_at
            start, before = spans.get(row.attempt, (row.from_at, end))
            spans[row.attempt] = (min(start, row.from_at), max(before, end))
    return list(spans.values())
