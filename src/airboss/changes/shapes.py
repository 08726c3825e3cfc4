"""A change as people write it: one shape for the YAML file and for the API's JSON.

`read_change` checks what can be judged from the file alone and points at the line; what needs the catalog is judged at
submit. A `Draft` keeps what was written; defaults come from the template, once, at submit.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Final, Literal, TypeAlias

from pydantic import AfterValidator, BeforeValidator, Discriminator, Field, Tag
from pydantic_core import PydanticCustomError

from airboss.catalog import Duration, Envelope, Handle, Line, Name, Names, Percent, Prose, Shape, Share, within_sight
from airboss.kernel.clock import parse_rfc3339
from airboss.kernel.errors import Invalid
from airboss.kernel.ids import change_id

_DIGEST: Final = r"^sha256:[0-9a-f]{64}$"
_TEMPLATE: Final = re.compile(r"(?P<name>[a-z0-9][a-z0-9-]{0,61})(?:@(?P<version>[1-9][0-9]{0,5}))?")
_QUANTILE: Final = re.compile(r"p([0-9]{1,2}(?:\.[0-9]{1,3})?)")

Level: TypeAlias = Literal["none", "low", "material"]
Data: TypeAlias = Literal["none", "compatible", "incompatible", "loss"]
Strategy: TypeAlias = Literal["canary", "ramp", "all-at-once"]
Then: TypeAlias = Literal["extend", "ask", "rollback"]
EvidenceType: TypeAlias = Literal["ci"]


def _change_id(text: str) -> str:
    try:
        return change_id(text)
    except Invalid as fault:
        raise PydanticCustomError(
            "bad_change_id", "{why}; mint one with: airboss id new", {"why": fault.detail}
        ) from fault


def _link(text: str) -> str:
    if not re.fullmatch(r"https?://[^\s<>\"]{1,2000}", text):
        raise PydanticCustomError("bad_link", "'{text}' is not a web address: write https://…", {"text": text})
    return text


def _template(text: str) -> str:
    if not _TEMPLATE.fullmatch(text):
        raise PydanticCustomError(
            "bad_name", "'{text}' is not a template: write service-release or service-release@1", {"text": text}
        )
    return text


def _quantile(value: Any) -> float:
    found = _QUANTILE.fullmatch(value) if isinstance(value, str) else None
    if found is None or not 0 < float(found[1]) < 100:
        raise PydanticCustomError("bad_value", "'{value}' is not a quantile: write p50, p95 or p99.9", {"value": value})
    return round(float(found[1]) / 100, 6)


def _instant(value: Any) -> datetime:
    try:
        return within_sight(parse_rfc3339(value))
    except (TypeError, ValueError) as fault:
        raise PydanticCustomError(
            "bad_time", "'{value}' is no time to mean, with its zone: write 2026-12-01T09:00:00Z", {"value": value}
        ) from fault


def _one_target(value: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    if len(value) != 1:
        raise PydanticCustomError("bad_target", "name exactly one target, such as flag: {…}", {})
    return value


Quantile = Annotated[float, BeforeValidator(_quantile)]
Moment = Annotated[datetime, BeforeValidator(_instant)]


EvidenceTypes = Annotated[list[EvidenceType], Field(max_length=20)]
Reason = Annotated[Line, Field(min_length=10)]
"""Why something that is expected may be missing (a signal, evidence in time): a sentence, for those who approve it."""


class ChangeMetadata(Shape):
    id: Annotated[str, AfterValidator(_change_id)] | None = None


class OwnerShape(Shape):
    team: Name
    person: Handle | None = None


class ArtifactShape(Shape):
    version: Line
    digest: Annotated[str, Field(pattern=_DIGEST)]


class RisksShape(Shape):
    availability: Level = "none"
    integrity: Level = "none"
    security: Level = "none"
    compliance: Level = "none"
    cost: Level = "none"


class CostShape(Shape):
    amount: float
    currency: Annotated[str, Field(pattern=r"^[A-Z]{3}$")]
    note: Line | None = None


class ImpactShape(Shape):
    users_percent: Annotated[float, Field(ge=0, le=100)]
    reversible: bool
    data: Data = "none"
    stateful: bool | None = None
    cross_team: bool | None = None
    risks: RisksShape | None = None
    cost_per_month: CostShape | None = None


class RollbackShape(Shape):
    plan: Prose | None = None
    window: Duration | None = None


class MitigationShape(Shape):
    plan: Prose
    runbook: Name | None = None
    flag: Name | None = None


class ScheduleShape(Shape):
    window: Name | None = None
    not_before: Moment | None = None
    not_after: Moment | None = None


class BakeShape(Shape):
    least: Annotated[Duration, Field(ge=1)]
    most: Annotated[Duration, Field(ge=1)] | None = None


class ExposeShape(Shape):
    expose: Percent
    bake: BakeShape


class AskShape(Shape):
    ask: Name
    expires: Annotated[Duration, Field(ge=1)]


class RunShape(Shape):
    run: Name
    most: Annotated[Duration, Field(ge=1)]


class NotifyShape(Shape):
    notify: Name
    message: Line


class CanaryBody(Shape):
    sli: Name
    quantile: Quantile | None = None
    margin: Share | None = None
    critical: bool = True


class CanaryShape(Shape):
    canary: CanaryBody


class BurnRateBody(Shape):
    slo: Name
    above: Annotated[float, Field(gt=0)]


class BurnRateShape(Shape):
    burn_rate: BurnRateBody


class CoverageBody(Shape):
    least: Percent


class CoverageShape(Shape):
    annotation_coverage: CoverageBody


def _which(*names: str) -> Discriminator:
    """Return what picks a shape by the one key that names it."""

    def pick(value: Any) -> str | None:
        if isinstance(value, str):
            return f"<{value}>" if value in names else None
        found = [name for name in names if isinstance(value, Mapping) and name in value]
        return f"<{found[0]}>" if len(found) == 1 else None

    kind = "gate" if "canary" in names else "step"
    return Discriminator(
        pick,
        custom_error_type=f"bad_{kind}",
        custom_error_message=f"a {kind} is one of {', '.join(names)}",
    )


StepShape = Annotated[
    Annotated[ExposeShape, Tag("<expose>")]
    | Annotated[AskShape, Tag("<ask>")]
    | Annotated[RunShape, Tag("<run>")]
    | Annotated[NotifyShape, Tag("<notify>")],
    _which("expose", "ask", "run", "notify"),
]
GateShape = Annotated[
    Annotated[Literal["data"], Tag("<data>")]
    | Annotated[CanaryShape, Tag("<canary>")]
    | Annotated[BurnRateShape, Tag("<burn_rate>")]
    | Annotated[CoverageShape, Tag("<annotation_coverage>")],
    _which("data", "canary", "burn_rate", "annotation_coverage"),
]
Gates = Annotated[list[GateShape], Field(min_length=1, max_length=50)]
Steps = Annotated[list[StepShape], Field(min_length=1)]


class StageShape(Shape):
    environment: Name
    needs: Name | None = None
    target: Annotated[dict[Name, dict[str, Any]], AfterValidator(_one_target)]
    gates: Gates | None = None
    steps: Steps | None = None


class InconclusiveShape(Shape):
    hold: Duration
    then: Then


class ErrorShape(Shape):
    hold: Duration
    then: Literal["rollback"]


class VerificationShape(Shape):
    least: Duration


class RolloutShape(Shape):
    strategy: Strategy | None = None
    stages: Annotated[list[StageShape], Field(min_length=1, max_length=50)]
    allowance: Share | None = None
    gates: Gates | None = None
    on_failed: Literal["rollback"] | None = None
    on_inconclusive: InconclusiveShape | None = None
    on_error: ErrorShape | None = None
    max_extensions: Annotated[int, Field(ge=0, le=2)] | None = None
    accept_underpowered: Reason | None = None
    verification: VerificationShape | None = None


class ChangeSpecShape(Shape):
    template: Annotated[str, AfterValidator(_template)]
    title: Line
    why: Prose | None = None
    services: Annotated[Names, Field(min_length=1, max_length=50)]
    regions: Names = Field(default_factory=list)
    owner: OwnerShape
    artifact: ArtifactShape | None = None
    links: dict[Name, Annotated[str, AfterValidator(_link)]] = Field(default_factory=dict, max_length=50)
    labels: Names = Field(default_factory=list)
    slos: Names = Field(default_factory=list)
    impact: ImpactShape
    rollback: RollbackShape | None = None
    mitigation: MitigationShape | None = None
    runbook: Name | None = None
    evidence: EvidenceTypes = Field(default_factory=list)
    waive: dict[Name, Reason] = Field(default_factory=dict, max_length=30)
    schedule: ScheduleShape | None = None
    rollout: RolloutShape


class ChangeShape(Envelope):
    """The whole document."""

    kind: Literal["Change"]
    metadata: ChangeMetadata = Field(default_factory=ChangeMetadata)
    spec: ChangeSpecShape
