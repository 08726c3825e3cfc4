"""From what was written to what will happen: the template fills in what was left open, once.

Pure: the draft, the template and what the catalog says go in; a `Spec` or a `Fault` comes out.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from airboss.catalog import SliKind
from airboss.changes import shapes
from airboss.changes.draft import Draft, Fault
from airboss.changes.spec import (
    Artifact,
    Ask,
    BurnRateGate,
    CanaryGate,
    Cost,
    CoverageGate,
    DataGate,
    Expose,
    Gate,
    Hold,
    Impact,
    Mitigation,
    Notify,
    Owner,
    Risks,
    Rollback,
    Run,
    Schedule,
    Spec,
    Stage,
    Step,
    Target,
    TemplateRef,
)
from airboss.changes.template import Template, TemplateSpec
from airboss.kernel.errors import Refused
from airboss.kernel.yaml import Path

MOST_PER_LEAST: Final = 4
MOST_FLOOR_S: Final = 30
"""`most` is 4 × `least` where it is not said, and never under this."""
ROLLOUT: Final[Path] = ("spec", "rollout")


@dataclass(frozen=True, slots=True, kw_only=True)
class Objective:
    """What expansion needs to know of an SLO: its service, its indicator and its target share."""

    service: str | None
    indicator: str | None
    target: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What the catalog says, as far as a change can refer to it."""

    services: Mapping[str, bool]
    """Service → whether it keeps state."""
    environments: Mapping[str, int]
    """Environment → rank; the highest is nearest to users."""
    teams: frozenset[str]
    seats: frozenset[str]
    """What may stand where a group is asked for."""
    runbooks: frozenset[str]
    windows: Mapping[str, bool]
    """Window → whether it allows (or forbids)."""
    connections: frozenset[str]
    slis: Mapping[str, SliKind]
    slis_of: Mapping[str, tuple[str, ...]]
    """Service → its indicators."""
    slos: Mapping[str, Objective]

    def budget_share(self, services: Iterable[str]) -> float | None:
        """Return the smallest error budget (1 − target) of the objectives of some services, or None."""
        wanted = set(services)
        targets = [slo.target for slo in self.slos.values() if slo.service in wanted and slo.target is not None]
        return round(1 - max(targets), 9) if targets else None


def expand(draft: Draft, template: Template, known: Known) -> Spec:
    """Return the change with nothing left open. `unfit(…)` must have found nothing.

    Raises Refused with the place of a gate that could not fail, or of an indicator that cannot be read as written.
    """
    written, defaults = draft.spec, template.spec
    rollout = written.rollout
    outermost = max(known.environments.values(), default=0)
    makes = _Gates(draft, defaults, known)
    gates = (
        _default_gates(makes, written, defaults, known)
        if rollout.gates is None
        else makes.all(rollout.gates, (*ROLLOUT, "gates"))
    )
    spec = Spec(
        kind=template.metadata.name,
        template=TemplateRef(name=template.metadata.name, version=template.metadata.version),
        title=written.title,
        why=written.why,
        links=written.links,
        labels=tuple(written.labels),
        services=tuple(written.services),
        slos=tuple(written.slos) or _slos_at_stake(written.services, known),
        owner=Owner(team=written.owner.team, person=written.owner.person),
        impact=_impact(written.impact),
        artifact=None
        if written.artifact is None
        else Artifact(version=written.artifact.version, digest=written.artifact.digest),
        rollback=None
        if written.rollback is None
        else Rollback(plan=written.rollback.plan, window_s=written.rollback.window),
        mitigation=None
        if written.mitigation is None
        else Mitigation(plan=written.mitigation.plan, runbook=written.mitigation.runbook),
        schedule=_schedule(written.schedule),
        strategy=rollout.strategy or defaults.strategy,
        stages=tuple(
            _stage(
                stage,
                number,
                makes,
                defaults,
                outer=known.environments[stage.environment] == outermost,
                own=rollout.gates is not None,
            )
            for number, stage in enumerate(rollout.stages)
        ),
        allowance_share=_allowance(written, defaults, known),
        gates=gates,
        on_failed=rollout.on_failed or defaults.on_failed,
        on_inconclusive=_hold(rollout.on_inconclusive or defaults.on_inconclusive),
        on_error=_hold(rollout.on_error or defaults.on_error),
        max_extensions=defaults.max_extensions if rollout.max_extensions is None else rollout.max_extensions,
        verify_s=(rollout.verification or defaults.verification).least,
    )
    for fault in _ceilings(spec):
        raise fault.raised(draft, Refused)
    return spec


