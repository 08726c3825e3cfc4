"""Objectives as they stand: budgets and burn rates from summed counts, for gates, for policy and for pages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import Connection

from airboss.act.rollout import Answer
from airboss.catalog import Catalog, Slo
from airboss.changes import Change
from airboss.kernel.errors import AirbossError
from airboss.records.store import Store
from airboss.watch.telemetry import TelemetryReader, WindowCounts

LONG: Final = timedelta(hours=1)
SHORT: Final = timedelta(minutes=5)
LEAST_EVENTS: Final = 50


class Objectives:
    """Reads objectives from the catalogue and counts from telemetry."""

    def __init__(self, *, store: Store, catalog: Catalog, telemetry: TelemetryReader) -> None:
        self._store = store
        self._catalog = catalog
        self._telemetry = telemetry

    def burn(self, gate: str, name: str, environment: str, above: float, at: datetime) -> Answer:
        """Answer whether an objective's budget burns faster than `above` times what it may, in both windows."""
        with self._store.read() as connection:
            slo = self._catalog.slo(connection, name)
        if slo is None or slo.target is None or slo.service is None:
            return Answer(gate=gate, kind="burn_rate", outcome="error", sentence=f"there is no objective {name}")
        long, short = self._telemetry.window_counts(slo.service, environment, [LONG, SHORT], at=at)
        newest = self._telemetry.freshness(slo.service, environment, now=at)
        if newest is None or not long.total:
            return Answer(gate=gate, kind="burn_rate", outcome="error", sentence="no telemetry to judge the budget by")
        age_s = max(0.0, (at - newest).total_seconds())
        rates = (_burn(long, slo.target), _burn(short, slo.target))
        numbers = {
            "burn_1h": rates[0],
            "burn_5m": rates[1],
            "above": above,
            "events": long.total,
            "bad": long.bad,
            "target": slo.target,
        }
        if long.total < LEAST_EVENTS:
            sentence = f"{long.total} of at least {LEAST_EVENTS} requests seen; too few to judge the budget of {name}"
            return Answer(
                gate=gate, kind="burn_rate", outcome="inconclusive", sentence=sentence, numbers=numbers, age_s=age_s
            )
        burning = all(rate is not None and rate > above for rate in rates)
        told = " and ".join(f"{rate:.1f}" if rate is not None else "unknown" for rate in rates)
        sentence = f"{name} burns {told} times its budget over 1 h and 5 min; {above:g} in both would be too fast"
        return Answer(
            gate=gate,
            kind="burn_rate",
            outcome="fail" if burning else "pass",
            sentence=sentence,
            numbers=numbers,
            age_s=age_s,
        )

    def budgets(self, slos: Sequence[Slo], environment: str, at: datetime) -> Mapping[str, Mapping[str, Any]] | None:
        """Return by objective what policy may read of it and how old that is; without those that cannot be known."""
        found: dict[str, Mapping[str, Any]] = {}
        for slo in slos:
            if slo.target is None or slo.service is None:
                continue
            period = timedelta(days=28)
            whole, long = self._telemetry.window_counts(slo.service, environment, [period, LONG], at=at)
            newest = self._telemetry.freshness(slo.service, environment, now=at)
            burn = _burn(long, slo.target)
            if newest is None or not whole.total or burn is None:
                continue
            left = 1.0 - whole.bad / (whole.total * (1.0 - slo.target))
            found[slo.name] = {
                "fact": {"budget_left": left, "burn": burn, "target": slo.target},
                "age_s": max(0.0, (at - newest).total_seconds()),
                "events": whole.total,
            }
        return found

    def view(self, connection: Connection, change: Change, at: datetime) -> list[dict[str, Any]]:
        """Return the objectives at stake in a change. Two queries, and five an objective."""
        if change.spec is None:
            return []
        given = change.expanded()
        slos = [slo for name in given.services for slo in self._catalog.slos_of(connection, name)]
        try:
            known = self.budgets(slos, given.environments[-1], at) or {}
        except AirbossError:
            known = {}
        return [
            {
                "name": slo.name,
                "service": slo.service,
                "target": slo.target,
                "known": slo.name in known,
                "budget_left": known[slo.name]["fact"]["budget_left"] if slo.name in known else None,
                "burn": known[slo.name]["fact"]["burn"] if slo.name in known else None,
                "age_s": known[slo.name]["age_s"] if slo.name in known else None,
            }
            for slo in slos
        ]


def _burn(counts: WindowCounts, target: float) -> float | None:
    """Return the burn rate over a window: bad share over the share that may be bad; None without events."""
    return counts.bad / counts.total / (1.0 - target) if counts.total else None
