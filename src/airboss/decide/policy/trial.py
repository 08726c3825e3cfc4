"""Trying packs before they are in force: `check` compiles them, `test` runs the cases beside their rules."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from airboss.decide.policy.engine import EngineFailed, InlineEngine, PolicyEngine, rule_on
from airboss.decide.policy.model import Bundle, Case, Pack, Point, Ruling
from airboss.decide.policy.packs import parse_all
from airboss.decide.policy.program import Fault
from airboss.decide.policy.vocabulary import fixture, masked_input, overlay
from airboss.kernel.errors import Invalid


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Why a file cannot be used, and where."""

    place: str
    detail: str
    code: str
    way_out: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseResult:
    """What became of one test. `faults` is empty when it passed, else one sentence for each expectation not met."""

    name: str
    place: str
    faults: tuple[str, ...]
    ruling: Ruling

    @property
    def passed(self) -> bool:
        return not self.faults


@dataclass(frozen=True, slots=True, kw_only=True)
class PackReport:
    """What is to say of one pack. `unproven` names rules no test saw fire, or none saw stay quiet."""

    source: str
    pack: str | None
    rules: int = 0
    problems: tuple[Problem, ...] = ()
    cases: tuple[CaseResult, ...] = ()
    unproven: tuple[str, ...] = ()

    @property
    def good(self) -> bool:
        return not self.problems and all(case.passed for case in self.cases)


def check(files: Iterable[tuple[str, bytes]], *, engine: PolicyEngine | None = None) -> list[PackReport]:
    """Return, for each pack of (source, bytes) files, what cannot be used in it."""
    engine = engine or InlineEngine()
    return [report for source, data in files for report in _check_file(source, data, engine)]


def test(files: Iterable[tuple[str, bytes]], *, engine: PolicyEngine | None = None) -> list[PackReport]:  # noqa: PT028 - not a test, a verb
    """Return, for each pack of (source, bytes) files, how its own tests went, each pack judged alone."""
    engine = engine or InlineEngine()
    reports: list[PackReport] = []
    for source, data in files:
        try:
            packs = parse_all(data, source)
        except Invalid as fault:
            reports.append(_refused(source, fault))
            continue
        reports += [try_pack(pack, engine) for pack in packs]
    return reports


test.__test__ = False  # type: ignore[attr-defined]  # a verb of this room; test collectors take it for theirs


def try_pack(pack: Pack, engine: PolicyEngine) -> PackReport:
    """Compile one pack and run its tests."""
    problems = _compile(pack, engine)
    if problems:
        return PackReport(source=pack.source, pack=pack.name, rules=len(pack.rules), problems=problems)
    bundle = Bundle(packs=(pack,))
    if heavy := _too_heavy(pack, bundle, engine):
        return PackReport(source=pack.source, pack=pack.name, rules=len(pack.rules), problems=(heavy,))
    results = tuple(_run(case, bundle, engine) for case in pack.cases)
    fired = {item.rule for result in results for item in (*result.ruling.fired, *result.ruling.shadow)}
    quiet = {rule for result in results for rule in result.ruling.not_fired}
    return PackReport(
        source=pack.source,
        pack=pack.name,
        rules=len(pack.rules),
        cases=results,
        unproven=tuple(rule.id for rule in pack.rules if rule.id not in fired or rule.id not in quiet),
    )


def refusal(report: PackReport) -> Invalid | None:
    """Return the first reason not to put a pack in force, as the error to raise."""
    for problem in report.problems:
        return Invalid(problem.detail, code=problem.code, place=problem.place, way_out=problem.way_out)
    for case in report.cases:
        if case.faults:
            return Invalid(
                f"the test {case.name!r} fails: {'; '.join(case.faults)}",
                code="policy-test-failed",
                place=case.place,
                way_out="mend the rule or what the test expects; the pack in force stays",
            )
    return None


def _check_file(source: str, data: bytes, engine: PolicyEngine) -> list[PackReport]:
    try:
        packs = parse_all(data, source)
    except Invalid as fault:
        return [_refused(source, fault)]
    return [
        PackReport(source=source, pack=pack.name, rules=len(pack.rules), problems=_compile(pack, engine))
        for pack in packs
    ]


def _refused(source: str, fault: Invalid) -> PackReport:
    problem = Problem(place=fault.place or source, detail=fault.detail, code=fault.code, way_out=fault.way_out)
    return PackReport(source=source, pack=None, problems=(problem,))


def _compile(pack: Pack, engine: PolicyEngine) -> tuple[Problem, ...]:
    bundle = Bundle(packs=(pack,))
    try:
        faults = engine.check(bundle)
    except EngineFailed as failed:
        detail = f"the policy engine {failed} while it compiled this pack"
        return (Problem(place=pack.source, detail=detail, code="bad-policy", way_out="make its expressions smaller"),)
    return tuple(_problem(pack, bundle.rules[fault.rule].id, fault) for fault in faults)


def _problem(pack: Pack, rule_id: str, fault: Fault) -> Problem:
    return Problem(
        place=pack.inside(rule_id, fault.field, fault.offset),
        detail=f"{fault.field} of {rule_id}: {fault.detail}",
        code="bad-policy",
        way_out=fault.way_out,
    )


def _too_heavy(pack: Pack, bundle: Bundle, engine: PolicyEngine) -> Problem | None:
    """Judge the fixture and every test once, and say where the engine gives up: in force, that would block everything."""
    tries = [(pack.source, point, fixture()) for point in Point]
    tries += [(case.place, case.at, overlay(fixture(), case.input)) for case in pack.cases]
    for place, point, facts in tries:
        try:
            engine.judge(bundle, masked_input(point, facts))
        except EngineFailed as failed:
            detail = f"the policy engine {failed}, judging this pack at {point.value}"
            return Problem(place=place, detail=detail, code="policy-too-heavy", way_out="make its expressions smaller")
    return None


def _run(case: Case, bundle: Bundle, engine: PolicyEngine) -> CaseResult:
    ruling = rule_on(engine, bundle, masked_input(case.at, overlay(fixture(), case.input)), alone=True)
    return CaseResult(name=case.name, place=case.place, faults=tuple(_faults(case, ruling)), ruling=ruling)


def _faults(case: Case, ruling: Ruling) -> Iterable[str]:
    fired = {item.rule for item in ruling.fired}
    if case.outcome is not None and ruling.outcome is not case.outcome:
        why = "".join(f" ({denial.message})" for denial in ruling.denials[:1])
        yield f"outcome {ruling.outcome.value}{why}, expected {case.outcome.value}"
    if case.tier is not None and ruling.tier is not case.tier:
        yield f"tier {ruling.tier.value}, expected {case.tier.value}"
    if case.score is not None and ruling.score != case.score:
        yield f"score {ruling.score}, expected {case.score}"
    if case.fired is not None and fired != case.fired:
        if missing := sorted(case.fired - fired):
            yield f"{_list(missing)} did not fire"
        if extra := sorted(fired - case.fired):
            yield f"{_list(extra)} fired, which was not expected"
    if unwanted := sorted(case.not_fired & fired):
        yield f"{_list(unwanted)} fired, which was not expected"
    said = " ".join([item.message for item in ruling.fired] + [denial.message for denial in ruling.denials])
    for words in case.says:
        if words not in said:
            yield f"nothing says {words!r}"


def _list(names: Sequence[str]) -> str:
    return " and ".join(names)