def _stage(
    stage: shapes.StageShape, number: int, makes: _Gates, defaults: TemplateSpec, *, outer: bool, own: bool
) -> Stage:
    """Return a stage. `own`: the change names its gates, so a stage that names none has those."""
    ((kind, params),) = stage.target.items()
    gates: tuple[Gate, ...] | None = None
    if stage.gates is not None:
        gates = makes.all(stage.gates, (*ROLLOUT, "stages", number, "gates"))
    elif not outer and not own:
        gates = makes.all(defaults.steps.others_gates, (*ROLLOUT, "stages", number))
    steps = stage.steps or (defaults.steps.outermost if outer else defaults.steps.others)
    return Stage(
        environment=stage.environment,
        needs=stage.needs,
        target=Target(kind=kind, params=params),
        gates=gates,
        steps=tuple(map(_step, steps)),
    )


def _step(step: shapes.StepShape) -> Step:
    match step:
        case shapes.ExposeShape():
            least = step.bake.least
            most = step.bake.most or max(MOST_PER_LEAST * least, MOST_FLOOR_S)
            return Expose(percent=step.expose, least_s=least, most_s=most)
        case shapes.AskShape():
            return Ask(group=step.ask, expires_s=step.expires)
        case shapes.RunShape():
            return Run(runbook=step.run, most_s=step.most)
        case shapes.NotifyShape():
            return Notify(group=step.notify, message=step.message)


class _Gates:
    """Makes typed gates of written ones, with the template's numbers where none are given."""

    def __init__(self, draft: Draft, defaults: TemplateSpec, known: Known) -> None:
        self._draft = draft
        self._defaults = defaults.canary
        self._known = known

    def all(self, gates: Iterable[shapes.GateShape], path: Path) -> tuple[Gate, ...]:
        return tuple(self._one(gate, (*path, number)) for number, gate in enumerate(gates))

    def _one(self, gate: shapes.GateShape, path: Path) -> Gate:
        match gate:
            case "data":
                return DataGate()
            case shapes.CanaryShape():
                return self._canary(gate.canary, path)
            case shapes.BurnRateShape():
                self._can_burn(gate.burn_rate, path)
                return BurnRateGate(slo=gate.burn_rate.slo, above=gate.burn_rate.above)
            case shapes.CoverageShape():
                return CoverageGate(least_pct=gate.annotation_coverage.least)

    def _canary(self, gate: shapes.CanaryBody, path: Path) -> CanaryGate:
        kind = self._known.slis[gate.sli]
        if kind == "ratio" and gate.quantile is not None:
            raise Fault(
                path=(*path, "canary", "quantile"),
                detail=f"{gate.sli} is a ratio and has no quantiles",
                code="bad-gate",
                way_out="leave quantile out, or name an indicator with a thresholdMetric",
            ).raised(self._draft, Refused)
        return self.canary(gate.sli, kind, quantile=gate.quantile, margin=gate.margin, critical=gate.critical)

    def canary(
        self,
        sli: str,
        kind: SliKind,
        *,
        quantile: float | None = None,
        margin: float | None = None,
        critical: bool = True,
    ) -> CanaryGate:
        """Return a canary gate on an indicator, by the template where it is not said."""
        ratio = kind == "ratio"
        default = self._defaults.ratio_margin if ratio else self._defaults.latency_margin
        return CanaryGate(
            sli=sli,
            sli_kind=kind,
            quantile=None if ratio else quantile or self._defaults.latency_quantile,
            margin_share=default if margin is None else margin,
            critical=critical,
        )

    def _can_burn(self, gate: shapes.BurnRateBody, path: Path) -> None:
        """Refuse a burn rate that cannot be reached: with everything failing it is 1 / (1 − target)."""
        target = self._known.slos[gate.slo].target
        if target is not None and target < 1 and gate.above >= 1 / (1 - target):
            raise Fault(
                path=(*path, "burn_rate", "above"),
                detail=f"{gate.slo} burns at most {1 / (1 - target):.4g} times its budget: the gate cannot fail",
                code="gate-cannot-fail",
                way_out="name a smaller rate; 14.4 spends 2 % of a 30-day budget in an hour",
            ).raised(self._draft, Refused)


