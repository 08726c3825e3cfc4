"""What policy is told: every group of facts that could be read, and none that could not.

Policy asks nothing, so all it may know is fetched here. A group that could not be read is left out, never sent empty:
a rule that reads it is then in error, and an error blocks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, Protocol

from sqlalchemy import Connection

from airboss import changes as spec
from airboss.catalog import Catalog, Service, Slo
from airboss.changes import Change, Spec
from airboss.decide.calendar import Calendar, Closed, state
from airboss.kernel.clock import rfc3339
from airboss.kernel.errors import AirbossError

HISTORY: Final = timedelta(days=30)


class Objectives(Protocol):
    """Reads the state of objectives; None where it cannot be known."""

    def budgets(
        self, slos: Sequence[Slo], environment: str, at: datetime
    ) -> Mapping[str, Mapping[str, Any]] | None: ...


class History(Protocol):
    """Counts what went wrong before."""

    def facts(self, connection: Connection, given: Spec, since: datetime) -> Mapping[str, Any]: ...


class Evidence(Protocol):
    """Knows what machines have said about a change."""

    def facts(self, connection: Connection, change: Change, at: datetime) -> Mapping[str, Any]: ...


class Traffic(Protocol):
    """Knows whether there is traffic to judge the steps of a change by."""

    def knows(self, given: Spec) -> bool: ...


class PolicyFacts:
    """Builds the input of a decision."""

    def __init__(
        self,
        *,
        catalog: Catalog,
        objectives: Objectives,
        calendar: Calendar,
        history: History,
        evidence: Evidence,
        traffic: Traffic,
    ) -> None:
        self._catalog = catalog
        self._traffic = traffic
        self._objectives = objectives
        self._calendar = calendar
        self._history = history
        self._evidence = evidence

    def of(
        self, connection: Connection, change: Change, given: Spec, actor: Mapping[str, str], at: datetime
    ) -> dict[str, Any]:
        """Return the facts about a change, without `point`. Eight queries, and two for each objective."""
        services = [found for name in given.services if (found := self._catalog.service(connection, name)) is not None]
        facts: dict[str, Any] = {
            "now": rfc3339(at),
            "change": _change(change, given, services),
            "services": [
                {"name": one.name, "tier": str(one.tier), "stateful": one.stateful, "owner": one.owner}
                for one in services
            ],
            "actor": dict(actor),
            "ages": {"services_s": 0.0, "calendar_s": 0.0, "history_s": 0.0, "evidence_s": 0.0},
        }
        facts["change"]["traffic_known"] = self._traffic.knows(given)
        elsewhere = self._catalog.dependants_elsewhere(connection, given.services)
        facts["change"]["dependents"] = sorted(one.name for one in elsewhere)
        facts["calendar"] = self._freeze(connection, given, at)
        facts["history"] = self._history.facts(connection, given, at - HISTORY)
        facts["evidence"] = self._evidence.facts(connection, change, at)
        self._objectives_of(connection, given, facts, at)
        return facts

    def evidence(self, connection: Connection, change: Change, at: datetime) -> Mapping[str, Any]:
        """Return what machines have said about what a change carries now, by type. One query."""
        return self._evidence.facts(connection, change, at)

    def _freeze(self, connection: Connection, given: Spec, at: datetime) -> dict[str, Any]:
        """Return whether a freeze covers the change now, which, why, and until when."""
        freezes = [window for window in self._calendar.windows(connection) if not window.allow]
        answer = state(freezes, self._calendar.reach(connection, given), at)
        if not isinstance(answer, Closed):
            return {"frozen": False}
        facts: dict[str, Any] = {"frozen": True, "freeze": answer.window, "reason": answer.why}
        if answer.opens_at is not None:
            facts["opens_at"] = rfc3339(answer.opens_at)
        return facts

    def _objectives_of(self, connection: Connection, given: Spec, facts: dict[str, Any], at: datetime) -> None:
        """Add the objectives, or the news that they could not be read."""
        slos = [slo for name in given.services for slo in self._catalog.slos_of(connection, name)]
        try:
            budgets = self._objectives.budgets(slos, given.environments[-1], at)
        except AirbossError:
            budgets = None
        if budgets is None or any(slo.name not in budgets for slo in slos):
            facts["slos_known"] = False
            return
        facts["slos_known"] = True
        facts["slos"] = [{"name": slo.name, "service": slo.service, **budgets[slo.name]["fact"]} for slo in slos]
        facts["ages"]["slos_s"] = max((budgets[slo.name]["age_s"] for slo in slos), default=0.0)


def _change(change: Change, given: Spec, services: Sequence[Service]) -> dict[str, Any]:
    """Return what the requester said, as far as rules may read it."""
    production = [step.percent for step in given.stages[-1].steps if isinstance(step, spec.Expose)]
    rises = [after - before for before, after in zip([0.0, *production], production, strict=False)]
    impact = given.impact
    facts: dict[str, Any] = {
        "id": change.id,
        "kind": given.kind,
        "title": given.title,
        "labels": list(given.labels),
        "environments": list(given.environments),
        "services": list(given.services),
        "strategy": given.strategy,
        "emergency": False,
        "first_step_percent": production[0],
        "largest_step_percent": max(rises),
        "behind_flag": given.strategy == "ramp" and all(stage.target.kind == "flag" for stage in given.stages),
        "automated_rollback": not impact.irreversible and given.rollback is not None,
        "has_mitigation": given.mitigation is not None,
        "waived_signals": [signal.name for signal in given.signals if signal.waived is not None],
        "accepts_underpowered": given.accepts_underpowered is not None,
        "impact": {
            "users_percent": impact.users_percent,
            "reversible": impact.reversible,
            "data": impact.data,
            "cross_team": impact.cross_team or len({one.owner for one in services}) > 1,
            "risks": {
                name: getattr(impact.risks, name)
                for name in ("availability", "integrity", "security", "compliance", "cost")
            },
        },
    }
    if given.rollback is not None and given.rollback.window_s is not None:
        facts["rollback_window_s"] = given.rollback.window_s
    if given.artifact is not None:
        facts["artifact"] = {"version": given.artifact.version, "digest": given.artifact.digest}
    return facts
