"""API tokens."""

from __future__ import annotations

from dataclasses import replace

import pytest

from airboss.kernel.errors import Forbidden, Invalid, Refused, Unauthenticated
from airboss.people.access import LOCAL, Action, Role, Scope, TokenScope, may
from airboss.people.identity import IssueToken

TELEMETRY = IssueToken(
    label="checkout telemetry",
    scopes=frozenset({TokenScope.TELEMETRY_WRITE, TokenScope.FLAGS_READ}),
    days=30,
    personal=False,
    service="checkout",
)
PERSONAL = IssueToken(label="laptop", scopes=frozenset({TokenScope.READ, TokenScope.APPROVE}), days=30, personal=True)


def test_a_service_token_is_its_own_actor_bound_to_its_service(identity):
    """It may what it was issued for, for its own service, and nothing else."""
    issued = identity.tokens.issue(TELEMETRY, LOCAL)
    assert issued.secret.startswith("abt_")
    actor = identity.authenticate_token(issued.secret)
    assert (actor.id, actor.kind, actor.service) == (issued.token.id, "token", "checkout")
    assert may(actor, Action.TELEMETRY_WRITE, Scope(services=frozenset({"checkout"})))
    assert not may(actor, Action.TELEMETRY_WRITE, Scope(services=frozenset({"search"})))
    assert not may(actor, Action.CHANGE_READ)


def test_a_personal_token_is_the_person_narrowed(identity, person):
    """It carries the person's ID, handle and role, and only its scopes."""
    engineer = person("dev-a")
    actor = identity.authenticate_token(identity.tokens.issue(PERSONAL, engineer).secret)
    assert (actor.id, actor.name, actor.kind, actor.role) == (engineer.id, "dev-a", "person", Role.ENGINEER)
    assert may(actor, Action.CHANGE_APPROVE)
    assert not may(actor, Action.CHANGE_SUBMIT)


def test_no_token_makes_another_for_its_person(identity, person):
    """A leaked token cannot prolong itself, by issuing or by rotating."""
    engineer = person("dev-a")
    issued = identity.tokens.issue(replace(PERSONAL, scopes=frozenset({TokenScope.ADMIN, TokenScope.READ})), engineer)
    leaked = identity.authenticate_token(issued.secret)
    with pytest.raises(Forbidden):
        identity.tokens.issue(PERSONAL, leaked)
    with pytest.raises(Forbidden):
        identity.tokens.rotate(issued.token.id, leaked)


def test_an_admin_revokes_but_never_holds_the_token_of_another(identity, person):
    """Rotating somebody's personal token would speak for them, also as approver; revoking it is an admin's duty."""
    issued = identity.tokens.issue(PERSONAL, person("dev-a"))
    admin = person("root", Role.ADMIN)
    with pytest.raises(Forbidden, match="speak for them"):
        identity.tokens.rotate(issued.token.id, admin)
    with pytest.raises(Forbidden):
        identity.tokens.revoke(issued.token.id, person("dev-b"))
    identity.tokens.revoke(issued.token.id, admin)
    with pytest.raises(Unauthenticated, match="revoked"):
        identity.authenticate_token(issued.secret)


def test_revoking_is_felt_in_other_processes_within_a_second(identity, elsewhere, clock):
    """Another process believes a revoked token for its cache's second at most."""
    issued = identity.tokens.issue(TELEMETRY, LOCAL)
    elsewhere.authenticate_token(issued.secret)
    identity.tokens.revoke(issued.token.id, LOCAL)
    identity.tokens.revoke(issued.token.id, LOCAL)
    elsewhere.authenticate_token(issued.secret)
    clock.advance(1)
    with pytest.raises(Unauthenticated):
        elsewhere.authenticate_token(issued.secret)


def test_a_token_is_over_at_its_time(identity, clock):
    """Every token expires."""
    issued = identity.tokens.issue(TELEMETRY, LOCAL)
    clock.advance(30 * 86400)
    with pytest.raises(Unauthenticated, match="is over since"):
        identity.authenticate_token(issued.secret)
    with pytest.raises(Refused, match="nothing to rotate"):
        identity.tokens.rotate(issued.token.id, LOCAL)


def test_rotating_leaves_time_to_change_over(identity, clock):
    """Old and new secret work side by side for the overlap, then only the new one."""
    old = identity.tokens.issue(TELEMETRY, LOCAL)
    new = identity.tokens.rotate(old.token.id, LOCAL, overlap_s=600)
    assert new.token.scopes == old.token.scopes
    assert new.token.service == "checkout"
    identity.authenticate_token(old.secret)
    clock.advance(600)
    with pytest.raises(Unauthenticated):
        identity.authenticate_token(old.secret)
    assert identity.authenticate_token(new.secret).id == new.token.id


@pytest.mark.parametrize(
    ("changes", "place"),
    [
        ({"days": 0}, "days"),
        ({"days": 366}, "days"),
        ({"scopes": frozenset()}, "scopes"),
        ({"scopes": frozenset({TokenScope.APPROVE})}, "scopes"),
        ({"scopes": frozenset({TokenScope.ADMIN})}, "scopes"),
        ({"service": None}, "service"),
        ({"label": " "}, "label"),
    ],
)
def test_a_service_token_cannot_carry_too_much(identity, changes, place):
    """Too long, too wide, unbound or nameless tokens are refused with the place of the fault."""
    with pytest.raises(Invalid) as refused:
        identity.tokens.issue(replace(TELEMETRY, **changes), LOCAL)
    assert refused.value.place == place


def test_last_use_is_written_once_a_minute(identity, store, clock):
    """The last use is known to the minute, and a busy token does not wear the database."""
    issued = identity.tokens.issue(TELEMETRY, LOCAL)
    first = clock.now()
    for _ in range(59):
        identity.authenticate_token(issued.secret)
        clock.advance(1)
    with store.read() as connection:
        assert [token.last_used_at for token in identity.tokens.all(connection, LOCAL)] == [first]
    clock.advance(1)
    identity.authenticate_token(issued.secret)
    with store.read() as connection:
        assert [token.last_used_at for token in identity.tokens.all(connection, LOCAL)] == [clock.now()]


@pytest.mark.parametrize("secret", ["", "abt_", "abs_x", "Bearer abt_x", "abt_" + "x" * 200])
def test_what_is_no_token_is_refused(identity, secret):
    """Anything that was never issued gets 401."""
    with pytest.raises(Unauthenticated):
        identity.authenticate_token(secret)
