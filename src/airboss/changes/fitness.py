"""What a draft must hold before it leaves the desk: everything it names exists, and there is a way back. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

from airboss.changes import shapes
from airboss.changes.draft import Fault
from airboss.changes.expansion import ROLLOUT, Known
from airboss.changes.template import Template
from airboss.kernel.yaml import Path


def unfit(written: shapes.ChangeSpecShape, template: Template, known: Known) -> Iterator[Fault]:
    """Yield what keeps a draft from being submitted, in the order of the file."""
    yield from _unknown(written.services, known.services, ("spec", "services"), "service", "apply its Service first")
    yield from _absent(
        written.owner.team, known.teams, ("spec", "owner", "team"), "team", "apply its Team first, or name another"
    )
    yield from _unknown(written.slos, known.slos, ("spec", "slos"), "SLO", "apply it first")
    yield from _way_back(written, known)
    if written.schedule and written.schedule.window is not None:
        yield from _window(written.schedule.window, known)
    for number, stage in enumerate(written.rollout.stages):
        yield from _stage(stage, (*ROLLOUT, "stages", number), template, known)
    yield from _gates(written.rollout.gates or [], (*ROLLOUT, "gates"), known)


def _stage(stage: shapes.StageShape, path: Path, template: Template, known: Known) -> Iterator[Fault]:
    yield from _absent(
        stage.environment, known.environments, (*path, "environment"), "environment", "apply its Environment first"
    )
    ((kind, params),) = stage.target.items()
    fitting = template.spec.targets
    if fitting is not None and kind not in fitting:
        yield Fault(
            path=(*path, "target", kind),
            detail=f"a {template.metadata.name} goes to {', '.join(fitting)}, not to {kind}",
            code="bad-target",
            way_out="use the template made for what is changed",
        )
    if isinstance(connection := params.get("connection"), str):
        yield from _absent(
            connection,
            known.connections,
            (*path, "target", kind, "connection"),
            "connection",
            "apply its Connection first",
        )
    yield from _gates(stage.gates or [], (*path, "gates"), known)
    for number, step in enumerate(stage.steps or []):
        here: Path = (*path, "steps", number)
        match step:
            case shapes.AskShape():
                yield from _absent(step.ask, known.seats, (*here, "ask"), "group or team", "apply it first")
            case shapes.NotifyShape():
                yield from _absent(step.notify, known.seats, (*here, "notify"), "group or team", "apply it first")
            case shapes.RunShape():
                yield from _absent(step.run, known.runbooks, (*here, "run"), "runbook", "apply it first")
            case shapes.ExposeShape():
                pass


def _gates(gates: Iterable[shapes.GateShape], path: Path, known: Known) -> Iterator[Fault]:
    for number, gate in enumerate(gates):
        here: Path = (*path, number)
        match gate:
            case shapes.CanaryShape():
                yield from _absent(gate.canary.sli, known.slis, (*here, "canary", "sli"), "SLI", "apply it first")
            case shapes.BurnRateShape():
                yield from _absent(gate.burn_rate.slo, known.slos, (*here, "burn_rate", "slo"), "SLO", "apply it first")
            case _:
                pass


def _window(name: str, known: Known) -> Iterator[Fault]:
    path: Path = ("spec", "schedule", "window")
    if name not in known.windows:
        yield from _absent(name, known.windows, path, "window", "apply its Window first")
    elif not known.windows[name]:
        yield Fault(
            path=path,
            detail=f"{name} is a freeze, not a window to start in",
            code="bad-schedule",
            way_out="name a window that allows; freezes hold without being named",
        )


def _way_back(written: shapes.ChangeSpecShape, known: Known) -> Iterator[Fault]:
    """Yield what is missing of the way back.

    A change that can be taken back says how. One that cannot, or that touches state, also names the runbook that
    mitigates it and until when going back is possible.
    """
    rollback, mitigation, impact = written.rollback, written.mitigation, written.impact
    if mitigation is not None and mitigation.runbook is not None:
        yield from _absent(
            mitigation.runbook,
            known.runbooks,
            ("spec", "mitigation", "runbook"),
            "runbook",
            "apply it first",
        )
    lasting = not impact.reversible or impact.data in ("incompatible", "loss")
    stateful = sorted(name for name in written.services if known.services.get(name))
    if not lasting and (rollback is None or rollback.plan is None):
        yield Fault(
            path=("spec", "rollback"),
            detail="this change has no way back",
            code="no-way-back",
            way_out="say how it is taken back: rollback: {plan: …}",
        )
    if not lasting and not stateful:
        return
    why = f"{', '.join(stateful)} keeps state" if stateful and not lasting else "this change cannot be taken back"
    if mitigation is None or mitigation.runbook is None:
        yield Fault(
            path=("spec", "mitigation"),
            detail=f"{why}, so it needs a mitigation that can be carried out",
            code="no-way-back",
            way_out="name one: mitigation: {plan: …, runbook: …}",
        )
    if rollback is None or rollback.window is None:
        yield Fault(
            path=("spec", "rollback"),
            detail=f"{why}, so it must say until when going back is possible",
            code="no-way-back",
            way_out="say it: rollback: {window: 1h}",
        )


def _unknown(names: Iterable[str], known: Collection[str], path: Path, what: str, way_out: str) -> Iterator[Fault]:
    for number, name in enumerate(names):
        yield from _absent(name, known, (*path, number), what, way_out)


def _absent(name: str, known: Collection[str], path: Path, what: str, way_out: str) -> Iterator[Fault]:
    if name not in known:
        there = f"; there are {', '.join(sorted(known)[:12])}" if known else ""
        yield Fault(
            path=path, detail=f"there is no {what} {name}", code="unknown-reference", way_out=f"{way_out}{there}"
        )
