"""What a kind of change must be watched by, bound to what the service can tell. Pure.

A signal of the template is bound by name: to the indicators (SLI) of the service labelled `airboss.dev/signal: <name>`, else
to the objectives (SLO) so labelled. `errors` and `latency` need no label: a ratio is the one, a distribution the other.
What is bound becomes a gate; what is needed and bound to nothing keeps the change on the desk until it is declared, or
waived with a reason that approvers and policy see. Nothing is watched in name only.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from airboss.changes import shapes
from airboss.changes.draft import Fault
from airboss.changes.spec import BurnRateGate, CanaryGate, Gate, Signal
from airboss.changes.template import SignalShape, Template
from airboss.kernel.yaml import Path

LABEL: Final = "airboss.dev/signal"
INFERRED: Final[Mapping[str, str]] = {"ratio": "errors", "threshold": "latency"}
"""What an indicator without the label is taken for, by its kind."""
DEFAULT_BURN: Final = 14.4


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What the services of a change can tell, as far as signals are concerned."""

    indicators: Mapping[str, Sequence[str]]
    """Signal → indicators of the change's first service, counted from its own spans: a canary can compare their arms."""
    elsewhere: Mapping[str, Sequence[str]]
    """Signal → indicators counted from what another service sends; only an objective over them can be watched."""
    objectives: Mapping[str, Sequence[str]]
    """Signal → objectives of the services with that label."""
    all_objectives: Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bound:
    """A signal and what watches it: indicators to compare, or objectives and the rate at which each fails."""

    shape: SignalShape
    indicators: tuple[str, ...] = ()
    objectives: tuple[str, ...] = ()
    waived: str | None = None

    @property
    def missing(self) -> bool:
        """Whether numbers are wanted and nothing gives them."""
        wanted = self.shape.by in ("indicator", "objectives")
        return wanted and self.waived is None and not self.indicators and not self.objectives

    @property
    def above(self) -> float:
        """The burn rate at which its objectives fail."""
        return self.shape.above or DEFAULT_BURN

    def stored(self, gates: Iterable[Gate]) -> Signal:
        """Return what is kept of it: by which of the change's gates it is watched."""
        names = [
            name_of(gate)
            for gate in gates
            if (isinstance(gate, CanaryGate) and gate.sli in self.indicators)
            or (isinstance(gate, BurnRateGate) and gate.slo in self.objectives)
        ]
        return Signal(
            name=self.shape.name,
            about=self.shape.about,
            by=self.shape.by,
            gates=tuple(dict.fromkeys(names)) if self.waived is None else (),
            waived=self.waived,
        )


def name_of(gate: CanaryGate | BurnRateGate) -> str:
    """Return how a gate is called where a signal names it."""
    return f"canary:{gate.sli}" if isinstance(gate, CanaryGate) else f"burn_rate:{gate.slo}"


def bind(template: Template, waived: Mapping[str, str], told: Told) -> tuple[Bound, ...]:
    """Return each signal of a template with what watches it."""
    return tuple(_bound(shape, waived.get(shape.name), told) for shape in template.spec.signals)


def _bound(shape: SignalShape, waived: str | None, told: Told) -> Bound:
    if waived is not None:
        return Bound(shape=shape, waived=waived)
    if shape.by == "objectives":
        return Bound(shape=shape, objectives=tuple(told.all_objectives))
    if shape.by != "indicator":
        return Bound(shape=shape)
    found = tuple(told.indicators.get(shape.name, ()))
    return Bound(shape=shape, indicators=found, objectives=() if found else tuple(told.objectives.get(shape.name, ())))


def unwatched(written: shapes.ChangeSpecShape, template: Template, told: Told) -> Iterator[Fault]:
    """Yield what the kind must be watched by and is not, each with how to declare it and how to go without it."""
    kind, service = template.metadata.name, written.services[0]
    known = [shape.name for shape in template.spec.signals]
    for name in written.waive:
        if name not in known:
            yield Fault(
                path=("spec", "waive", name),
                detail=f"a {kind} has no signal {name}",
                code="unknown-signal",
                way_out=f"there are {', '.join(known)}",
            )
    for bound in bind(template, written.waive, told):
        if bound.shape.needed and bound.missing:
            yield _missing(bound, kind, service, written, told)
        late = bound.shape.by == "start-deadline" and bound.waived is None
        if late and (written.schedule is None or written.schedule.not_after is None):
            yield Fault(
                path=("spec", "schedule") if written.schedule else ("spec",),
                detail=f"a {kind} is watched by {bound.shape.name} ({bound.shape.about}), and this one names no deadline",
                code="signal-missing",
                way_out=f"say it: schedule: {{not_after: …}}, {_waiver(bound.shape.name)}",
            )


def _missing(bound: Bound, kind: str, service: str, written: shapes.ChangeSpecShape, told: Told) -> Fault:
    shape = bound.shape
    path: Path = ("spec", "template")
    detail = f"a {kind} is watched by {shape.name} ({shape.about}), and "
    if shape.by == "objectives":
        return Fault(
            path=path,
            detail=f"{detail}{' and '.join(written.services)} has no objective",
            code="signal-missing",
            way_out=f"apply an SLO with service: {service}, {_waiver(shape.name)}",
        )
    if elsewhere := told.elsewhere.get(shape.name):
        return Fault(
            path=path,
            detail=f"{detail}{', '.join(elsewhere)} is counted from what another service than {service} sends, "
            "whose requests are in neither arm",
            code="signal-missing",
            way_out=f"apply an SLO over it with service: {service} and the label {LABEL}: {shape.name}, {_waiver(shape.name)}",
        )
    return Fault(
        path=path,
        detail=f"{detail}no SLI of {service} tells it",
        code="signal-missing",
        way_out=f"label the SLI (or an SLO of {service}) that does with {LABEL}: {shape.name} and apply it, "
        f"{_waiver(shape.name)}",
    )


def _waiver(name: str) -> str:
    return f"or go without it: waive: {{{name}: why nobody need watch it}}"
