"""People and their roles."""

from __future__ import annotations

import pytest

from airboss.kernel.errors import Forbidden, Invalid, NotFound, Refused
from airboss.people.access import LOCAL, Role, TokenScope
from airboss.people.identity import AddPerson, IssueToken


def test_a_handle_belongs_to_one_person_for_ever(identity, store):
    """Groups name people by handle, so no handle is given twice."""
    identity.persons.add(AddPerson(handle="dev-a"), LOCAL)
    with pytest.raises(Refused, match="already somebody called dev-a"):
        identity.persons.add(AddPerson(handle="dev-a"), LOCAL)
    with store.read() as connection:
        assert identity.persons.active(connection) == {"dev-a"}


@pytest.mark.parametrize("handle", ["", "Dev A", "dev/a", "x" * 64])
def test_handles_are_plain(identity, handle):
    """What could not stand in a file or a path is no handle."""
    with pytest.raises(Invalid, match="cannot name a person"):
        identity.persons.add(AddPerson(handle=handle), LOCAL)


def test_the_last_admin_stays(identity, person):
    """Nobody can leave the house without somebody who manages people."""
    admin = person("root", Role.ADMIN)
    with pytest.raises(Refused, match="nobody who can manage people"):
        identity.persons.set_role("root", Role.VIEWER, admin)
    with pytest.raises(Refused, match="nobody who can manage people"):
        identity.persons.disable("root", admin)
    person("second", Role.ADMIN)
    identity.persons.set_role("root", Role.VIEWER, admin)


def test_a_changed_role_is_felt_within_the_cache(identity, store, clock):
    """A demoted person loses the right when the second of belief is over."""
    identity.persons.add(AddPerson(handle="dev-a", role=Role.ADMIN), LOCAL)
    identity.persons.add(AddPerson(handle="root", role=Role.ADMIN), LOCAL)
    secret = identity.sign_in.use_link(identity.sign_in.issue_link("dev-a", LOCAL).secret).secret
    assert identity.authenticate_session(secret).role is Role.ADMIN
    identity.persons.set_role("dev-a", Role.VIEWER, LOCAL)
    clock.advance(1)
    assert identity.authenticate_session(secret).role is Role.VIEWER


def test_e_mail_is_for_those_who_manage_people(identity, store, person):
    """An engineer sees who there is, not how to write to them."""
    identity.persons.add(AddPerson(handle="dev-b", name="B", email="b@example.com"), LOCAL)
    engineer = person("dev-a")
    with store.read() as connection:
        assert {(one.handle, one.email) for one in identity.persons.all(connection, engineer)} == {
            ("dev-a", None),
            ("dev-b", None),
        }
        assert [one.email for one in identity.persons.all(connection, LOCAL)] == [None, "b@example.com"]


def test_engineers_do_not_manage_people(identity, person):
    """Adding people, changing roles and letting go take an admin; unknown people are named as unknown."""
    engineer = person("dev-a")
    with pytest.raises(Forbidden):
        identity.persons.add(AddPerson(handle="dev-b"), engineer)
    with pytest.raises(Forbidden):
        identity.persons.set_role("dev-a", Role.ADMIN, engineer)
    with pytest.raises(NotFound, match="nobody called dev-z"):
        identity.persons.disable("dev-z", LOCAL)


def test_facts_know_people_by_id_and_views_give_the_handles(identity, store, journal):
    """No handle, name or address stands in a fact; `handles` resolves the IDs."""
    who = identity.persons.add(AddPerson(handle="dev-long-handle", name="Full Name", email="f@example.com"), LOCAL)
    with store.read() as connection:
        stored = b"".join(fact.stored for fact in journal.read(connection))
        assert identity.persons.handles(connection, [who.id, "system"]) == {who.id: "dev-long-handle"}
    for words in (b"dev-long-handle", b"Full Name", b"f@example.com"):
        assert words not in stored


def test_principals_are_told_apart(identity, store):
    """People, tokens and the system behind facts are named with kind and role; strangers are left out."""
    who = identity.persons.add(AddPerson(handle="dev-a", role=Role.ENGINEER), LOCAL)
    token = identity.tokens.issue(
        IssueToken(label="ci", scopes=frozenset({TokenScope.CHANGES_WRITE}), days=1, personal=False), LOCAL
    ).token
    with store.read() as connection:
        found = identity.persons.principals(connection, [who.id, token.id, "system", "usr_nobody"])
    assert [tuple(found[one].values()) for one in (who.id, token.id, "system")] == [
        (who.id, "dev-a", "person", "engineer"),
        (token.id, "ci", "token", "viewer"),
        ("system", "airboss", "system", "admin"),
    ]
    assert len(found) == 3


def test_a_role_is_narrowed_widened_and_freed_by_becoming_an_admin(identity, clock):
    """Teams are kept in order, once each; left out they stay; none means all; an admin has none."""
    identity.persons.add(AddPerson(handle="root", role=Role.ADMIN), LOCAL)
    identity.persons.add(AddPerson(handle="dev-a", role=Role.ENGINEER, teams=("search", "payments", "search")), LOCAL)
    secret = identity.sign_in.use_link(identity.sign_in.issue_link("dev-a", LOCAL).secret).secret

    def teams() -> frozenset[str]:
        clock.advance(1)
        return identity.authenticate_session(secret).teams

    assert teams() == {"payments", "search"}
    identity.persons.set_role("dev-a", Role.VIEWER, LOCAL)
    assert teams() == {"payments", "search"}
    identity.persons.set_role("dev-a", Role.ENGINEER, LOCAL, teams=["search"])
    assert teams() == {"search"}
    with pytest.raises(Invalid, match="an admin is not narrowed"):
        identity.persons.set_role("dev-a", Role.ADMIN, LOCAL, teams=["search"])
    identity.persons.set_role("dev-a", Role.ADMIN, LOCAL)
    assert teams() == frozenset()
    with pytest.raises(Invalid, match="cannot name a team"):
        identity.persons.set_role("dev-a", Role.VIEWER, LOCAL, teams=["Not A Team"])
