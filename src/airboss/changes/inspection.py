"""The port through which payloads are looked into. Bootstrap registers one inspector for each kind of target."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

from sqlalchemy import Connection

from airboss.changes.spec import Spec
from airboss.kernel.errors import Refused


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Something an inspector saw; a fact for policy, shown to approvers. `subject` is what it is about."""

    code: str
    severity: Literal["info", "warning", "danger"]
    message: str
    subject: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspection:
    """What an inspector saw. `pinned` (subject → digest, as `flag/tax.engine`) becomes part of the payload's digest.

    `objections` keep a change from being submitted or edited as it is; one in review already stays, for what they look at
    (the traffic of now) may be otherwise by then. Their `place` is a field, as that of what is raised.
    """

    findings: tuple[Finding, ...] = ()
    objections: tuple[Refused, ...] = ()
    pinned: Mapping[str, str] = field(default_factory=dict)


class Inspector(Protocol):
    """Looks into the payload of a change.

    Must not write and must not wait on a network. Raises Refused or Invalid for what cannot be carried out; its
    `place` is a field such as `spec.rollout.stages[0].target.flag.name`, which is turned into the line of the file.
    """

    def inspect(self, spec: Spec, connection: Connection) -> Inspection: ...

    def pins(self, spec: Spec, connection: Connection) -> Mapping[str, str]:
        """Return what `inspect` would pin, without the work of saying what it means. Raises what `inspect` raises."""


class Reviewer(Protocol):
    """Looks at a whole change with everything pinned, once, before people see it."""

    def inspect(self, spec: Spec, connection: Connection) -> Inspection: ...
