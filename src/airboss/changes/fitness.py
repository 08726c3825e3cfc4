"""What a draft must hold before it leaves the desk: everything it names exists, and there is a way back. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

from airboss.changes import shapes
from airboss.changes.draft import Fault
from airboss.changes.expansion import ROLLOUT, Known, reach, runbook_of
from airboss.changes.inspection import Finding
from airboss.changes.signals import bind, unwatched
from airboss.changes.spec import Expose, Spec
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
    yield from _runbook(written, template, known)
    if written.schedule and written.schedule.window is not None:
        yield from _window(written.schedule.window, known)
    for number, stage in enumerate(written.rollout.stages):
        yield from _stage(stage, (*ROLLOUT, "stages", number), template, known)
    yield from _gates(written.rollout.gates or [], (*ROLLOUT, "gates"), known)
    if all(service in known.services for service in written.services):
        yield from unwatched(written, template, known.told(written.services))


def remarks(written: shapes.ChangeSpecShape, spec: Spec, template: Template, known: Known) -> Iterator[Finding]:
    """Yield what approvers should know of how a change is declared: what is waived, unwatched, or said too small."""
    for name, why in written.waive.items():
        message = f"signal {name} is waived: {why}"
        yield Finding(code="signal-waived", severity="warning", subject=name, message=message)
    for bound in bind(template, written.waive, known.told(written.services)):
        if bound.missing and not bound.shape.needed:
            message = f"nothing of {written.services[0]} tells {bound.shape.name}: {bound.shape.about}"
            yield Finding(code="signal-unwatched", severity="info", subject=bound.shape.name, message=message)
    said, (stateful, cross_team) = written.impact, reach(written, known)
    if stateful and said.stateful is False:
        yield _understated("stateful", "says stateful: false, and a service it touches keeps state")
    if cross_team and said.cross_team is False:
        yield _understated("cross_team", "says cross_team: false, and it touches services of other teams")
    reached = max(
        (step.percent for stage in spec.stages for step in stage.steps if isinstance(step, Expose)), default=0.0
    )
    if reached > said.users_percent and not template.spec.proposal.artifact:
        yield Finding(
            code="impact-grows",
            severity="info",
            subject="users_percent",
            message=f"says {said.users_percent:g} % of users, and its last step exposes {reached:g} % of the requests",
        )


def _understated(field: str, message: str) -> Finding:
    return Finding(code="impact-understated", severity="warning", subject=field, message=message)


def _runbook(written: shapes.ChangeSpecShape, template: Template, known: Known) -> Iterator[Fault]:
    if written.runbook is not None:
        yield from _absent(written.runbook, known.runbooks, ("spec", "runbook"), "runbook", "apply it first")
    expected = template.spec.runbook
    if expected.needed and runbook_of(written, known) is None:
        yield Fault(
            path=("spec",),
            detail=f"a {template.metadata.name} has a runbook: {expected.about}",
            code="runbook-missing",
            way_out=f"name it here (runbook: …) or in the service {written.services[0]}",
        )


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
    elif known.carried is not None and kind not in known.carried:
        carried = sorted(known.carried if fitting is None else known.carried & set(fitting))
        could = (
            f"a {template.metadata.name} can also go to {', '.join(carried)}"
            if carried
            else "none of its targets is there"
        )
        yield Fault(
            path=(*path, "target"),
            detail=f"nothing here can carry a change to {kind!r}",
            code="unknown-target",
            way_out=f"there are {', '.join(sorted(known.carried)) or 'no targets'}: {could}; it stays a draft until then",
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
    yield from _mitigation(mitigation, known)
    lasting = not impact.reversible or impact.data in ("incompatible", "loss")
    stateful = sorted(name for name in written.services if known.services.get(name))
    if impact.stateful and not stateful:
        stateful = list(written.services[:1])
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
    if mitigation is None or (mitigation.runbook is None and mitigation.flag is None):
        yield Fault(
            path=("spec", "mitigation"),
            detail=f"{why}, so it needs a mitigation that can be carried out",
            code="no-way-back",
            way_out="name a runbook or the flag to switch off: mitigation: {plan: …, runbook: …} or {plan: …, flag: …}",
        )
    if rollback is None or not rollback.window:
        yield Fault(
            path=("spec", "rollback"),
            detail=f"{why}, so it must say until when going back is possible",
            code="no-way-back",
            way_out="say it: rollback: {window: 1h}",
        )


def _mitigation(mitigation: shapes.MitigationShape | None, known: Known) -> Iterator[Fault]:
    """Yield what of a mitigation is not there or not made for it."""
    if mitigation is None:
        return
    path: Path = ("spec", "mitigation")
    if mitigation.flag is not None:
        yield from _absent(mitigation.flag, known.flags, (*path, "flag"), "flag", "apply it first")
    if mitigation.runbook is None:
        return
    yield from _absent(mitigation.runbook, known.runbooks, (*path, "runbook"), "runbook", "apply it first")
    meant = known.mitigating is None or mitigation.runbook in known.mitigating
    if mitigation.runbook in known.runbooks and not meant:
        yield Fault(
            path=(*path, "runbook"),
            detail=f"the runbook {mitigation.runbook} is not meant for mitigation",
            code="no-way-back",
            way_out="name one that says for: [mitigation] or [rollback]",
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
