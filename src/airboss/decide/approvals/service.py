"""Opening rounds, taking votes, showing who waits for whom."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from sqlalchemy import Connection

from airboss.decide.approvals import repo, rules
from airboss.decide.approvals.model import (
    ENDED_BY_A_WORD,
    ROUND_LASTS,
    Approval,
    CastVote,
    Choice,
    Look,
    Outcome,
    Requirement,
    Round,
    Standing,
    Verdict,
    Vote,
)
from airboss.decide.approvals.ports import Asked, BackupOf, Eligible, OnVote, Subject, Subjects
from airboss.decide.approvals.repo import StoredRound, StoredVote
from airboss.kernel.canonical import Json
from airboss.kernel.clock import Clock, rfc3339
from airboss.kernel.errors import Forbidden, Invalid, NotFound, Refused, Stale
from airboss.kernel.ids import Ids
from airboss.people.access import SYSTEM, Action, Actor, require
from airboss.records.journal import Fact, Journal
from airboss.records.store import Store, Tx

COMMENT_MOST: Final = 4_000
INBOX_MOST: Final = 500
SUPERSEDED: Final = "superseded"
WITHDRAWN: Final = "withdrawn"
_PARTS: Final = {"requester": "requested", "authors": "wrote"}
CARRIED_FROM: Final = frozenset({None, SUPERSEDED, str(Outcome.ASKED), str(Outcome.APPROVED)})
"""How a round ends whose approvals count in the next one, as far as what they saw is unchanged."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Count:
    """One reading of a round: everything a tally needs, and the tally."""

    stored: StoredRound
    subject: Subject
    eligible: Mapping[str, frozenset[str]]
    votes: tuple[StoredVote, ...]
    standing: Standing


