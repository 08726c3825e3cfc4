"""How a round is counted: properties over generated rounds, and the sentences of a few known ones."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import chain, combinations, permutations, product

from hypothesis import given, settings
from hypothesis import strategies as st

from airboss.decide.approvals import (
    Choice,
    Outcome,
    Requirement,
    Round,
    Verdict,
    Vote,
    all_of,
    any_of,
    tally,
)

T0 = datetime(2026, 1, 5, 9, tzinfo=UTC)
SECTIONS = {"plan": "sha256:p", "payload": "sha256:q", "presentation": "sha256:r"}
PEOPLE = ["ann", "ben", "cy", "di", "eve"]
GROUPS = ["owners", "sre", "leads"]


def requirement(group, least=1, **more):
    return Requirement(group=group, least=least, **more)


def round_of(*choices: Choice, requester="req", authors=()) -> Round:
    return Round(
        id="rnd_1",
        change="chg_1",
        decision="dec_1",
        choices=choices,
        excluded={"requester": frozenset({requester}), "authors": frozenset(authors)},
        services=frozenset({"checkout"}),
        opened_at=T0,
        expires_at=T0 + timedelta(hours=72),
    )


def vote(person, verdict=Verdict.APPROVE, minute=1, sections=None, round_id="rnd_1"):
    return Vote(
        id=f"vot_{minute:03}_{person}",
        round=round_id,
        person=person,
        verdict=verdict,
        sections=SECTIONS if sections is None else sections,
        at=T0 + timedelta(minutes=minute),
        channel="api",
    )


def count(round_, votes, eligible, *, sections=SECTIONS, now=T0 + timedelta(hours=1)):
    return tally(round_, votes, eligible=eligible, current_sections=sections, now=now)


people = st.frozensets(st.sampled_from(PEOPLE))
eligibles = st.fixed_dictionaries(dict.fromkeys(GROUPS, people))
requirements = st.builds(
    Requirement,
    group=st.sampled_from(GROUPS),
    least=st.integers(1, 2),
    distinct_from=st.sampled_from(
        [frozenset(), frozenset({"requester"}), frozenset({"requester", "authors"})],
    ),
    backup=st.none() | st.sampled_from(GROUPS),
)
choices = st.lists(requirements, min_size=1, max_size=2).flatmap(
    lambda of: st.integers(1, len(of)).map(lambda take: Choice(of=tuple(of), take=take))
)
rounds = st.builds(
    lambda asked, requester, authors: round_of(*asked, requester=requester, authors=authors),
    st.lists(choices, min_size=1, max_size=2),
    st.sampled_from(PEOPLE),
    people,
)
votes = st.lists(
    st.builds(
        vote,
        st.sampled_from([*PEOPLE, "stranger"]),
        st.sampled_from([Verdict.APPROVE, Verdict.APPROVE, Verdict.ABSTAIN]),
        st.integers(1, 50),
    ),
    max_size=7,
)
approvals = st.lists(st.builds(vote, st.sampled_from([*PEOPLE, "stranger"]), minute=st.integers(1, 50)), max_size=7)


def ways(round_):
    """Every way to satisfy every choice, spelled out."""
    takes = product(*(combinations(choice.of, choice.take) for choice in round_.choices))
    return [list(chain.from_iterable(take)) for take in takes]


def own_members(round_, asked, eligible):
    apart = frozenset().union(*(round_.excluded[part] for part in asked.distinct_from))
    return eligible[asked.group] - apart


def can_be_seated(round_, persons, eligible):
    """Ask by trying every order of people: is there a way with distinct people of the groups, without backups?"""
    for way in ways(round_):
        seats = [own_members(round_, asked, eligible) for asked in way for _ in range(asked.least)]
        for order in permutations(persons, len(seats)):
            if all(person in pool for person, pool in zip(order, seats, strict=True)):
                return True
    return False


@settings(max_examples=300)
@given(rounds, votes, eligibles)
def test_nobody_fills_two_seats_and_every_seat_is_rightly_filled(round_, cast, eligible):
    """Each person sits once, has approved, is of a group asked, and played no excluded part."""
    standing = count(round_, cast, eligible)
    seated = [seat.person for seat in standing.seats]
    approved = {one.person for one in cast if one.verdict is Verdict.APPROVE}
    assert len(seated) == len(set(seated))
    assert set(seated) <= approved & standing.eligible
    for seat in standing.seats:
        asked = [one for one in round_.requirements if one.group == seat.group]
        assert any(
            seat.person in eligible[one.group] | eligible.get(one.backup, frozenset())
            and all(seat.person not in round_.excluded[part] for part in one.distinct_from)
            for one in asked
        )


@settings(max_examples=300)
@given(rounds, approvals, eligibles)
def test_approved_exactly_when_distinct_people_can_take_the_seats(round_, cast, eligible):
    """Matching agrees with trying every order of people, wherever no backup is in play."""
    plain = round_of(
        *(Choice(of=tuple(requirement(a.group, a.least, distinct_from=a.distinct_from) for a in c.of), take=c.take)
          for c in round_.choices),
        requester=next(iter(round_.excluded["requester"])),
        authors=round_.excluded["authors"],
    )  # fmt: skip
    standing = count(plain, cast, eligible)
    assert (standing.outcome is Outcome.APPROVED) == can_be_seated(plain, {one.person for one in cast}, eligible)


@settings(max_examples=300)
@given(rounds, eligibles)
def test_blocked_exactly_when_everybody_together_could_not_approve(round_, eligible):
    """A round waits for people only while people could end it; else it says it is blocked, and why."""
    all_together = count(round_, [vote(person) for person in PEOPLE], eligible)
    alone = count(round_, [], eligible)
    assert (alone.outcome is Outcome.BLOCKED) == (all_together.outcome is Outcome.BLOCKED)
    assert (alone.outcome is Outcome.OPEN) == (all_together.outcome is Outcome.APPROVED)
    if alone.outcome is Outcome.BLOCKED:
        assert alone.sentence.startswith("Blocked: ")
        assert not alone.may


@settings(max_examples=200)
@given(rounds, votes, eligibles, st.sampled_from([Verdict.APPROVE, Verdict.ABSTAIN]), st.sampled_from(PEOPLE))
def test_more_approvals_never_open_what_was_approved(round_, cast, eligible, verdict, person):
    """Only a rejection or a wish for changes takes an approval away."""
    before = count(round_, cast, eligible)
    after = count(round_, [*cast, vote(person, verdict, 59)], eligible)
    if before.outcome is Outcome.APPROVED:
        assert after.outcome is Outcome.APPROVED
    assert len(after.seats) >= len(before.seats) or after.outcome is Outcome.APPROVED


@settings(max_examples=200)
@given(rounds, votes, eligibles, st.sampled_from([Verdict.REJECT, Verdict.ASK]), st.sampled_from(PEOPLE))
def test_a_no_ends_the_round_if_its_speaker_may_vote(round_, cast, eligible, verdict, person):
    """A rejection or a wish for changes counts at once from anybody eligible, and not at all from others."""
    before = count(round_, cast, eligible)
    after = count(round_, [*cast, vote(person, verdict, 59)], eligible)
    if person in before.eligible:
        assert after.outcome is (Outcome.REJECTED if verdict is Verdict.REJECT else Outcome.ASKED)
        assert person in after.sentence
    else:
        assert after == before


@settings(max_examples=200)
@given(votes, eligibles, st.sampled_from(PEOPLE), people)
def test_requester_and_authors_never_count(cast, eligible, requester, authors):
    """Where policy sets them apart, their approvals fill no seat, whatever groups they are in."""
    round_ = round_of(all_of([requirement("owners"), requirement("sre", backup="leads")]), requester=requester,
                      authors=authors)  # fmt: skip
    standing = count(round_, cast, eligible)
    apart = {requester, *authors}
    assert not apart & {seat.person for seat in standing.seats}
    assert not apart & standing.may
    assert not apart & standing.eligible


@settings(max_examples=300)
@given(rounds, approvals, eligibles)
def test_may_names_exactly_those_whose_approval_helps(round_, cast, eligible):
    """Everybody named brings the round forward; of everybody else nobody could end it now."""
    standing = count(round_, cast, eligible)
    if standing.outcome is not Outcome.OPEN:
        assert not standing.may
        return
    assert standing.may
    for person in PEOPLE:
        after = count(round_, [*cast, vote(person, minute=59)], eligible)
        if after.outcome is Outcome.APPROVED:
            assert person in standing.may
        if person not in standing.may:
            assert len(after.seats) == len(standing.seats)


@settings(max_examples=100)
@given(rounds, votes, eligibles)
def test_the_order_in_which_votes_are_read_does_not_matter(round_, cast, eligible):
    """Two servers that read the same votes come to the same standing."""
    assert count(round_, cast, eligible) == count(round_, list(reversed(cast)), eligible)


BOTH = {"owners": frozenset({"ann", "ben"}), "sre": frozenset({"ann", "cy"}), "leads": frozenset({"di"})}


def test_a_person_in_two_groups_takes_the_seat_that_helps():
    """Ann is in both groups; whoever comes second, the other seat is theirs."""
    round_ = round_of(all_of([requirement("owners"), requirement("sre")]))
    assert count(round_, [vote("ann")], BOTH).outcome is Outcome.OPEN
    for other in ("ben", "cy"):
        assert count(round_, [vote("ann"), vote(other)], BOTH).outcome is Outcome.APPROVED
    standing = count(round_, [vote("ann"), vote("ben")], BOTH)
    assert standing.sentence == "Approved by ben (owners) and ann (sre)."


def test_what_is_awaited_is_said_with_names():
    """An open round says which seats are empty and who may take them."""
    round_ = round_of(all_of([requirement("owners"), requirement("sre")]))
    standing = count(round_, [vote("ben")], BOTH)
    assert standing.sentence == "Waits for 1 more of sre (ann or cy). So far: ben (owners)."
    assert standing.may == {"ann", "cy"}


def test_one_of_two_groups_suffices_where_policy_says_any():
    """An any-of choice is met by either group."""
    round_ = round_of(any_of([requirement("owners", 2), requirement("leads")]))
    assert count(round_, [vote("di")], BOTH).outcome is Outcome.APPROVED
    assert count(round_, [vote("ann"), vote("ben")], BOTH).outcome is Outcome.APPROVED
    assert count(round_, [vote("ann")], BOTH).outcome is Outcome.OPEN


def test_exclusion_calls_the_backup_and_never_empties_a_seat():
    """With the only owner set apart, the backup group sits; without one the round is blocked and says why."""
    owners = {**BOTH, "owners": frozenset({"ann"})}
    backed = round_of(all_of([requirement("owners", backup="leads")]), requester="ann")
    assert count(backed, [], owners).may == {"di"}
    assert count(backed, [vote("ann"), vote("di", minute=2)], owners).outcome is Outcome.APPROVED
    alone = round_of(all_of([requirement("owners")]), requester="ann")
    standing = count(alone, [vote("ann")], owners)
    assert standing.outcome is Outcome.BLOCKED
    assert standing.sentence == (
        "Blocked: owners has 0 who may vote, the authors and requester set aside, and 1 is needed beside the other "
        "seats. Add members to the group or name a backup group."
    )


def test_a_backup_stays_out_while_the_group_suffices():
    """The backup is no second way in for those who would rather not ask the group."""
    round_ = round_of(all_of([requirement("owners", backup="leads")]))
    assert count(round_, [vote("di")], BOTH).outcome is Outcome.OPEN
    assert "di" not in count(round_, [], BOTH).eligible


def test_a_vote_stands_while_its_sections_do():
    """Another plan voids the approval, another presentation does not, and the standing says so."""
    round_ = round_of(all_of([requirement("owners")]))
    cosmetic = {**SECTIONS, "presentation": "sha256:other"}
    material = {**SECTIONS, "plan": "sha256:other"}
    assert count(round_, [vote("ben")], BOTH, sections=cosmetic).outcome is Outcome.APPROVED
    standing = count(round_, [vote("ben")], BOTH, sections=material)
    assert standing.outcome is Outcome.OPEN
    assert "The approval of ben no longer stands: plan changed." in standing.sentence
    assert count(round_, [vote("ben"), vote("ann", sections=material)], BOTH, sections=material).outcome is (
        Outcome.APPROVED
    )


def test_a_requirement_may_cover_less():
    """A vote for one section survives the edit of another; a new section voids those who should have seen it."""
    round_ = round_of(all_of([requirement("owners", covers=frozenset({"payload"}))]))
    assert count(round_, [vote("ben")], BOTH, sections={**SECTIONS, "plan": "x"}).outcome is Outcome.APPROVED
    whole = round_of(all_of([requirement("owners")]))
    assert count(whole, [vote("ben")], BOTH, sections={**SECTIONS, "way_back": "x"}).outcome is Outcome.OPEN


def test_a_round_expires_and_late_votes_do_not_count():
    """At its end an open round is expired; an approval that came in time stays one."""
    round_ = round_of(all_of([requirement("owners")]))
    late = vote("ben", minute=72 * 60)
    standing = count(round_, [late], BOTH, now=T0 + timedelta(hours=72))
    assert standing.outcome is Outcome.EXPIRED
    assert standing.sentence == "Expired: 1 more of owners did not come within 72 h."
    assert count(round_, [vote("ben")], BOTH, now=T0 + timedelta(hours=99)).outcome is Outcome.APPROVED


def test_who_asked_for_changes_has_taken_back_what_they_approved_before():
    """In the next round their earlier approval fills no seat, though what it saw is unchanged: they must say it again."""
    round_ = round_of(all_of([requirement("owners")]))
    before = [vote("ann", round_id="rnd_0"), vote("ann", Verdict.ASK, minute=2, round_id="rnd_0")]
    assert count(round_, before, BOTH).outcome is Outcome.OPEN
    assert count(round_, [*before, vote("ann", minute=3)], BOTH).outcome is Outcome.APPROVED


def test_an_approval_is_void_where_only_seats_of_others_are_untouched():
    """Ben answers for the payload; that the plan, which sre answer for, is unchanged does not keep his approval standing."""
    round_ = round_of(
        all_of(
            [
                requirement("owners", covers=frozenset({"payload"})),
                requirement("sre", covers=frozenset({"plan"})),
            ]
        )
    )
    standing = count(round_, [vote("ben")], BOTH, sections={**SECTIONS, "payload": "sha256:other"})
    assert standing.stale == {"ben": frozenset({"payload"})}


def test_approvals_of_an_earlier_round_count_and_its_rejections_do_not():
    """After changes were asked for, who approved what is unchanged need not do it again."""
    round_ = round_of(all_of([requirement("owners")]))
    asked = vote("ann", Verdict.ASK, round_id="rnd_0")
    assert count(round_, [vote("ben", round_id="rnd_0"), asked], BOTH).outcome is Outcome.APPROVED
