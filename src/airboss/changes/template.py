"""Templates: what a kind of change fills in, as versioned data files beside this module.

A template is read once, at submit; the expanded change never looks at it again, so a new version of a template touches
no change that is under way.
"""

from __future__ import annotations

import functools
import importlib.resources
from typing import Annotated, Literal

from pydantic import Field

from airboss.catalog import Envelope, Line, Name, Percent, Shape, Share, read_model
from airboss.changes.shapes import (
    ErrorShape,
    Gates,
    InconclusiveShape,
    Quantile,
    Steps,
    Strategy,
    VerificationShape,
)
from airboss.kernel.errors import Invalid
from airboss.kernel.yaml import load_one


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


class TemplateSpec(Shape):
    summary: Line
    strategy: Strategy
    strategies: Annotated[list[Strategy], Field(min_length=1)]
    """Those a change may ask for; policy trusts the kind, so a flag ramp cannot be a jump."""
    targets: Annotated[list[Name], Field(min_length=1)] | None = None
    """The kinds of target the template is for; any, where it does not say."""
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
    """Return every shipped template, by name and version."""
    folder = importlib.resources.files("airboss.changes") / "templates"
    found = [
        read_model(Template, load_one(file.read_bytes(), file.name))
        for file in folder.iterdir()
        if file.name.endswith(".yaml")
    ]
    return tuple(sorted(found, key=lambda template: (template.metadata.name, template.metadata.version)))


def template(named: str) -> Template:
    """Return the template `name` (its newest version) or `name@version`. Raises Invalid listing what there is."""
    name, _, version = named.partition("@")
    fitting = [
        found
        for found in templates()
        if found.metadata.name == name and (not version or found.metadata.version == int(version))
    ]
    if not fitting:
        known = ", ".join(f"{found.metadata.name}@{found.metadata.version}" for found in templates())
        raise Invalid(f"there is no template {named!r}", code="unknown-template", way_out=f"there are {known}")
    return fitting[-1]
