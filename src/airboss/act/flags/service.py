"""What can be done with flags: define, expose, finish, revert, kill; and what an evaluator needs of them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

from sqlalchemy import Connection

from airboss.act.flags import repo, rules
from airboss.act.flags.definition import Place, read_definition
from airboss.act.flags.model import PRODUCTION, Definition, Exposure, Flag, FlagState, Kill, Put, Standing
from airboss.kernel.canonical import Json, canonical, digest_bytes
from airboss.kernel.clock import Clock
from airboss.kernel.errors import Invalid, NotFound, Refused
from airboss.people.access import Action, Actor, require
from airboss.people.access import Scope as AccessScope
from airboss.records.journal import Fact, Journal
from airboss.records.store import Store, Tx
from airboss.sdk.evaluator import Snapshot, compile_snapshot

FORMAT: Final = 1
MOST_ENVIRONMENTS: Final = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """All flags of one environment at one revision: the bytes SDKs fetch, their ETag, and the same compiled."""

    revision: int
    etag: str
    body: bytes
    compiled: Snapshot


def subject_of(flag: str) -> str:
    """Return the journal's subject of a flag."""
    return f"flag/{flag}"


class Flags:
    """Definitions, exposures and kill switches. Exposure is moved by changes, through the tower, and by nobody else."""

    def __init__(self, store: Store, journal: Journal, clock: Clock) -> None:
        self._store = store
        self._journal = journal
        self._clock = clock
        self._served: dict[str, Served] = {}
        self._lock = threading.Lock()

    # -- definitions ---------------------------------------------------------------------------------------------

    def put(
        self,
        name: str,
        spec: Mapping[str, Any],
        *,
        actor: Actor,
        place: Place | None = None,
        clearance: str | None = None,
    ) -> Put:
        """Define a flag, or define it anew, from the `spec` of a `kind: Flag` document.

        `place` turns a path inside `spec` into `file:line:column`; `clearance` is the change under which an edit that
        moves people was approved. Applying the same again changes nothing.
        Raises Forbidden, Invalid (with the place), or Refused for an edit that would move people.
        """
        definition = read_definition(name, spec, place)
        require(actor, Action.FLAG_APPLY, AccessScope(services=frozenset(definition.services), team=definition.owner))
        with self._store.write() as tx:
            return self.define(tx, definition, actor=actor, clearance=clearance)

    def define(self, tx: Tx, definition: Definition, *, actor: Actor, clearance: str | None = None) -> Put:
        """Put a checked definition in the caller's transaction; see `put`. Access is the caller's to check."""
        tx.lock(subject_of(definition.name))
        before = self._find(tx.connection, definition.name)
        if before is not None:
            if before.definition.stored == definition.stored:
                return Put(
                    flag=definition.name, outcome="unchanged", revision=before.revision, digest=definition.digest
                )
            rules.refuse_unless_harmless(before, definition, cleared=clearance is not None)
        number = before.revision + 1 if before is not None else 1
        repo.next_revision(tx)
        repo.add_definition(tx, definition, number=number, actor=actor.id, at=self._clock.now())
        body: dict[str, Json] = {
            "revision": number,
            "digest": definition.digest,
            "definition_digest": digest_bytes(definition.stored),
        }
        if clearance is not None:
            body["change_id"] = clearance
        self._record(tx, definition.name, "flag.defined" if before is None else "flag.redefined", actor, body)
        return Put(
            flag=definition.name,
            outcome="created" if before is None else "changed",
            revision=number,
            digest=definition.digest,
            warnings=rules.warnings(definition, before),
        )

    # -- views ---------------------------------------------------------------------------------------------------

    def get(self, connection: Connection, name: str) -> Flag:
        """Return a flag with all that moves it. Raises NotFound. Four queries."""
        found = self._find(connection, name)
        if found is None:
            raise NotFound(f"there is no flag {name}", code="flag-not-found", way_out="apply a file with kind: Flag")
        return found

    def list(self, connection: Connection) -> list[Flag]:
        """Return all flags by name. Four queries."""
        return repo.flags(connection)

    def observe(
        self, connection: Connection, flag: str, *, environment: str = PRODUCTION, change_id: str | None = None
    ) -> FlagState:
        """Return where a flag stands, as a change sees it (None: as the ramp that is on sees it). Raises NotFound."""
        return self.get(connection, flag).state(environment, change_id)

    def export(self, connection: Connection, *, environment: str = PRODUCTION) -> dict[str, Any]:
        """Return all flags as a plain flagd document for other people's evaluators. Four queries."""
        return {
            "flags": {flag.definition.name: rules.exported(flag, environment) for flag in repo.flags(connection)},
            "metadata": {"airboss.revision": repo.revision(connection)},
        }

    # -- exposure ------------------------------------------------------------------------------------------------

    def set_exposure(
        self,
        flag: str,
        change_id: str,
        percent: float,
        new_variant: str,
        old_variant: str,
        *,
        key: str,
        actor: Actor,
        environment: str = PRODUCTION,
        split: Sequence[tuple[str, int]] = (),
        attempt: int = 1,
        after: str | None = None,
        unless: Callable[[Connection], bool] = lambda _: False,
    ) -> FlagState:
        """Bring the new side of a flag to `percent` of the people targeting says nothing about.

        Done once for each `key`: a late repetition changes nothing, whatever came after it. The first exposure fixes
        salt and sides for the change, so everybody keeps their side while the percentage grows. A change that was taken
        back may expose again in a later `attempt`, and only in that. `after` names a change that is over and left its
        ramp standing: that ramp ends here, and those who were in it get the old side. `unless` says, in the transaction that
        exposes, that the change is over and nothing may be exposed by it any more.
        Raises NotFound, Invalid (variant, percentage), or Refused (another change holds a ramp here, which it names;
        the old side is not what people get; the flag is disabled).
        """
        wanted = rules.exact_percent(percent)
        with self._store.write() as tx:
            found = self._locked(tx, flag)
            if repo.is_done(tx, key):
                return found.state(environment, change_id)
            if unless(tx.connection):
                raise _taken_back(flag, change_id)
            rules.check_sides(found, environment, new_variant, old_variant, split)
            held = next(
                (one for one in found.exposures if (one.environment, one.change_id) == (environment, change_id)), None
            )
            if held is not None and (attempt < held.attempt or (held.state == "reverted" and attempt == held.attempt)):
                raise _taken_back(flag, change_id)
            active = found.active(environment)
            if active is not None and active.change_id != change_id:
                if active.change_id != after:
                    raise rules.held_by(flag, environment, active.change_id)
                self._end(tx, active, "reverted", serves=None, key=None, actor=actor, instead=change_id)
                active = None
            if active is not None and (active.on_variant, active.off_variant) != (new_variant, old_variant):
                raise Refused(
                    f"change {change_id} ramps flag {flag} from {active.off_variant!r} to {active.on_variant!r}; "
                    "its sides cannot change on the way",
                    code="flag-sides-changed",
                    way_out="roll it back and propose another change",
                )
            revision = repo.next_revision(tx)
            now = self._clock.now()
            exposure = Exposure(
                flag=flag,
                environment=environment,
                change_id=change_id,
                percent=wanted,
                on_variant=new_variant,
                off_variant=old_variant,
                split=tuple(split),
                salt=held.salt if held is not None else change_id,
                state="active",
                revision=revision,
                at=now,
                attempt=attempt,
            )
            repo.save_exposure(tx, exposure)
            repo.save_effect(tx, key=key, flag=flag, change_id=change_id, act="expose", at=now)
            self._record(
                tx,
                flag,
                "flag.exposed",
                actor,
                {
                    "change_id": change_id,
                    "environment": environment,
                    "percent": wanted,
                    "from_percent": active.percent if active is not None else 0.0,
                    "on_variant": new_variant,
                    "off_variant": old_variant,
                    "salt": exposure.salt,
                    "revision": revision,
                    "digest": found.definition.digest,
                },
            )
            return self._locked(tx, flag).state(environment, change_id)

    def finish(self, change_id: str, *, flag: str, key: str, actor: Actor, environment: str = PRODUCTION) -> FlagState:
        """Make the new side what everybody gets, and end the ramp. Repeating it changes nothing.

        Raises NotFound, or Refused below 100 %.
        """
        with self._store.write() as tx:
            found = self._locked(tx, flag)
            own = _own(found, change_id, environment)
            if repo.is_done(tx, key) or own.state == "finished":
                return found.state(environment, change_id)
            if own.state != "active" or own.percent < 100:
                raise Refused(
                    f"change {change_id} has flag {flag} at {own.percent if own.state == 'active' else 0:g} %, not 100 %",
                    code="flag-not-through",
                    way_out="expose it to 100 % first",
                )
            self._end(tx, own, "finished", serves=own.on_variant, key=key, actor=actor)
            return self._locked(tx, flag).state(environment, change_id)

    def revert(self, change_id: str, *, flag: str, key: str, actor: Actor, environment: str = PRODUCTION) -> FlagState:
        """Take a change back: everybody gets the old side, whether the ramp was on, finished or never began.

        What others have done to the flag since stays. Repeating it changes nothing. Raises NotFound for the flag.
        """
        with self._store.write() as tx:
            found = self._locked(tx, flag)
            own = next(
                (one for one in found.exposures if (one.environment, one.change_id) == (environment, change_id)), None
            )
            if own is None or own.state == "reverted" or repo.is_done(tx, key):
                return found.state(environment, change_id)
            left = next((one for one in found.standings if one.environment == environment), None)
            ours = own.state == "finished" and left is not None and left.change_id == change_id
            self._end(tx, own, "reverted", serves=own.off_variant if ours else None, key=key, actor=actor)
            return self._locked(tx, flag).state(environment, change_id)

    def _end(
        self,
        tx: Tx,
        own: Exposure,
        state: Literal["finished", "reverted"],
        *,
        serves: str | None,
        key: str | None,
        actor: Actor,
        instead: str | None = None,
    ) -> None:
        """End a ramp; `key` None where it is part of an effect of another change, `instead`, and kept under its key."""
        revision = repo.next_revision(tx)
        now = self._clock.now()
        repo.save_exposure(tx, replace(own, state=state, revision=revision, at=now))
        if serves is not None:
            repo.save_standing(
                tx, Standing(flag=own.flag, environment=own.environment, variant=serves, change_id=own.change_id)
            )
        if key is not None:
            repo.save_effect(tx, key=key, flag=own.flag, change_id=own.change_id, act=state, at=now)
        self._record(
            tx,
            own.flag,
            f"flag.{state}",
            actor,
            {
                "change_id": own.change_id,
                "environment": own.environment,
                "from_percent": own.percent,
                "on_variant": own.on_variant,
                "off_variant": own.off_variant,
                "serves": serves,
                "revision": revision,
                **({} if instead is None else {"instead": instead}),
            },
        )

    # -- kill switch ---------------------------------------------------------------------------------------------

    def kill(
        self, flag: str, reason: str, *, actor: Actor, environment: str = PRODUCTION, variant: str | None = None
    ) -> FlagState:
        """Serve the off side to everybody at once, over targeting and ramps, until `unkill`.

        Raises Forbidden, NotFound, Invalid (no reason, unknown variant), or Refused when nothing says what the off
        side is.
        """
        if not reason.strip():
            raise Invalid("a kill needs its reason", code="reason-missing", way_out="say in a few words what is wrong")
        with self._store.write() as tx:
            found = self._locked(tx, flag)
            require(actor, Action.FLAG_KILL, AccessScope(services=frozenset(found.definition.services)))
            serves = rules.off_variant(found, environment, variant)
            now = self._clock.now()
            revision = repo.next_revision(tx)
            reference = self._journal.text(tx, reason.strip())
            repo.save_kill(
                tx,
                Kill(flag=flag, environment=environment, variant=serves, reason=reference, actor=actor.id, at=now),
            )
            body: dict[str, Json] = {
                "environment": environment,
                "serves": serves,
                "reason": reference,
                "revision": revision,
            }
            active = found.active(environment)
            if active is not None:
                body["change_id"] = active.change_id
            self._record(tx, flag, "flag.killed", actor, body)
            return self._locked(tx, flag).state(environment)

    def unkill(self, flag: str, *, actor: Actor, environment: str = PRODUCTION) -> FlagState:
        """Lift the kill switch; the flag answers as its definition and its ramp say. Raises Forbidden, NotFound.

        Lifting one that is not on changes nothing.
        """
        with self._store.write() as tx:
            found = self._locked(tx, flag)
            require(actor, Action.FLAG_KILL, AccessScope(services=frozenset(found.definition.services)))
            if repo.delete_kill(tx, flag, environment):
                revision = repo.next_revision(tx)
                self._record(tx, flag, "flag.unkilled", actor, {"environment": environment, "revision": revision})
            return self._locked(tx, flag).state(environment)

    # -- evaluation ----------------------------------------------------------------------------------------------

    def revision(self, connection: Connection) -> int:
        """Return the revision of all flags together. One query."""
        return repo.revision(connection)

    def snapshot(self, connection: Connection, *, environment: str = PRODUCTION) -> tuple[str, bytes]:
        """Return (ETag, canonical bytes) of all flags of an environment, as SDKs fetch them."""
        served = self.served(connection, environment=environment)
        return served.etag, served.body

    def served(self, connection: Connection, *, environment: str = PRODUCTION) -> Served:
        """Return all flags of an environment, compiled; kept until the revision moves. One query, else five."""
        current = repo.revision(connection)
        held = self._served.get(environment)
        if held is not None and held.revision >= current:
            return held
        document: dict[str, Any] = {
            "format": FORMAT,
            "environment": environment,
            "revision": current,
            "flags": {flag.definition.name: rules.served(flag, environment) for flag in repo.flags(connection)},
        }
        body = canonical(document)
        made = Served(
            revision=current,
            etag=f'"{current}-{digest_bytes(body)[7:23]}"',
            body=body,
            compiled=compile_snapshot(document, previous=held.compiled if held else None, now=self._now),
        )
        with self._lock:
            last = self._served.get(environment)
            if last is None or last.revision < made.revision:
                if last is None and len(self._served) >= MOST_ENVIRONMENTS:
                    self._served.clear()  # names come from requests: whoever makes them up does not get our memory
                self._served[environment] = made
        return made

    def _now(self) -> float:
        return self._clock.now().timestamp()

    # -- furniture -----------------------------------------------------------------------------------------------

    def state_digest(self, connection: Connection, flag: str) -> str:
        """Return the digest over a flag's rows, as its last fact carries it. Raises NotFound. Four queries."""
        return self.get(connection, flag).state_digest

    def _find(self, connection: Connection, name: str) -> Flag | None:
        return next(iter(repo.flags(connection, [name])), None)

    def _locked(self, tx: Tx, name: str) -> Flag:
        tx.lock(subject_of(name))
        return self.get(tx.connection, name)

    def _record(self, tx: Tx, flag: str, kind: str, actor: Actor, body: Mapping[str, Json]) -> None:
        after = self.get(tx.connection, flag).state_digest
        self._journal.record(
            tx, Fact(subject=subject_of(flag), type=kind, actor=actor.id, body=body, state_digest=after)
        )


def _own(flag: Flag, change_id: str, environment: str) -> Exposure:
    for one in flag.exposures:
        if (one.environment, one.change_id) == (environment, change_id):
            return one
    raise Refused(
        f"change {change_id} has not exposed flag {flag.definition.name} in {environment}", code="flag-not-exposed"
    )


def _taken_back(flag: str, change_id: str) -> Refused:
    """Return the answer to an order to expose that was under way when its change was taken back: it arrives too late."""
    return Refused(
        f"change {change_id} was taken back from flag {flag}",
        code="flag-taken-back",
        way_out="order a retry, or propose another change",
    )
