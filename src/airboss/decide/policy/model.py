"""What a policy is, and what a decision is: packs, rules, the closed set of effects, and the answer they add up to."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from functools import cached_property
from typing import Any, Final, Literal, TypeAlias

from airboss.kernel.canonical import Json, canonical, digest_bytes
from airboss.kernel.clock import parse_rfc3339, rfc3339

FORMAT: Final = 1
"""Format of a stored decision."""


class Point(StrEnum):
    """Where facts may have moved, so where a change is judged."""

    SUBMIT = "submit"
    APPROVE = "approve"
    START = "start"
    PROMOTE = "promote"
    COMPLETE = "complete"


class Tier(StrEnum):
    """How risky a change is; the order is the order of strictness."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"

    @property
    def rank(self) -> int:
        return list(Tier).index(self)


class Outcome(StrEnum):
    """`allow`: go on. `pending`: go on when the requirements are met. `block`: no."""

    ALLOW = "allow"
    PENDING = "pending"
    BLOCK = "block"


class Layer(StrEnum):
    """Who speaks, from the top; a lower layer may only tighten."""

    ORGANISATION = "organisation"
    COMPLIANCE = "compliance"
    PLATFORM = "platform"
    TEAM = "team"

    @property
    def rank(self) -> int:
        return list(Layer).index(self)


MAY_CLEAR: Final = frozenset({Layer.ORGANISATION, Layer.PLATFORM})
"""Layers whose word on who may clear a change counts; the others only add to it."""


class Mode(StrEnum):
    """`enforce`: the effect holds. `warn`: it is said, not done. `shadow`: it is recorded only."""

    ENFORCE = "enforce"
    WARN = "warn"
    SHADOW = "shadow"


@dataclass(frozen=True, slots=True, kw_only=True)
class Deny:
    """The change may not pass this point."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Warn:
    """The requester is told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AddRisk:
    """Points on the score: from 30 the tier is medium, from 60 high."""

    points: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SetTier:
    """The tier is at least this."""

    tier: Tier


@dataclass(frozen=True, slots=True, kw_only=True)
class Seats:
    """Approvals wanted from one group: `least` different people, who answer for the sections in `covers` (None: all)."""

    group: str
    least: int = 1
    covers: tuple[str, ...] | None = None


