"""Asks every gate of a step, with the numbers of this moment.

Reads sealed blocks once each, in order, folds them into the analysis and keeps both in one transaction with what
follows from them. Nothing here decides: it gathers answers for the rules.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final, Protocol, cast

from airboss.act.rollout import Answer, Expose, Gate, Plan, Run, Unit, gates, repo
from airboss.act.rollout.repo import Judgement
from airboss.catalog import Catalog
from airboss.changes import Change, Phase
from airboss.kernel.clock import APART_MOST, rfc3339, to_micros
from airboss.kernel.errors import AirbossError, Invalid
from airboss.records.store import Store, Tx
from airboss.tower.desk import Scene
from airboss.tower.objectives import Out
from airboss.watch.analysis import (
    ArmCounts,
    Block,
    Design,
    PodCounts,
    State,
    alpha_of_attempt,
    decide,
    from_json,
    new_step,
    reopen,
    start,
    to_json,
    update,
)
from airboss.watch.telemetry import Counts, SealedBlock, TelemetryReader

ALPHA: Final = 0.01
"""Chance of taking back a harmless change, over all looks of all its metrics."""
BETA: Final = 0.05
"""Chance of certifying a step whose harm is at its bound."""
DATA_WINDOW: Final = timedelta(seconds=30)
COVERAGE_WINDOW: Final = timedelta(minutes=15)
STATE_FORMAT: Final = 1

log = logging.getLogger("airboss.tower")


class Objective(Protocol):
    """Answers the burn-rate question of one objective."""

    def __call__(self, gate: str, name: str, environment: str, above: float, at: datetime, out: Out) -> Answer: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """The answers of a look, and the analysis to keep if a new block moved it."""

    answers: tuple[Answer, ...] = ()
    new: Judgement | None = None


NOTHING_JUDGED: Final = Judged()


class Judge:
    """Gathers what gates say."""

    def __init__(self, *, store: Store, catalog: Catalog, telemetry: TelemetryReader, objective: Objective) -> None:
        self._store = store
        self._catalog = catalog
        self._telemetry = telemetry
        self._objective = objective

    def look(self, scene: Scene, plan: Plan, run: Run) -> Judged:
        """Return what the gates in force say now. Reads telemetry; any part that cannot be read answers `error`."""
        exposing = plan.exposing(run.step)
        if exposing is None:
            return Judged()
        unit = plan.unit(exposing.unit)
        verifying = scene.change.phase in (Phase.VERIFYING, Phase.COMPLETED)
        asked = plan.verify_gates if verifying else exposing.gates
        asked = tuple(gate for gate in asked if gate.applies(exposing.percent))
        since = run.verify_started_at if verifying else run.reached_at
        if since is None:
            waiting = f"waiting until {exposing.percent:g} % is reached"
            return Judged(
                answers=tuple(
                    Answer(gate=gate.id, kind=gate.kind, outcome="inconclusive", sentence=waiting) for gate in asked
                )
            )
        answers: list[Answer] = []
        new: Judgement | None = None
        canary = [gate for gate in asked if gate.kind == "canary"]
        if canary:
            try:
                found, new = self._canary(scene, plan, run, exposing, unit, canary)
            except Exception as bug:
                log.exception("the analysis of change %s broke", scene.change.id)
                found = [_broken(gate, bug) for gate in canary]
            answers += found
        out = Out(
            change_id=scene.change.id,
            attempt=scene.change.attempt,
            unit=unit.name,
            exposed=scene.now - (run.started_at or since),
            compared=bool(answers) and all(answer.outcome == "pass" for answer in answers),
        )
        answers += [self._other(gate, unit, since, out, scene.now) for gate in asked if gate.kind != "canary"]
        return Judged(answers=tuple(answers), new=new)

    # -- canary ----------------------------------------------------------------------------------------------------

    def _canary(
        self, scene: Scene, plan: Plan, run: Run, exposing: Expose, unit: Unit, asked: Sequence[Gate]
    ) -> tuple[list[Answer], Judgement | None]:
        change = scene.change
        with self._store.read() as connection:
            kept = repo.judgement_of(connection, change.id, change.attempt, unit.name)
        state = self._state(kept, plan, asked, change.attempt, unit)
        # A question keeps its exposure: its blocks and its evidence belong to the step that reached it.
        step = plan.exposing_at(run.step)
        context = gates.context_of(plan, step, exposing)
        fresh_step = state.step != context
        if fresh_step:
            state = new_step(state, context)
        last = None if kept is None else kept.last_block
        if last is not None and last - scene.now > APART_MOST:
            last = None  # sealed by a clock that ran ahead; what was folded then is of other buckets
        try:
            blocks = self._telemetry.blocks(
                change_id=change.id,
                service=unit.service,
                environment=unit.environment,
                attempt=change.attempt,
                step=step,
                after=last,
                now=scene.now,
            )
        except AirbossError as fault:
            return [
                Answer(
                    gate=gate.id, kind=gate.kind, outcome="error", sentence=f"telemetry cannot be read: {fault.detail}"
                )
                for gate in asked
            ], None
        saturated = any(block.saturated for block in blocks)
        if not saturated:
            for block in blocks:
                state = update(state, as_block(block, exposing.percent / 100))
        if blocks:
            last = blocks[-1].end
        seen_in_step = last if last is not None and run.reached_at is not None and last > run.reached_at else None
        verdict = cast("Mapping[str, Any]", decide(state).as_json())
        found = gates.canary_answers(asked, verdict if seen_in_step else None, last_block=seen_in_step, now=scene.now)
        if saturated:
            sentence = "more users than can be told apart: the counts are not exact and are not judged"
            found = [replace(answer, outcome="inconclusive", sentence=sentence) for answer in found]
        if not blocks and not fresh_step:
            return found, None
        evidence = {"format": 1, "verdict": verdict, "step": run.step + 1, "at": rfc3339(scene.now)}
        return found, Judgement(
            unit=unit.name, step=run.step, format=STATE_FORMAT, state=to_json(state), evidence=evidence, last_block=last
        )

    def _state(self, kept: Judgement | None, plan: Plan, asked: Sequence[Gate], attempt: int, unit: Unit) -> State:
        """Return the analysis so far; one this version cannot read is begun anew with half the alpha left."""
        metrics = gates.metrics_of(asked)
        design = Design.RAMP if unit.kind == "flag" else Design.DEPLOY
        alpha = alpha_of_attempt(ALPHA, attempt)
        if kept is None:
            return start(metrics, alpha, BETA, len(plan.units), design=design)
        try:
            return from_json(kept.state)
        except Invalid:
            # What one cannot read may still say what alpha it had: a second state in a row gets half of the half.
            had = kept.state.get("alpha")
            left = min(alpha, float(had)) if isinstance(had, int | float) and had > 0 else alpha
            return reopen(metrics, left, BETA, len(plan.units), design=design)

    # -- the others ------------------------------------------------------------------------------------------------

    def _other(self, gate: Gate, unit: Unit, since: datetime, out: Out, now: datetime) -> Answer:
        try:
            match gate.kind:
                case "burn_rate":
                    return self._burn(gate, unit, out, now)
                case "annotation_coverage":
                    return self._coverage(gate, unit, now)
                case _:
                    return self._data(gate, unit, since, now)
        except AirbossError as fault:
            sentence = f"could not be asked: {fault.detail}"
            return Answer(gate=gate.id, kind=gate.kind, outcome="error", sentence=sentence)
        except Exception as bug:
            log.exception("gate %s broke", gate.id)
            return _broken(gate, bug)

    def _data(self, gate: Gate, unit: Unit, since: datetime, now: datetime) -> Answer:
        newest = self._telemetry.freshness(unit.service, unit.environment, now=now)
        window = max(min(now - since, DATA_WINDOW * 20), timedelta(seconds=1))
        (counts,) = self._telemetry.window_counts(unit.service, unit.environment, [window], at=now, durations=False)
        return gates.data_answer(gate, newest=newest, events=counts.total, now=now)

    def _burn(self, gate: Gate, unit: Unit, out: Out, now: datetime) -> Answer:
        if gate.slo is None or gate.above is None:
            raise AssertionError("a plan refuses a burn gate without its bound")
        return self._objective(gate.id, gate.slo, unit.environment, gate.above, now, out)

    def _coverage(self, gate: Gate, unit: Unit, now: datetime) -> Answer:
        rows = [
            row
            for row in self._telemetry.coverage(now=now, window=COVERAGE_WINDOW, service=unit.service)
            if row.environment == unit.environment and row.signal == "traces"
        ]
        total = sum(row.total for row in rows)
        annotated = sum(row.current + row.stale for row in rows)
        newest = max((row.newest_received for row in rows), default=None)
        return gates.coverage_answer(
            gate,
            share=annotated / total if total else None,
            items=total,
            age_s=None if newest is None else (now - newest).total_seconds(),
        )

    def keep(self, tx: Tx, change: Change, judged: Judged, now: datetime) -> None:
        """Keep the analysis together with what people see of it."""
        if judged.new is None:
            return
        evidence: Mapping[str, Any] = {**judged.new.evidence, "answers": [answer.stored() for answer in judged.answers]}
        repo.save_judgement(tx, change.id, change.attempt, replace(judged.new, evidence=evidence), now)


def _broken(gate: Gate, bug: Exception) -> Answer:
    """Answer for a gate whose judging broke: an error, so that it holds the step and silences no other gate."""
    sentence = f"{gate.id} could not be judged: {type(bug).__name__}; the server's log says more"
    return Answer(gate=gate.id, kind=gate.kind, outcome="error", sentence=sentence)


def as_block(sealed: SealedBlock, share: float) -> Block:
    """Return a sealed block as the analysis takes it; `share` is the canary's of the traffic, 0 to 1."""
    return Block(
        start_us=to_micros(sealed.start),
        end_us=to_micros(sealed.end),
        share_canary=share,
        canary=_arm(sealed.canary, pods=sealed.design == "deploy"),
        baseline=_arm(sealed.baseline, pods=sealed.design == "deploy"),
    )


def _arm(counts: Counts, *, pods: bool) -> ArmCounts:
    """Return an arm's counts; `pods` where its groups are pods, and not people's hashes as in a ramp."""
    by_pod = (counts.by_pod() if pods else None) or {}
    hists = (counts.hist_by_pod() if pods else None) or {}
    return ArmCounts(
        pods=tuple(
            PodCounts(pod=str(number), requests=requests, bad=bad, hist=hists.get(number))
            for number, (requests, bad) in by_pod.items()
        ),
        requests=counts.requests,
        bad=counts.bad,
        hist=counts.hist,
        first_seen=counts.first_seen,
        first_bad=counts.first_bad,
        first_hist=counts.first_hist,
        subjects=counts.subjects,
        subjects_bad=counts.subjects_bad,
        subjects_hist=counts.subjects_hist,
    )
