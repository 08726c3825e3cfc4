"""Rounds and votes over each database."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field, replace
from datetime import timedelta
from random import Random

import pytest

from airboss.decide.approvals import (
    Approvals,
    CastVote,
    Choice,
    Outcome,
    Requirement,
    Subject,
    Verdict,
    all_of,
    asks_no_more,
    choices_of,
    unite,
)
from airboss.kernel.canonical import digest
from airboss.kernel.errors import Forbidden, Invalid, NotFound, Refused, Stale
from airboss.people.access import SYSTEM, Actor, Role

CHANGE = "chg_1"
SECTIONS = {"plan": "sha256:p", "payload": "sha256:q", "presentation": "sha256:r"}


@dataclass
class Desk:
    """The rest of the house, in memory: the changes, the groups, and who was told of votes."""

    sections: dict = field(default_factory=lambda: {CHANGE: dict(SECTIONS)})
    awaiting: bool = True
    groups: dict = field(
        default_factory=lambda: {
            "service-owners": frozenset({"ann", "ben"}),
            "sre": frozenset({"ann", "cy"}),
            "leads": frozenset({"di"}),
        }
    )
    told: list = field(default_factory=list)

    def subjects(self, _connection, changes):
        return {
            change: Subject(
                change=change,
                sections=self.sections[change],
                digest=digest(self.sections[change]),
                awaiting=self.awaiting,
            )
            for change in changes
            if change in self.sections
        }

    def eligible(self, _connection, asked):
        assert all(services == {"checkout"} for _, services in asked)
        return {(group, services): self.groups.get(group, frozenset()) for group, services in asked}

    def backup_of(self, _connection, group):
        return "leads" if group == "sre" else None

    def on_vote(self, _tx, change):
        self.told.append(change)


@pytest.fixture
def desk():
    return Desk()


@pytest.fixture
def approvals(store, journal, clock, ids, desk):
    return Approvals(
        store,
        journal,
        clock=clock,
        ids=ids,
        eligible=desk.eligible,
        subjects=desk.subjects,
        on_vote=desk.on_vote,
        backup_of=desk.backup_of,
    )


def actor(handle, **more):
    given = {"id": f"usr_{handle}", "name": handle, "kind": "person", "role": Role.VIEWER}
    return Actor(**{**given, "scopes": None, "service": None, "via": f"session:ses_{handle}", **more})


@pytest.fixture
def opened(store, approvals):
    """Open a round that asks for an owner and one of sre."""

    def open_round(decision="dec_1", *, requester="req", groups=("service-owners", "sre"), **more):
        with store.write() as tx:
            return approvals.open_round(
                tx,
                CHANGE,
                decision=decision,
                choices=[all_of(Requirement(group=group) for group in groups)],
                sections=SECTIONS,
                excluded={"requester": frozenset({requester}), "authors": frozenset()},
                services=frozenset({"checkout"}),
                **more,
            )

    return open_round


def say(verdict=Verdict.APPROVE, comment=None, sections=SECTIONS, channel="api"):
    return CastVote(change=CHANGE, verdict=verdict, seen=digest(sections), comment=comment, channel=channel)


def facts(store, journal, kind):
    with store.read() as connection:
        return [fact for fact in journal.of(connection, CHANGE) if fact.type == kind]


def test_two_people_approve_and_the_tower_closes_the_round(approvals, opened, store, journal, desk):
    """Votes fill seats, make the change due, and the closing names who sat where, by ID."""
    opened()
    assert approvals.vote(say(), actor("ann")).outcome is Outcome.OPEN
    standing = approvals.vote(say(comment="looks right"), actor("cy"))
    assert standing.outcome is Outcome.APPROVED
    assert desk.told == [CHANGE, CHANGE]
    with store.write() as tx:
        assert approvals.standing(tx.connection, CHANGE).outcome is Outcome.APPROVED
        approvals.close(tx, CHANGE, Outcome.APPROVED)
    [closed] = facts(store, journal, "round.closed")
    assert closed.body["outcome"] == "approved"
    assert closed.body["seats"] == [
        {"group": "service-owners", "person": "usr_ann"},
        {"group": "sre", "person": "usr_cy"},
    ]
    with store.read() as connection:
        assert approvals.standing(connection, CHANGE) is None
        shown = approvals.of(connection, CHANGE, actor("ann"))
        assert [vote.comment for vote in shown.votes] == [None, "looks right"]
        assert shown.closed_as == "approved"


def test_what_a_vote_records(approvals, opened, store, journal):
    """The fact holds verdict, digests seen, channel and way of sign-in; the words lie apart, where they can be erased."""
    opened()
    approvals.vote(say(Verdict.ASK, comment="why so fast?", channel="web"), actor("ann"))
    [fact] = facts(store, journal, "vote.cast")
    assert fact.actor == "usr_ann"
    assert fact.body["verdict"] == "ask"
    assert fact.body["sections"] == SECTIONS
    assert fact.body["seen"] == digest(SECTIONS)
    assert (fact.body["channel"], fact.body["via"], fact.body["outcome"]) == ("web", "session:ses_ann", "asked")
    assert b"why so fast?" not in fact.stored
    with store.read() as connection:
        assert journal.read_text(connection, fact.body["comment"]) == "why so fast?"


def test_a_vote_on_what_has_changed_is_refused(approvals, opened, desk, store, journal):
    """Whoever looked at the old plan decides nothing about the new one."""
    opened()
    desk.sections[CHANGE]["plan"] = "sha256:other"
    with pytest.raises(Stale, match="no longer what you looked at"):
        approvals.vote(say(), actor("ann"))
    assert facts(store, journal, "vote.cast") == []


def test_an_edit_voids_the_votes_it_touches(approvals, opened, desk, store):
    """An approval given before the plan changed fills no seat after."""
    opened()
    approvals.vote(say(), actor("ben"))
    desk.sections[CHANGE]["plan"] = "sha256:other"
    with store.read() as connection:
        standing = approvals.standing(connection, CHANGE)
    assert standing.seats == ()
    assert standing.stale == {"ben": {"plan"}}


def test_only_those_asked_may_vote(approvals, opened):
    """Strangers and the requester are told why not they, and who may."""
    opened(requester="ann")
    with pytest.raises(Forbidden, match="eve is in none of the groups asked: leads, service-owners, sre"):
        approvals.vote(say(), actor("eve"))
    with pytest.raises(Forbidden, match="ann requested this change") as refused:
        approvals.vote(say(), actor("ann"))
    assert refused.value.way_out == "Waits for 1 more of service-owners (ben) and 1 more of sre (cy)."


def test_neither_tokens_of_services_nor_the_system_vote(approvals, opened):
    """A vote is a person's; a personal token needs the scope for it."""
    opened()
    for who in (
        SYSTEM,
        actor("ann", kind="token", scopes=frozenset({"approve"}), role=Role.ADMIN),
        actor("ann", scopes=frozenset({"read", "admin"}), via="token:tok_1"),
    ):
        with pytest.raises(Forbidden, match="may not vote"):
            approvals.vote(say(), who)
    approvals.vote(say(), actor("ann", scopes=frozenset({"approve"}), via="token:tok_1"))


