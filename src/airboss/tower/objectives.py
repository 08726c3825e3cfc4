"""Objectives as they stand: the catalogue's documents and telemetry's counts brought together, for gates, policy, pages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import Connection

from airboss import catalog
from airboss.act.rollout import Answer
from airboss.catalog import Catalog
from airboss.changes import Change
from airboss.kernel.errors import AirbossError, NotFound
from airboss.records.store import Store
from airboss.watch.slo import FAST, BudgetStatus, Indicator, Objectives, Slo, parse_sli, parse_slo, resolve
from airboss.watch.telemetry import TelemetryReader

FRESH: Final = timedelta(seconds=60)


class Standings:
    """Answers what objectives say now."""

    def __init__(self, *, store: Store, catalog: Catalog, telemetry: TelemetryReader) -> None:
        self._store = store
        self._catalog = catalog
        self._telemetry = telemetry
        self._objectives = Objectives(telemetry)

    def burn(self, gate: str, name: str, environment: str, above: float, at: datetime) -> Answer:
        """Answer whether an objective's budget burns faster than `above` times what it may, in both windows."""
        try:
            with self._store.read() as connection:
                slo, indicator = self._resolved(connection, name)
            said = self._objectives.burn(
                slo, indicator, environment, now=at, rule=replace(FAST, factor=above), max_age=FRESH
            )
        except AirbossError as fault:
            return Answer(gate=gate, kind="burn_rate", outcome="error", sentence=fault.detail)
        return Answer(
            gate=gate,
            kind="burn_rate",
            outcome=said.answer.value,
            sentence=said.sentence,
            numbers={
                "burn_1h": said.burn_long,
                "burn_5m": said.burn_short,
                "above": said.bound,
                "events": said.total_long,
                "bad": said.bad_long,
                "target": slo.strictest.target,
            },
            age_s=None if said.age is None else max(0.0, said.age.total_seconds()),
        )

    def budgets(
        self, slos: Sequence[catalog.Slo], environment: str, at: datetime
    ) -> Mapping[str, Mapping[str, Any]] | None:
        """Return by objective what policy may read of it and how old that is; without those that cannot be known."""
        found: dict[str, Mapping[str, Any]] = {}
        with self._store.read() as connection:
            pairs = [self._resolved(connection, one.name) for one in slos]
        for slo, indicator in pairs:
            known = self._known(slo, indicator, environment, at)
            if known is not None:
                found[slo.name] = known
        return found

    def _known(self, slo: Slo, indicator: Indicator, environment: str, at: datetime) -> Mapping[str, Any] | None:
        """Return one objective's state, None where there is no data for it."""
        worst = self._worst(slo, indicator, environment, at)
        newest = self._telemetry.freshness(indicator.service, indicator.environment or environment, now=at)
        rate = self._objectives.burn(slo, indicator, environment, now=at).burn_long
        if worst is None or worst.left is None or newest is None or rate is None:
            return None
        return {
            "fact": {"budget_left": worst.left, "burn": rate, "target": worst.target},
            "age_s": max(0.0, (at - newest).total_seconds()),
            "sentence": worst.sentence,
        }

    def _worst(self, slo: Slo, indicator: Indicator, environment: str, at: datetime) -> BudgetStatus | None:
        """Return the objective with the least budget left; None when one of them cannot be known."""
        found = self._objectives.budgets(slo, indicator, environment, now=at)
        if any(one.left is None for one in found):
            return None
        return min(found, key=lambda one: one.left if one.left is not None else 0.0)

    def view(self, connection: Connection, change: Change, at: datetime) -> list[dict[str, Any]]:
        """Return the objectives at stake in a change. Two queries, and some eight an objective."""
        if change.spec is None:
            return []
        given = change.expanded()
        slos = [slo for name in given.services for slo in self._catalog.slos_of(connection, name)]
        try:
            known = self.budgets(slos, given.environments[-1], at) or {}
        except AirbossError:
            known = {}
        return [_shown(slo, known.get(slo.name)) for slo in slos]

    def _resolved(self, connection: Connection, name: str) -> tuple[Slo, Indicator]:
        """Return an objective and what it measures. Raises NotFound, or Invalid for what cannot be read."""
        stored = self._catalog.slo(connection, name)
        if stored is None:
            raise NotFound(f"there is no objective {name}", code="slo-not-found", way_out="apply it first")
        slo = parse_slo(stored.content)
        indicators: dict[str, Indicator] = {}
        if slo.indicator_ref is not None:
            kept = self._catalog.sli(connection, slo.indicator_ref)
            if kept is not None:
                indicators[kept.name] = parse_sli(kept.content)
        return slo, resolve(slo, indicators)


def _shown(slo: catalog.Slo, known: Mapping[str, Any] | None) -> dict[str, Any]:
    fact = None if known is None else known["fact"]
    return {
        "name": slo.name,
        "service": slo.service,
        "target": slo.target,
        "known": known is not None,
        "budget_left": None if fact is None else fact["budget_left"],
        "burn": None if fact is None else fact["burn"],
        "age_s": None if known is None else known["age_s"],
        "sentence": "no data yet" if known is None else known["sentence"],
    }
