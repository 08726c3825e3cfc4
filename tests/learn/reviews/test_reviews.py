"""Reviews drawn up from facts."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airboss.kernel.errors import Forbidden, Invalid, NotFound, Refused
from airboss.kernel.ids import FactId
from airboss.learn.reviews import CloseReview, Given, Question, Reviews, Word, draft
from airboss.people.access import Actor, Role
from airboss.records.journal import Fact, StoredFact

CHANGE = "chg_1"
ENGINEER = Actor(
    id="usr_1", name="dev-a", kind="person", role=Role.ENGINEER, scopes=None, service=None, via="session:ses_1"
)
CONVICTING = {
    "gate": "errors",
    "kind": "canary",
    "outcome": "fail",
    "sentence": "Errors are 9 times the baseline's.",
    "numbers": {
        "kind": "ratio",
        "canary_seen": 1000,
        "canary_bad": 30,
        "baseline_seen": 9000,
        "baseline_bad": 18,
        "attempt_canary_seen": 1100,
        "attempt_canary_bad": 35,
        "attempt_baseline_seen": 11000,
        "attempt_baseline_bad": 22,
    },
}
SLOW = {
    "gate": "latency",
    "kind": "canary",
    "outcome": "fail",
    "sentence": "Slow.",
    "numbers": {**CONVICTING["numbers"], "kind": "latency", "attempt_canary_bad": 900},
}
COVERAGE = {"gate": "coverage", "kind": "coverage", "outcome": "pass", "numbers": {"share_pct": 98.2}, "sentence": ""}

START = [
    (0, "change.submitted", {"attempt": 1}),
    (1, "policy.decided", {"tier": "medium", "obligations": {"review": False}}),
    (600, "vote.cast", {"verdict": "approve"}),
    (601, "change.approved", {"attempt": 1}),
    (605, "rollout.started", {"units": ["flag/x"]}),
    (605, "step.started", {"step": 1, "of": 2, "kind": "expose", "percent": 1}),
    (606, "exposure.reached", {"unit": "flag/x", "percent": 1, "step": 1}),
    (636, "step.ended", {"step": 1, "answers": [{"kind": "canary", "outcome": "pass"}, COVERAGE]}),
    (637, "exposure.reached", {"unit": "flag/x", "percent": 10, "step": 2}),
]
CONVICTED = [
    *START,
    (648, "harm.convicted", {"step": 2, "gates": [CONVICTING, SLOW], "after_s": 11}),
    (648, "rollback.started", {"step": 2, "sentence": "Errors are 9 times the baseline's."}),
    (651, "rollback.ended", {"took_s": 3, "units": ["flag/x"]}),
    (651, "change.rolled_back", {"attempt": 1}),
]
COMPLETED = [
    *START,
    (700, "step.ended", {"step": 2, "answers": [{"kind": "canary", "outcome": "pass"}]}),
    (720, "change.completed", {"attempt": 1}),
]


def low(story):
    """The same story, judged to be of low risk."""
    return [(at, kind, {**body, "tier": "low"} if kind == "policy.decided" else body) for at, kind, body in story]


def stored(story):
    """The facts of a story, without a journal."""
    return [
        StoredFact(
            position=number,
            fact_id=FactId(f"fct_{number}"),
            at=datetime.fromtimestamp(1_767_600_000 + at, UTC),
            actor="system",
            subject=CHANGE,
            subject_seq=number + 1,
            type=kind,
            body=body,
            stored=b"",
        )
        for number, (at, kind, body) in enumerate(story)
    ]


@pytest.fixture
def told():
    return []


@pytest.fixture
def reviews(store, journal, clock, ids, told):
    return Reviews(store, journal, clock=clock, ids=ids, on_closed=lambda _tx, change: told.append(change))


@pytest.fixture
def open_for(store, journal, clock, reviews):
    """Tell a story to the journal, then open the review in the transaction of its end."""

    def tell(story):
        now = 0
        for at, kind, body in story:
            clock.advance(at - now)
            now = at
            with store.write() as tx:
                journal.record(tx, Fact(subject=CHANGE, type=kind, actor="system", body=body))
        with store.write() as tx:
            return reviews.open_for(tx, CHANGE)

    return tell


def test_a_convicted_change_is_told_with_its_numbers():
    """Outcome, times of detection and rollback, harm and the gate that found it come from the facts."""
    told = draft(stored(CONVICTED))
    assert (told.outcome, told.tier, told.attempt, told.cleared_by) == ("rolled back", "medium", 1, "people")
    assert told.times.approval_lead_s == 601
    assert told.times.detection_s == 42
    assert told.times.rollback_s == 3
    assert told.exposure_percent == 10
    assert told.harm.how == "estimated"
    assert told.harm.requests == pytest.approx(35 - 1100 * 22 / 11000)
    assert told.convicted_by[0]["numbers"]["canary_bad"] == 30
    assert told.sentence == (
        "Rolled back at 10 % exposure, 42.0 s after the first exposure, back after 3.0 s, about 33 harmed: "
        "Errors are 9 times the baseline's."
    )
    assert told.for_people


def test_the_five_questions_are_answered_from_facts():
    """Where a fact exists it answers; where none does, the answer is unknown and says so."""
    answers = draft(stored(CONVICTED)).answers
    assert {question: answer.word for question, answer in answers.items()} == {
        Question.CHANGE_ID: Word.YES,
        Question.AUTOMATION: Word.YES,
        Question.ANALYSIS: Word.YES,
        Question.RUNBOOKS: Word.UNKNOWN,
        Question.EXCEPTIONS: Word.NONE,
    }
    assert answers[Question.CHANGE_ID].sentence == (
        "98.2 % of the telemetry carried it, and the harm was told apart by it."
    )
    assert answers[Question.ANALYSIS].sentence == "It convicted 42.0 s after the first exposure, at 10 % exposure."


def test_a_rollback_without_conviction_says_so():
    """Taken back by a person or a hold, the analysis was not in time, and detection has no time."""
    story = [fact for fact in CONVICTED if fact[1] != "harm.convicted"]
    told = draft(stored(story))
    assert told.times.detection_s is None
    assert told.answers[Question.ANALYSIS].word is Word.NO
    assert told.answers[Question.AUTOMATION].word is Word.PARTLY
    assert told.harm is None


def test_a_measured_harm_is_preferred():
    """A number the tower measured beats what is estimated from a gate's counts."""
    story = [
        (at, kind, {**body, "requests_harmed": 77} if kind == "rollback.ended" else body)
        for at, kind, body in CONVICTED
    ]
    harm = draft(stored(story)).harm
    assert (harm.requests, harm.how) == (77, "measured")