def test_saying_it_twice_says_it_once(approvals, opened, store, journal, desk):
    """A button pressed again changes nothing and records nothing."""
    opened()
    first = approvals.vote(say(), actor("ann"))
    assert approvals.vote(say(), actor("ann")) == first
    assert len(facts(store, journal, "vote.cast")) == 1
    assert desk.told == [CHANGE]


def test_a_no_needs_a_reason_and_ends_the_round(approvals, opened):
    """A rejection without a word is refused; with one it ends the round for everybody."""
    opened()
    with pytest.raises(Invalid, match="takes a reason"):
        approvals.vote(say(Verdict.REJECT, comment="  "), actor("ann"))
    approvals.vote(say(Verdict.REJECT, comment="not on a Friday"), actor("ann"))
    with pytest.raises(Refused, match="the round is over: Rejected by ann"):
        approvals.vote(say(), actor("cy"))


def test_an_approval_is_taken_back_by_a_no_not_by_abstaining(approvals, opened):
    """Who approved may still reject while the change waits; abstaining would leave it unclear."""
    opened()
    approvals.vote(say(), actor("ann"))
    with pytest.raises(Refused, match="does not take that back"):
        approvals.vote(say(Verdict.ABSTAIN), actor("ann"))
    approvals.vote(say(), actor("cy"))
    assert approvals.vote(say(Verdict.REJECT, "saw it too late"), actor("ann")).outcome is Outcome.REJECTED


def test_nothing_is_asked(approvals, opened, desk):
    """Without a round, or when the change has moved on, or is not there, a vote is refused with the reason."""
    with pytest.raises(Refused, match="asks for no approval now"):
        approvals.vote(say(), actor("ann"))
    opened()
    desk.awaiting = False
    with pytest.raises(Refused, match="asks for no approval now"):
        approvals.vote(say(), actor("ann"))
    with pytest.raises(NotFound, match="there is no change chg_2"):
        approvals.vote(replace(say(), change="chg_2"), actor("ann"))


