"""What a flag is, where it stands, and what moves it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Final, Literal, TypeAlias

from airboss.kernel.canonical import Json, canonical, digest, digest_bytes

PRODUCTION: Final = "production"
"""The environment meant where none is named."""

ValueType: TypeAlias = Literal["boolean", "string", "integer", "float", "object"]
ExposureState: TypeAlias = Literal["active", "finished", "reverted"]


class FlagKind(StrEnum):
    """What a flag is for; decides how long it is meant to live."""

    RELEASE = "release"
    EXPERIMENT = "experiment"
    OPS = "ops"
    PERMISSION = "permission"


@dataclass(frozen=True, slots=True, kw_only=True)
class Definition:
    """A flag as its file says it. `plain` is flagd's definition; who is exposed is moved by changes, not here."""

    name: str
    owner: str
    purpose: str
    kind: FlagKind
    remove_by: str | None
    services: tuple[str, ...]
    bucketing_version: str
    bucketing_key: str
    value_type: ValueType
    plain: Mapping[str, Any]

    def to_json(self) -> dict[str, Any]:
        """Return the definition as it is stored."""
        return {
            "owner": self.owner,
            "purpose": self.purpose,
            "kind": self.kind.value,
            "remove_by": self.remove_by,
            "services": list(self.services),
            "bucketing": {"version": self.bucketing_version, "key": self.bucketing_key},
            "value_type": self.value_type,
            "definition": dict(self.plain),
        }

    @classmethod
    def from_json(cls, name: str, value: Mapping[str, Any]) -> Definition:
        """Return the definition that `to_json` stored."""
        return cls(
            name=name,
            owner=value["owner"],
            purpose=value["purpose"],
            kind=FlagKind(value["kind"]),
            remove_by=value["remove_by"],
            services=tuple(value["services"]),
            bucketing_version=value["bucketing"]["version"],
            bucketing_key=value["bucketing"]["key"],
            value_type=value["value_type"],
            plain=value["definition"],
        )

    @property
    def stored(self) -> bytes:
        """The canonical bytes of everything, what makes a revision."""
        return canonical(self.to_json())

    @property
    def digest(self) -> str:
        """The digest of what decides answers (name, definition, bucketing): what a change's approval is bound to.

        The name belongs to it: two plain switches are alike in everything else, and one's conviction is not the other's.
        """
        answering: Json = {
            "name": self.name,
            "definition": dict(self.plain),
            "bucketing": {"version": self.bucketing_version, "key": self.bucketing_key},
            "value_type": self.value_type,
        }
        return digest(answering)

    @property
    def variants(self) -> Mapping[str, Any]:
        """The variants by name."""
        variants: Mapping[str, Any] = self.plain["variants"]
        return variants

    @property
    def default_variant(self) -> str | None:
        """What is served where nothing was moved; None leaves it to the caller."""
        name = self.plain.get("defaultVariant")
        return str(name).lower() if isinstance(name, bool) else (name or None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Exposure:
    """How far one change has exposed its new side of one flag in one environment. `split` is (variant, weight).

    `attempt` is the rollout of the change that set it: an order of an earlier one comes too late.
    """

    flag: str
    environment: str
    change_id: str
    percent: float
    on_variant: str
    off_variant: str
    split: tuple[tuple[str, int], ...]
    salt: str
    state: ExposureState
    revision: int
    at: datetime
    attempt: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What a finished change left as the answer for everybody in one environment."""

    flag: str
    environment: str
    variant: str
    change_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Kill:
    """A kill switch in force. `reason` refers to a text of the journal."""

    flag: str
    environment: str
    variant: str
    reason: str
    actor: str
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class FlagState:
    """Where a flag stands in one environment, as one change (or nobody in particular) sees it.

    `percent` is the share that gets the new side now: 0 while killed. `ramp_percent` is what the ramp is set to.
    `serves` is what people outside the ramp and outside targeting get; `digest` that of the definition in use.
    """

    flag: str
    environment: str
    percent: float
    ramp_percent: float
    change_id: str | None
    on_variant: str | None
    off_variant: str | None
    serves: str | None
    digest: str
    revision: int
    killed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Flag:
    """A flag with everything that moves it, for lists and pages. `revision` counts its definitions."""

    definition: Definition
    revision: int
    created_at: datetime
    exposures: tuple[Exposure, ...] = ()
    standings: tuple[Standing, ...] = ()
    kills: tuple[Kill, ...] = ()

    def active(self, environment: str) -> Exposure | None:
        """Return the ramp in an environment, if one is on."""
        return next((one for one in self.exposures if one.environment == environment and one.state == "active"), None)

    def killed(self, environment: str) -> Kill | None:
        """Return the kill switch in force in an environment."""
        return next((one for one in self.kills if one.environment == environment), None)

    def serves(self, environment: str) -> str | None:
        """Return the variant for everybody whom neither targeting nor a ramp says anything about."""
        standing = next((one for one in self.standings if one.environment == environment), None)
        return standing.variant if standing is not None else self.definition.default_variant

    @property
    def state_digest(self) -> str:
        """The digest over every row of this flag, which its last fact carries."""
        return digest(
            {
                "definition": digest_bytes(self.definition.stored),
                "revision": self.revision,
                "exposures": sorted(
                    [one.environment, one.change_id, one.state, one.percent, one.on_variant, one.off_variant, one.salt]
                    for one in self.exposures
                ),
                "standings": sorted([one.environment, one.variant, one.change_id] for one in self.standings),
                "kills": sorted([one.environment, one.variant, one.reason, one.actor] for one in self.kills),
            }
        )

    def state(self, environment: str, change_id: str | None = None) -> FlagState:
        """Return where the flag stands, as `change_id` sees it (None: as the ramp that is on sees it)."""
        active, killed = self.active(environment), self.killed(environment)
        own = active
        if change_id is not None:
            own = next(
                (one for one in self.exposures if one.environment == environment and one.change_id == change_id), None
            )
        set_to = own.percent if own is not None and own.state == "active" else 0.0
        if own is not None and own.state == "finished" and self.serves(environment) == own.on_variant:
            set_to = 100.0
        return FlagState(
            flag=self.definition.name,
            environment=environment,
            percent=0.0 if killed is not None else set_to,
            ramp_percent=set_to,
            change_id=own.change_id if own is not None else None,
            on_variant=own.on_variant if own is not None else None,
            off_variant=own.off_variant if own is not None else None,
            serves=killed.variant if killed is not None else self.serves(environment),
            digest=self.definition.digest,
            revision=self.revision,
            killed=killed is not None,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Put:
    """What putting a definition did."""

    flag: str
    outcome: Literal["created", "changed", "unchanged"]
    revision: int
    digest: str
    warnings: tuple[str, ...] = ()
