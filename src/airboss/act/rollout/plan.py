"""The plan: units, and a flat list of steps. Canary, ramp, blue/green and rolling differ only in the list.

A plan is compiled once, from the approved change, and stored; it is never read from defaults again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final, Literal, TypeAlias

from airboss.act.targets import UnitRef
from airboss.kernel.canonical import Json
from airboss.kernel.errors import Refused

FORMAT: Final = 1
MOST_STEPS: Final = 1_000

GateKind: TypeAlias = Literal["canary", "burn_rate", "data", "annotation_coverage"]
OnInconclusive: TypeAlias = Literal["extend", "ask", "rollback"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """A question asked all through a step.

    `canary` needs a concurrent baseline, so it applies between 0 and 100 %; `burn_rate` needs its objective; `data`
    needs fresh telemetry and `least_events` of it; `annotation_coverage` needs telemetry at all.
    """

    id: str
    kind: GateKind
    sli: str | None = None
    signal: Literal["errors", "latency"] | None = None
    quantile: float | None = None
    margin_pct: float | None = None
    critical: bool = True
    slo: str | None = None
    above: float | None = None
    least_pct: float | None = None
    least_events: int = 30
    stale_after_s: float = 30.0

    def applies(self, percent: float) -> bool:
        """Return whether the gate can be asked at this exposure."""
        return 0 < percent < 100 if self.kind == "canary" else True


@dataclass(frozen=True, slots=True, kw_only=True)
class Unit:
    """A service in an environment on a target: what one exposure moves, and the digest that was approved for it."""

    name: str
    service: str
    environment: str
    kind: str
    params: Mapping[str, Any]
    digest: str
    needs: tuple[str, ...] = ()
    point_of_no_return: bool = False

    def ref(self, change_id: str, attempt: int = 1) -> UnitRef:
        """Return what the unit's target needs to know of it."""
        return UnitRef(
            change_id=change_id,
            unit=self.name,
            service=self.service,
            environment=self.environment,
            kind=self.kind,
            params=self.params,
            digest=self.digest,
            attempt=attempt,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Expose:
    """Bring a unit to an exposure and keep it there until the evidence is in."""

    unit: str
    percent: float
    least_s: float
    most_s: float
    gates: tuple[Gate, ...]
    kind: Literal["expose"] = "expose"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """Wait for one person of a group; unanswered at the deadline, take back."""

    group: str
    expires_s: float
    kind: Literal["ask"] = "ask"


Step: TypeAlias = Expose | Ask


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """All that the engine needs to know of a change."""

    units: tuple[Unit, ...]
    steps: tuple[Step, ...]
    allowance_share: float
    on_inconclusive_hold_s: float = 1200.0
    on_inconclusive: OnInconclusive = "ask"
    on_error_hold_s: float = 900.0
    most_extensions: int = 2
    ask_expires_s: float = 14400.0
    verify_s: float = 600.0
    verify_gates: tuple[Gate, ...] = ()
    rollback_budget_s: float = 900.0
    rollback_window_s: float = 0.0
    """How long after completion gates keep watching, more calmly, and harm takes back."""
    runbook: str | None = None
    """What to follow where going back fails."""
    format: int = field(default=FORMAT)

    def __post_init__(self) -> None:
        _check(self)

    def unit(self, name: str) -> Unit:
        """Return the unit of a name; a plan is checked when made, so a missing one is our own bug."""
        return next(unit for unit in self.units if unit.name == name)

    def exposing(self, index: int) -> Expose | None:
        """Return the exposure in force at a step: its own, or for an Ask the one before it."""
        for step in reversed(self.steps[: index + 1]):
            if isinstance(step, Expose):
                return step
        return None

    def standing(self, index: int) -> dict[str, int]:
        """Return, for each unit exposed up to a step, the step whose exposure it is to have there."""
        return {step.unit: number for number, step in enumerate(self.steps[: index + 1]) if isinstance(step, Expose)}

    def exposing_at(self, index: int) -> int:
        """Return the step whose exposure is in force at a step; a plan begins with an exposure."""
        return next(number for number in range(index, -1, -1) if isinstance(self.steps[number], Expose))

    def next_share(self, index: int) -> float:
        """Return the share (0–1] the next exposure of the same unit would have; 1 at its last step."""
        here = self.exposing(index)
        for step in self.steps[index + 1 :]:
            if isinstance(step, Expose) and here is not None and step.unit == here.unit:
                return step.percent / 100
        return 1.0

    def reverse(self, names: Sequence[str]) -> list[list[str]]:
        """Return units in waves for taking back: dependants before what they need, independent ones together."""
        left = set(names)
        waves: list[list[str]] = []
        while left:
            needed = {need for name in left for need in self.unit(name).needs}
            wave = sorted(left - needed) or sorted(left)
            waves.append(wave)
            left -= set(wave)
        return waves

    def stored(self) -> dict[str, Json]:
        """Return the plan as plain JSON."""
        return asdict(self)


def read_plan(value: Mapping[str, Any]) -> Plan:
    """Return the plan of stored JSON. Raises Refused for a format this version does not know."""
    if value["format"] != FORMAT:
        raise Refused(f"plan format {value['format']} needs a newer server", code="format-newer")

    def gates(items: Sequence[Mapping[str, Any]]) -> tuple[Gate, ...]:
        return tuple(Gate(**item) for item in items)

    steps: list[Step] = [
        Expose(**{**item, "gates": gates(item["gates"])}) if item["kind"] == "expose" else Ask(**item)
        for item in value["steps"]
    ]
    units = tuple(Unit(**{**item, "needs": tuple(item["needs"])}) for item in value["units"])
    return Plan(**{**value, "units": units, "steps": tuple(steps), "verify_gates": gates(value["verify_gates"])})


def _check(plan: Plan) -> None:
    """Refuse a plan that could advance without evidence."""
    if not plan.steps or len(plan.steps) > MOST_STEPS:
        raise Refused(f"a plan has 1 to {MOST_STEPS} steps, not {len(plan.steps)}", code="plan-length")
    names = {unit.name for unit in plan.units}
    reached = dict.fromkeys(names, 0.0)
    for number, step in enumerate(plan.steps, start=1):
        if isinstance(step, Ask):
            if number == 1:
                raise Refused("the first step asks before anything was exposed", code="plan-order")
            continue
        if step.unit not in names:
            raise Refused(f"step {number} exposes {step.unit}, which the plan does not have", code="plan-unit")
        if step.percent < reached[step.unit]:
            raise Refused(
                f"step {number} goes back from {reached[step.unit]:g} % to {step.percent:g} %",
                code="plan-step-back",
                way_out="order the steps from small to large; taking back is the engine's work",
            )
        reached[step.unit] = step.percent
        if not any(gate.applies(step.percent) for gate in step.gates):
            raise Refused(
                f"step {number} at {step.percent:g} % has no gate that can be asked there",
                code="plan-no-gate",
                way_out="add a data or burn_rate gate; canary gates need a baseline beside them",
            )
        if step.least_s <= 0 or step.most_s < step.least_s:
            raise Refused(
                f"step {number} must bake for more than nothing and at most as long as it may",
                code="plan-bake",
                way_out="set bake.least above 0 and bake.most at or above it",
            )
        for gate in step.gates:
            _check_gate(gate)


def _check_gate(gate: Gate) -> None:
    """Refuse a gate that cannot fail: it would only look like one."""
    missing = {
        "canary": gate.sli is None or gate.signal is None,
        "burn_rate": gate.slo is None or gate.above is None or gate.above <= 0,
        "data": gate.least_events < 1,
        "annotation_coverage": gate.least_pct is None or gate.least_pct <= 0,
    }[gate.kind]
    if missing:
        raise Refused(
            f"gate {gate.id} cannot fail as it is written",
            code="gate-cannot-fail",
            way_out="name what it watches and the bound it fails at",
        )