def test_the_same_decision_asks_once_and_a_newer_one_replaces_it(approvals, opened, store, journal):
    """Opening is safe to repeat; a new decision closes the old round, and approvals that still hold carry over."""
    first = opened()
    assert opened() == first
    approvals.vote(say(), actor("ben"))
    second = opened("dec_2", groups=("service-owners", "leads"))
    assert [fact.body["outcome"] for fact in facts(store, journal, "round.closed")] == ["superseded"]
    assert [fact.body["follows"] for fact in facts(store, journal, "round.opened")] == [None, first.id]
    with store.read() as connection:
        standing = approvals.standing(connection, CHANGE)
        assert [seat.person for seat in standing.seats] == ["ben"]
        assert approvals.of(connection, CHANGE, actor("ann")).round == second


def test_untouched_approvals_hold_after_changes_were_asked_for_and_after_what_was_approved_is_edited(
    approvals, opened, store, clock
):
    """A round after "changes asked", or after an approval whose change was edited, goes on from what still holds."""
    opened()
    approvals.vote(say(), actor("ben"))
    approvals.vote(say(Verdict.ASK, "say more"), actor("cy"))
    with store.write() as tx:
        approvals.close(tx, CHANGE, Outcome.ASKED)
    opened("dec_2")
    clock.advance(1)
    assert approvals.vote(say(), actor("cy")).outcome is Outcome.APPROVED
    with store.write() as tx:
        approvals.close(tx, CHANGE, Outcome.APPROVED)
    opened("dec_3")
    with store.read() as connection:
        standing = approvals.standing(connection, CHANGE)
    assert {seat.person for seat in standing.seats} == {"ben", "cy"}


def test_a_no_in_the_last_moment_stops_the_move(approvals, opened, store, journal):
    """Between the tower's count and its move somebody rejects: the closing counts again and refuses."""
    opened()
    approvals.vote(say(), actor("ann"))
    counted = approvals.vote(say(), actor("cy"))
    approvals.vote(say(Verdict.REJECT, "wait"), actor("ben"))
    with pytest.raises(Stale, match="is rejected by now, not approved"), store.write() as tx:
        approvals.close(tx, CHANGE, counted.outcome)
    assert facts(store, journal, "round.closed") == []


def test_a_withdrawn_round_asks_nobody_and_hands_nothing_on(approvals, opened, store, journal):
    """A cancelled change leaves no open round, and its approvals do not reach the next."""
    opened()
    approvals.vote(say(), actor("ben"))
    with store.write() as tx:
        approvals.withdraw(tx, CHANGE)
        approvals.withdraw(tx, CHANGE)
        approvals.close(tx, CHANGE, Outcome.APPROVED)
    with store.read() as connection:
        assert approvals.inbox(connection, "ann") == []
    assert [fact.body["outcome"] for fact in facts(store, journal, "round.closed")] == ["withdrawn"]
    opened("dec_2")
    with store.read() as connection:
        assert approvals.standing(connection, CHANGE).seats == ()


def test_a_round_expires(approvals, opened, clock, store):
    """After 72 h without the votes the round is expired and takes no more."""
    opened()
    clock.advance(72 * 3600)
    with store.read() as connection:
        assert approvals.standing(connection, CHANGE).outcome is Outcome.EXPIRED
    with pytest.raises(Refused, match="Expired"):
        approvals.vote(say(), actor("ann"))


def test_the_inbox_shows_what_waits_for_this_person(approvals, opened, clock, desk, store):
    """A round is in the inbox of those whose approval would help, and leaves it when it no longer would."""
    opened(requester="cy", expires_at=clock.now() + timedelta(hours=4))

    def inbox(handle):
        with store.read() as connection:
            return [shown.round.change for shown in approvals.inbox(connection, handle)]

    assert inbox("ann") == inbox("ben") == [CHANGE]
    assert inbox("cy") == inbox("eve") == []
    assert inbox("di") == []
    approvals.vote(say(), actor("ben"))
    assert inbox("ben") == []
    assert inbox("ann") == [CHANGE]
    desk.awaiting = False
    assert inbox("ann") == []


