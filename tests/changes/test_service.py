"""Proposing, editing, submitting and withdrawing: every act with its fact, every refusal leaving nothing behind."""

from __future__ import annotations

import json
import threading
from dataclasses import replace

import pytest
from tests.changes.desk import ADMIN, DEV, EXAMPLES, RAMP, RELEASE, VIEWER, Desk

from airboss.changes import (
    Cancel,
    Change,
    Create,
    Edit,
    Phase,
    Section,
    Submit,
    row_digest,
    row_digests,
    transition,
)
from airboss.kernel.errors import AirbossError, Forbidden, Invalid, NotFound, Refused, Stale
from airboss.people.access import SYSTEM
from airboss.records.journal import Fact

RELEASE_ID = "chg_01kq3z8x5wf6vtd0c1m2n3p4q5"


def _create(desk: Desk, data: bytes = RAMP) -> Change:
    return desk.changes.create(Create(data=data, source="change.yaml"), actor=DEV)


def _submitted(desk: Desk, data: bytes = RAMP) -> Change:
    return desk.changes.submit(Submit(change_id=_create(desk, data).id), actor=DEV)


def test_a_proposal_is_kept_as_a_draft(desk):
    """A document becomes a draft with a minted ID, one fact, and its title only as erasable text."""
    change = _create(desk)
    assert (change.phase, change.version, change.requester, change.owner_team) == (
        Phase.DRAFT,
        1,
        "usr_dev",
        "payments",
    )
    (fact,) = desk.facts(change.id)
    assert fact.type == "change.drafted"
    assert b"VAT" not in fact.stored
    with desk.store.read() as connection:
        assert desk.journal.read_text(connection, fact.body["title"]) == "New VAT engine for everybody"


def test_the_same_id_and_content_again_is_the_same_change(desk):
    """CI may repeat itself: nothing is added. Another content under the ID is refused, with the way out."""
    first = _create(desk, RELEASE)
    assert first.id == RELEASE_ID
    assert _create(desk, RELEASE) == first
    assert len(desk.facts(RELEASE_ID)) == 1
    with pytest.raises(Refused) as caught:
        _create(desk, RELEASE.replace(b"users_percent: 40", b"users_percent: 4"))
    assert (caught.value.code, caught.value.place) == ("change-exists", "change.yaml:6:7")


def test_applying_the_examples_on_a_furnished_store(desk):
    """Both example changes are applied through the register and stay drafts."""
    files = [(EXAMPLES / name).read_bytes() for name in ("change-flag-ramp.yaml", "change-service-release.yaml")]
    parsed = desk.kinds.parse_all([(data, "c.yaml") for data in files])
    assert [one.outcome for one in desk.kinds.apply_all(parsed, actor=DEV)] == ["created", "created"]
    named = [one for one in parsed if one.name]
    assert [(one.name, one.outcome) for one in desk.kinds.apply_all(named, actor=DEV)] == [(RELEASE_ID, "unchanged")]


def test_submitting_settles_what_will_happen(desk):
    """Submit expands the draft, pins the payload, fixes the digests, says so in the journal and wakes the tower."""
    change = _submitted(desk)
    assert (change.phase, change.version) == (Phase.IN_REVIEW, 2)
    assert change.submitted_at is not None
    assert change.expanded().pinned == {"flag/tax.engine": "sha256:" + "1" * 64}
    fact = desk.facts(change.id)[-1]
    assert fact.type == "change.submitted"
    assert fact.body["digest"] == change.digest
    assert fact.body["sections"] == {str(name): found for name, found in change.section_digests().items()}
    assert desk.woken == [change.id]


