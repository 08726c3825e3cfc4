"""Adding people, setting their roles, letting them go."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Final

import sqlalchemy as sa
from sqlalchemy import Connection

from airboss.kernel.errors import Invalid, Refused
from airboss.people.access import ANONYMOUS, LOCAL, SYSTEM, Action, Actor, Role, may, require
from airboss.people.identity import repo, rules
from airboss.people.identity.model import AddPerson, Person
from airboss.people.identity.ports import Ports
from airboss.people.identity.tables import person, session, token
from airboss.records.journal import Fact
from airboss.records.store import Tx

TEXT_MOST: Final = 200


class Persons:
    """Use cases about people. Facts: person.added, role.changed, person.disabled, person.enabled."""

    def __init__(self, ports: Ports) -> None:
        self._ports = ports

    def add(self, command: AddPerson, actor: Actor) -> Person:
        """Add somebody; they sign in by a link (`SignIn.issue_link`). Raises Forbidden, Invalid, Refused."""
        require(actor, Action.PEOPLE_MANAGE)
        with self._ports.store.write() as tx:
            return self.insert(tx, command, by=actor.id)

    def insert(self, tx: Tx, command: AddPerson, *, by: str | None) -> Person:
        """Add somebody in the caller's transaction; `by` None means they add themselves, as the first admin does."""
        handle = rules.check_handle(command.handle)
        teams = rules.check_teams(command.role, command.teams)
        for field, words in (("name", command.name), ("email", command.email)):
            if words is not None and len(words) > TEXT_MOST:
                raise Invalid(f"{len(words)} characters are more than {TEXT_MOST}", code="too-long", place=field)
        tx.lock(repo.LATCH)
        if tx.execute(sa.select(person.c.id).where(person.c.handle == handle)).first() is not None:
            raise Refused(
                f"there is already somebody called {handle}",
                code="handle-taken",
                way_out="choose another name; a name is never given to a second person",
            )
        now = self._ports.clock.now()
        added = Person(
            id=self._ports.ids.new("usr"),
            handle=handle,
            role=command.role,
            name=command.name,
            email=command.email,
            has_password=False,
            created_at=now,
            disabled_at=None,
            teams=teams,
        )
        journal = self._ports.journal
        name_ref = journal.text(tx, command.name) if command.name else None
        email_ref = journal.text(tx, command.email) if command.email else None
        tx.execute(
            sa.insert(person).values(
                id=added.id,
                handle=handle,
                role=added.role,
                teams=json.dumps(teams),
                name_ref=name_ref,
                email_ref=email_ref,
                created_at=now,
            )
        )
        body = {
            "role": added.role.value,
            "handle": journal.text(tx, handle),
            "name": name_ref,
            "email": email_ref,
            "teams": list(teams),
        }
        journal.record(tx, Fact(subject=repo.subject(added.id), type="person.added", actor=by or added.id, body=body))
        return added

    def set_role(self, handle: str, role: Role, actor: Actor, *, teams: Sequence[str] | None = None) -> None:
        """Give somebody another role, narrowed to what some teams own; None leaves those as they are, () narrows nothing.

        Becoming an admin ends every narrowing. Raises Forbidden, NotFound, Invalid, Refused (the last admin).
        """
        require(actor, Action.PEOPLE_MANAGE)
        with self._ports.store.write() as tx:
            tx.lock(repo.LATCH)
            row = repo.person_row(tx, handle=handle)
            before = tuple(json.loads(row.teams))
            kept = () if role is Role.ADMIN else before
            after = rules.check_teams(role, kept if teams is None else teams)
            if (row.role, before) == (role, after):
                return
            tx.execute(sa.update(person).where(person.c.id == row.id).values(role=role, teams=json.dumps(after)))
            self._keep_an_admin(tx)
            body = {"from": row.role, "to": role.value, "teams_from": list(before), "teams": list(after)}
            self._ports.journal.record(
                tx, Fact(subject=repo.subject(row.id), type="role.changed", actor=actor.id, body=body)
            )

    def disable(self, handle: str, actor: Actor) -> None:
        """Let somebody go: sessions end and tokens are revoked with it. Raises Forbidden, NotFound, Refused."""
        require(actor, Action.PEOPLE_MANAGE)
        now = self._ports.clock.now()
        with self._ports.store.write() as tx:
            tx.lock(repo.LATCH)
            row = repo.person_row(tx, handle=handle)
            if row.disabled_at is not None:
                return
            tx.lock(repo.subject(row.id))  # a sign-in on its way opens its session before, or finds the door shut
            tx.execute(sa.update(person).where(person.c.id == row.id).values(disabled_at=now))
            self._keep_an_admin(tx)
            ended = tx.execute(
                sa.update(session).where(session.c.person == row.id, session.c.ended_at.is_(None)).values(ended_at=now)
            )
            revoked = tx.execute(
                sa.update(token).where(token.c.person == row.id, token.c.revoked_at.is_(None)).values(revoked_at=now)
            )
            body = {"sessions_ended": ended.rowcount, "tokens_revoked": revoked.rowcount}
            self._ports.journal.record(
                tx, Fact(subject=repo.subject(row.id), type="person.disabled", actor=actor.id, body=body)
            )

    def enable(self, handle: str, actor: Actor) -> None:
        """Let somebody back in; they need a new link and new tokens. Raises Forbidden, NotFound."""
        require(actor, Action.PEOPLE_MANAGE)
        with self._ports.store.write() as tx:
            tx.lock(repo.LATCH)
            row = repo.person_row(tx, handle=handle)
            if row.disabled_at is None:
                return
            tx.execute(sa.update(person).where(person.c.id == row.id).values(disabled_at=None))
            self._ports.journal.record(
                tx, Fact(subject=repo.subject(row.id), type="person.enabled", actor=actor.id, body={})
            )

    # -- views -----------------------------------------------------------------------------------------------------

    def all(self, connection: Connection, actor: Actor) -> list[Person]:
        """Return everybody by handle; e-mail addresses only for those who manage people. Two queries."""
        require(actor, Action.PEOPLE_READ)
        found = repo.people(connection, self._ports.journal)
        return found if may(actor, Action.PEOPLE_MANAGE) else [replace(one, email=None) for one in found]

    def handles(self, connection: Connection, ids: Iterable[str]) -> dict[str, str]:
        """Return ID → handle of the people among `ids`, for showing facts, which know people by ID only. One query."""
        wanted = set(ids)
        if not wanted:
            return {}
        rows = connection.execute(sa.select(person.c.id, person.c.handle).where(person.c.id.in_(wanted)))
        return {row.id: row.handle for row in rows}

    def principals(self, connection: Connection, ids: Iterable[str]) -> dict[str, dict[str, str]]:
        """Return ID → {id, name, kind, role} of whoever may stand in a fact: people, tokens, the system. Two queries.

        The name of a person is the handle, of a token its label; a personal token's acts stand under its person.
        """
        wanted = set(ids)
        found = {
            one.id: {"id": one.id, "name": one.name, "kind": one.kind, "role": one.role.value}
            for one in (SYSTEM, LOCAL, ANONYMOUS)
            if one.id in wanted
        }
        if wanted - set(found):
            for row in connection.execute(sa.select(person).where(person.c.id.in_(wanted))):
                found[row.id] = {"id": row.id, "name": row.handle, "kind": "person", "role": row.role}
            for row in connection.execute(sa.select(token).where(token.c.id.in_(wanted))):
                found[row.id] = {"id": row.id, "name": row.label, "kind": "token", "role": Role.VIEWER.value}
        return found

    def active(self, connection: Connection) -> frozenset[str]:
        """Return the handles of everybody who can sign in: members of a group who cannot do not count. One query."""
        rows = connection.execute(sa.select(person.c.handle).where(person.c.disabled_at.is_(None)))
        return frozenset(rows.scalars())

    def is_empty(self, connection: Connection) -> bool:
        """Return whether nobody can run this store yet: there is no admin. One query."""
        return repo.admins(connection) == 0

    def _keep_an_admin(self, tx: Tx) -> None:
        if repo.admins(tx) == 0:
            raise Refused(
                "this would leave nobody who can manage people",
                code="last-admin",
                way_out="make somebody else an admin first",
            )
