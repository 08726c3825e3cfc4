"""What people may order, and the versions that stay blocked."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

from sqlalchemy import Connection

from airboss.act.rollout import claims, repo
from airboss.act.rollout.model import read_run
from airboss.act.rollout.plan import Ask, Unit, read_plan
from airboss.changes import Change, Changes, Phase
from airboss.kernel.clock import Clock
from airboss.kernel.errors import Forbidden, Invalid, NotFound, Refused, Stale
from airboss.kernel.ids import Ids
from airboss.people.access import Action, Actor, Scope, require
from airboss.records.journal import Fact, Journal
from airboss.records.store import Store, Tx

_MOVING: Final = frozenset({Phase.ROLLING_OUT, Phase.VERIFYING})
_BEFORE: Final = frozenset(
    {Phase.IN_REVIEW, Phase.AWAITING_APPROVAL, Phase.APPROVED, Phase.SCHEDULED, Phase.VALIDATING}
)

LEGAL: Final[Mapping[str, frozenset[Phase]]] = {
    "pause": frozenset({Phase.ROLLING_OUT}),
    "resume": frozenset({Phase.ROLLING_OUT}),
    "promote": frozenset({Phase.ROLLING_OUT}),
    "abort": _MOVING | _BEFORE | {Phase.ROLLBACK_FAILED},
    "rollback": _MOVING | {Phase.COMPLETED, Phase.ROLLBACK_FAILED, Phase.REVIEWING},
    "retry": frozenset({Phase.ROLLBACK_FAILED, Phase.REVIEWING}),
    "mitigated": frozenset({Phase.ROLLBACK_FAILED}),
}
"""Which order is possible in which phase. Of what is being reviewed only this: a retry of what was taken back, and a
rollback of what was mitigated because its rollback had failed."""
NEEDS_REASON: Final = frozenset({"promote", "mitigated"})
STOPS: Final = frozenset({"pause", "abort", "rollback"})
TAKES_BACK: Final = frozenset({"abort", "rollback"})
_ALREADY: Final = frozenset({Phase.ROLLING_BACK, Phase.ROLLED_BACK, Phase.CANCELLED})
_AGAIN: Final = frozenset({Phase.SCHEDULED, Phase.APPROVED, Phase.VALIDATING, Phase.ROLLING_OUT})
_AFTER: Final = frozenset({Phase.REVIEWING, Phase.CLOSED})
REASON_MOST: Final = 2_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What a person wants of a rollout, and why. `expected_version` None: whatever it is now."""

    change_id: str
    verb: str
    reason: str = ""
    expected_version: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockedVersion:
    """A version that was convicted and may not start until a person lifts the block."""

    service: str
    digest: str
    change_id: str
    sentence: str
    at: str


Members = Callable[[Connection, str], frozenset[str]]