@pytest.mark.parametrize(
    ("data", "place", "code"),
    [
        (RAMP.replace(b"tax.engine", b"tax.motor"), "change.yaml:15:31", "unknown-reference"),
        (RAMP.replace(b"  rollback: {plan: flag back to off}\n", b""), "change.yaml:4:3", "no-way-back"),
        (RAMP.replace(b"environment: production", b"environment: moon"), "change.yaml:14:22", "unknown-reference"),
        (
            RELEASE.replace(b"envoy: {connection: edge-production", b"haproxy: {connection: edge-production"),
            "change.yaml:33:17",
            "unknown-target",
        ),
        (RELEASE.replace(b"route: checkout, old", b"route: cart, old"), "change.yaml:28:59", "unknown-reference"),
    ],
)
def test_what_cannot_be_reviewed_stays_a_draft(desk, data, place, code):
    """A refused submission points at the line of the file it once came from, and the draft is as it was."""
    change = _create(desk, data)
    with pytest.raises(AirbossError) as caught:
        desk.changes.submit(Submit(change_id=change.id), actor=DEV)
    assert isinstance(caught.value, Refused)
    assert (caught.value.code, caught.value.place) == (code, place)
    assert caught.value.way_out
    assert desk.changes.get(change.id, actor=DEV) == change
    assert len(desk.facts(change.id)) == 1
    assert desk.woken == []


def test_only_a_draft_is_submitted(desk):
    """Submitting twice is refused and says where the change stands."""
    change = _submitted(desk)
    with pytest.raises(Refused, match="in review"):
        desk.changes.submit(Submit(change_id=change.id), actor=DEV)


def test_an_edit_goes_back_into_review_and_says_what_it_touched(desk):
    """After approval another plan sends the change back; another title does not. Both name the affected sections."""
    change = _submitted(desk)
    with desk.store.write() as tx:
        change = desk.changes.move(tx, change, to=Phase.APPROVED, by=SYSTEM, reason="cleared")
    retitled = desk.changes.edit(
        Edit(change_id=change.id, data=RAMP.replace(b"everybody", b"all"), expected_version=change.version), actor=ADMIN
    )
    assert (retitled.phase, retitled.authors) == (Phase.APPROVED, ("usr_dev", "usr_admin"))
    assert desk.facts(change.id)[-1].body["affected"] == ["presentation"]
    replanned = desk.changes.edit(
        Edit(change_id=change.id, data=RAMP.replace(b"expose: 10%", b"expose: 20%"), expected_version=retitled.version),
        actor=DEV,
    )
    assert replanned.phase is Phase.IN_REVIEW
    assert desk.facts(change.id)[-1].body["affected"] == ["plan", "presentation"]
    assert replanned.section_digests()[Section.INTENT] == change.section_digests()[Section.INTENT]


def test_an_edit_of_another_version_is_stale(desk):
    """Whoever edits says which version was read."""
    change = _submitted(desk)
    with pytest.raises(Stale):
        desk.changes.edit(Edit(change_id=change.id, data=RAMP, expected_version=1), actor=DEV)
    with pytest.raises(Invalid, match="says it is"):
        desk.changes.edit(Edit(change_id=change.id, data=RELEASE, expected_version=2), actor=DEV)


def test_an_edit_that_is_not_fit_changes_nothing(desk):
    """A submitted change keeps its content when the edit names what does not exist."""
    change = _submitted(desk)
    with pytest.raises(Refused):
        desk.changes.edit(
            Edit(change_id=change.id, data=RAMP.replace(b"tax.engine", b"no.such"), expected_version=2), actor=DEV
        )
    assert desk.changes.get(change.id, actor=DEV) == change


def test_withdrawing(desk):
    """A change is withdrawn with a reason, its record closes, and nothing follows."""
    change = _submitted(desk)
    with pytest.raises(Invalid):
        desk.changes.cancel(Cancel(change_id=change.id, reason=" "), actor=DEV)
    gone = desk.changes.cancel(Cancel(change_id=change.id, reason="not needed"), actor=DEV)
    assert (gone.phase, gone.outcome, gone.sentence) == (Phase.CANCELLED, "cancelled", "not needed")
    fact = desk.facts(change.id)[-1]
    assert json.loads(fact.stored)["closes_after"] == 3
    with pytest.raises(Refused) as caught:
        desk.changes.cancel(Cancel(change_id=change.id, reason="again"), actor=DEV)
    assert caught.value.way_out == "nothing follows; propose a new change"