Who: TypeAlias = Literal["requester", "authors"]
Of: TypeAlias = Literal["all", "any"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RequireApproval:
    """People must agree: of all the groups, or of any `take` of them."""

    of: Of
    groups: tuple[Seats, ...]
    take: int = 1
    distinct_from: frozenset[Who] = frozenset()
    sla_s: int | None = None
    backup: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RequireEvidence:
    """A machine must have said yes, not longer ago than `max_age_s` seconds."""

    type: str
    max_age_s: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Obligate:
    """How the rollout must go. `largest_step_percent` is the largest rise of exposure in one step, in points."""

    canary: bool = False
    bake_least_s: int | None = None
    largest_step_percent: float | None = None
    review: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class AutoApprove:
    """No person is needed, if the tier is no higher than `up_to` and no other rule asks for one."""

    up_to: Tier = Tier.LOW


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """When the change may start: not before a time, and only while every named window is open."""

    not_before: datetime | None = None
    windows: tuple[str, ...] = ()


Effect: TypeAlias = (
    Deny | Warn | AddRisk | SetTier | RequireApproval | RequireEvidence | Obligate | AutoApprove | Schedule
)
EFFECTS: Final[Mapping[type, str]] = {
    Deny: "deny",
    Warn: "warn",
    AddRisk: "add_risk",
    SetTier: "set_tier",
    RequireApproval: "require_approval",
    RequireEvidence: "require_evidence",
    Obligate: "obligate",
    AutoApprove: "auto_approve",
    Schedule: "schedule",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One sentence of policy. `when` and `message` are CEL; `place` is `file:line:column` of the rule."""

    id: str
    title: str
    pack: str
    layer: Layer
    at: tuple[Point, ...]
    when: str
    effect: Effect
    message: str | None = None
    mode: Mode = Mode.ENFORCE
    link: str | None = None
    owner: str | None = None
    expires: datetime | None = None
    place: str = ""

    @property
    def sets_risk(self) -> bool:
        """Whether the rule belongs to the first pass, which may not read `risk`."""
        return isinstance(self.effect, AddRisk | SetTier)


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A test beside the rules: the fixture overlaid by `input`, and what is expected of it."""

    name: str
    at: Point
    input: Mapping[str, Any]
    outcome: Outcome | None = None
    tier: Tier | None = None
    score: int | None = None
    fired: frozenset[str] | None = None
    not_fired: frozenset[str] = frozenset()
    says: tuple[str, ...] = ()
    place: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pack:
    """Rules of one owner in one file. `inside` finds a character of a rule's CEL text again in the file."""

    name: str
    version: str
    owner: str
    layer: Layer
    rules: tuple[Rule, ...]
    cases: tuple[Case, ...]
    source: str
    data: bytes = field(repr=False)
    inside: Any = field(repr=False, compare=False, default=None)
    place: str | None = None
    """`file:line:column` of its layer."""

    @property
    def digest(self) -> str:
        """Return the SHA-256 of the file's bytes."""
        return digest_bytes(self.data)


@dataclass(frozen=True, kw_only=True)
class Bundle:
    """The packs in force together, highest layer first; the digest is over the sorted (name, SHA-256) pairs."""

    packs: tuple[Pack, ...]

    @cached_property
    def digest(self) -> str:
        pairs: Json = sorted([pack.name, pack.digest] for pack in self.packs)
        return f"sha256:{hashlib.sha256(canonical(pairs)).hexdigest()}"

    @cached_property
    def rules(self) -> tuple[Rule, ...]:
        ordered = sorted(self.packs, key=lambda pack: (pack.layer.rank, pack.name))
        return tuple(rule for pack in ordered for rule in pack.rules)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fired:
    """A rule that held, what it said, and the input values it read to say so."""

    rule: str
    pack: str
    title: str
    effect: str
    mode: Mode
    message: str
    read: Mapping[str, Json]
    link: str | None = None
    place: str = ""


DenialKind: TypeAlias = Literal["rule", "error", "unclear", "engine"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Denial:
    """Why the change may not pass, and what would clear it.

    `rule`: a rule denies. `error`: an enforced rule could not be judged. `unclear`: no rule says who may clear it.
    `engine`: the policy engine gave no answer in time. Only the first two name a rule.
    """

    kind: DenialKind
    message: str
    way_out: str
    rule: str | None = None
    pack: str | None = None
    when: str | None = None
    read: Mapping[str, Json] = field(default_factory=dict)
    link: str | None = None
    place: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """Something the requester should know; `rule` is the one that says it."""

    rule: str
    pack: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalNeed:
    """Approvals one round must gather, united over the rules that asked."""

    rules: tuple[str, ...]
    of: Of
    groups: tuple[Seats, ...]
    distinct_from: frozenset[Who]
    sla_s: int | None
    backup: str | None
    take: int = 1
    """How many of the groups, where `of` is any."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EvidenceNeed:
    """Evidence that must be there; `met` says whether the input already showed it."""

    rules: tuple[str, ...]
    type: str
    max_age_s: int | None
    met: bool
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Ruling:
    """What the rules add up to: the part of a decision that replaying the same bytes must give again."""

    point: Point
    outcome: Outcome
    score: int
    tier: Tier
    fired: tuple[Fired, ...] = ()
    not_fired: tuple[str, ...] = ()
    shadow: tuple[Fired, ...] = ()
    warnings: tuple[Notice, ...] = ()
    denials: tuple[Denial, ...] = ()
    approvals: tuple[ApprovalNeed, ...] = ()
    evidence: tuple[EvidenceNeed, ...] = ()
    obligations: Obligate = field(default_factory=Obligate)
    schedule: Schedule = field(default_factory=Schedule)


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """One answer of policy about one change at one point, with everything needed to give it again.

    `input` is the masked input: exactly the bytes the engine was given, that are stored, and that `input_digest` is
    over. `ages` are seconds since each group of facts was read. `duration_us` is microseconds.
    """

    id: str
    ruling: Ruling
    bundle: str
    engine: str
    input: bytes = field(repr=False)
    input_digest: str
    ages: Mapping[str, float]
    duration_us: int
    format: int = FORMAT

    @property
    def point(self) -> Point:
        return self.ruling.point

    @property
    def outcome(self) -> Outcome:
        return self.ruling.outcome

    @property
    def tier(self) -> Tier:
        return self.ruling.tier

    @property
    def approvals(self) -> tuple[ApprovalNeed, ...]:
        return self.ruling.approvals

    @property
    def denials(self) -> tuple[Denial, ...]:
        return self.ruling.denials

    @property
    def obligations(self) -> Obligate:
        return self.ruling.obligations

    def as_json(self) -> dict[str, Any]:
        """Return the decision for facts and the API; the input is named by its digest, not repeated."""
        return {
            "format": self.format,
            "id": self.id,
            **ruling_json(self.ruling),
            "bundle": self.bundle,
            "engine": self.engine,
            "input_digest": self.input_digest,
            "ages": dict(self.ages),
            "duration_us": self.duration_us,
        }


def ruling_json(ruling: Ruling) -> dict[str, Any]:
    """Return a ruling as plain JSON, fields in words a reader of the API understands."""
    return {
        "point": ruling.point.value,
        "outcome": ruling.outcome.value,
        "score": ruling.score,
        "tier": ruling.tier.value,
        "fired": [plain(item) for item in ruling.fired],
        "not_fired": list(ruling.not_fired),
        "shadow": [plain(item) for item in ruling.shadow],
        "warnings": [plain(item) for item in ruling.warnings],
        "denials": [plain(item) for item in ruling.denials],
        "requirements": {
            "approvals": [plain(item) for item in ruling.approvals],
            "evidence": [plain(item) for item in ruling.evidence],
        },
        "obligations": plain(ruling.obligations),
        "schedule": plain(ruling.schedule),
    }


def plain(value: Any) -> Any:
    """Return dataclasses, enums, times and sets as plain JSON values."""
    if hasattr(value, "__dataclass_fields__"):
        return {name: plain(getattr(value, name)) for name in value.__dataclass_fields__}
    if isinstance(value, StrEnum):
        return value.value
    if isinstance(value, datetime):
        return rfc3339(value)
    if isinstance(value, frozenset):
        return sorted(value)
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, tuple):
        return [plain(item) for item in value]
    return value


def read_ruling(body: Mapping[str, Any]) -> Ruling:
    """Return the ruling a recorded decision (`Decision.as_json`) holds."""
    asked = body["requirements"]
    return Ruling(
        point=Point(body["point"]),
        outcome=Outcome(body["outcome"]),
        score=body["score"],
        tier=Tier(body["tier"]),
        fired=tuple(_read_fired(item) for item in body["fired"]),
        not_fired=tuple(body["not_fired"]),
        shadow=tuple(_read_fired(item) for item in body["shadow"]),
        warnings=tuple(Notice(**item) for item in body["warnings"]),
        denials=tuple(Denial(**item) for item in body["denials"]),
        approvals=tuple(
            ApprovalNeed(
                **{
                    **need,
                    "rules": tuple(need["rules"]),
                    "groups": tuple(_read_seats(seats) for seats in need["groups"]),
                    "distinct_from": frozenset(need["distinct_from"]),
                }
            )
            for need in asked["approvals"]
        ),
        evidence=tuple(EvidenceNeed(**{**need, "rules": tuple(need["rules"])}) for need in asked["evidence"]),
        obligations=Obligate(**body["obligations"]),
        schedule=_read_schedule(body["schedule"]),
    )


def _read_seats(item: Mapping[str, Any]) -> Seats:
    covers = item.get("covers")
    return Seats(group=item["group"], least=item["least"], covers=None if covers is None else tuple(covers))


def _read_fired(item: Mapping[str, Any]) -> Fired:
    return Fired(**{**item, "mode": Mode(item["mode"])})


def _read_schedule(item: Mapping[str, Any]) -> Schedule:
    before = item["not_before"]
    return Schedule(not_before=None if before is None else parse_rfc3339(before), windows=tuple(item["windows"]))