class Approvals:
    """Use cases of approving. Facts on the change: round.opened, vote.cast, round.closed.

    The tower opens a round when policy asks for people, reads its standing when the change is due, moves the change and
    closes the round, all in its own transaction. Who cancels or edits a change ends its round in the same transaction
    (`withdraw`, `supersede`). People only vote; a vote makes the change due (`on_vote`).
    """

    def __init__(
        self,
        store: Store,
        journal: Journal,
        *,
        clock: Clock,
        ids: Ids,
        eligible: Eligible,
        subjects: Subjects,
        on_vote: OnVote,
        backup_of: BackupOf | None = None,
    ) -> None:
        self._store = store
        self._journal = journal
        self._clock = clock
        self._ids = ids
        self._eligible = eligible
        self._subjects = subjects
        self._on_vote = on_vote
        self._backup_of = backup_of

    # -- the tower's part ------------------------------------------------------------------------------------------

    def open_round(
        self,
        tx: Tx,
        change: str,
        *,
        decision: str,
        choices: Sequence[Choice],
        sections: Mapping[str, str],
        excluded: Mapping[str, frozenset[str]],
        services: frozenset[str],
        expires_at: datetime | None = None,
        actor: Actor = SYSTEM,
    ) -> Round:
        """Ask people about a change; the same decision asks once, a newer one replaces what is open.

        `excluded` maps parts (requester, authors) to the handles who played them. Approvals of a round that was replaced,
        that ended in "changes asked" or that approved what was edited afterwards carry over while the digests they saw
        hold. Default end: 72 h. Raises Invalid.
        """
        tx.lock(change)
        earlier = repo.rounds_of(tx.connection, change)
        same = next((stored.round for stored in earlier if stored.round.decision == decision), None)
        if same is not None:
            return same
        choices = tuple(self._with_backups(tx.connection, choice) for choice in choices)
        rules.check(choices, excluded, sections)
        now = self._clock.now()
        opened = Round(
            id=self._ids.new("rnd"),
            change=change,
            decision=decision,
            choices=choices,
            excluded=excluded,
            services=services,
            opened_at=now,
            expires_at=expires_at or now + ROUND_LASTS,
        )
        if opened.expires_at <= now:
            raise Invalid(f"the round would end at {rfc3339(opened.expires_at)}, before it begins", code="bad-approval")
        last = earlier[-1] if earlier else None
        if last is not None and last.closed_at is None:
            self._close(tx, last, outcome=SUPERSEDED, seats=[], actor=actor)
        follows = last is not None and last.closed_as in CARRIED_FROM
        repo.insert_round(tx, opened, chain=last.chain if last is not None and follows else opened.id)
        body: dict[str, Json] = {
            "round": opened.id,
            "decision": decision,
            "choices": repo.choices_json(choices),
            "sections": dict(sections),
            "expires_at": rfc3339(opened.expires_at),
            "follows": last.round.id if last is not None and follows else None,
        }
        self._journal.record(tx, Fact(subject=change, type="round.opened", actor=actor.id, body=body))
        return opened

    def standing(self, connection: Connection, change: str) -> Standing | None:
        """Return where the open round of a change stands, or None when none is open."""
        count = self._count_open(connection, change)
        return None if count is None else count.standing

    def close(self, tx: Tx, change: str, outcome: Outcome, *, actor: Actor = SYSTEM) -> None:
        """End the open round of a change, in the transaction that moves the change. Nothing open: nothing happens.

        The votes are counted again under the change's lock: raises Stale when a vote that came since says otherwise, so
        a change does not move on approvals that somebody has just taken back.
        """
        tx.lock(change)
        count = self._count_open(tx.connection, change)
        if count is None:
            return
        if count.standing.outcome is not outcome:
            raise Stale(
                f"the approval of change {change} is {count.standing.outcome} by now, not {outcome}",
                code="votes-moved-on",
                way_out="count again",
            )
        ids = {stored.vote.person: stored.person_id for stored in count.votes}
        seats: list[Json] = [{"group": seat.group, "person": ids[seat.person]} for seat in count.standing.seats]
        self._close(tx, count.stored, outcome=outcome, seats=seats, actor=actor)

    def withdraw(self, tx: Tx, change: str, *, actor: Actor = SYSTEM) -> None:
        """End the open round of a change that no longer asks: it was called off. Nothing open: nothing happens.

        Approvals do not carry over from a withdrawn round.
        """
        self._end(tx, change, WITHDRAWN, actor)

    def supersede(self, tx: Tx, change: str, *, actor: Actor = SYSTEM) -> None:
        """End the open round of a change that is reviewed again: it was edited, or policy changed. Nothing open: nothing.

        Approvals of what did not change carry over into the next round.
        """
        self._end(tx, change, SUPERSEDED, actor)

    def _end(self, tx: Tx, change: str, outcome: str, actor: Actor) -> None:
        tx.lock(change)
        stored = next((one for one in repo.rounds_of(tx.connection, change) if one.closed_at is None), None)
        if stored is not None:
            self._close(tx, stored, outcome=outcome, seats=[], actor=actor)

    # -- people's part ---------------------------------------------------------------------------------------------

    def vote(self, command: CastVote, actor: Actor) -> Standing:
        """Say a word about a change and return where it stands now. Saying the same twice says it once.

        Raises Forbidden (not one of those who may), NotFound, Refused (nothing is asked, or the round ended), Stale (the
        change is not what the voter saw), Invalid (no reason given for a no, or too long a one).
        """
        require(actor, Action.CHANGE_APPROVE)
        comment = _comment(command)
        with self._store.write() as tx:
            tx.lock(command.change)
            before = self._count_for(tx, command, actor)
            if command.verdict is not Verdict.COMMENT and _said_already(before, command.verdict, actor.name):
                return before.standing
            vote = Vote(
                id=self._ids.new("vot"),
                round=before.stored.round.id,
                person=actor.name,
                verdict=command.verdict,
                sections=before.subject.sections,
                at=self._clock.now(),
                channel=command.channel,
                comment=self._journal.text(tx, comment) if comment else None,
            )
            repo.insert_vote(tx, vote, chain=before.stored.chain, person_id=actor.id)
            self._remember(tx, before.subject, actor)
            after = self._tally(before, vote, person_id=actor.id)
            body: dict[str, Json] = {
                "round": vote.round,
                "vote": vote.id,
                "verdict": vote.verdict.value,
                "seen": command.seen,
                "sections": dict(vote.sections),
                "comment": vote.comment,
                "channel": vote.channel,
                "via": actor.via,
                "outcome": after.outcome.value,
            }
            self._journal.record(tx, Fact(subject=command.change, type="vote.cast", actor=actor.id, body=body))
            self._on_vote(tx, command.change)
        return after

    def looked(self, change: str, actor: Actor) -> None:
        """Remember that somebody has seen a change as it is now, so that they are told what changed since.

        Raises Forbidden, NotFound, or Refused (a draft has nothing to decide on).
        """
        require(actor, Action.CHANGE_READ)
        with self._store.write() as tx:
            subject = self._subject(tx.connection, change)
            if subject is None:
                raise NotFound(f"there is no submitted change {change}", code="change-not-found")
            self._remember(tx, subject, actor)

    def last_look(self, connection: Connection, change: str, actor: Actor) -> Look | None:
        """Return what an actor saw of a change when they last looked, or None. One query."""
        return repo.looks_of(connection, [change], actor.id).get(change)

    def last_looks(self, connection: Connection, changes: Collection[str], actor: Actor) -> dict[str, Look]:
        """Return by change what an actor saw of it when they last looked; those never looked at are left out. One query."""
        return repo.looks_of(connection, changes, actor.id)

    # -- views -----------------------------------------------------------------------------------------------------

    def of(self, connection: Connection, change: str, actor: Actor) -> Approval | None:
        """Return the newest round of a change with its votes and their comments, or None.

        Seven queries. Raises Forbidden.
        """
        require(actor, Action.CHANGE_READ)
        earlier = repo.rounds_of(connection, change)
        subject = self._subject(connection, change)
        if not earlier or subject is None:
            return None
        return self._told(connection, [self._count(connection, earlier[-1], subject)])[0]

    def inbox(self, connection: Connection, handle: str) -> list[Approval]:
        """Return the open rounds that somebody's approval would bring forward, oldest first. Queries as `waiting`."""
        return [one for one in self.waiting(connection) if handle in one.standing.may]

    def waiting(self, connection: Connection) -> list[Approval]:
        """Return the open rounds of changes that wait for people, oldest first. Seven queries, however many there are."""
        found = repo.open_rounds(connection, limit=INBOX_MOST)
        subjects = self._subjects(connection, [stored.round.change for stored in found]) if found else {}
        awaiting = [
            (stored, subject)
            for stored in found
            if (subject := subjects.get(stored.round.change)) is not None and subject.awaiting
        ]
        return self._told(connection, self._counted(connection, awaiting))

    # -- inside ----------------------------------------------------------------------------------------------------

    def _subject(self, connection: Connection, change: str) -> Subject | None:
        return self._subjects(connection, [change]).get(change)

    def _told(self, connection: Connection, counts: Sequence[_Count]) -> list[Approval]:
        """Return rounds as they are shown, the votes with their comments. One query."""
        votes = [stored.vote for count in counts for stored in count.votes]
        texts = self._journal.texts(connection, [vote.comment for vote in votes if vote.comment])
        return [
            Approval(
                round=count.stored.round,
                votes=tuple(replace(cast.vote, comment=texts.get(cast.vote.comment or "")) for cast in count.votes),
                standing=count.standing,
                closed_at=count.stored.closed_at,
                closed_as=count.stored.closed_as,
            )
            for count in counts
        ]

    def _remember(self, tx: Tx, subject: Subject, actor: Actor) -> None:
        last = self.last_look(tx.connection, subject.change, actor)
        look = Look(digest=subject.digest, content=subject.content, at=self._clock.now())
        if last is not None and last.digest == subject.digest:
            look = replace(last, at=look.at)
        elif last is not None:
            look = replace(look, before_digest=last.digest, before_content=last.content, before_at=last.at)
        repo.save_look(tx, subject.change, actor.id, look)

    def _count_for(self, tx: Tx, command: CastVote, actor: Actor) -> _Count:
        """Return the count a vote falls into. Raises as `vote` does."""
        subject = self._subject(tx.connection, command.change)
        if subject is None:
            raise NotFound(f"there is no change {command.change}", code="change-not-found")
        count = self._count_open(tx.connection, command.change, subject)
        if count is None or not subject.awaiting:
            raise Refused(
                f"change {command.change} asks for no approval now",
                code="no-approval-asked",
                way_out=f"see where it is: airboss change show {command.change}",
            )
        if subject.digest != command.seen:
            raise Stale(
                f"change {command.change} is no longer what you looked at",
                code="change-moved-on",
                way_out=f"look at what changed, then decide: airboss change approval {command.change}",
            )
        if command.verdict is Verdict.COMMENT:
            return count  # decides nothing, so anybody may, and at any time while people are asked
        if count.standing.outcome in ENDED_BY_A_WORD | {Outcome.EXPIRED}:
            raise Refused(
                f"the round is over: {count.standing.sentence}", code="round-over", way_out="wait for the next round"
            )
        if actor.name not in count.standing.eligible:
            raise _not_you(count, actor)
        if command.verdict is Verdict.ABSTAIN and _said_already(count, Verdict.APPROVE, actor.name):
            raise Refused(
                "you approved; abstaining does not take that back",
                code="already-approved",
                way_out="reject, or ask for changes, to take it back",
            )
        return count

    def _count_open(self, connection: Connection, change: str, subject: Subject | None = None) -> _Count | None:
        stored = next((one for one in reversed(repo.rounds_of(connection, change)) if one.closed_at is None), None)
        subject = subject or self._subject(connection, change)
        return None if stored is None or subject is None else self._count(connection, stored, subject)

    def _count(self, connection: Connection, stored: StoredRound, subject: Subject) -> _Count:
        return self._counted(connection, [(stored, subject)])[0]

    def _counted(self, connection: Connection, found: Sequence[tuple[StoredRound, Subject]]) -> list[_Count]:
        """Count rounds: one query for their votes, and those of `Eligible` for all together."""
        votes = repo.votes_of(connection, [stored.chain for stored, _ in found])
        asked = {(group, stored.round.services) for stored, _ in found for group in stored.round.groups}
        eligible = self._eligible(connection, asked) if asked else {}
        return [self._counted_one(stored, subject, votes[stored.chain], eligible) for stored, subject in found]

    def _counted_one(
        self,
        stored: StoredRound,
        subject: Subject,
        votes: Sequence[StoredVote],
        members: Mapping[Asked, frozenset[str]],
    ) -> _Count:
        # A later round of the chain does not tell how an earlier one stood.
        cast = tuple(one for one in votes if stored.closed_at is None or one.vote.at <= stored.closed_at)
        asked = stored.round
        eligible = {group: members[group, asked.services] for group in asked.groups}
        standing = rules.tally(
            asked,
            [one.vote for one in cast],
            eligible=eligible,
            current_sections=subject.sections,
            now=stored.closed_at or self._clock.now(),
        )
        return _Count(stored=stored, subject=subject, eligible=eligible, votes=cast, standing=standing)

    def _tally(self, before: _Count, vote: Vote, *, person_id: str) -> Standing:
        votes = (*before.votes, StoredVote(vote=vote, person_id=person_id))
        return rules.tally(
            before.stored.round,
            [stored.vote for stored in votes],
            eligible=before.eligible,
            current_sections=before.subject.sections,
            now=self._clock.now(),
        )

    def _with_backups(self, connection: Connection, choice: Choice) -> Choice:
        """Return the choice with the backup each group names for itself, where the requirement names none."""

        def backed(requirement: Requirement) -> Requirement:
            if requirement.backup or self._backup_of is None:
                return requirement
            return replace(requirement, backup=self._backup_of(connection, requirement.group))

        return replace(choice, of=tuple(backed(requirement) for requirement in choice.of))

    def _close(self, tx: Tx, stored: StoredRound, *, outcome: str, seats: list[Json], actor: Actor) -> None:
        if repo.close_round(tx, stored.round.id, at=self._clock.now(), outcome=str(outcome)):
            body: dict[str, Json] = {"round": stored.round.id, "outcome": str(outcome), "seats": seats}
            self._journal.record(tx, Fact(subject=stored.round.change, type="round.closed", actor=actor.id, body=body))