def test_the_backup_a_group_names_is_asked_when_exclusion_leaves_too_few(approvals, opened):
    """The catalog's backup fills in where the requirement names none."""
    opened(requester="cy", groups=("sre", "service-owners"))
    # ann alone is left in sre and among the owners with ben; taking ann out of sre leaves nobody.
    approvals.vote(say(), actor("ann"))
    assert approvals.vote(say(), actor("ben")).outcome is Outcome.APPROVED


def test_a_round_nobody_can_read_is_refused_when_it_opens(approvals, opened, store):
    """A part nobody knows, a section the change does not have, nobody asked: refused before anybody waits."""
    for bad in (
        Requirement(group="sre", distinct_from=frozenset({"committers"})),
        Requirement(group="sre", covers=frozenset({"colour"})),
        Requirement(group="sre", least=0),
    ):
        with pytest.raises(Invalid), store.write() as tx:
            approvals.open_round(
                tx,
                CHANGE,
                decision="dec_1",
                choices=[all_of([bad])],
                sections=SECTIONS,
                excluded={"requester": frozenset(), "authors": frozenset()},
                services=frozenset({"checkout"}),
            )
    with pytest.raises(Invalid, match="asks for nobody"):
        opened(groups=())


def test_two_people_press_at_once(approvals, opened, store, journal):
    """Of eight simultaneous presses by two people each person counts once, and one of them sees the approval come."""
    opened()
    start = threading.Barrier(8)
    seen = []

    def press(handle):
        start.wait()
        seen.append(approvals.vote(say(), actor(handle)).outcome)

    threads = [threading.Thread(target=press, args=(handle,)) for handle in ["ann", "cy"] * 4]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(seen) == 8
    assert Outcome.APPROVED in seen
    assert sorted(fact.actor for fact in facts(store, journal, "vote.cast")) == ["usr_ann", "usr_cy"]
    assert facts(store, journal, "vote.cast")[-1].body["outcome"] == "approved"


