"""Links, sessions, passwords."""

from __future__ import annotations

import threading

import pytest

from airboss.kernel.errors import Forbidden, Invalid, Refused, Unauthenticated
from airboss.people.access import LOCAL, Role
from airboss.people.identity import AddPerson, LinkPurpose

GOOD = "four unrelated words"


def _facts(store, journal, subject, kind):
    with store.read() as connection:
        return [fact for fact in journal.of(connection, subject) if fact.type == kind]


def test_the_first_admin_comes_in_by_a_link_in_a_closed_file(identity, store, tmp_path):
    """On an empty store one link, readable by the owner only, makes one admin; then there is none any more."""
    url = identity.first_admin_link(tmp_path, base_url="http://127.0.0.1:8600/")
    file = tmp_path / "first-admin-link.txt"
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.read_text().strip() == url
    secret = url.rpartition("/")[2]
    assert identity.sign_in.look_at_link(secret).purpose is LinkPurpose.FIRST_ADMIN
    with pytest.raises(Invalid, match="needs a name"):
        identity.sign_in.use_link(secret)
    signed_in = identity.sign_in.use_link(secret, handle="ada", name="Ada L.")
    actor = identity.authenticate_session(signed_in.secret)
    assert (actor.name, actor.role, actor.kind, actor.scopes) == ("ada", Role.ADMIN, "person", None)
    assert identity.first_admin_link(tmp_path, base_url="http://127.0.0.1:8600") is None
    assert not file.exists()


def test_a_second_start_replaces_the_first_admin_link(identity, tmp_path):
    """Only the newest first-admin link works, so a lost one does no harm."""
    old = identity.first_admin_link(tmp_path, base_url="http://x").rpartition("/")[2]
    new = identity.first_admin_link(tmp_path, base_url="http://x").rpartition("/")[2]
    with pytest.raises(Unauthenticated, match="replaced by a newer one"):
        identity.sign_in.use_link(old, handle="eve")
    assert identity.sign_in.use_link(new, handle="ada").handle == "ada"


def test_a_link_works_once_and_its_return_is_recorded_once(identity, store, journal):
    """A spent link is refused for ever, and whoever presses it again and again leaves one fact."""
    who = identity.persons.add(AddPerson(handle="dev-a"), LOCAL)
    link = identity.sign_in.issue_link("dev-a", LOCAL)
    identity.sign_in.use_link(link.secret)
    for _ in range(3):
        with pytest.raises(Unauthenticated, match="used already"):
            identity.sign_in.use_link(link.secret)
    with pytest.raises(Unauthenticated, match="used already"):
        identity.sign_in.look_at_link(link.secret)
    refused = _facts(store, journal, f"person/{who.id}", "sign_in.refused")
    assert [fact.body["because"] for fact in refused] == ["this link was used already"]


def test_a_link_is_over_after_fifteen_minutes(identity, clock):
    """A link that was not used in time does not work."""
    identity.persons.add(AddPerson(handle="dev-a"), LOCAL)
    link = identity.sign_in.issue_link("dev-a", LOCAL)
    clock.advance(15 * 60)
    with pytest.raises(Unauthenticated, match="this link is over"):
        identity.sign_in.use_link(link.secret)