def _default_gates(
    makes: _Gates, written: shapes.ChangeSpecShape, defaults: TemplateSpec, known: Known
) -> tuple[Gate, ...]:
    """Return the gates of a change that names none: its services' indicators and objectives, and data."""
    gates: list[Gate] = []
    if defaults.gates.canary_on_service_slis:
        for service in written.services:
            gates += [makes.canary(sli, known.slis[sli]) for sli in known.slis_of.get(service, ())]
    for name in _slos_at_stake(written.services, known):
        target = known.slos[name].target
        if target is None or target >= 1 or defaults.gates.burn_rate_above < 1 / (1 - target):
            gates.append(BurnRateGate(slo=name, above=defaults.gates.burn_rate_above))
    gates += makes.all(defaults.gates.always, (*ROLLOUT, "gates"))
    return tuple(dict.fromkeys(gates))


def _slos_at_stake(services: Iterable[str], known: Known) -> tuple[str, ...]:
    wanted = set(services)
    return tuple(sorted(name for name, slo in known.slos.items() if slo.service in wanted))


def _allowance(written: shapes.ChangeSpecShape, defaults: TemplateSpec, known: Known) -> float:
    """Return the excess bad requests the change may cost, as a share of all traffic."""
    if written.rollout.allowance is not None:
        return written.rollout.allowance
    budget = known.budget_share(written.services)
    if budget is None or budget <= 0:
        return defaults.allowance.without_budget
    return round(budget * defaults.allowance.of_budget / 100, 9)


def _ceilings(spec: Spec) -> Iterator[Fault]:
    """Yield where base + allowance / next exposure lets everything fail, so that a canary gate could not."""
    for number, stage in enumerate(spec.stages):
        if not any(isinstance(gate, CanaryGate) for gate in spec.gates_of(stage)):
            continue
        exposures = [step.percent for step in stage.steps if isinstance(step, Expose)]
        for percent in exposures[1:]:
            if spec.allowance_share >= percent / 100:
                yield Fault(
                    path=(*ROLLOUT, "allowance"),
                    detail=f"{spec.allowance_share * 100:g} % of all traffic is everything at the step to {percent:g} % "
                    f"in {stage.environment}: the canary gate before it cannot fail",
                    code="gate-cannot-fail",
                    way_out=f"allow less than {percent:g}%, or leave stage {number + 1}'s small step out",
                )
                return


def _impact(written: shapes.ImpactShape) -> Impact:
    risks, cost = written.risks, written.cost_per_month
    return Impact(
        users_percent=written.users_percent,
        reversible=written.reversible,
        data=written.data,
        risks=Risks() if risks is None else Risks(**risks.model_dump()),
        cost_per_month=None if cost is None else Cost(**cost.model_dump()),
    )


def _schedule(written: shapes.ScheduleShape | None) -> Schedule:
    if written is None:
        return Schedule()
    return Schedule(window=written.window, not_before=written.not_before, not_after=written.not_after)


def _hold(written: shapes.InconclusiveShape | shapes.ErrorShape) -> Hold:
    return Hold(hold_s=written.hold, then=written.then)
