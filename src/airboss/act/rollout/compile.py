"""From the approved change to the plan the engine walks."""

from __future__ import annotations

from typing import Final

from airboss import changes as spec
from airboss.act.rollout.plan import Ask, Expose, Gate, Plan, Step, Unit
from airboss.changes import Spec
from airboss.kernel.errors import Refused

ASK_EXPIRES_S: Final = 4 * 3600.0
ROLLBACK_BUDGET_S: Final = 900.0


def compile_plan(given: Spec) -> Plan:
    """Return the plan of an expanded change. Raises Refused for what this server cannot carry out.

    One unit a stage: the first service named, in the stage's environment, on its target. A stage that needs another
    begins when that has ended, because steps are walked in order.
    """
    units: list[Unit] = []
    steps: list[Step] = []
    names: dict[str, str] = {}
    verify_gates: tuple[Gate, ...] = ()
    for number, stage in enumerate(given.stages, start=1):
        name = f"{given.services[0]}@{stage.environment}"
        if name in names.values():
            name = f"{name}/{number}"
        names[stage.environment] = name
        gates = tuple(_gate(gate) for gate in given.gates_of(stage))
        units.append(
            Unit(
                name=name,
                service=given.services[0],
                environment=stage.environment,
                kind=stage.target.kind,
                params=dict(stage.target.params),
                digest=_digest(given, stage.target),
                needs=(names[stage.needs],) if stage.needs is not None else (),
                point_of_no_return=False,
            )
        )
        steps += [_step(step, name, gates) for step in stage.steps]
        verify_gates = tuple(gate for gate in gates if gate.applies(100))
    return Plan(
        units=tuple(units),
        steps=tuple(steps),
        allowance_share=given.allowance_share,
        on_inconclusive_hold_s=given.on_inconclusive.hold_s,
        on_inconclusive=given.on_inconclusive.then,
        on_error_hold_s=given.on_error.hold_s,
        most_extensions=given.max_extensions,
        ask_expires_s=ASK_EXPIRES_S,
        verify_s=given.verify_s,
        verify_gates=verify_gates,
        rollback_budget_s=ROLLBACK_BUDGET_S,
        rollback_window_s=float((given.rollback.window_s if given.rollback is not None else None) or 0),
        runbook=None if given.mitigation is None else given.mitigation.runbook,
    )


def _digest(given: Spec, target: spec.Target) -> str:
    """Return what must run on the new side: the artifact's digest, or the pinned one of what a target names."""
    pinned = given.pinned.get(f"{target.kind}/{target.params.get('name', '')}")
    if pinned is not None:
        return pinned
    if given.artifact is not None:
        return given.artifact.digest
    raise Refused(
        f"nothing says what {target.kind} is to run",
        code="payload-unpinned",
        way_out="name the artifact and its digest",
    )


def _step(step: spec.Step, unit: str, gates: tuple[Gate, ...]) -> Step:
    match step:
        case spec.Expose():
            return Expose(
                unit=unit, percent=step.percent, least_s=float(step.least_s), most_s=float(step.most_s), gates=gates
            )
        case spec.Ask():
            return Ask(group=step.group, expires_s=float(step.expires_s))
        case spec.Run() | spec.Notify():
            raise Refused(
                f"a step of kind {step.step} cannot be carried out by this server",
                code="step-unknown",
                way_out="use expose and ask steps",
            )


def _gate(gate: spec.Gate) -> Gate:
    match gate:
        case spec.CanaryGate():
            latency = gate.sli_kind == "threshold"
            quantile = f":p{gate.quantile * 100:g}" if gate.quantile is not None else ""
            return Gate(
                id=f"canary:{gate.sli}{quantile}",
                kind="canary",
                sli=gate.sli,
                signal="latency" if latency else "errors",
                quantile=gate.quantile,
                margin_pct=gate.margin_share * 100,
                critical=gate.critical,
            )
        case spec.BurnRateGate():
            return Gate(id=f"burn_rate:{gate.slo}", kind="burn_rate", slo=gate.slo, above=gate.above)
        case spec.DataGate():
            return Gate(id="data", kind="data")
        case spec.CoverageGate():
            return Gate(id="annotation_coverage", kind="annotation_coverage", least_pct=gate.least_pct)
