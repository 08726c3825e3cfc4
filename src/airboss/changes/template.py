"""Templates: what a kind of change fills in, as versioned data files beside this module and documents people apply.

A template is read once, at submit; the expanded change never looks at it again, so a new version of a template touches
no change that is under way. What a kind must watch are its *signals*: each is bound to an indicator or an objective of
the service by name, and is either a gate of the change or waived in it with a reason. See `signals.py`.
"""

from __future__ import annotations

import functools
import importlib.resources
from collections.abc import Sequence
from typing import Annotated, Final, Literal, TypeAlias

from pydantic import Field

from airboss.catalog import Envelope, Line, Name, Percent, Prose, Shape, Share, read_model
from airboss.changes.shapes import (
    Data,
    ErrorShape,
    EvidenceTypes,
    Gates,
    InconclusiveShape,
    Quantile,
    RollbackShape,
    Steps,
    Strategy,
    VerificationShape,
)
from airboss.kernel.errors import Invalid
from airboss.kernel.yaml import load_one

Watcher: TypeAlias = Literal[
    "indicator", "objectives", "exposure", "step-deadline", "rollback-deadline", "start-deadline", "ci"
]
MEASURED: Final[frozenset[Watcher]] = frozenset({"indicator", "objectives"})
"""What is watched by numbers of the service; the rest is held by the engine or told by machines."""


class TemplateMetadata(Shape):
    name: Name
    version: Annotated[int, Field(ge=1)]


class CanaryDefaults(Shape):
    """How the services' indicators become canary gates, and what an indicator named without numbers is held to."""

    ratio_margin: Share
    latency_margin: Share
    latency_quantile: Quantile


class GateDefaults(Shape):
    """The gates of a change that names none."""

    canary_on_service_slis: bool
    burn_rate_above: Annotated[float, Field(gt=0)]
    always: Gates


class StageDefaults(Shape):
    """What a stage does when it does not say. The outermost environment is the one nearest to users."""

    outermost: Steps
    others: Steps
    others_gates: Gates


class AllowanceDefaults(Shape):
    """The harm allowance of a change that states none: a part of the error budget, or a fixed share without one."""

    of_budget: Percent
    without_budget: Share


class SignalShape(Shape):
    """Something this kind of change must be watched by.

    `by: indicator` is an SLI or SLO of the service that carries the label `airboss.dev/signal: <name>`: a canary gate with
    `margin` (and `quantile`, for durations), or a burn rate `above`. `objectives`: the burn rates of all objectives of the
    services. The others need no number: `exposure` (only the approved digest counts as exposed), `step-deadline`,
    `rollback-deadline` (what takes longer is taken back, or ends as a failed rollback), `start-deadline` (the change says
    `schedule.not_after`), `ci` (evidence of that type must be green).
    """

    name: Name
    about: Line
    by: Watcher = "indicator"
    needed: bool = True
    """Whether a change may go without it unless it waives it. One that is not needed is watched where it is there."""
    margin: Share | None = None
    quantile: Quantile | None = None
    above: Annotated[float, Field(gt=0)] | None = None


class RunbookExpectation(Shape):
    needed: bool = False
    about: Line
    """What the runbook of such a change tells."""


class ProposalDefaults(Shape):
    """What `airboss change new` writes into a file for its author to mend. Never read at submit."""

    reversible: bool = True
    data: Data = "none"
    rollback: RollbackShape
    mitigation: Prose | None = None
    artifact: bool = False
    """Whether the change names an artifact and its digest."""


class TemplateSpec(Shape):
    summary: Line
    description: Prose | None = None
    strategy: Strategy
    strategies: Annotated[list[Strategy], Field(min_length=1)]
    """Those a change may ask for; policy trusts the kind, so a flag ramp cannot be a jump."""
    targets: Annotated[list[Name], Field(min_length=1)] | None = None
    """The kinds of target the template is for; any, where it does not say."""
    signals: Annotated[list[SignalShape], Field(min_length=1, max_length=30)]
    evidence: EvidenceTypes = Field(default_factory=list)
    """What machines must have said about the change before it starts."""
    runbook: RunbookExpectation
    proposal: ProposalDefaults
    steps: StageDefaults
    canary: CanaryDefaults
    gates: GateDefaults
    allowance: AllowanceDefaults
    on_failed: Literal["rollback"]
    on_inconclusive: InconclusiveShape
    on_error: ErrorShape
    max_extensions: Annotated[int, Field(ge=0, le=2)]
    verification: VerificationShape


class Template(Envelope):
    """One version of the defaults of a kind of change."""

    kind: Literal["Template"]
    metadata: TemplateMetadata
    spec: TemplateSpec


@functools.cache
def templates() -> tuple[Template, ...]:
    """Return every shipped template, by name and version. Those that people apply are found by `Shelf`."""
    folder = importlib.resources.files("airboss.changes") / "templates"
    found = [
        read_model(Template, load_one(file.read_bytes(), file.name))
        for file in folder.iterdir()
        if file.name.endswith(".yaml")
    ]
    return tuple(sorted(found, key=lambda template: (template.metadata.name, template.metadata.version)))


def shipped(name: str) -> bool:
    """Return whether a template of this name (or `name@version`) comes with Airboss."""
    return any(found.metadata.name == name.partition("@")[0] for found in templates())


def template(named: str, kept: Sequence[Template] = ()) -> Template:
    """Return the template `name` (its newest version) or `name@version`, of those shipped and those `kept`.

    Raises Invalid listing what there is.
    """
    name, _, version = named.partition("@")
    fitting = [
        found
        for found in sorted((*templates(), *kept), key=lambda one: one.metadata.version)
        if found.metadata.name == name and (not version or found.metadata.version == int(version))
    ]
    if not fitting:
        known = ", ".join(sorted({found.metadata.name for found in (*templates(), *kept)}))
        raise Invalid(f"there is no template {named!r}", code="unknown-template", way_out=f"there are {known}")
    return fitting[-1]