def test_a_link_pressed_by_many_at_once_lets_one_in(identity):
    """Of eight threads with the same link exactly one is signed in."""
    identity.persons.add(AddPerson(handle="dev-a"), LOCAL)
    link = identity.sign_in.issue_link("dev-a", LOCAL)
    outcomes = []
    start = threading.Barrier(8)

    def press():
        start.wait()
        try:
            identity.sign_in.use_link(link.secret)
            outcomes.append("in")
        except Unauthenticated:
            outcomes.append("refused")

    threads = [threading.Thread(target=press) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["in"] + ["refused"] * 7


def test_only_those_who_manage_people_hand_out_links(identity, person):
    """An engineer cannot make a link for somebody else."""
    engineer = person("dev-a")
    with pytest.raises(Forbidden, match="may not add people"):
        identity.sign_in.issue_link("dev-a", engineer)


def test_a_session_ends_when_idle_and_at_the_latest_after_a_week(identity, clock):
    """Twelve hours without a request end a session, and seven days end it in any case."""
    identity.persons.add(AddPerson(handle="dev-a"), LOCAL)
    secret = identity.sign_in.use_link(identity.sign_in.issue_link("dev-a", LOCAL).secret).secret
    for _ in range(7 * 24 - 1):
        clock.advance(3600)
        identity.authenticate_session(secret)
    clock.advance(3600)
    with pytest.raises(Unauthenticated, match="session is over"):
        identity.authenticate_session(secret)
    again = identity.sign_in.use_link(identity.sign_in.issue_link("dev-a", LOCAL).secret).secret
    clock.advance(12 * 3600)
    with pytest.raises(Unauthenticated, match="session is over"):
        identity.authenticate_session(again)


def test_signing_out_is_felt_everywhere_within_a_second(identity, elsewhere, clock):
    """This process forgets at once; another believes the session for its cache's second at most."""
    identity.persons.add(AddPerson(handle="dev-a"), LOCAL)
    secret = identity.sign_in.use_link(identity.sign_in.issue_link("dev-a", LOCAL).secret).secret
    actor = identity.authenticate_session(secret)
    elsewhere.authenticate_session(secret)
    identity.sign_in.sign_out(actor)
    with pytest.raises(Unauthenticated):
        identity.authenticate_session(secret)
    clock.advance(1)
    with pytest.raises(Unauthenticated):
        elsewhere.authenticate_session(secret)


def test_a_person_comes_back_with_the_password_they_set(identity, person):
    """Set once after the link, the password opens later sessions without an admin."""
    identity.sign_in.set_password(GOOD, person("dev-a"))
    back = identity.sign_in.with_password("dev-a", GOOD)
    assert identity.authenticate_session(back.secret).name == "dev-a"


def test_wrong_name_and_wrong_password_look_the_same(identity, person):
    """Nobody learns from a refusal who exists."""
    identity.sign_in.set_password(GOOD, person("dev-a"))
    person("dev-b")  # has no password
    for handle in ("dev-a", "dev-b", "nobody", "", "a\x00b", "\ud800", "x" * 10_000):
        with pytest.raises(Unauthenticated, match="name or password is wrong"):
            identity.sign_in.with_password(handle, "not the right one")


@pytest.mark.parametrize("handle", ["dev-a", "nobody"])
def test_guessing_is_slowed_down_and_the_count_survives_a_restart(identity, elsewhere, person, handle, clock):
    """After five wrong guesses even the right password waits, in every process, longer each time."""
    identity.sign_in.set_password(GOOD, person("dev-a"))
    for _ in range(5):
        with pytest.raises(Unauthenticated):
            identity.sign_in.with_password(handle, "not the right one")
    with pytest.raises(Refused, match="next try is in 2 s"):
        elsewhere.sign_in.with_password(handle, GOOD)
    clock.advance(2)
    with pytest.raises(Unauthenticated):
        elsewhere.sign_in.with_password(handle, "still wrong, sorry")
    with pytest.raises(Refused, match="next try is in 4 s"):
        elsewhere.sign_in.with_password(handle, GOOD)


def test_the_right_password_forgets_the_wrong_ones(identity, person):
    """A person who mistyped is not slowed down once they are in."""
    identity.sign_in.set_password(GOOD, person("dev-a"))
    for _ in range(3):
        for _ in range(4):
            with pytest.raises(Unauthenticated):
                identity.sign_in.with_password("dev-a", "not the right one")
        identity.sign_in.with_password("dev-a", GOOD)


def test_guesses_at_once_do_not_slip_past_each_other(identity, person):
    """Twenty guesses at the same moment count as twenty: at most five are looked at."""
    identity.sign_in.set_password(GOOD, person("dev-a"))
    outcomes = []
    start = threading.Barrier(20)

    def guess():
        start.wait()
        try:
            identity.sign_in.with_password("dev-a", "not the right one")
        except (Unauthenticated, Refused) as refusal:
            outcomes.append(type(refusal))

    threads = [threading.Thread(target=guess) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert outcomes.count(Unauthenticated) == 5
    assert outcomes.count(Refused) == 15


def test_a_new_password_ends_the_other_sessions_and_needs_the_old_one(identity, person, clock):
    """Whoever fears a thief changes the password and is alone again; the thief cannot do it first."""
    first = person("dev-a")
    identity.sign_in.set_password(GOOD, first)
    thief = identity.sign_in.with_password("dev-a", GOOD)
    mine = identity.authenticate_session(identity.sign_in.with_password("dev-a", GOOD).secret)
    with pytest.raises(Unauthenticated, match="current password is wrong"):
        identity.sign_in.set_password("other words entirely", identity.authenticate_session(thief.secret))
    identity.sign_in.set_password("other words entirely", mine, current=GOOD)
    with pytest.raises(Unauthenticated):
        identity.authenticate_session(thief.secret)
    identity.sign_in.with_password("dev-a", "other words entirely")


def test_whoever_forgot_the_password_sets_it_from_a_fresh_link(identity, person, clock):
    """A session by a link replaces the password unasked, but only while the link would have lasted."""
    identity.sign_in.set_password(GOOD, person("dev-a"))
    secret = identity.sign_in.use_link(identity.sign_in.issue_link("dev-a", LOCAL).secret).secret
    actor = identity.authenticate_session(secret)
    identity.sign_in.set_password("other words entirely", actor)
    clock.advance(15 * 60)
    with pytest.raises(Unauthenticated, match="current password"):
        identity.sign_in.set_password("yet other words here", actor)


@pytest.mark.parametrize("password", ["short", "aaaaaaaaaaaaaaaa", "i am dev-a, you know", "x" * 201])
def test_plain_passwords_are_refused(identity, person, password):
    """Too short, too long, too plain or one's own name will not do."""
    with pytest.raises(Invalid, match="will not do"):
        identity.sign_in.set_password(password, person("dev-a"))


def test_nobody_comes_in_for_somebody_who_was_let_go(identity, person):
    """Sessions, passwords and links of a disabled person are refused."""
    actor = person("dev-a")
    identity.sign_in.set_password(GOOD, actor)
    secret = identity.sign_in.with_password("dev-a", GOOD).secret
    identity.authenticate_session(secret)
    link = identity.sign_in.issue_link("dev-a", LOCAL)
    person("root", Role.ADMIN)
    identity.persons.disable("dev-a", LOCAL)
    identity._authentication.forget()
    for attempt in (
        lambda: identity.authenticate_session(secret),
        lambda: identity.sign_in.with_password("dev-a", GOOD),
        lambda: identity.sign_in.use_link(link.secret),
    ):
        with pytest.raises(Unauthenticated):
            attempt()
    with pytest.raises(Refused, match="was let go"):
        identity.sign_in.issue_link("dev-a", LOCAL)
