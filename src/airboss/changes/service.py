"""The use cases of a change up to its start, and the moves the tower makes."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any, Final, Protocol

from sqlalchemy import Connection

from airboss.catalog import Applied, Catalog, Kind, Order, Parsed
from airboss.changes import repo
from airboss.changes.commands import Cancel, Create, Edit, Submit
from airboss.changes.draft import Draft, read_change, reread
from airboss.changes.examination import Examiner, Expanded, Flags
from airboss.changes.inspection import Inspector, Reviewer
from airboss.changes.lifecycle import EDITABLE, FACTS, Change, Moved, Phase
from airboss.changes.shelf import Shelf
from airboss.changes.spec import Section, Spec, affected
from airboss.changes.template import Template, shipped, template
from airboss.kernel.canonical import Json, canonical
from airboss.kernel.clock import Clock
from airboss.kernel.errors import Invalid, NotFound, Refused, Stale
from airboss.kernel.ids import ActorId, ChangeId, Ids, change_id
from airboss.kernel.yaml import Document
from airboss.people.access import Action, Actor, Scope, require
from airboss.records.journal import Fact, Journal
from airboss.records.store import Store, Tx

Wake = Callable[[Tx, ChangeId], None]
"""Makes a change due for the tower, in the transaction that gives it something to do."""


class Unasked(Protocol):
    """Ends what people are being asked about a change, before it is called off or its edit is reviewed again."""

    def __call__(self, tx: Tx, change: ChangeId, actor: Actor, /, *, edited: bool) -> None: ...


PAGE_MOST: Final = 200
PHASES_MOST: Final = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Some changes, newest first, and the cursor of the next page if there may be one."""

    items: tuple[repo.Summary, ...]
    next_cursor: str | None


def _nobody(tx: Tx, change: ChangeId) -> None:
    """Wake nobody: a store without a tower."""


def _nothing_asked(tx: Tx, change: ChangeId, actor: Actor, /, *, edited: bool) -> None:
    """End nothing: a store without approvals."""