class Rollouts:
    """Takes orders and keeps convicted versions from coming back."""

    def __init__(
        self,
        store: Store,
        journal: Journal,
        *,
        clock: Clock,
        ids: Ids,
        changes: Changes,
        members: Members,
        poked: Callable[[], None],
    ) -> None:
        self._store = store
        self._journal = journal
        self._clock = clock
        self._ids = ids
        self._changes = changes
        self._members = members
        self._poked = poked

    def order(self, command: Order, actor: Actor) -> Change:
        """Leave an order for the tower and make the change due now; abort and rollback also shut out whoever holds it.

        Ordering the same twice is one order. Raises Forbidden, NotFound, Invalid (no such order, or no reason), Stale,
        or Refused with what is possible now.
        """
        if command.verb not in LEGAL:
            raise Invalid(f"{command.verb!r} is no order", code="order-unknown", way_out=f"use {', '.join(LEGAL)}")
        reason = command.reason.strip()
        if len(reason) > REASON_MOST:
            raise Invalid(f"a reason has at most {REASON_MOST} characters", code="reason-too-long")
        if not reason and command.verb in NEEDS_REASON:
            told = "a step is skipped" if command.verb == "promote" else "what was done by hand is recorded"
            raise Invalid(f"{told} with a reason", code="reason-missing", way_out="say why: --reason …")
        with self._store.write() as tx:
            tx.lock(command.change_id)
            change = self._changes.read(tx.connection, command.change_id)
            require(actor, action_of(command.verb), Scope(services=frozenset(change.services), team=change.owner_team))
            if _is_so(command.verb, change):
                return change
            if command.expected_version is not None and change.version != command.expected_version:
                raise Stale(
                    f"change {change.id} is at version {change.version}, not {command.expected_version}",
                    way_out="look at it again and decide again",
                )
            _check(command.verb, change)
            self._check_seat(tx.connection, command.verb, change, actor)
            _check_blocks(tx.connection, command.verb, change)
            step = None if change.run is None else read_run(_stored(change.run)["run"]).step
            if _given_already(repo.waiting_commands(tx.connection, change.id), command.verb, step):
                return change
            now = self._clock.now()
            new = repo.Command(
                id=self._ids.new("cmd"),
                change_id=change.id,
                verb=command.verb,
                actor=actor.id,
                actor_name=actor.name,
                reason=self._journal.text(tx, reason) if reason else "",
                at=now,
                step=step,
            )
            repo.give(tx, new)
            body = {"command": new.id, "verb": new.verb, "reason": new.reason or None, "via": actor.via}
            self._journal.record(tx, Fact(subject=change.id, type="change.commanded", actor=actor.id, body=body))
            claims.poke(tx, change.id, now, fence=command.verb in TAKES_BACK)
        self._poked()
        return change

    def _check_seat(self, connection: Connection, verb: str, change: Change, actor: Actor) -> None:
        """Only somebody of the group that is asked may answer its question."""
        if verb != "promote" or change.run is None:
            return
        stored = _stored(change.run)
        step = read_plan(stored["plan"]).steps[read_run(stored["run"]).step]
        if isinstance(step, Ask) and actor.name not in self._members(connection, step.group):
            raise Forbidden(
                f"this step asks {step.group}, and {actor.name} is not one of them",
                code="not-asked",
                way_out=f"ask somebody of {step.group}, or abort",
            )

    def block(self, tx: Tx, unit: Unit, change_id: str, sentence: str) -> None:
        """Keep a convicted version from starting again, in the transaction of its conviction."""
        repo.block_version(
            tx, service=unit.service, digest=unit.digest, change_id=change_id, sentence=sentence, at=self._clock.now()
        )
        body = {"service": unit.service, "digest": unit.digest, "change": change_id}
        subject = f"version/{unit.service}/{unit.digest}"
        self._journal.record(tx, Fact(subject=subject, type="version.blocked", actor="system", body=body))

    def lift(self, service: str, digest: str, reason: str, actor: Actor) -> None:
        """Let a blocked version start again; whoever may steer the change that was convicted may.

        Raises Forbidden, Invalid (no reason) or NotFound.
        """
        require(actor, Action.CHANGE_COMMAND, Scope(services=frozenset({service})))
        if not reason.strip():
            raise Invalid("a block is lifted with a reason", code="reason-missing", way_out="say why: --reason …")
        with self._store.write() as tx:
            block = repo.blocked(tx.connection, service, digest)
            if block is not None:
                team = self._changes.read(tx.connection, block.change_id).owner_team
                require(actor, Action.CHANGE_COMMAND, Scope(services=frozenset({service}), team=team))
            if not repo.lift(tx, service, digest):
                raise NotFound(f"no block stands on {digest} of {service}", code="block-not-found")
            body = {"service": service, "digest": digest, "reason": self._journal.text(tx, reason.strip())}
            subject = f"version/{service}/{digest}"
            self._journal.record(tx, Fact(subject=subject, type="version.lifted", actor=actor.id, body=body))

    def blocked(self, actor: Actor) -> list[BlockedVersion]:
        """Return the standing blocks, newest first. One query."""
        require(actor, Action.CHANGE_READ)
        with self._store.read() as connection:
            rows = repo.blocked_versions(connection)
        return [
            BlockedVersion(
                service=row.service,
                digest=row.digest,
                change_id=row.change_id,
                sentence=row.sentence,
                at=row.at.isoformat(),
            )
            for row in rows
        ]


def _given_already(waiting: Sequence[repo.Command], verb: str, step: int | None) -> bool:
    """Return whether an order would say again what waits to be done. Of pause and resume the last word counts."""
    if verb in ("pause", "resume"):
        return [one.verb for one in waiting if one.verb in ("pause", "resume")][-1:] == [verb]
    return any((one.verb, one.step) == (verb, step) for one in waiting)


def _is_so(verb: str, change: Change) -> bool:
    """Return whether a change is already what an order wants it to be: whoever presses second gets it as it is."""
    if verb in TAKES_BACK:
        return change.phase in _ALREADY or change.outcome == Phase.ROLLED_BACK.words
    if verb == "retry":
        begun = change.attempt > 1 and change.phase in _AGAIN
        return begun or change.phase is Phase.ROLLING_BACK
    return verb == "mitigated" and change.phase in _AFTER and change.outcome == Phase.ROLLBACK_FAILED.words


def _check_blocks(connection: Connection, verb: str, change: Change) -> None:
    """A convicted version is tried again only after a person lifted its block."""
    if verb != "retry" or change.phase is not Phase.REVIEWING or change.run is None:
        return
    for unit in read_plan(_stored(change.run)["plan"]).units:
        if repo.blocked(connection, unit.service, unit.digest) is not None:
            raise Refused(
                f"this version of {unit.service} was convicted and is blocked",
                code="version-blocked",
                way_out=f"lift the block first: airboss version lift {unit.service} {unit.digest}",
            )


def _check(verb: str, change: Change) -> None:
    possible = possible_orders(change)
    if verb in possible:
        return
    raise Refused(
        f"change {change.id} is {change.phase.words}; {verb} is not possible",
        code="order-not-possible",
        way_out=f"possible now: {', '.join(possible)}" if possible else "nothing can be ordered any more",
    )


def action_of(verb: str) -> Action:
    """Return what somebody must be allowed to, to give an order: stopping asks for less than going on."""
    return Action.CHANGE_STOP if verb in STOPS else Action.CHANGE_COMMAND


def possible_orders(change: Change) -> list[str]:
    """Return the orders that are possible of a change now."""
    if change.phase is Phase.REVIEWING:
        after = {Phase.ROLLED_BACK.words: ["retry"], Phase.ROLLBACK_FAILED.words: ["rollback"]}
        return list(after.get(change.outcome or "", []))
    return [verb for verb, phases in LEGAL.items() if change.phase in phases]


def _stored(run: bytes) -> Mapping[str, Mapping[str, Any]]:
    return cast("Mapping[str, Mapping[str, Any]]", json.loads(run))
