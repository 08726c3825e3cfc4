"""What must hold of a house at any moment, whatever happened to it: read from its database alone."""

from __future__ import annotations

import itertools
import json
from collections import Counter, defaultdict
from collections.abc import Sequence

import sqlalchemy as sa

from airboss.act.rollout import read_plan, read_run
from airboss.bootstrap import House, state_digests
from airboss.changes import FACTS, MOVES, Change, Phase
from airboss.people.access import LOCAL
from airboss.records.audit import verify
from airboss.records.journal import StoredFact

NOBODY = frozenset(
    phase
    for phase in Phase
    if phase not in {Phase.ROLLING_OUT, Phase.VERIFYING, Phase.ROLLING_BACK, Phase.ROLLBACK_FAILED}
)
"""Phases in which a change's ramp stands at nothing: it has not begun, or it is over one way or the other."""


def check(house: House, *, audit: bool = True) -> None:
    """Raise AssertionError, saying which, if anything that must always hold does not."""
    house.store.sequence()
    with house.store.read() as connection:
        everything = house.journal.read(connection, limit=1_000_000)
        assert [fact.position for fact in everything] == list(range(house.journal.size(connection)))
        changes = house.changes.read_many(connection, _ids(connection))
        wanted = connection.execute(sa.text("SELECT key, change_id, kind, done_at, tries FROM effect")).all()
        done = connection.execute(sa.text("SELECT key, change_id, act, flag FROM flag_effect")).all()
        of: dict[str, list[StoredFact]] = defaultdict(list)
        for fact in everything:
            of[fact.subject].append(fact)
        for facts in of.values():
            assert [fact.subject_seq for fact in facts] == list(range(1, len(facts) + 1))
        flags = {name: facts for name, facts in of.items() if name.startswith("flag/")}
        for change in changes:
            _transitions(change, of[change.id])
            _exposure(house, connection, change)
            _effects(
                change,
                of[change.id],
                [row for row in wanted if row.change_id == change.id],
                [row for row in done if row.change_id == change.id],
                [
                    fact
                    for facts in flags.values()
                    for fact in facts
                    if fact.body.get("change_id") == change.id
                    and fact.type in ("flag.exposed", "flag.finished", "flag.reverted")
                ],
            )
        for facts in flags.values():
            _rises(facts, of)
    if audit:
        report = verify(house.store.url.render_as_string(hide_password=False), state_digests=state_digests())
        assert report.ok, report.findings


def _ids(connection: sa.Connection) -> list[str]:
    return list(connection.execute(sa.text("SELECT id FROM change")).scalars())


def _transitions(change: Change, facts: Sequence[StoredFact]) -> None:
    """The version counts the transitions in the journal, and the moves told there are legal and lead to the phase."""
    digests = [found for fact in facts if (found := json.loads(fact.stored).get("state_digest")) is not None]
    assert len([key for key, _ in itertools.groupby(digests)]) == change.version, (change.id, change.version)
    arrivals = {kind: phase for phase, kind in FACTS.items()}
    at = Phase.DRAFT
    for fact in facts:
        if fact.type == "change.edited":
            at = Phase(fact.body["phase"])
        elif fact.type in arrivals and arrivals[fact.type] is not Phase.DRAFT:
            assert fact.body["from"] == at, (change.id, fact.type)
            assert arrivals[fact.type] in MOVES[at]
            at = arrivals[fact.type]
    assert at is change.phase


def _exposure(house: House, connection: sa.Connection, change: Change) -> None:
    """No flag has more of a change than its current step allows, and nothing of one that is not under way."""
    if change.spec is None:
        return
    for stage in change.expanded().stages:
        if stage.target.kind != "flag":
            continue
        state = house.flags.observe(
            connection, str(stage.target.params["name"]), environment=stage.environment, change_id=change.id
        )
        if change.phase in NOBODY:
            # What was completed stays at 100 %, as the change itself sees it, until another change moves the flag.
            assert state.ramp_percent in ((0, 100) if change.outcome == "completed" else (0,)), (change.id, state)
            continue
        assert change.run is not None
        stored = json.loads(change.run)
        plan, run = read_plan(stored["plan"]), read_run(stored["run"])
        most = max(
            (step.percent for step in plan.steps[: run.step + 1] if step.kind == "expose"),
            default=0.0,
        )
        assert state.ramp_percent <= most, (change.id, state, most)


def _effects(
    change: Change,
    facts: Sequence[StoredFact],
    wanted: Sequence[sa.Row],
    done: Sequence[sa.Row],
    moved: Sequence[StoredFact],
) -> None:
    """What was wanted is what the facts tell, and what was done was wanted and done once."""
    keys = {row.key for row in wanted}
    assert {row.key for row in done} <= keys, change.id
    moved = [fact for fact in moved if "instead" not in fact.body]  # by an effect of the change that took over
    assert len(moved) == len(done), (change.id, [fact.type for fact in moved], [row.key for row in done])
    kinds = Counter(row.kind for row in wanted)
    told = Counter(fact.type for fact in facts)
    exposed = [fact for fact in facts if fact.type == "step.started" and fact.body["kind"] == "expose"]
    drifts = told["exposure.drifted"]
    if (
        change.phase not in (Phase.ROLLING_OUT, Phase.ROLLING_BACK, Phase.ROLLBACK_FAILED)
        and not told["rollback.started"]
    ):
        assert kinds["apply"] >= len({fact.body["percent"] for fact in exposed}), (change.id, keys)
    assert kinds["apply"] <= len(exposed) + drifts, (change.id, keys)
    if kinds["revert"]:
        assert told["rollback.started"], change.id
    if kinds["finish"]:
        assert told["change.completed"], change.id
    assert told["rollback.started"] == told["change.rollback_started"] - told["rollback.retried"], change.id
    assert told["change.rolled_back"] <= 1 + told["change.retried"], change.id
    assert told["change.completed"] <= 1 + told["change.retried"], change.id


def _rises(flag: Sequence[StoredFact], of: dict[str, list[StoredFact]]) -> None:
    """Exposure rises only to what a step began with, and a step begins only where the one before ended well."""
    for fact in flag:
        if fact.type != "flag.exposed" or fact.body["percent"] <= fact.body["from_percent"]:
            continue
        before = [one for one in of[str(fact.body["change_id"])] if one.position < fact.position]
        began = [one for one in before if one.type == "step.started" and one.body["kind"] == "expose"]
        assert began, fact
        assert began[-1].body["percent"] >= fact.body["percent"], fact
        number = int(began[-1].body["step"])
        ended = {int(one.body["step"]): one for one in before if one.type == "step.ended"}
        by_people = {int(one.body["step"]) for one in before if one.type in ("step.skipped", "step.answered")}
        for earlier in range(1, number):
            assert earlier in ended, (fact.body, earlier)
            outcomes = {answer["outcome"] for answer in ended[earlier].body["answers"]}
            assert outcomes == {"pass"} or (earlier in by_people and "fail" not in outcomes), (fact.body, outcomes)


def phases(house: House) -> Counter[str]:
    """Count changes by where they are."""
    page = house.changes.list(actor=LOCAL, limit=200)
    return Counter(str(item.phase) for item in page.items)
