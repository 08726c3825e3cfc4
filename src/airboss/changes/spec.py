"""The expanded change: everything that will happen, with no default left open.

Stored as canonical JSON in named sections, so that a vote can be bound to the sections it covers and stands while they
are equal. Times in seconds, exposure in percent, margins and allowances as shares.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Final, Literal, TypeAlias

from airboss.catalog import SliKind
from airboss.changes.shapes import Data, Level, Strategy, Then
from airboss.kernel.canonical import Json, canonical, digest
from airboss.kernel.clock import parse_rfc3339, rfc3339
from airboss.kernel.errors import Refused

FORMAT: Final = 1


class Section(StrEnum):
    """What a change is made of, as far as approvals tell it apart."""

    INTENT = "intent"
    SCOPE = "scope"
    PAYLOAD = "payload"
    PLAN = "plan"
    WAY_BACK = "way_back"
    SCHEDULE = "schedule"
    PRESENTATION = "presentation"


MATERIAL: Final = frozenset(Section) - {Section.PRESENTATION}
"""What a requirement covers unless it says otherwise."""
EXECUTED: Final = frozenset({Section.PAYLOAD, Section.PLAN})
"""What must equal the approved sections before each exposure."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TemplateRef:
    """Which template filled in what was not said; kept for the record, never read again."""

    name: str
    version: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    team: str
    person: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    version: str
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Risks:
    """Declared risk inputs."""

    availability: Level = "none"
    integrity: Level = "none"
    security: Level = "none"
    compliance: Level = "none"
    cost: Level = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """Money a month, as declared."""

    amount: float
    currency: str
    note: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Impact:
    """Whom it can hurt, and whether it can be taken back."""

    users_percent: float
    reversible: bool
    data: Data
    risks: Risks
    cost_per_month: Cost | None = None
    stateful: bool = False
    """Whether a service it touches keeps state: as declared, or as the catalog says."""
    cross_team: bool = False
    """Whether it reaches services of other teams than its owner's: as declared, or as the catalog says."""

    @property
    def irreversible(self) -> bool:
        """Whether going back does not bring back what was."""
        return not self.reversible or self.data in ("incompatible", "loss")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollback:
    """How it goes back, and until how long after completion."""

    plan: str | None
    window_s: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Mitigation:
    """What is done where going back is impossible."""

    plan: str
    runbook: str | None = None
    flag: str | None = None
    """The flag whose kill switch stops the harm."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Signal:
    """Something its kind must be watched by: the gates that do (`canary:checkout-errors`), or why nobody need.

    Without gates and without a reason it is held by the engine or told by machines (`by`), or was not needed and is not
    there.
    """

    name: str
    about: str
    by: str
    gates: tuple[str, ...] = ()
    waived: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """When it may start: in a named window, not before, not after."""

    window: str | None = None
    not_before: datetime | None = None
    not_after: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What carries the exposure; `params` are the target's own words."""

    kind: str
    params: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Expose:
    """Bring the stage to an exposure, and stay for at least `least_s` and at most `most_s`."""

    percent: float
    least_s: int
    most_s: int
    step: Literal["expose"] = "expose"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """Wait for somebody of a group; unanswered, go back."""

    group: str
    expires_s: int
    step: Literal["ask"] = "ask"


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """Run a runbook."""

    runbook: str
    most_s: int
    step: Literal["run"] = "run"


@dataclass(frozen=True, slots=True, kw_only=True)
class Notify:
    """Tell a group."""

    group: str
    message: str
    step: Literal["notify"] = "notify"


Step: TypeAlias = Expose | Ask | Run | Notify


@dataclass(frozen=True, slots=True, kw_only=True)
class CanaryGate:
    """New against old on one indicator. `quantile` only where it is a distribution; `margin_share` is relative."""

    sli: str
    sli_kind: SliKind
    margin_share: float
    quantile: float | None
    critical: bool
    gate: Literal["canary"] = "canary"


@dataclass(frozen=True, slots=True, kw_only=True)
class BurnRateGate:
    """Fails when the error budget burns faster than `above` times what it may."""

    slo: str
    above: float
    gate: Literal["burn_rate"] = "burn_rate"


@dataclass(frozen=True, slots=True, kw_only=True)
class DataGate:
    """Fails never by numbers, but nothing advances while data are missing or old."""

    gate: Literal["data"] = "data"