def test_only_the_last_attempt_counts():
    """A conviction of the first attempt is not the second one's."""
    later = [(at + 1000, kind, {**body, "attempt": 2}) for at, kind, body in COMPLETED]
    told = draft(stored([*CONVICTED, *later]))
    assert (told.outcome, told.attempt) == ("completed", 2)
    assert told.times.convicted_at is None
    assert told.times.approval_lead_s == 601


@pytest.mark.parametrize(
    ("story", "for_people"),
    [
        (low(COMPLETED), False),
        (COMPLETED, True),
        (low(CONVICTED), True),
        ([fact for fact in COMPLETED if fact[1] != "policy.decided"], True),
        ([(0, "change.submitted", {}), (9, "change.cancelled", {})], False),
        (
            [
                (0, "policy.decided", {"tier": "low", "obligations": {"review": True}}),
                *[fact for fact in COMPLETED if fact[1] != "policy.decided"],
            ],
            True,
        ),
    ],
)
def test_people_review_what_deserves_it(story, for_people):
    """Low risk and completed, or never exposed: the facts suffice. Harm, risk, no known tier, or policy: people."""
    assert draft(stored(story)).for_people is for_people


scraps = st.none() | st.booleans() | st.integers(-5, 200) | st.text(max_size=3)
bodies = st.dictionaries(
    st.sampled_from(
        ["attempt", "tier", "percent", "gates", "answers", "numbers", "kind", "verdict", "obligations", "exemptions"]
    ),
    scraps
    | st.lists(st.dictionaries(st.sampled_from(["kind", "numbers", "sentence"]), scraps, max_size=3), max_size=2)
    | st.dictionaries(st.sampled_from(["review", "share_pct"]), scraps, max_size=2),
    max_size=5,
)


