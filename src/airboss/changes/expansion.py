"""From what was written to what will happen: the template fills in what was left open, once.

Pure: the draft, the template and what the catalog says go in; a `Spec` or a `Fault` comes out.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from airboss.catalog import SliKind
from airboss.changes import shapes
from airboss.changes.draft import Draft, Fault
from airboss.changes.signals import INFERRED, Bound, Told, bind
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
    signals: frozenset[str] = frozenset()


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
    sli_service: Mapping[str, str | None] = field(default_factory=dict)
    """Indicator → the service whose spans it counts."""
    sli_signals: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """Indicator → what it tells, by its label; unlabelled, by its kind."""
    owners: Mapping[str, str] = field(default_factory=dict)
    """Service → the team that owns it."""
    runbooks_of: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Service → its runbooks."""
    mitigating: frozenset[str] | None = None
    """The runbooks meant for mitigation or rollback; None: all of them."""
    flags: frozenset[str] = frozenset()
    carried: frozenset[str] | None = None
    """The kinds of target this server carries; None where nobody says."""

    def counted_at(self, sli: str, service: str) -> bool:
        """Return whether an indicator is counted from the requests of a service, so that their arms can be compared."""
        return self.sli_service.get(sli, service) in (None, service)

    def told(self, services: Sequence[str]) -> Told:
        """Return what some services can tell about signals; the first is the one whose arms are compared."""
        here: dict[str, list[str]] = {}
        elsewhere: dict[str, list[str]] = {}
        objectives: dict[str, list[str]] = {}
        for sli in dict.fromkeys(sli for service in services for sli in self.slis_of.get(service, ())):
            into = here if self.counted_at(sli, services[0]) else elsewhere
            for signal in self.sli_signals.get(sli) or {INFERRED[self.slis[sli]]}:
                into.setdefault(signal, []).append(sli)
        for name in _slos_at_stake(services, self):
            for signal in self.slos[name].signals:
                objectives.setdefault(signal, []).append(name)
        return Told(
            indicators=here,
            elsewhere=elsewhere,
            objectives=objectives,
            all_objectives=_slos_at_stake(services, self),
        )

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
    bound = bind(template, written.waive, known.told(written.services))
    gates = (
        _default_gates(makes, bound, written, defaults, known)
        if rollout.gates is None
        else (*(own := makes.all(rollout.gates, (*ROLLOUT, "gates"))), *_added(own, makes, bound, known))
    )
    spec = Spec(
        kind=template.metadata.name,
        template=TemplateRef(name=template.metadata.name, version=template.metadata.version),
        title=written.title,
        why=written.why,
        links=written.links,
        labels=tuple(written.labels),
        services=tuple(written.services),
        regions=tuple(written.regions),
        slos=tuple(written.slos) or _slos_at_stake(written.services, known),
        owner=Owner(team=written.owner.team, person=written.owner.person),
        impact=_impact(written, known),
        artifact=None
        if written.artifact is None
        else Artifact(version=written.artifact.version, digest=written.artifact.digest),
        rollback=None
        if written.rollback is None
        else Rollback(plan=written.rollback.plan, window_s=written.rollback.window),
        mitigation=None if written.mitigation is None else Mitigation(**written.mitigation.model_dump()),
        runbook=runbook_of(written, known),
        evidence=tuple(
            dict.fromkeys((*defaults.evidence, *written.evidence, *("ci" for one in bound if one.shape.by == "ci")))
        ),
        signals=tuple(one.stored(gates) for one in bound),
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
                at_once=rollout.strategy == "all-at-once",
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
        accepts_underpowered=rollout.accept_underpowered,
    )
    for fault in _ceilings(spec):
        raise fault.raised(draft, Refused)
    return spec