class Changes:
    """Proposes, edits, submits, withdraws and shows changes; moves them for the tower."""

    def __init__(
        self,
        store: Store,
        journal: Journal,
        *,
        clock: Clock,
        ids: Ids,
        catalog: Catalog,
        inspectors: Mapping[str, Inspector] | None = None,
        reviewers: Sequence[Reviewer] = (),
        flags: Flags | None = None,
        wake: Wake = _nobody,
        unasked: Unasked = _nothing_asked,
    ) -> None:
        """`inspectors` look into payloads by kind of target; `reviewers` (the planner) look at every change.

        `flags` names those that can be switched off when things go wrong.
        """
        self._store = store
        self._journal = journal
        self._clock = clock
        self._ids = ids
        self._examiner = Examiner(catalog, inspectors=inspectors or {}, reviewers=reviewers, flags=flags)
        self._shelf = Shelf(catalog)
        self._wake = wake
        self._unasked = unasked

    # -- proposing -----------------------------------------------------------------------------------------------

    def create(self, command: Create, *, actor: Actor) -> Change:
        """Keep a proposal as a draft. The same ID with the same content again returns what is there.

        Raises Forbidden, Invalid (with the place) or Refused (the ID is taken by something else).
        """
        return self._create(command.document(), actor)[0]

    def _create(self, document: Document, actor: Actor) -> tuple[Change, bool]:
        """Return the change, and whether it is new."""
        draft = self._read(document)
        require(actor, Action.CHANGE_SUBMIT, Scope(services=frozenset(draft.spec.services), team=draft.spec.owner.team))
        new_id = ChangeId(draft.id) if draft.id else ChangeId(self._ids.new("chg"))
        with self._store.write() as tx:
            tx.lock(new_id)
            there = repo.find(tx.connection, new_id)
            if there is not None:
                if there.document == draft.document:
                    return there, False
                raise Refused(
                    f"change {new_id} exists already with another content",
                    code="change-exists",
                    place=draft.place(("metadata", "id")),
                    way_out=f"edit it (airboss change edit {new_id}), or mint another ID: airboss id new",
                )
            now = self._clock.now()
            new = Change(
                id=new_id,
                version=1,
                fence=1,
                phase=Phase.DRAFT,
                attempt=1,
                **_written(draft),
                requester=ActorId(actor.id),
                authors=(ActorId(actor.id),),
                spec=None,
                sections=None,
                digest=None,
                run=None,
                outcome=None,
                sentence="A draft: submit it to have it reviewed.",
                created_at=now,
                updated_at=now,
                submitted_at=None,
                started_at=None,
                ended_at=None,
            )
            body: dict[str, Json] = {
                "phase": new.phase,
                "kind": new.kind,
                "services": list(new.services),
                "owner_team": new.owner_team,
                "title": self._journal.text(tx, new.title),
                "document": draft.digest,
            }
            fact = Fact(subject=new_id, type="change.drafted", actor=actor.id, body=body)
            return repo.insert(tx, new, self._journal, [fact]), True

    def kind(self) -> Kind:
        """Return how files with changes are checked and applied, for the register: applying one keeps a draft."""

        def check(document: Document) -> str:
            # A template that does not come with Airboss may stand in the same file: it is looked for when this is applied.
            return read_change(document, lambda named: template(named) if shipped(named) else None).id or ""

        def apply(parsed: Parsed, actor: Actor) -> Applied:
            change, new = self._create(parsed.document, actor)
            return Applied(kind="Change", name=change.id, outcome="created" if new else "unchanged")

        return Kind(kind="Change", order=Order.CHANGE, action=Action.CHANGE_SUBMIT, check=check, apply=apply)

    def edit(self, command: Edit, *, actor: Actor) -> Change:
        """Put another document in the place of a change that has not started.

        A draft stays one. A submitted change is expanded again and, unless only its presentation changed, goes back
        into review; votes are bound to section digests and fall where theirs changed.
        Raises Forbidden, Invalid, Refused (started, or not fit to be reviewed) or Stale.
        """
        draft = self._read(command.document())
        if draft.id is not None and draft.id != command.change_id:
            raise Invalid(
                f"the document says it is {draft.id}, the change is {command.change_id}",
                code="other-change",
                place=draft.place(("metadata", "id")),
            )
        with self._store.write() as tx:
            before = self._held(tx, command.change_id, command.expected_version)
            services = frozenset({*before.services, *draft.spec.services})
            scope = self._scope(tx.connection, actor, services, before.owner_team)
            require(actor, Action.CHANGE_EDIT, replace(scope, owners=scope.owners | {draft.spec.owner.team}))
            if before.phase not in EDITABLE:
                raise Refused(
                    f"change {before.id} is {before.phase.words} and cannot be edited any more",
                    code="not-editable",
                    way_out="propose another change, or abort this one first",
                )
            if draft.document == before.document:
                return before
            authors = tuple(dict.fromkeys((*before.authors, ActorId(actor.id))))
            after = replace(before, **_written(draft), authors=authors, updated_at=self._clock.now())
            body: dict[str, Json] = {
                "phase": before.phase,
                "document": draft.digest,
                "title": self._journal.text(tx, after.title),
            }
            if before.phase is not Phase.DRAFT:
                made = self._examiner.expand(tx.connection, draft)
                changed = affected(before.section_digests(), made.sections)
                after = _with(after, made)
                if changed - {Section.PRESENTATION} and before.phase is not Phase.IN_REVIEW:
                    self._unasked(tx, before.id, actor, edited=True)
                    after, _ = after.move(
                        Phase.IN_REVIEW,
                        by=ActorId(actor.id),
                        at=self._clock.now(),
                        reason="",
                        sentence="Edited; back in review.",
                    )
                body |= {**self._told(tx, made), "phase": after.phase, "affected": sorted(changed)}
            fact = Fact(subject=before.id, type="change.edited", actor=actor.id, body=body)
            saved = repo.transition(tx, before, after, [fact], journal=self._journal)
            if saved.phase is not Phase.DRAFT:
                self._wake(tx, saved.id)
            return saved

    def submit(self, command: Submit, *, actor: Actor) -> Change:
        """Hand a draft over for review: expand it, inspect its payload, fix its digests.

        Raises Forbidden, Stale, or Refused (not a draft, no way back, or it names what does not exist; the draft stays).
        """
        with self._store.write() as tx:
            before = self._held(tx, command.change_id, command.expected_version)
            scope = self._scope(tx.connection, actor, frozenset(before.services), before.owner_team)
            require(actor, Action.CHANGE_SUBMIT, scope)
            if before.phase is not Phase.DRAFT:
                raise Refused(
                    f"change {before.id} is {before.phase.words}; only a draft is submitted",
                    code="illegal-move",
                    way_out=f"look at it: airboss change show {before.id}",
                )
            moved, record = before.move(
                Phase.IN_REVIEW,
                by=ActorId(actor.id),
                at=self._clock.now(),
                reason="submitted for review",
                sentence="In review: policy is being asked.",
            )
            made = self._examiner.expand(tx.connection, reread(before.document, before.places))
            after = _with(moved, made)
            body: dict[str, Json] = {
                **self._told(tx, made),
                "kind": after.kind,
                "services": list(after.services),
                "environments": list(made.spec.environments),
                "template": asdict(made.spec.template),
            }
            saved = repo.transition(tx, before, after, [self._fact(tx, record, after, body)], journal=self._journal)
            self._wake(tx, saved.id)
            return saved

    def cancel(self, command: Cancel, *, actor: Actor) -> Change:
        """Withdraw a change that has not started.

        Raises Forbidden, Invalid (no reason), Stale or Refused (started: abort it instead).
        """
        if not command.reason.strip():
            raise Invalid("a change is withdrawn with a reason", code="reason-missing", way_out="say why")
        with self._store.write() as tx:
            before = self._held(tx, command.change_id, command.expected_version)
            require(actor, Action.CHANGE_EDIT, Scope(services=frozenset(before.services), team=before.owner_team))
            self._unasked(tx, before.id, actor, edited=False)
            saved = self.move(tx, before, to=Phase.CANCELLED, by=actor, reason=command.reason)
            self._wake(tx, saved.id)
            return saved

    def _read(self, document: Document) -> Draft:
        """Return a document as a draft. Raises Invalid with the place, also for a template nobody applied."""
        with self._store.read() as connection:
            return read_change(document, lambda named: self._shelf.find(connection, named))

    def _held(self, tx: Tx, wanted: str, expected_version: int | None) -> Change:
        """Return a change, locked. Raises NotFound or Stale."""
        tx.lock(change_id(wanted))
        found = repo.find(tx.connection, wanted)
        if found is None:
            raise _unknown(wanted)
        if expected_version is not None and found.version != expected_version:
            raise Stale(
                f"change {wanted} is at version {found.version}, not {expected_version}",
                way_out="look at it again and decide again",
            )
        return found

    def _scope(self, connection: Connection, actor: Actor, services: frozenset[str], team: str) -> Scope:
        """Return what a change is about. Whose services it touches is asked only where it matters. One query there."""
        owners = self._examiner.owners(connection, services) if actor.teams else frozenset[str]()
        return Scope(services=services, team=team, owners=owners)

    def scope(self, connection: Connection, change: Change, actor: Actor) -> Scope:
        """Return what submitting or editing a change is about, as those judge it. One query where rights are narrowed."""
        return self._scope(connection, actor, frozenset(change.services), change.owner_team)

    # -- expanding -----------------------------------------------------------------------------------------------

    def expand(self, connection: Connection, draft: Draft) -> Expanded:
        """Return a draft made whole, as submit would: for a preview. Raises Refused with the place."""
        return self._examiner.expand(connection, draft)

    def pins(self, connection: Connection, spec: Spec) -> dict[str, str]:
        """Return what the payload of a change is now; differing from the spec's `pinned` is drift. Raises Refused."""
        return self._examiner.pins(connection, spec)

    # -- moving (for the tower) ----------------------------------------------------------------------------------

    def move(
        self,
        tx: Tx,
        before: Change,
        *,
        to: Phase,
        by: Actor,
        reason: str,
        sentence: str | None = None,
        body: Mapping[str, Json] | None = None,
        facts: Sequence[Fact] = (),
        run: bytes | None = None,
        outcome: str | None = None,
        attempt: int | None = None,
        raise_fence: bool = False,
    ) -> Change:
        """Move a change in the caller's transaction and record why; more `facts` go before the move's own.

        `run`, `outcome` and `attempt` are kept as they are where they are None. Access is the caller's to check.
        Raises Refused with what is legal, or Stale.
        """
        moved, record = before.move(to, by=ActorId(by.id), at=self._clock.now(), reason=reason, sentence=sentence)
        after = replace(
            moved,
            run=before.run if run is None else run,
            outcome=moved.outcome if outcome is None else outcome,
            attempt=before.attempt if attempt is None else attempt,
            fence=before.fence + 1 if raise_fence else before.fence,
        )
        own = self._fact(tx, record, after, body or {})
        return repo.transition(tx, before, after, [*facts, own], journal=self._journal)

    def advance(
        self,
        tx: Tx,
        before: Change,
        *,
        facts: Sequence[Fact],
        run: bytes | None = None,
        sentence: str | None = None,
        raise_fence: bool = False,
    ) -> Change:
        """Keep a decision within a phase (a step, a hold, a pause) in the caller's transaction, with its facts.

        Raises Stale, and ValueError without a fact about the change.
        """
        after = replace(
            before,
            run=before.run if run is None else run,
            sentence=before.sentence if sentence is None else sentence,
            fence=before.fence + 1 if raise_fence else before.fence,
            updated_at=self._clock.now(),
        )
        return repo.transition(tx, before, after, facts, journal=self._journal)

    def _fact(self, tx: Tx, moved: Moved, after: Change, body: Mapping[str, Json]) -> Fact:
        return Fact(
            subject=moved.change,
            type=FACTS[moved.after],
            actor=moved.by,
            body={
                **body,
                "from": moved.before,
                "to": moved.after,
                "version": after.version + 1,
                "attempt": after.attempt,
                "reason": self._journal.text(tx, moved.reason) if moved.reason else None,
            },
        )

    def _told(self, tx: Tx, made: Expanded) -> dict[str, Json]:
        """Return what a fact says of an expanded change."""
        return {
            "digest": made.digest,
            "sections": {str(section): found for section, found in made.sections.items()},
            "findings": [
                {
                    "code": finding.code,
                    "severity": finding.severity,
                    "subject": finding.subject,
                    "message": self._journal.text(tx, finding.message),
                }
                for finding in made.findings
            ],
        }

    def templates(self, *, actor: Actor) -> list[Template]:
        """Return the newest version of every template, shipped or applied, by name. One query. Raises Forbidden."""
        require(actor, Action.CATALOG_READ)
        with self._store.read() as connection:
            return self._shelf.all(connection)

    @property
    def targets(self) -> frozenset[str]:
        """The kinds of target this server can carry a change to."""
        return self._examiner.targets

    # -- views ---------------------------------------------------------------------------------------------------

    def get(self, wanted: str, *, actor: Actor) -> Change:
        """Return a change. One query. Raises NotFound."""
        require(actor, Action.CHANGE_READ)
        with self._store.read() as connection:
            return self.read(connection, wanted)

    def read(self, connection: Connection, wanted: str) -> Change:
        """Return a change on the caller's connection. One query. Raises NotFound."""
        found = repo.find(connection, change_id(wanted))
        if found is None:
            raise _unknown(wanted)
        return found

    def read_many(self, connection: Connection, wanted: Collection[str]) -> list[Change]:
        """Return those of some changes that exist, on the caller's connection. One query."""
        return repo.found(connection, wanted)

    def in_phases(self, connection: Connection, phases: Collection[Phase]) -> list[repo.Summary]:
        """Return the changes in some phases, newest first, at most a thousand. One query."""
        return repo.listed(connection, phases=phases, limit=PHASES_MOST)

    def tally(self, connection: Connection) -> Sequence[tuple[str, Phase, str | None, int]]:
        """Return how many changes there are by kind, phase and outcome. One query."""
        return [(kind, Phase(phase), outcome, count) for kind, phase, outcome, count in repo.tally(connection)]

    def ended(
        self, connection: Connection, *, services: Collection[str], outcomes: Collection[Phase], since: datetime
    ) -> int:
        """Return how many changes of these services ended so since a time. One query."""
        words = [outcome.words for outcome in outcomes]
        return repo.ended(connection, services=services, outcomes=words, since=since)

    def list(
        self,
        *,
        actor: Actor,
        phases: Collection[Phase] | None = None,
        service: str | None = None,
        kind: str | None = None,
        requester: str | None = None,
        team: str | None = None,
        cursor: str | None = None,
        limit: int = 50,
    ) -> Page:
        """Return changes, newest first. One query. `cursor` comes from the page before."""
        require(actor, Action.CHANGE_READ)
        limit = max(1, min(limit, PAGE_MOST))
        with self._store.read() as connection:
            found = repo.listed(
                connection,
                phases=phases,
                service=service,
                kind=kind,
                requester=requester,
                team=team,
                before=None if cursor is None else change_id(cursor),
                limit=limit + 1,
            )
        items = tuple(found[:limit])
        return Page(items=items, next_cursor=items[-1].id if len(found) > limit else None)

    def owners(self, connection: Connection, change_ids: Collection[str]) -> Mapping[str, str]:
        """Return by change the person who owns it; those without one are left out. One query."""
        return repo.owners(connection, change_ids)


def _written(draft: Draft) -> dict[str, Any]:
    """Return the columns that follow from what was written."""
    spec = draft.spec
    return {
        "title": spec.title,
        "kind": spec.template.partition("@")[0],
        "services": tuple(spec.services),
        "owner_team": spec.owner.team,
        "document": draft.document,
        "places": draft.places,
    }


def _with(change: Change, made: Expanded) -> Change:
    sections: dict[str, Json] = {str(section): found for section, found in made.sections.items()}
    return replace(change, spec=made.stored, sections=canonical(sections), digest=made.digest)


def _unknown(wanted: str) -> NotFound:
    return NotFound(f"there is no change {wanted}", code="change-not-found", way_out="list them: airboss change list")