@dataclass(frozen=True, slots=True, kw_only=True)
class CoverageGate:
    """Fails when less than `least_pct` of the telemetry carries the change."""

    least_pct: float
    gate: Literal["annotation_coverage"] = "annotation_coverage"


Gate: TypeAlias = CanaryGate | BurnRateGate | DataGate | CoverageGate


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """The rollout in one environment. `gates` None: those of the change."""

    environment: str
    needs: str | None
    target: Target
    gates: tuple[Gate, ...] | None
    steps: tuple[Step, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """Wait so long for a better answer, then do what is said."""

    hold_s: int
    then: Then


@dataclass(frozen=True, slots=True, kw_only=True)
class Spec:
    """One intended difference in production, expanded."""

    kind: str
    template: TemplateRef
    title: str
    why: str | None
    links: Mapping[str, str]
    labels: tuple[str, ...]
    services: tuple[str, ...]
    slos: tuple[str, ...]
    regions: tuple[str, ...] = ()
    owner: Owner
    impact: Impact
    artifact: Artifact | None
    runbook: str | None = None
    """Where people look when it goes wrong."""
    evidence: tuple[str, ...] = ()
    """Types of evidence that must be green before it starts."""
    signals: tuple[Signal, ...] = ()
    pinned: Mapping[str, str] = field(default_factory=dict)
    """Subject → digest of what the payload inspectors saw, such as a flag's definition."""
    rollback: Rollback | None
    mitigation: Mitigation | None
    schedule: Schedule
    strategy: Strategy
    stages: tuple[Stage, ...]
    allowance_share: float
    gates: tuple[Gate, ...]
    on_failed: Literal["rollback"]
    on_inconclusive: Hold
    on_error: Hold
    max_extensions: int
    verify_s: int
    accepts_underpowered: str | None = None
    """Why steps may start whose evidence cannot come in the time they have; None: they may not."""

    @property
    def environments(self) -> tuple[str, ...]:
        """Where it goes, in order."""
        return tuple(stage.environment for stage in self.stages)

    def gates_of(self, stage: Stage) -> tuple[Gate, ...]:
        """Return the gates that watch a stage."""
        return self.gates if stage.gates is None else stage.gates

    def to_json(self) -> dict[str, Any]:
        """Return the sections and the format, as they are stored."""
        schedule = self.schedule
        return {
            "format": FORMAT,
            Section.INTENT: {
                "kind": self.kind,
                "why": self.why,
                "labels": list(self.labels),
                "impact": asdict(self.impact),
            },
            Section.SCOPE: {
                "services": list(self.services),
                "environments": list(self.environments),
                "owner": asdict(self.owner),
                "slos": list(self.slos),
                "regions": list(self.regions),
            },
            Section.PAYLOAD: {
                "artifact": None if self.artifact is None else asdict(self.artifact),
                "targets": [asdict(stage.target) for stage in self.stages],
                "pinned": dict(self.pinned),
            },
            Section.PLAN: {
                "strategy": self.strategy,
                "stages": [
                    {
                        "needs": stage.needs,
                        "gates": None if stage.gates is None else [asdict(gate) for gate in stage.gates],
                        "steps": [asdict(step) for step in stage.steps],
                    }
                    for stage in self.stages
                ],
                "allowance_share": self.allowance_share,
                "gates": [asdict(gate) for gate in self.gates],
                "on_failed": self.on_failed,
                "on_inconclusive": asdict(self.on_inconclusive),
                "on_error": asdict(self.on_error),
                "max_extensions": self.max_extensions,
                "verify_s": self.verify_s,
                "evidence": list(self.evidence),
                "signals": [asdict(signal) for signal in self.signals],
                # Left out where it is not said: the digest of a plan of before stays what it was.
                **({} if self.accepts_underpowered is None else {"accepts_underpowered": self.accepts_underpowered}),
            },
            Section.WAY_BACK: {
                "runbook": self.runbook,
                "rollback": None if self.rollback is None else asdict(self.rollback),
                "mitigation": None if self.mitigation is None else asdict(self.mitigation),
            },
            Section.SCHEDULE: {
                "window": schedule.window,
                "not_before": None if schedule.not_before is None else rfc3339(schedule.not_before),
                "not_after": None if schedule.not_after is None else rfc3339(schedule.not_after),
            },
            Section.PRESENTATION: {
                "title": self.title,
                "links": dict(self.links),
                "template": asdict(self.template),
            },
        }

    def stored(self) -> bytes:
        """Return the canonical bytes to keep."""
        return canonical(self.to_json())


def read_spec(stored: bytes) -> Spec:
    """Return the spec of stored bytes. Raises Refused for a format this version does not know."""
    value = json.loads(stored)
    if value["format"] != FORMAT:
        raise Refused(f"change format {value['format']} needs a newer server", code="format-newer")
    intent, scope, payload = value["intent"], value["scope"], value["payload"]
    plan, back, shown = value["plan"], value["way_back"], value["presentation"]
    impact = intent["impact"]
    return Spec(
        kind=intent["kind"],
        why=intent["why"],
        labels=tuple(intent["labels"]),
        impact=Impact(
            **{
                **impact,
                "risks": Risks(**impact["risks"]),
                "cost_per_month": None if impact["cost_per_month"] is None else Cost(**impact["cost_per_month"]),
            }
        ),
        services=tuple(scope["services"]),
        slos=tuple(scope["slos"]),
        # What changes of before did not say is read as what they meant by it.
        regions=tuple(scope.get("regions", ())),
        runbook=back.get("runbook"),
        evidence=tuple(plan.get("evidence", ())),
        signals=tuple(Signal(**{**one, "gates": tuple(one["gates"])}) for one in plan.get("signals", ())),
        owner=Owner(**scope["owner"]),
        artifact=None if payload["artifact"] is None else Artifact(**payload["artifact"]),
        pinned=payload["pinned"],
        strategy=plan["strategy"],
        stages=tuple(
            Stage(
                environment=environment,
                target=Target(**target),
                needs=stage["needs"],
                gates=None if stage["gates"] is None else tuple(map(_gate, stage["gates"])),
                steps=tuple(map(_step, stage["steps"])),
            )
            for environment, target, stage in zip(
                scope["environments"], payload["targets"], plan["stages"], strict=True
            )
        ),
        allowance_share=plan["allowance_share"],
        gates=tuple(map(_gate, plan["gates"])),
        on_failed=plan["on_failed"],
        on_inconclusive=Hold(**plan["on_inconclusive"]),
        on_error=Hold(**plan["on_error"]),
        max_extensions=plan["max_extensions"],
        verify_s=plan["verify_s"],
        accepts_underpowered=plan.get("accepts_underpowered"),
        rollback=None if back["rollback"] is None else Rollback(**back["rollback"]),
        mitigation=None if back["mitigation"] is None else Mitigation(**back["mitigation"]),
        schedule=Schedule(
            window=value["schedule"]["window"],
            not_before=_moment(value["schedule"]["not_before"]),
            not_after=_moment(value["schedule"]["not_after"]),
        ),
        title=shown["title"],
        links=shown["links"],
        template=TemplateRef(**shown["template"]),
    )


def section_digests(stored: bytes) -> dict[Section, str]:
    """Return the digest of each section of stored bytes."""
    value = json.loads(stored)
    return {section: digest(value[section]) for section in Section}


def total_digest(sections: Mapping[Section, str]) -> str:
    """Return the digest of the whole change: over the named section digests."""
    named: dict[str, Json] = {str(section): sections[section] for section in Section}
    return digest({"format": FORMAT, "sections": named})


def affected(old: Mapping[Section, str], new: Mapping[Section, str]) -> frozenset[Section]:
    """Return the sections an edit changed: votes that cover one of them are void."""
    return frozenset(section for section in Section if old[section] != new[section])


def _step(value: Mapping[str, Any]) -> Step:
    kinds: dict[str, type[Expose | Ask | Run | Notify]] = {
        "expose": Expose,
        "ask": Ask,
        "run": Run,
        "notify": Notify,
    }
    return kinds[value["step"]](**value)


def _gate(value: Mapping[str, Any]) -> Gate:
    kinds: dict[str, type[CanaryGate | BurnRateGate | DataGate | CoverageGate]] = {
        "canary": CanaryGate,
        "burn_rate": BurnRateGate,
        "data": DataGate,
        "annotation_coverage": CoverageGate,
    }
    return kinds[value["gate"]](**value)


def _moment(text: str | None) -> datetime | None:
    return None if text is None else parse_rfc3339(text)