@given(
    st.lists(
        st.tuples(st.integers(0, 9), st.sampled_from(sorted({kind for _, kind, _ in [*CONVICTED, *COMPLETED]})), bodies)
    )
)
def test_no_facts_make_it_fall_over(story):
    """Whatever the bodies hold, or lack, there is a draft with five answers."""
    told = draft(stored(sorted(story, key=lambda fact: fact[0])))
    assert set(told.answers) == set(Question)
    assert told.sentence


def test_a_low_risk_change_is_reviewed_by_its_facts_alone(open_for, reviews, store, journal, told):
    """Opened and closed in one transaction, by nobody, with both facts; nothing waits for people."""
    review = open_for(low(COMPLETED))
    assert review.closed_by == "system"
    with store.read() as connection:
        assert reviews.closed(connection, CHANGE)
        assert reviews.waiting(connection, ENGINEER) == []
        assert [fact.type for fact in journal.of(connection, f"review/{review.id}")] == [
            "review.opened",
            "review.closed",
        ]
    assert told == []  # the tower asks at once; it needs no hint of what it did itself


def test_a_harmed_change_waits_for_people(open_for, reviews, store, told):
    """Its review shows the draft until a person closes it, and the change is made due."""
    review = open_for(CONVICTED)
    with store.read() as connection:
        assert not reviews.closed(connection, CHANGE)
        assert reviews.waiting(connection, ENGINEER) == [review]
        assert reviews.of(connection, CHANGE, ENGINEER).draft == draft_of(connection, reviews)
    closed = reviews.close(
        CloseReview(
            review=review.id,
            answers={Question.RUNBOOKS: Given(word=Word.NO, note="nobody knew there was one")},
            verdict="right",
            note="a rounding error in the new engine",
        ),
        ENGINEER,
    )
    assert closed.closed_by == "usr_1"
    assert closed.answers[Question.RUNBOOKS].note == "nobody knew there was one"
    assert (closed.verdict, closed.note) == ("right", "a rounding error in the new engine")
    assert told == [CHANGE]
    with store.read() as connection:
        assert reviews.closed(connection, CHANGE)
        assert reviews.view(connection, review.id, ENGINEER) == closed


def draft_of(connection, reviews):
    return draft(reviews._journal.of(connection, CHANGE))


def test_what_people_write_is_not_in_the_facts(open_for, reviews, store, journal):
    """Notes lie where they can be erased; the fact has their references and the words yes, no, right, wrong."""
    review = open_for(CONVICTED)
    command = CloseReview(
        review=review.id, answers={Question.ANALYSIS: Given(word=Word.YES, note="Dana saw it first")}, verdict="wrong"
    )
    reviews.close(command, ENGINEER)
    with store.read() as connection:
        fact = journal.of(connection, f"review/{review.id}")[-1]
    assert b"Dana" not in fact.stored
    assert fact.body["verdict"] == "wrong"
    assert fact.body["answers"]["analysis"]["word"] == "yes"
    assert not fact.body["from_facts_alone"]


def test_opening_twice_opens_once(open_for, reviews, store):
    """The tower may repeat what it was killed in."""
    first = open_for(CONVICTED)
    with store.write() as tx:
        assert reviews.open_for(tx, CHANGE).id == first.id


def test_closing_is_for_those_who_may_and_once(open_for, reviews, store):
    """A viewer may read; a closed review stays closed; endless notes and unknown reviews are refused."""
    review = open_for(CONVICTED)
    viewer = replace(ENGINEER, role=Role.VIEWER)
    with store.read() as connection:
        assert reviews.view(connection, review.id, viewer).id == review.id
        with pytest.raises(NotFound):
            reviews.view(connection, "rev_0", viewer)
        assert reviews.of(connection, "chg_0", viewer) is None
        assert not reviews.closed(connection, "chg_0")
    with pytest.raises(Forbidden):
        reviews.close(CloseReview(review=review.id), viewer)
    with pytest.raises(Invalid):
        reviews.close(CloseReview(review=review.id, note="x" * 4001), ENGINEER)
    reviews.close(CloseReview(review=review.id), ENGINEER)
    with pytest.raises(Refused, match="closed already"):
        reviews.close(CloseReview(review=review.id), ENGINEER)