def test_an_illegal_move_lists_what_is_legal(desk):
    """The refusal names where the change is and what it can become."""
    change = _create(desk)
    with pytest.raises(Refused) as caught, desk.store.write() as tx:
        desk.changes.move(tx, change, to=Phase.COMPLETED, by=SYSTEM, reason="")
    assert caught.value.detail.endswith("is draft and cannot become completed")
    assert caught.value.way_out == "it can become in review, cancelled"


def test_a_transition_needs_its_fact_and_its_fence(desk):
    """No state change without a fact; whoever holds an older fence is shut out."""
    change = _submitted(desk)
    with pytest.raises(ValueError, match="explained"), desk.store.write() as tx:
        transition(tx, change, replace(change, sentence="x"), [], journal=desk.journal)
    fact = Fact(subject=change.id, type="change.paused", actor="system")
    with desk.store.write() as tx:
        fenced = desk.changes.advance(tx, change, facts=[fact], raise_fence=True)
    assert (fenced.fence, fenced.version) == (2, 3)
    with pytest.raises(Stale), desk.store.write() as tx:
        desk.changes.advance(tx, replace(fenced, fence=1), facts=[fact], run=b"{}")


def test_two_people_at_once(desk):
    """Of eight who move the same version, one succeeds and seven are told to look again."""
    change = _submitted(desk)
    outcomes: list[str] = []
    start = threading.Barrier(8)

    def move() -> None:
        start.wait()
        try:
            with desk.store.write() as tx:
                desk.changes.move(tx, change, to=Phase.APPROVED, by=SYSTEM, reason="cleared")
            outcomes.append("moved")
        except Stale:
            outcomes.append("stale")

    threads = [threading.Thread(target=move) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["moved"] + ["stale"] * 7
    assert [fact.type for fact in desk.facts(change.id)] == ["change.drafted", "change.submitted", "change.approved"]


def test_the_last_fact_says_what_the_row_is(desk):
    """The digest in the last fact is the row's, and the verifier computes the same from the table."""
    change = _submitted(desk)
    with desk.store.read() as connection:
        assert dict(row_digests(connection)) == {change.id: row_digest(change)}
    assert json.loads(desk.facts(change.id)[-1].stored)["state_digest"] == row_digest(change)


def test_lists_are_newest_first_and_paged(desk, clock):
    """Pages of a list fit together without gap or double, and filters hold."""
    made = []
    for _ in range(5):
        clock.advance(1)
        made.append(_create(desk).id)
    desk.changes.submit(Submit(change_id=made[0]), actor=DEV)
    first = desk.changes.list(actor=VIEWER, limit=2)
    second = desk.changes.list(actor=VIEWER, limit=2, cursor=first.next_cursor)
    third = desk.changes.list(actor=VIEWER, limit=2, cursor=second.next_cursor)
    assert [item.id for page in (first, second, third) for item in page.items] == made[::-1]
    assert third.next_cursor is None
    assert [item.id for item in desk.changes.list(actor=VIEWER, phases=[Phase.IN_REVIEW]).items] == [made[0]]
    assert len(desk.changes.list(actor=VIEWER, service="checkout").items) == 5
    assert desk.changes.list(actor=VIEWER, service="check").items == ()
    assert desk.changes.list(actor=VIEWER, kind="service-release").items == ()


def test_who_may(desk):
    """A viewer reads and proposes nothing; an unknown change is not found."""
    with pytest.raises(Forbidden):
        desk.changes.create(Create(data=RAMP), actor=VIEWER)
    with pytest.raises(NotFound):
        desk.changes.get(RELEASE_ID, actor=VIEWER)


def test_json_with_escaped_letters(desk):
    """The API's JSON may spell any letter in ASCII."""
    from airboss.kernel.yaml import load_one

    value = load_one(RAMP.replace(b"VAT engine", "VAT engine 🚀".encode()), "x").value
    change = _create(desk, json.dumps(value).encode())
    assert change.title == "New VAT engine 🚀 for everybody"
