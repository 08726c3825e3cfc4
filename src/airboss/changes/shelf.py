"""The templates there are: those that come with Airboss, and those that people apply as documents."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from pydantic import ValidationError
from sqlalchemy import Connection

from airboss.catalog import Catalog, Held, Order, read_model
from airboss.changes import shapes
from airboss.changes.draft import Fault, gate_faults, step_faults
from airboss.changes.template import MEASURED, Template, shipped, template, templates
from airboss.kernel.errors import Refused
from airboss.kernel.yaml import Document, Path


class Shelf:
    """Finds templates by name."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    def find(self, connection: Connection, named: str) -> Template:
        """Return the template `name` (its newest version) or `name@version`. Raises Invalid. At most two queries."""
        if shipped(named):
            return template(named)
        name, _, version = named.partition("@")
        newest = self._catalog.document(connection, "Template", name)
        kept = [] if newest is None else [_read(newest.value)]
        if newest is not None and version and int(version) != kept[0].metadata.version:
            older = self._catalog.revisions(connection, "Template", name)
            kept = [_read(one.value) for one in older]
        return template(named, kept if newest is not None else self.kept(connection))

    def kept(self, connection: Connection) -> list[Template]:
        """Return the templates people applied, by name. One query."""
        return [_read(stored.value) for stored in self._catalog.documents(connection, "Template")]

    def all(self, connection: Connection) -> list[Template]:
        """Return every template, the newest version of each, by name. One query."""
        newest = {one.metadata.name: one for one in (*templates(), *self.kept(connection))}
        return [newest[name] for name in sorted(newest)]


def _read(value: Mapping[str, Any]) -> Template:
    """Return a template that was checked when it came in. Raises Refused where this version reads it no more."""
    try:
        return Template.model_validate(value)
    except ValidationError as fault:
        raise Refused(
            f"the template {value['metadata']['name']} is not read by this version",
            code="template-unread",
            way_out="apply it again and mend what is told",
        ) from fault


def sound(found: Template) -> Iterator[Fault]:
    """Yield what is wrong with a template by itself: it must watch something, and its steps and gates must hold."""
    spec = found.spec
    names = [signal.name for signal in spec.signals]
    for number, signal in enumerate(spec.signals):
        here: Path = ("spec", "signals", number)
        if names.index(signal.name) != number:
            yield Fault(path=here, detail=f"signal {signal.name} stands twice", code="doubled")
        numbers = (signal.margin, signal.quantile, signal.above)
        if signal.by != "indicator" and any(
            one is not None for one in numbers[: 1 if signal.by == "objectives" else 3]
        ):
            yield Fault(path=here, detail=f"what is watched by {signal.by} takes no such numbers", code="bad-signal")
        if signal.margin == 0:
            yield Fault(
                path=(*here, "margin"), detail="with a margin of 0 % no evidence is enough", code="gate-cannot-pass"
            )
    if not any(signal.by in MEASURED for signal in spec.signals):
        yield Fault(
            path=("spec", "signals"),
            detail="no signal is measured: a change of this kind would be watched by nothing of the service",
            code="template-watches-nothing",
            way_out="name what would show harm, such as {name: errors, about: …}",
        )
    if spec.strategy not in spec.strategies:
        yield Fault(path=("spec", "strategy"), detail=f"{spec.strategy} is not one of strategies", code="bad-strategy")
    for field, steps in (("outermost", spec.steps.outermost), ("others", spec.steps.others)):
        ramp = "ramp" if field == "outermost" and spec.strategy == "ramp" else "canary"
        yield from step_faults(steps, ramp, ("spec", "steps", field))
    yield from gate_faults(spec.gates.always, ("spec", "gates", "always"))
    yield from gate_faults(spec.steps.others_gates, ("spec", "steps", "others_gates"))
    for field, gates in (("always", spec.gates.always), ("others_gates", spec.steps.others_gates)):
        if not any(gate == "data" or isinstance(gate, shapes.BurnRateShape) for gate in gates):
            yield Fault(
                path=("spec", "gates", field) if field == "always" else ("spec", "steps", field),
                detail="no gate here can be asked at 100 %, where there is no baseline",
                code="bad-gate",
                way_out="add data",
            )


def _check(document: Document) -> None:
    found = read_model(Template, document)
    if shipped(found.metadata.name):
        document.refuse(
            ("metadata", "name"),
            f"{found.metadata.name} comes with Airboss, and policy trusts what it stands for",
            code="template-shipped",
            way_out="give yours a name of its own",
        )
    for fault in sound(found):
        document.refuse(fault.path, fault.detail, code=fault.code, way_out=fault.way_out)


def _follows(before: Mapping[str, Any], after: Document) -> None:
    """Refuse another content under a version that is in force: a change names a template by its version."""
    value: Any = after.value
    old, new = before["metadata"]["version"], value["metadata"]["version"]
    if new <= old:
        after.refuse(
            ("metadata", "version"),
            f"version {old} is in force with another content",
            code="template-version",
            way_out=f"give this one version {old + 1}",
        )


TEMPLATE: Final = Held(kind="Template", order=Order.WINDOW, shape=Template, check=_check, follows=_follows)
"""How the catalog keeps templates."""
