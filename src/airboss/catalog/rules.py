"""Rules over the catalog: reading documents as views, what is missing, where dependencies go in a circle. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, cast

from airboss.catalog.model import (
    Connection,
    Environment,
    Group,
    Rota,
    Runbook,
    Service,
    Sli,
    SliKind,
    Slo,
    Stored,
    Team,
    Tier,
)
from airboss.kernel.yaml import Document

SIGNAL_LABEL: Final = "airboss.dev/signal"


def service(stored: Stored) -> Service:
    spec = stored.value["spec"]
    return Service(
        name=stored.name,
        owner=spec["owner"],
        tier=Tier(spec["tier"]),
        stateful=spec.get("stateful", False),
        depends_on=tuple(spec.get("depends_on", ())),
        environments=tuple(spec["environments"]),
        oncall=spec.get("oncall"),
        runbooks=tuple(spec.get("runbooks", ())),
        telemetry_name=(spec.get("telemetry") or {}).get("service_name", stored.name),
        description=spec.get("description"),
    )


def team(stored: Stored) -> Team:
    spec = stored.value["spec"]
    return Team(name=stored.name, members=frozenset(spec["members"]), leads=frozenset(spec.get("leads", ())))


def group(stored: Stored) -> Group:
    spec = stored.value["spec"]
    return Group(name=stored.name, members=frozenset(spec["members"]), backup=spec.get("backup"))


def rota(stored: Stored) -> Rota:
    spec = stored.value["spec"]
    return Rota(
        name=stored.name,
        rotation=spec["rotation"],
        starts=datetime.fromisoformat(spec["starts"]),
        zone=spec["zone"],
        people=tuple(spec["people"]),
    )


def environment(stored: Stored) -> Environment:
    spec = stored.value["spec"]
    return Environment(name=stored.name, rank=spec["rank"], exempt=spec.get("exempt", False))


def connection(stored: Stored) -> Connection:
    ((system, settings),) = stored.value["spec"].items()
    return Connection(name=stored.name, system=system, settings=settings)


def runbook(stored: Stored) -> Runbook:
    value = stored.value
    return Runbook(
        name=stored.name,
        service=value.get("service"),
        owner=value["owner"],
        purposes=frozenset(value["for"]),
        body=value["body"],
    )


def sli(stored: Stored) -> Sli:
    spec = stored.value["spec"]
    kind = "threshold" if "thresholdMetric" in spec else "ratio"
    return Sli(
        name=stored.name,
        kind=cast("SliKind", kind),
        service=_source_service(spec),
        content=stored.value,
        signals=_signals(stored.value),
    )


def slo(stored: Stored) -> Slo:
    spec = stored.value["spec"]
    inline = (spec.get("indicator") or {}).get("metadata", {}).get("name")
    return Slo(
        name=stored.name,
        service=spec.get("service"),
        indicator=spec.get("indicatorRef", inline),
        target=_target(spec.get("objectives")),
        content=stored.value,
        window=_window(spec.get("timeWindow")),
        signals=_signals(stored.value),
    )


def _signals(value: Mapping[str, Any]) -> frozenset[str]:
    """Return the names under the label; OpenSLO allows one text or a list of them."""
    found = (value["metadata"].get("labels") or {}).get(SIGNAL_LABEL, ())
    names = [found] if isinstance(found, str) else found
    return (
        frozenset(name for name in names if isinstance(name, str)) if isinstance(names, list | tuple) else frozenset()
    )


def _window(windows: Any) -> str | None:
    """Return the length of an objective's first window, as far as it can be read."""
    first = windows[0] if isinstance(windows, list | tuple) and windows else None
    length = first.get("duration") if isinstance(first, Mapping) else None
    return length if isinstance(length, str) else None


def _target(objectives: Any) -> float | None:
    """Return the strictest target of OpenSLO objectives as a share (`target`, or `targetPercent`)."""
    if not isinstance(objectives, list):
        return None
    shares = [
        objective["target"] if "target" in objective else objective["targetPercent"] / 100
        for objective in objectives
        if isinstance(objective, dict) and ("target" in objective or "targetPercent" in objective)
    ]
    return max((float(share) for share in shares), default=None)


def _source_service(value: Any) -> str | None:
    """Return the service named by the first metric source that names one."""
    if isinstance(value, dict):
        source = value.get("metricSource")
        if isinstance(source, dict) and isinstance(found := (source.get("spec") or {}).get("service"), str):
            return found
        return next((found for below in value.values() if (found := _source_service(below))), None)
    if isinstance(value, list):
        return next((found for below in value if (found := _source_service(below))), None)
    return None


def references(kind: str, value: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Return what a document refers to: (field, kind, name). `Owner` is a team, `Seats` a group, team or its leads."""
    spec = value.get("spec", {})
    match kind:
        case "Service":
            return [
                ("owner", "Team", spec["owner"]),
                *(("depends_on", "Service", name) for name in spec.get("depends_on", ())),
                *(("environments", "Environment", name) for name in spec["environments"]),
                *([("oncall", "Rota", spec["oncall"])] if spec.get("oncall") else []),
                *(("runbooks", "Runbook", name) for name in spec.get("runbooks", ())),
            ]
        case "Group":
            return [("backup", "Seats", spec["backup"])] if spec.get("backup") else []
        case "Runbook":
            named = [("service", "Service", value["service"])] if value.get("service") else []
            return [*named, ("owner", "Team", value["owner"])]
        case "SLI":
            found = _source_service(spec)
            return [("metricSource", "Service", found)] if found else []
        case "SLO":
            return [
                *([("service", "Service", spec["service"])] if isinstance(spec.get("service"), str) else []),
                *([("indicatorRef", "SLI", spec["indicatorRef"])] if isinstance(spec.get("indicatorRef"), str) else []),
            ]
        case _:
            return []


def refuse_circle(depends_on: Mapping[str, Sequence[str]], name: str, document: Document) -> None:
    """Refuse a service whose dependencies lead back to it: nothing could say which goes first. Raises Invalid."""
    if circle := cycle(depends_on, name):
        document.refuse(
            ("spec", "depends_on", depends_on[name].index(circle[1])),
            f"dependencies go in a circle: {' → '.join(circle)}",
            code="circular-dependency",
            way_out="leave one of them out: say what cannot do its work without the other",
        )


def cycle(depends_on: Mapping[str, Iterable[str]], start: str) -> tuple[str, ...]:
    """Return the shortest circle of dependencies through `start`, `(a, b, a)`, or an empty tuple."""
    came_from: dict[str, str] = {}
    waiting = [start]
    while waiting:
        level, waiting = waiting, []
        for name in level:
            for below in depends_on.get(name, ()):
                if below == start:
                    path = [start, name]
                    while path[-1] != start:
                        path.append(came_from[path[-1]])
                    return (*reversed(path[1:]), start) if name != start else (start, start)
                if below not in came_from:
                    came_from[below] = name
                    waiting.append(below)
    return ()
