"""Signing in: by a one-time link, by a password once one is set; and signing out.

Nobody is born with a password. An admin (or whoever can write the data folder) hands out a link; the person opens it,
is signed in, and may set a password to come back without asking. Links are 256 random bits, last 15 minutes, work once.
"""

from __future__ import annotations

import hashlib
from datetime import timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Row

from airboss.kernel.canonical import Json
from airboss.kernel.clock import rfc3339
from airboss.kernel.errors import AirbossError, Forbidden, Invalid, Refused, Unauthenticated
from airboss.people.access import Action, Actor, Role, require
from airboss.people.identity import repo, rules
from airboss.people.identity.authentication import Authentication
from airboss.people.identity.model import AddPerson, Link, LinkPurpose, LinkView, SignedIn, SignInWay
from airboss.people.identity.persons import Persons
from airboss.people.identity.ports import Ports
from airboss.people.identity.tables import guesses, link, person, session
from airboss.records.journal import Fact
from airboss.records.store import Tx, upsert


class SignIn:
    """Use cases of signing in.

    Facts on `person/<id>`: link.issued, link.used, session.opened, session.ended, sign_in.refused, password.set. What is
    typed by strangers (names nobody has) is counted on `sign_in/unknown-…`, and never kept.
    """

    def __init__(self, ports: Ports, persons: Persons, authentication: Authentication) -> None:
        self._ports = ports
        self._persons = persons
        self._authentication = authentication

    # -- links -----------------------------------------------------------------------------------------------------

    def issue_link(self, handle: str, actor: Actor) -> Link:
        """Return a one-time link for somebody; older ones of theirs stop working. Raises Forbidden, NotFound, Refused."""
        require(actor, Action.PEOPLE_MANAGE)
        with self._ports.store.write() as tx:
            row = repo.person_row(tx, handle=handle)
            if row.disabled_at is not None:
                raise Refused(f"{handle} was let go", code="person-disabled", way_out=f"airboss user enable {handle}")
            return self._insert_link(tx, LinkPurpose.SIGN_IN, person_id=row.id, by=actor)

    def issue_first_admin_link(self, actor: Actor) -> Link | None:
        """Return a one-time link that makes the first admin, or None when there is an admin already."""
        require(actor, Action.PEOPLE_MANAGE)
        with self._ports.store.write() as tx:
            tx.lock(repo.LATCH)
            if repo.admins(tx):
                return None
            return self._insert_link(tx, LinkPurpose.FIRST_ADMIN, person_id=None, by=actor)

    def look_at_link(self, secret: str) -> LinkView:
        """Return what a link is good for, without using it: a page asks first, so that no scanner spends it.

        Raises Unauthenticated for a link that does not work. One query.
        """
        with self._ports.store.read() as connection:
            row = repo.link_with_person(connection, rules.hashed(secret))
        refusal = "this link is not known here" if row is None else self._spent(row)
        if row is None or refusal is not None:
            raise _bad_link(refusal or "this link is not known here")
        return LinkView(purpose=LinkPurpose(row.purpose), handle=row.handle, expires_at=row.expires_at)

    def use_link(self, secret: str, *, handle: str | None = None, name: str | None = None) -> SignedIn:
        """Spend a link and open a session.

        A first-admin link takes the `handle` (and, if they like, `name`) of the admin it makes. Raises Unauthenticated
        (unknown, used, over; the first time a spent link comes back is recorded), Invalid (no or a bad handle).
        """
        with self._ports.store.write() as tx:
            row = repo.link_with_person(tx, rules.hashed(secret))
            if row is None:
                raise _bad_link("this link is not known here")
            tx.lock(_link_subject(row))
            row = repo.link_with_person(tx, rules.hashed(secret))
            if row is None:
                raise _bad_link("this link is not known here")
            refusal = self._spent(row)
            if refusal is None:
                return self._spend(tx, row, handle=handle, name=name)
            self._note_refused_link(tx, row, refusal)
        raise _bad_link(refusal)

    # -- passwords -------------------------------------------------------------------------------------------------

    def with_password(self, handle: str, password: str) -> SignedIn:
        """Open a session for whoever knows the password.

        The guess is counted before it is looked at, so guesses at the same time do not slip past each other; a right one
        forgets the count. Raises Unauthenticated (wrong, the same words whatever is wrong) or Refused (too many).
        """
        with self._ports.store.write() as tx:
            row = repo.find_person(tx, handle=handle)
            key = row.id if row is not None else _stranger(handle)
            failures = self._count_guess(tx, key)
        kept = row.password if row is not None and row.disabled_at is None else None
        # Outside any transaction: this takes as long as a hundred of them.
        right = rules.is_password(password[:1000], kept, log_n=self._ports.settings.scrypt_log_n)
        with self._ports.store.write() as tx:
            tx.lock(_subject(key))
            now_row = tx.execute(sa.select(person).where(person.c.id == key)).one_or_none()
            if right and now_row is not None and now_row.password == kept and now_row.disabled_at is None:
                tx.execute(sa.delete(guesses).where(guesses.c.key == key))
                return self._open(tx, person_id=key, handle=now_row.handle, way="password")
            body: dict[str, Json] = {"way": "password", "failures": failures}
            self._ports.journal.record(
                tx, Fact(subject=_subject(key), type="sign_in.refused", actor="anonymous", body=body)
            )
        raise Unauthenticated(
            "name or password is wrong",
            code="sign-in-refused",
            way_out="ask an admin for a sign-in link: airboss user link NAME",
        )

    def set_password(self, new: str, actor: Actor, *, current: str | None = None) -> None:
        """Set the actor's own password and end their other sessions.

        Needs `current` where there is one, unless the session was opened by a link just now (the way back for whoever
        forgot it). Raises Forbidden (a token asks), Unauthenticated (wrong current), Invalid (weak), Refused (too many).
        """
        session_id = _session_id(actor)
        rules.check_password(new, handle=actor.name)
        with self._ports.store.write() as tx:
            row = tx.execute(sa.select(person).where(person.c.id == actor.id)).one()
            opened = tx.execute(sa.select(session).where(session.c.id == session_id)).one()
            fresh = timedelta(seconds=self._ports.settings.link_lasts_s)
            by_link = opened.way == "link" and self._ports.clock.now() < opened.opened_at + fresh
            asks = row.password is not None and not by_link
            if asks:
                self._count_guess(tx, actor.id)
        log_n = self._ports.settings.scrypt_log_n
        if asks and not rules.is_password((current or "")[:1000], row.password, log_n=log_n):
            self._refuse_current(actor)
        kept = rules.keep_password(new, salt=self._ports.chance.token(16), log_n=log_n)
        now = self._ports.clock.now()
        with self._ports.store.write() as tx:
            tx.lock(repo.subject(actor.id))
            unchanged = person.c.password.is_(None) if row.password is None else person.c.password == row.password
            done = tx.execute(
                sa.update(person)
                .where(person.c.id == actor.id, person.c.disabled_at.is_(None), unchanged)
                .values(password=kept)
            )
            if done.rowcount != 1:
                raise Refused("the password was set from elsewhere meanwhile", code="password-moved")
            tx.execute(sa.delete(guesses).where(guesses.c.key == actor.id))
            ended = tx.execute(
                sa.update(session)
                .where(session.c.person == actor.id, session.c.id != session_id, session.c.ended_at.is_(None))
                .values(ended_at=now)
            )
            body = {"sessions_ended": ended.rowcount}
            self._ports.journal.record(
                tx, Fact(subject=repo.subject(actor.id), type="password.set", actor=actor.id, body=body)
            )
        self._authentication.forget()

    # -- signing out -----------------------------------------------------------------------------------------------

    def sign_out(self, actor: Actor) -> None:
        """End the session the actor came in by. Raises Forbidden for any other way in."""
        session_id = _session_id(actor)
        with self._ports.store.write() as tx:
            tx.lock(repo.subject(actor.id))
            done = tx.execute(
                sa.update(session)
                .where(session.c.id == session_id, session.c.ended_at.is_(None))
                .values(ended_at=self._ports.clock.now())
            )
            if done.rowcount == 1:
                body = {"session": session_id}
                self._ports.journal.record(
                    tx, Fact(subject=repo.subject(actor.id), type="session.ended", actor=actor.id, body=body)
                )
        self._authentication.forget()

    # -- inside ----------------------------------------------------------------------------------------------------

    def _insert_link(self, tx: Tx, purpose: LinkPurpose, *, person_id: str | None, by: Actor) -> Link:
        now = self._ports.clock.now()
        subject = repo.LATCH if person_id is None else repo.subject(person_id)
        tx.lock(subject)
        same = link.c.person.is_(None) if person_id is None else link.c.person == person_id
        tx.execute(sa.update(link).where(same, link.c.used_at.is_(None)).values(withdrawn_at=now))
        issued = Link(
            id=self._ports.ids.new("lnk"),
            secret=rules.mint(rules.LINK_PREFIX, self._ports.chance),
            purpose=purpose,
            expires_at=now + timedelta(seconds=self._ports.settings.link_lasts_s),
        )
        tx.execute(
            sa.insert(link).values(
                id=issued.id,
                hash=rules.hashed(issued.secret),
                purpose=purpose,
                person=person_id,
                issued_at=now,
                expires_at=issued.expires_at,
            )
        )
        body = {"link": issued.id, "purpose": purpose.value, "expires_at": rfc3339(issued.expires_at)}
        self._ports.journal.record(tx, Fact(subject=subject, type="link.issued", actor=by.id, body=body))
        return issued

    def _spent(self, row: Row[Any]) -> str | None:
        """Return why a link does not work any more, or None."""
        if row.used_at is not None:
            return "this link was used already"
        if row.withdrawn_at is not None:
            return "this link was replaced by a newer one"
        if self._ports.clock.now() >= row.expires_at:
            return "this link is over"
        if row.disabled_at is not None:
            return "the person of this link was let go"
        return None

    def _spend(self, tx: Tx, row: Row[Any], *, handle: str | None, name: str | None) -> SignedIn:
        tx.execute(sa.update(link).where(link.c.id == row.id).values(used_at=self._ports.clock.now()))
        person_id, known_as = row.person, row.handle
        if row.purpose == LinkPurpose.FIRST_ADMIN:
            if repo.admins(tx):
                raise _bad_link("there is an admin already")
            if not handle:
                raise Invalid(
                    "the first admin needs a name to be called by",
                    code="bad-name",
                    place="handle",
                    way_out="choose a short one, such as the name of your account at work",
                )
            added = self._persons.insert(tx, AddPerson(handle=handle, role=Role.ADMIN, name=name), by=None)
            person_id, known_as = added.id, added.handle
        self._ports.journal.record(
            tx, Fact(subject=repo.subject(person_id), type="link.used", actor=person_id, body={"link": row.id})
        )
        return self._open(tx, person_id=person_id, handle=known_as, way="link")

    def _note_refused_link(self, tx: Tx, row: Row[Any], refusal: str) -> None:
        """Record the first time a spent link comes back: somebody else may have it."""
        done = tx.execute(
            sa.update(link)
            .where(link.c.id == row.id, link.c.refused_at.is_(None))
            .values(refused_at=self._ports.clock.now())
        )
        if done.rowcount == 1:
            body = {"way": "link", "link": row.id, "because": refusal}
            self._ports.journal.record(
                tx, Fact(subject=_link_subject(row), type="sign_in.refused", actor="anonymous", body=body)
            )

    def _count_guess(self, tx: Tx, key: str) -> int:
        """Count one more guess and return how many there were in a row. Raises Refused while it is too early."""
        tx.lock(_subject(key))
        now = self._ports.clock.now()
        row = tx.execute(sa.select(guesses).where(guesses.c.key == key)).one_or_none()
        if row is not None and now < row.next_at:
            wait_s = max(1, round((row.next_at - now).total_seconds()))
            raise Refused(
                f"too many wrong passwords; the next try is in {wait_s} s",
                code="too-many-guesses",
                way_out="wait, or ask an admin for a sign-in link",
            )
        failures = 1 if row is None else row.failures + 1
        values = {"failures": failures, "next_at": rules.next_guess_at(failures, now)}
        tx.execute(
            upsert(guesses, tx.dialect)
            .values(key=key, **values)
            .on_conflict_do_update(index_elements=[guesses.c.key], set_=values)
        )
        return failures

    def _refuse_current(self, actor: Actor) -> None:
        with self._ports.store.write() as tx:
            body = {"way": "current-password"}
            self._ports.journal.record(
                tx, Fact(subject=repo.subject(actor.id), type="sign_in.refused", actor=actor.id, body=body)
            )
        raise Unauthenticated(
            "the current password is wrong", code="sign-in-refused", way_out="ask an admin for a sign-in link"
        )

    def _open(self, tx: Tx, *, person_id: str, handle: str, way: SignInWay) -> SignedIn:
        now = self._ports.clock.now()
        session_id = self._ports.ids.new("ses")
        secret = rules.mint(rules.SESSION_PREFIX, self._ports.chance)
        expires_at = now + timedelta(seconds=self._ports.settings.session_most_s)
        tx.execute(
            sa.insert(session).values(
                id=session_id,
                hash=rules.hashed(secret),
                person=person_id,
                way=way,
                opened_at=now,
                seen_at=now,
                expires_at=expires_at,
            )
        )
        body = {"session": session_id, "way": way, "expires_at": rfc3339(expires_at)}
        self._ports.journal.record(
            tx, Fact(subject=repo.subject(person_id), type="session.opened", actor=person_id, body=body)
        )
        return SignedIn(secret=secret, session=session_id, person=person_id, handle=handle, expires_at=expires_at)


def _stranger(handle: str) -> str:
    return f"unknown-{hashlib.sha256(handle.encode(errors='replace')).hexdigest()[:2]}"


def _subject(key: str) -> str:
    return f"sign_in/{key}" if key.startswith("unknown-") else repo.subject(key)


def _link_subject(row: Row[Any]) -> str:
    return repo.LATCH if row.person is None else repo.subject(row.person)


def _session_id(actor: Actor) -> str:
    kind, _, session_id = actor.via.partition(":")
    if kind != "session":
        raise Forbidden("only somebody signed in with a session may", way_out="sign in on the web page")
    return session_id


def _bad_link(reason: str) -> AirbossError:
    return Unauthenticated(
        reason, code="bad-link", way_out="ask an admin for a new one, or run: airboss user link NAME --local"
    )