def _comment(command: CastVote) -> str | None:
    comment = (command.comment or "").strip() or None
    if comment is None and command.verdict in {Verdict.REJECT, Verdict.ASK, Verdict.COMMENT}:
        raise Invalid(
            f"to {command.verdict} takes a reason", code="reason-missing", place="comment", way_out="say why in a line"
        )
    if comment is not None and len(comment) > COMMENT_MOST:
        raise Invalid(f"{len(comment)} characters are more than {COMMENT_MOST}", code="too-long", place="comment")
    return comment


def _said_already(count: _Count, verdict: Verdict, person: str) -> bool:
    """Return whether somebody's last word in this round was this one, about what the change is now."""
    last = [
        stored.vote
        for stored in count.votes
        if stored.vote.person == person
        and stored.vote.round == count.stored.round.id
        and stored.vote.verdict is not Verdict.COMMENT
    ][-1:]
    return any(vote.verdict is verdict and vote.sections == count.subject.sections for vote in last)


def _not_you(count: _Count, actor: Actor) -> Forbidden:
    parts = [part for part, people in count.stored.round.excluded.items() if actor.name in people]
    members = frozenset().union(*count.eligible.values())
    if parts and actor.name in members:
        roles = " and ".join(_PARTS.get(part, part) for part in sorted(parts, reverse=True))
        return Forbidden(
            f"{actor.name} {roles} this change, and somebody else must decide",
            code="own-change",
            way_out=count.standing.sentence,
        )
    return Forbidden(
        f"{actor.name} is in none of the groups asked: {', '.join(sorted(count.stored.round.groups))}",
        code="not-among-those-asked",
        way_out=count.standing.sentence,
    )
