"""What a change does to a route, seen before it is approved. Envoy itself is asked when the change starts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from sqlalchemy import Connection

from airboss.act.targets.envoy.connection import NAME, SYSTEM
from airboss.catalog import Catalog
from airboss.changes import Expose, Finding, Inspection, Spec, Stage
from airboss.kernel.canonical import digest
from airboss.kernel.errors import Invalid, Refused

FIELDS: Final = ("connection", "route", "old", "new")
JUMP_PERCENT: Final = 25.0


class EnvoyInspector:
    """Checks the envoy targets of a change, and pins the connections they name: who is told what is part of what is approved."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    def inspect(self, spec: Spec, connection: Connection) -> Inspection:
        """Return the findings about every route a change moves. Raises Invalid or Refused with the field of a fault."""
        findings: list[Finding] = []
        pinned: dict[str, str] = {}
        moved: dict[tuple[str, str], int] = {}
        for number, stage in enumerate(spec.stages):
            if stage.target.kind != SYSTEM:
                continue
            place = f"spec.rollout.stages[{number}].target.envoy"
            params = _params(stage.target.params, place)
            name, route = params["connection"], params["route"]
            first = moved.setdefault((name, route), number)
            if first != number:
                raise Invalid(
                    f"stage {first + 1} moves route {route} of {name} already",
                    code="bad-envoy-target",
                    place=f"{place}.route",
                    way_out="one stage a route: put all its steps there",
                )
            found = self._catalog.connection(connection, name)
            if found is None or found.system != SYSTEM:
                what = "is no connection here" if found is None else f"leads to {found.system}, not to an Envoy"
                raise Refused(
                    f"{name} {what}",
                    code="unknown-reference",
                    place=f"{place}.connection",
                    way_out="apply a Connection with an envoy first, or name another",
                )
            pinned[f"connection/{name}"] = digest({"system": found.system, "settings": dict(found.settings)})
            findings += _findings(stage, params)
        if moved and spec.artifact is None:
            raise Refused(
                "a release names what is released",
                code="payload-unpinned",
                place="spec.artifact",
                way_out='write artifact: {version: 2.4.0, digest: "sha256:…"}',
            )
        return Inspection(findings=tuple(findings), pinned=pinned)

    def pins(self, spec: Spec, connection: Connection) -> Mapping[str, str]:
        """Return the digests of those connections. Raises what `inspect` raises."""
        return self.inspect(spec, connection).pinned


def _params(params: Mapping[str, Any], place: str) -> dict[str, str]:
    for field in params:
        if field not in FIELDS:
            raise Invalid(
                f"an envoy target has no field {field!r}",
                code="bad-envoy-target",
                place=f"{place}.{field}",
                way_out=f"there are {', '.join(FIELDS)}",
            )
    for field in FIELDS:
        value = params.get(field)
        if not isinstance(value, str) or not NAME.fullmatch(value):
            raise Invalid(
                f"an envoy target names its {field}: letters, digits, dots, dashes and underscores, at most 100",
                code="bad-envoy-target",
                place=f"{place}.{field}",
                way_out="write envoy: {connection: edge, route: checkout, old: checkout-blue, new: checkout-green}",
            )
    if params["old"] == params["new"]:
        raise Invalid(
            "old and new are the same cluster",
            code="bad-envoy-target",
            place=f"{place}.new",
            way_out="deploy the new version to a cluster of its own",
        )
    return {field: str(params[field]) for field in FIELDS}


def _findings(stage: Stage, params: Mapping[str, str]) -> Iterator[Finding]:
    subject = f"envoy/{params['connection']}/{params['route']}"
    steps = [step.percent for step in stage.steps if isinstance(step, Expose)]
    if not steps:
        return
    shares = ", ".join(f"{percent:g} %" for percent in steps)
    message = f"route {params['route']} in {stage.environment}: {shares} of requests to {params['new']}"
    yield Finding(code="route-exposure", severity="info", message=message, subject=subject)
    if steps[0] >= 100:
        message = f"all requests of {params['route']} in {stage.environment} go to the new version at once"
        yield Finding(code="route-everybody", severity="warning", message=message, subject=subject)
    elif steps[0] > JUMP_PERCENT:
        message = f"route {params['route']} in {stage.environment} starts with {steps[0]:g} % of requests"
        yield Finding(code="route-jump", severity="warning", message=message, subject=subject)
