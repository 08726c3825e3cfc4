"""Who may do what."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airboss.kernel.errors import Forbidden, Unauthenticated
from airboss.people.access import (
    ANONYMOUS,
    LOCAL,
    RULES,
    SYSTEM,
    Action,
    Actor,
    Role,
    Scope,
    TokenScope,
    allowed,
    may,
    require,
)

PERSON = Actor(
    id="usr_a", name="dev-a", kind="person", role=Role.ENGINEER, scopes=None, service=None, via="session:ses_a"
)
SERVICE_TOKEN = Actor(
    id="tok_a",
    name="checkout telemetry",
    kind="token",
    role=Role.VIEWER,
    scopes=frozenset({"telemetry.write"}),
    service="checkout",
    via="token:tok_a",
)


def test_every_act_has_a_rule():
    """No act can be asked for that the table does not know."""
    assert set(RULES) == set(Action)


@given(action=st.sampled_from(Action), role=st.sampled_from(Role))
def test_a_higher_role_never_may_less(action, role):
    """Roles are nested: admin holds all of engineer, engineer all of viewer."""
    lower = replace(PERSON, role=role)
    if may(lower, action):
        assert all(may(replace(PERSON, role=other), action) for other in Role if other.covers(role))


@given(
    action=st.sampled_from(Action),
    role=st.sampled_from(Role),
    scopes=st.frozensets(st.sampled_from([scope.value for scope in TokenScope])),
    kind=st.sampled_from(["person", "token"]),
)
def test_scopes_only_narrow_a_person(action, role, scopes, kind):
    """A personal token never reaches beyond its person, and no token beyond its scopes."""
    actor = replace(PERSON, role=role, scopes=scopes, kind=kind)
    if may(actor, action):
        assert RULES[action].scope in scopes
        assert kind == "token" or may(replace(actor, scopes=None), action)


@given(
    scopes=st.frozensets(st.sampled_from([scope.value for scope in TokenScope])),
    service=st.none() | st.just("checkout"),
)
def test_only_a_person_approves(scopes, service):
    """Neither a service's token, whatever its scopes, nor the system may vote."""
    token = replace(SERVICE_TOKEN, scopes=scopes, service=service, role=Role.ADMIN)
    assert not may(token, Action.CHANGE_APPROVE)
    assert not may(SYSTEM, Action.CHANGE_APPROVE)
    assert not may(LOCAL, Action.CHANGE_APPROVE)


def test_a_personal_token_approves_only_with_the_scope():
    """A personal token approves when it was issued to, and not otherwise."""
    assert may(replace(PERSON, scopes=frozenset({"approve"})), Action.CHANGE_APPROVE)
    assert not may(replace(PERSON, scopes=frozenset({"read", "admin", "operate"})), Action.CHANGE_APPROVE)


def test_the_anonymous_may_nothing_and_are_told_to_sign_in():
    """Nobody in particular gets 401 for everything."""
    assert allowed(ANONYMOUS) == frozenset()
    for action in Action:
        with pytest.raises(Unauthenticated, match="nobody is signed in"):
            require(ANONYMOUS, action)


def test_a_refusal_names_who_may():
    """Whoever is refused learns whom to ask."""
    with pytest.raises(Forbidden, match="dev-a may not put a policy pack in force") as refused:
        require(PERSON, Action.POLICY_APPLY)
    assert refused.value.way_out == "a signed-in admin or a token with scope admin may"


def test_telemetry_needs_a_token_of_its_own_bound_to_the_service():
    """Not even an admin sends telemetry, and a token sends for its own service only."""
    require(SERVICE_TOKEN, Action.TELEMETRY_WRITE, Scope(services=frozenset({"checkout"})))
    assert not may(replace(PERSON, role=Role.ADMIN), Action.TELEMETRY_WRITE)
    assert not may(replace(SERVICE_TOKEN, service=None), Action.TELEMETRY_WRITE)
    with pytest.raises(Forbidden, match="bound to checkout, not to search"):
        require(SERVICE_TOKEN, Action.TELEMETRY_WRITE, Scope(services=frozenset({"checkout", "search"})))


def test_the_tower_may_steer_and_no_more_than_a_person_asks_for_votes():
    """The system passes every rule but the personal ones and those of bound tokens."""
    assert allowed(SYSTEM) == {action for action, rule in RULES.items() if not rule.personal and rule.least is not None}


@given(
    action=st.sampled_from(Action),
    teams=st.frozensets(st.sampled_from(["payments", "search", "platform"]), min_size=1),
    team=st.none() | st.sampled_from(["payments", "search", "platform"]),
    owners=st.frozensets(st.sampled_from(["payments", "search", "platform"])),
)
def test_a_role_narrowed_to_teams_reaches_what_only_these_own(action, teams, team, owners):
    """It may never more than the whole role, and less exactly where the act is owned and concerns another team."""
    scope = Scope(team=team, owners=owners)
    concerns = owners | ({team} if team else set())
    wanted = may(PERSON, action, scope) and (not RULES[action].owned or concerns <= teams)
    assert may(replace(PERSON, teams=teams), action, scope) is wanted


@pytest.mark.parametrize("action", [Action.CHANGE_STOP, Action.FLAG_KILL])
def test_stopping_harm_is_nobodys_alone(action):
    """An engineer of another team may pause, abort, roll back and kill: the way back asks for no ownership."""
    assert may(replace(PERSON, teams=frozenset({"search"})), action, Scope(team="payments"))


def test_a_refusal_says_whose_it_is():
    """What the rights reach, whom it concerns, and who may."""
    with pytest.raises(Forbidden, match=r"narrowed to team search, and this concerns team payments") as caught:
        require(replace(PERSON, teams=frozenset({"search"})), Action.CHANGE_SUBMIT, Scope(team="payments"))
    assert caught.value.way_out is not None
    assert "whose rights reach there" in caught.value.way_out