def _stage(
    stage: shapes.StageShape,
    number: int,
    makes: _Gates,
    defaults: TemplateSpec,
    *,
    outer: bool,
    own: bool,
    at_once: bool,
) -> Stage:
    """Return a stage. `own`: the change names its gates, so a stage that names none has those. `at_once`: nobody asked for
    small steps, so a stage that names none has the one of a stage before the outermost.
    """
    ((kind, params),) = stage.target.items()
    gates: tuple[Gate, ...] | None = None
    if stage.gates is not None:
        gates = makes.all(stage.gates, (*ROLLOUT, "stages", number, "gates"))
    elif not outer and not own:
        gates = makes.all(defaults.steps.others_gates, (*ROLLOUT, "stages", number))
    steps = stage.steps or (defaults.steps.outermost if outer and not at_once else defaults.steps.others)
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
        service = self._draft.spec.services[0]
        if not self._known.counted_at(gate.sli, service):
            raise Fault(
                path=(*path, "canary", "sli"),
                detail=f"{gate.sli} is counted from what {self._known.sli_service[gate.sli]} sends, and a canary compares "
                f"the requests of {service}",
                code="canary-elsewhere",
                way_out=f"name an SLI of {service}, or watch an SLO over this one: burn_rate: {{slo: …, above: …}}",
            ).raised(self._draft, Refused)
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
    makes: _Gates, bound: Sequence[Bound], written: shapes.ChangeSpecShape, defaults: TemplateSpec, known: Known
) -> tuple[Gate, ...]:
    """Return the gates of a change that names none: its signals, its services' other indicators, objectives, and data."""
    waived = {sli for one in _waived(bound, known, written.services) for sli in one}
    gates: list[Gate] = []
    if defaults.gates.canary_on_service_slis:
        for service in written.services:
            gates += [
                makes.canary(sli, known.slis[sli])
                for sli in known.slis_of.get(service, ())
                if known.counted_at(sli, written.services[0]) and sli not in waived
            ]
    for name in _slos_at_stake(written.services, known):
        if _burns(name, defaults.gates.burn_rate_above, known):
            gates.append(BurnRateGate(slo=name, above=defaults.gates.burn_rate_above))
    for gate in _signal_gates(makes, bound, known):
        # A signal's own numbers go before the template's for everything.
        at = next((number for number, other in enumerate(gates) if _about(other) == _about(gate)), len(gates))
        gates[at : at + 1] = [gate]
    gates += makes.all(defaults.gates.always, (*ROLLOUT, "gates"))
    return tuple(dict.fromkeys(gates))


def _added(own: Sequence[Gate], makes: _Gates, bound: Sequence[Bound], known: Known) -> list[Gate]:
    """Return what the signals that are needed add to the gates a change names itself."""
    named = {_about(gate) for gate in own}
    needed = [one for one in bound if one.shape.needed]
    return [gate for gate in _signal_gates(makes, needed, known) if _about(gate) not in named]


def _signal_gates(makes: _Gates, bound: Sequence[Bound], known: Known) -> Iterator[CanaryGate | BurnRateGate]:
    for one in bound:
        for sli in one.indicators:
            yield makes.canary(sli, known.slis[sli], quantile=one.shape.quantile, margin=one.shape.margin)
        for slo in one.objectives:
            above = one.above
            while above > 1 and not _burns(slo, above, known):
                above /= 2
            yield BurnRateGate(slo=slo, above=above)


def _waived(bound: Sequence[Bound], known: Known, services: Sequence[str]) -> Iterator[Sequence[str]]:
    """Yield the indicators that only a waived signal would have watched."""
    told = known.told(services)
    for one in bound:
        if one.waived is not None:
            yield told.indicators.get(one.shape.name, ())


def _burns(slo: str, above: float, known: Known) -> bool:
    """Return whether an objective can burn that fast: with everything failing it is 1 / (1 − target)."""
    target = known.slos[slo].target
    return target is None or target >= 1 or above < 1 / (1 - target)


def _about(gate: Gate) -> tuple[str, str | None]:
    match gate:
        case CanaryGate():
            return gate.gate, gate.sli
        case BurnRateGate():
            return gate.gate, gate.slo
        case _:
            return gate.gate, None


def runbook_of(written: shapes.ChangeSpecShape, known: Known) -> str | None:
    """Return where people look when it goes wrong: what the change says, else its mitigation's, else its service's first."""
    if written.runbook is not None:
        return written.runbook
    if written.mitigation is not None and written.mitigation.runbook is not None:
        return written.mitigation.runbook
    return next(iter(known.runbooks_of.get(written.services[0], ())), None)


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


def reach(written: shapes.ChangeSpecShape, known: Known) -> tuple[bool, bool]:
    """Return whether the catalog says that a change touches state, and that it reaches services of other teams."""
    stateful = any(known.services.get(service, False) for service in written.services)
    return stateful, any(known.owners.get(name, written.owner.team) != written.owner.team for name in written.services)


def _impact(change: shapes.ChangeSpecShape, known: Known) -> Impact:
    """Return the impact; of reach and state the wider of what is declared and what the catalog says."""
    written = change.impact
    risks, cost = written.risks, written.cost_per_month
    stateful, cross_team = reach(change, known)
    return Impact(
        users_percent=written.users_percent,
        reversible=written.reversible,
        data=written.data,
        stateful=stateful or bool(written.stateful),
        cross_team=cross_team or bool(written.cross_team),
        risks=Risks() if risks is None else Risks(**risks.model_dump()),
        cost_per_month=None if cost is None else Cost(**cost.model_dump()),
    )


def _schedule(written: shapes.ScheduleShape | None) -> Schedule:
    if written is None:
        return Schedule()
    return Schedule(window=written.window, not_before=written.not_before, not_after=written.not_after)


def _hold(written: shapes.InconclusiveShape | shapes.ErrorShape) -> Hold:
    return Hold(hold_s=written.hold, then=written.then)
