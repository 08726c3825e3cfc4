"""Secrets leave the house once and stay nowhere."""

from __future__ import annotations

from tests.people.identity.conftest import QUICK

from airboss.kernel.ids import TimeOrderedIds
from airboss.people.access import LOCAL, TokenScope
from airboss.people.identity import AddPerson, Identity, IssueToken
from airboss.records.journal import Journal


def test_no_secret_is_in_the_database_or_the_journal(sqlite_store, tmp_path, clock, chance):
    """The bytes of the database files hold no session, link, token or password, and hold the facts about them."""
    journal = Journal(sqlite_store, clock=clock, ids=(ids := TimeOrderedIds(clock, chance)), chance=chance)
    journal.open()
    identity = Identity(sqlite_store, journal, clock=clock, ids=ids, chance=chance, settings=QUICK)
    identity.persons.add(AddPerson(handle="dev-a"), LOCAL)
    link = identity.sign_in.issue_link("dev-a", LOCAL)
    signed_in = identity.sign_in.use_link(link.secret)
    actor = identity.authenticate_session(signed_in.secret)
    identity.sign_in.set_password("four unrelated words", actor)
    again = identity.sign_in.with_password("dev-a", "four unrelated words")
    issued = identity.tokens.issue(
        IssueToken(label="laptop", scopes=frozenset({TokenScope.READ}), days=1, personal=True), actor
    )
    identity.authenticate_token(issued.secret)
    rotated = identity.tokens.rotate(issued.token.id, actor)
    first = identity.sign_in.issue_first_admin_link(LOCAL)
    sqlite_store.close()
    files = [path.read_bytes() for path in tmp_path.iterdir() if path.name.startswith("only.db")]
    data = b"".join(files)
    for secret in (link.secret, signed_in.secret, again.secret, issued.secret, rotated.secret, first.secret):
        assert secret.encode() not in data
        assert secret[4:].encode() not in data
    assert b"four unrelated words" not in data
    for kind in (b"link.issued", b"session.opened", b"token.issued", b"token.rotated", b"password.set"):
        assert kind in data
