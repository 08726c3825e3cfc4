"""The policies in force: kept by revision, refused while the last good stays, decided, recorded, replayed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from tests.decide.policy.conftest import pack_bytes

from airboss.catalog import Kinds
from airboss.decide.policy import (
    DEFAULT_SOURCE,
    Outcome,
    Point,
    Policies,
    Tier,
    WorkerEngine,
    default_bytes,
    fixture,
    need_words,
    overlay,
    reasons,
    sentence,
)
from airboss.kernel.errors import Forbidden, Invalid, NotFound, Refused
from airboss.kernel.ids import Ids
from airboss.people.access import SYSTEM, Actor, Role
from airboss.records.journal import Journal
from airboss.records.store import Store
from airboss.testing import ManualClock

ADMIN = Actor(id="usr_admin", name="admin-a", kind="person", role=Role.ADMIN, scopes=None, service=None, via="test")
ENGINEER = Actor(id="usr_dev", name="dev-a", kind="person", role=Role.ENGINEER, scopes=None, service=None, via="test")

STRICT = pack_bytes("change.impact.users_percent > 3.0 -> {deny: {}}")


@pytest.fixture(scope="module")
def shared() -> Iterator[WorkerEngine]:
    engine = WorkerEngine(deadline_s=5)  # a slow machine is not what is tested here
    yield engine
    engine.close()


@pytest.fixture
def policies(store: Store, journal: Journal, clock: ManualClock, ids: Ids, shared: WorkerEngine) -> Policies:
    return Policies(store, journal, engine=shared, clock=clock, ids=ids)


def _facts(**over: Any) -> dict[str, Any]:
    facts = overlay(fixture(), over)
    del facts["now"]
    return facts


def test_seed_once(policies: Policies, store: Store, journal: Journal) -> None:
    """The shipped pack is put in force once, with its fact; the second start finds it there."""
    applied = policies.seed()
    assert applied is not None
    assert (applied.name, applied.outcome, applied.warnings) == ("airboss-default", "created", ())
    assert policies.seed() is None
    with store.read() as connection:
        [held] = policies.packs(connection)
        assert held.source == DEFAULT_SOURCE
        [fact] = journal.of(connection, "policy/airboss-default")
        assert fact.type == "policy.activated"
        assert fact.body["digest"] == held.digest
        assert fact.body["bundle"] == policies.active_bundle(connection).digest


def test_seed_leaves_what_people_chose(policies: Policies, store: Store) -> None:
    """A pack of the shipped name that people have put in force is theirs."""
    own = (
        default_bytes()
        .replace(b"users_percent <= 10.0", b"users_percent <= 2.0")
        .replace(b"percent: 10}", b"percent: 2}")
    )
    policies.put_pack(own, "own.yaml", actor=ADMIN)
    assert policies.seed() is None
    with store.read() as connection:
        assert [pack.source for pack in policies.packs(connection)] == ["own.yaml"]


def test_put_again_and_change(policies: Policies, store: Store, journal: Journal) -> None:
    """The same content records nothing; new content is a new revision, and the old one stays to be read."""
    assert policies.put_pack(STRICT, "mine.yaml", actor=ADMIN).outcome == "created"
    assert policies.put_pack(STRICT, "mine.yaml", actor=ADMIN).outcome == "unchanged"
    milder = STRICT.replace(b"3.0", b"30.0")
    assert policies.put_pack(milder, "mine.yaml", actor=ADMIN).outcome == "changed"
    with store.read() as connection:
        assert [(pack.revision, pack.active) for pack in policies.revisions(connection, "mine")] == [
            (1, False),
            (2, True),
        ]
        assert [fact.type for fact in journal.of(connection, "policy/mine")] == ["policy.activated"] * 2


@pytest.mark.parametrize(
    "bad",
    [
        STRICT.replace(b"users_percent", b"user_percent"),
        STRICT + b"  colour: red\n",
        b"kind: [",
        pack_bytes("true -> {warn: {}}", tests="  tests:\n    - {name: x, at: submit, expect: {outcome: allow}}\n"),
    ],
)
def test_a_bad_pack_is_refused_and_the_last_good_stays(bad: bytes, policies: Policies, store: Store) -> None:
    """Misspelt, unknown, unreadable or failing its own tests: refused with its place, and nothing changes."""
    policies.put_pack(STRICT, "mine.yaml", actor=ADMIN)
    with pytest.raises(Invalid) as refused:
        policies.put_pack(bad, "mine.yaml", actor=ADMIN)
    assert refused.value.place is not None
    assert refused.value.place.startswith("mine.yaml:")
    with store.read() as connection:
        assert [pack.data for pack in policies.packs(connection)] == [STRICT]
    assert policies.decide(Point.START, _facts(change={"impact": {"users_percent": 5}})).outcome is Outcome.BLOCK


def test_only_admins_change_policy(policies: Policies) -> None:
    """Who may not apply policy may neither put nor retire."""
    with pytest.raises(Forbidden):
        policies.put_pack(STRICT, "mine.yaml", actor=ENGINEER)
    with pytest.raises(Forbidden):
        policies.retire_pack("mine", actor=ENGINEER)


def test_retire(policies: Policies, store: Store, journal: Journal) -> None:
    """A retired pack no longer speaks, and may be put in force again."""
    policies.put_pack(STRICT, "mine.yaml", actor=ADMIN)
    policies.retire_pack("mine", actor=ADMIN)
    with pytest.raises(NotFound):
        policies.retire_pack("mine", actor=ADMIN)
    with store.read() as connection:
        assert policies.active_bundle(connection).packs == ()
        assert journal.of(connection, "policy/mine")[-1].type == "policy.retired"
    assert policies.decide(Point.SUBMIT, _facts()).denials[0].kind == "unclear"
    assert policies.put_pack(STRICT, "mine.yaml", actor=ADMIN).outcome == "changed"


def test_by_the_register_of_documents(policies: Policies, store: Store) -> None:
    """`airboss apply` knows packs, also several in one file, each with its own bytes."""
    kinds = Kinds([policies.kind()])
    text = STRICT + b"---\n" + pack_bytes("true -> {warn: {}}", name="other")
    applied = kinds.apply_all(kinds.parse(text, "all.yaml"), actor=ADMIN)
    assert [(one.kind, one.name, one.outcome) for one in applied] == [
        ("PolicyPack", "mine", "created"),
        ("PolicyPack", "other", "created"),
    ]
    again = kinds.apply_all(kinds.parse(text, "all.yaml"), actor=ADMIN)
    assert {one.outcome for one in again} == {"unchanged"}
    with store.read() as connection:
        assert len(policies.active_bundle(connection).rules) == 2


def test_decide_record_and_replay(policies: Policies, store: Store, journal: Journal) -> None:
    """A decision is kept with the very bytes it was given, its fact carries the digests, and it replays exactly."""
    policies.seed()
    facts = _facts(change={"kind": "flag-ramp", "impact": {"users_percent": 40}}, services=[{"tier": "important"}])
    decision = policies.decide(Point.APPROVE, facts)
    assert (decision.outcome, decision.tier) == (Outcome.PENDING, Tier.MEDIUM)
    asked = "1 of service-owners, other people than the requester and the authors"
    assert [need_words(need) for need in decision.approvals] == [asked]
    assert sentence(decision) == f"Waiting for {asked}: medium risk."
    assert any("change.impact.users_percent = 40" in line for line in reasons(decision))
    with store.write() as tx:
        policies.record(tx, decision, subject="chg_x")
    with store.read() as connection:
        [fact] = journal.of(connection, "chg_x")
        [stored] = policies.decisions_of(connection, "chg_x")
        assert policies.decision(connection, decision.id) == stored
        with pytest.raises(NotFound):
            policies.decision(connection, "dec_nothing")
    assert (fact.type, fact.actor, fact.body["input_digest"]) == ("policy.decided", SYSTEM.id, decision.input_digest)
    assert fact.body["fired"] == ["airboss-default/ORDINARY", "airboss-default/MEDIUM-NEEDS-OWNER"]
    assert stored.input == decision.input
    assert stored.body == decision.as_json()
    policies.put_pack(pack_bytes("true -> {deny: {}}"), "mine.yaml", actor=ADMIN)
    replay = policies.replay(decision.id)
    assert replay.same
    with store.read() as connection:
        newer = policies.active_bundle(connection)
    assert policies.replay(decision.id, bundle=newer).ruling.outcome is Outcome.BLOCK
    assert not policies.replay(decision.id, bundle=newer).same


def test_words(policies: Policies) -> None:
    """A refusal says the reason, the rule with its text and what it read, and the way out."""
    policies.seed()
    spent = policies.decide(Point.START, _facts(slos=[{"name": "checkout-errors", "budget_left": -0.04}]))
    assert sentence(spent) == (
        "Refused: error budget of checkout-errors is spent: only changes labelled reliability may start until it recovers."
    )
    text = "\n".join(reasons(spent))
    assert "Rule BUDGET-SPENT of airboss-default at airboss:default.yaml:" in text
    assert "slos[0].budget_left = -0.04" in text
    assert "change.labels = []" in text
    assert "Way out: " in text
    light = policies.decide(Point.SUBMIT, _facts(change={"kind": "flag-ramp", "behind_flag": True}))
    assert sentence(light).startswith("Cleared without a person: behind a flag, reversible")
    assert sentence(policies.decide(Point.START, _facts())).startswith("May be started: medium risk")


def test_ages_and_digests_are_told(policies: Policies) -> None:
    """A decision says how old its facts were, which bundle judged, and the digest of what it saw."""
    policies.seed()
    decision = policies.decide(Point.START, _facts(ages={"slos_s": 12.5}))
    assert decision.ages["slos_s"] == 12.5
    told = decision.as_json()
    assert told["bundle"].startswith("sha256:")
    assert told["format"] == 1
    assert b'"now":"2026-01-05T09:00:00.000000Z"' in decision.input


def test_another_profile_says_first_which_decisions_differ(policies: Policies, store: Store) -> None:
    """A dry run changes nothing; the move puts the one pack of that name in force, and a restart leaves it there."""
    policies.seed()
    ramp = {"kind": "flag-ramp", "behind_flag": True}
    for subject, change in (("chg_ramp", ramp), ("chg_high", {"impact": {"reversible": False}})):
        decision = policies.decide(Point.SUBMIT, _facts(change=change))
        with store.write() as tx:
            policies.record(tx, decision, subject=subject)

    tried = policies.choose_profile("beginner", actor=ADMIN, dry_run=True)
    assert (tried.before, tried.after, tried.judged) == ("intermediate", "beginner", 2)
    [flip] = tried.flips
    assert (flip.subject, flip.before, flip.after, flip.tier_after) == ("chg_ramp", "allow", "pending", "medium")
    with store.read() as connection:
        assert policies.profile(connection) == "intermediate"

    assert policies.choose_profile("beginner", actor=ADMIN).outcome == "changed"
    assert policies.seed() is None
    with store.read() as connection:
        assert policies.profile(connection) == "beginner"
        assert len(policies.packs(connection)) == 1
    assert policies.decide(Point.SUBMIT, _facts(change=ramp)).tier.value == "medium"


def test_a_profile_takes_nobodys_own_pack_away(policies: Policies, store: Store) -> None:
    """Somebody's own pack of the name stays until they retire it; an unknown profile and an engineer are refused."""
    policies.put_pack(default_bytes() + b"\n# ours\n", "own.yaml", actor=ADMIN)
    with pytest.raises(Refused, match="is your own"):
        policies.choose_profile("regulated", actor=ADMIN)
    with pytest.raises(NotFound, match="no profile"):
        policies.choose_profile("strict", actor=ADMIN)
    with pytest.raises(Forbidden):
        policies.choose_profile("regulated", actor=ENGINEER)
    policies.retire_pack("airboss-default", actor=ADMIN)
    assert policies.seed() is None, "what people retired stays retired"
    assert policies.choose_profile("regulated", actor=ADMIN).before is None
    with store.read() as connection:
        assert policies.profile(connection) == "regulated"