def test_yes_and_no_at_once_end_in_no(approvals, opened, store, journal):
    """When an approval and a rejection race, the round is rejected whoever was first."""
    opened(groups=("service-owners",))
    start = threading.Barrier(2)

    def press(handle, verdict):
        start.wait()
        try:
            approvals.vote(say(verdict, "no"), actor(handle))
        except Refused as refusal:
            assert "Rejected" in str(refusal)  # noqa: PT017 - the loser of the race may hear this, and need not

    threads = [
        threading.Thread(target=press, args=("ann", Verdict.APPROVE)),
        threading.Thread(target=press, args=("ben", Verdict.REJECT)),
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with store.read() as connection:
        assert approvals.standing(connection, CHANGE).outcome is Outcome.REJECTED


@dataclass(frozen=True)
class Places:
    group: str
    least: int = 1
    covers: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Need:
    """What policy asks for, as its room shapes it."""

    rules: tuple
    of: str
    groups: tuple
    distinct_from: frozenset = frozenset()
    sla_s: int | None = None
    backup: str | None = None
    take: int = 1


def test_what_several_rules_ask_of_one_group_unites():
    """The larger number and the stricter exclusion hold; an any-of stays apart; every rule is named."""
    first, second = choices_of(
        [
            Need(("A",), "all", (Places("sre"), Places("service-owners")), frozenset({"requester"}), sla_s=600),
            Need(("B",), "all", (Places("sre", 2),), frozenset({"authors"}), sla_s=60, backup="leads"),
            Need(("C",), "any", (Places("dba"), Places("leads"))),
        ]
    )
    assert first.take == 2
    sre, owners = first.of
    assert (sre.least, sre.distinct_from, sre.backup, sre.because, sre.sla_s) == (
        2,
        {"requester", "authors"},
        "leads",
        ("A", "B"),
        60,
    )
    assert owners.because == ("A",)
    assert (second.take, [one.group for one in second.of]) == (1, ["dba", "leads"])


def test_needs_are_read_as_policy_shapes_them():
    """The decision's own approval needs pass as they are."""
    from airboss.decide.policy.model import ApprovalNeed, Seats

    need = ApprovalNeed(
        rules=("A",),
        of="any",
        groups=(Seats(group="sre"),),
        distinct_from=frozenset({"requester"}),
        sla_s=None,
        backup=None,
    )
    [choice] = choices_of([need])
    assert choice.of == (Requirement(group="sre", distinct_from=frozenset({"requester"}), because=("A",)),)


def test_a_comment_decides_nothing_and_is_never_taken_for_a_vote(approvals, opened, store, journal):
    """Whoever may see the change may speak, the requester too; every comment is kept, and approving twice stays one."""
    opened()
    standing = approvals.vote(say(Verdict.COMMENT, "why now?"), actor("req"))
    assert standing.seats == ()
    approvals.vote(say(Verdict.COMMENT, "because"), actor("req"))
    approvals.vote(say(), actor("ben"))
    approvals.vote(say(Verdict.COMMENT, "looks good"), actor("ben"))
    approvals.vote(say(), actor("ben"))
    told = [fact.body["verdict"] for fact in facts(store, journal, "vote.cast")]
    assert told == ["comment", "comment", "approve", "comment"]
    with pytest.raises(Refused, match="abstaining does not take that back"):
        approvals.vote(say(Verdict.ABSTAIN), actor("ben"))
    with pytest.raises(Invalid, match="takes a reason"):
        approvals.vote(say(Verdict.COMMENT), actor("ben"))


def test_a_superseded_round_asks_nobody_and_hands_on_what_still_holds(approvals, opened, store, journal):
    """Edited, the round is over at once; in the next one approvals of what did not change count."""
    opened()
    approvals.vote(say(), actor("ben"))
    with store.write() as tx:
        approvals.supersede(tx, CHANGE, actor=actor("req"))
    with store.read() as connection:
        assert approvals.standing(connection, CHANGE) is None
        assert approvals.inbox(connection, "cy") == []
    [closed] = facts(store, journal, "round.closed")
    assert (closed.body["outcome"], closed.actor) == ("superseded", "usr_req")
    opened("dec_2")
    with store.read() as connection:
        assert [seat.person for seat in approvals.standing(connection, CHANGE).seats] == ["ben"]


def test_what_somebody_saw_is_remembered_until_they_saw_two_later_contents(approvals, opened, store, desk):
    """Looking again at the same keeps what was seen before it, so a second look still tells what changed."""
    opened()

    def now(text):
        desk.sections[CHANGE] = {**SECTIONS, "plan": text}

    def looked():
        approvals.looked(CHANGE, actor("ben"))
        with store.read() as connection:
            return approvals.last_look(connection, CHANGE, actor("ben"))

    with store.read() as connection:
        assert approvals.last_look(connection, CHANGE, actor("ben")) is None
    first = looked()
    assert first.before_digest is None
    now("sha256:two")
    second = looked()
    assert second.before_digest == first.digest != second.digest
    assert looked().before_digest == first.digest
    now("sha256:three")
    assert looked().before_digest == second.digest
    with store.read() as connection:
        assert approvals.last_look(connection, CHANGE, actor("cy")) is None


# -- needs ---------------------------------------------------------------------------------------------------------


def _round(*groups, take=None, least=1, covers=None, apart=frozenset()):
    of = tuple(Requirement(group=group, least=least, covers=covers, distinct_from=apart) for group in groups)
    return Choice(of=of, take=len(of) if take is None else take)


@pytest.mark.parametrize(
    ("wanted", "asked", "answer"),
    [
        ([], [], True),
        ([], [_round("sre")], True),
        ([_round("sre")], [], False),
        ([_round("sre")], [_round("sre", "owners")], True),
        ([_round("sre", least=2)], [_round("sre")], False),
        ([_round("sre", apart=frozenset({"authors"}))], [_round("sre")], False),
        ([_round("sre", covers=frozenset({"plan"}))], [_round("sre")], True),
        ([_round("sre")], [_round("sre", covers=frozenset({"plan"}))], False),
        ([_round("sre", "owners", take=1)], [_round("sre")], False),
        ([_round("sre", "owners", take=1)], [_round("owners", "sre", take=1)], True),
    ],
)
def test_whether_a_round_meets_what_is_wanted(wanted, asked, answer):
    """More people, stricter exclusion, wider cover or another choice are more; anything less is met."""
    assert asks_no_more(wanted, asked) is answer


@pytest.mark.parametrize("seed", range(20))
def test_uniting_drops_nothing(seed):
    """What unites two rounds meets each of them."""
    chance = Random(seed)

    def some():
        groups = chance.sample(["sre", "owners", "leads", "legal"], chance.randint(1, 3))
        take = None if chance.random() < 0.6 else 1
        covers = chance.choice([None, frozenset({"plan"}), frozenset({"plan", "payload"})])
        return _round(*groups, take=take, least=chance.randint(1, 3), covers=covers)

    one, other = [some()], [some(), some()]
    united = unite(one, other)
    assert asks_no_more(one, united)
    assert asks_no_more(other, united)
