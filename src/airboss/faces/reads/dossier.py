"""What is read of one change: each thing once, however many views of it a page is made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

from sqlalchemy import Connection

from airboss.act.rollout import ExposureRow, Judgement, judgements_of, sentences, standing_of
from airboss.bootstrap import House
from airboss.catalog import Service
from airboss.changes import Change
from airboss.decide.approvals import Approval
from airboss.decide.policy import StoredDecision
from airboss.faces.reads.facts import facts_shown
from airboss.kernel.clock import rfc3339
from airboss.learn.reviews import Review
from airboss.people.access import Actor, Scope
from airboss.records.journal import StoredFact


@dataclass(kw_only=True)
class Dossier:
    """A change on one connection, for one reader. Nothing is asked before a view needs it, and nothing twice."""

    house: House
    connection: Connection
    change: Change
    actor: Actor

    @classmethod
    def of_many(cls, house: House, connection: Connection, changes: Sequence[Change], actor: Actor) -> list[Self]:
        """Return the dossiers of changes with what `flight_view` needs read for all of them together, in six queries."""
        ids = [change.id for change in changes]
        if not ids:
            return []
        facts = house.journal.of_each(connection, ids)
        judgements = judgements_of(connection, ids)
        standing = standing_of(connection, ids)
        reviews = house.reviews.of_each(connection, ids, actor)
        live = sentences(connection, ids)
        found = [cls(house=house, connection=connection, change=change, actor=actor) for change in changes]
        for one in found:
            id_ = one.change.id
            # A cached property is what stands under its name: what is put there is not asked for again.
            vars(one).update(
                facts=facts[id_],
                judgements=judgements,
                standing=standing.get(id_, []),
                review=reviews.get(id_),
                sentence=live.get(id_, ""),
            )
        return found

    @cached_property
    def sentence(self) -> str:
        """What its last look came to, in words; empty where none was. One query."""
        return sentences(self.connection, [self.change.id]).get(self.change.id, "")

    @cached_property
    def judgements(self) -> Mapping[tuple[str, int, str], Judgement]:
        """The latest analyses by (change, attempt, unit). One query."""
        return judgements_of(self.connection, [self.change.id])

    @cached_property
    def standing(self) -> Sequence[ExposureRow]:
        """Its exposures that stand now. One query."""
        return standing_of(self.connection, [self.change.id]).get(self.change.id, [])

    @cached_property
    def review(self) -> Review | None:
        """Its newest review. Two queries. Raises Forbidden."""
        return self.house.reviews.of(self.connection, self.change.id, self.actor)

    @cached_property
    def decisions(self) -> Sequence[StoredDecision]:
        """What policy decided about it, oldest first. One query."""
        return self.house.policies.decisions_of(self.connection, self.change.id)

    @cached_property
    def facts(self) -> Sequence[StoredFact]:
        """Its facts as they are stored, oldest first. One query."""
        return self.house.journal.of(self.connection, self.change.id)

    @cached_property
    def told(self) -> Sequence[dict[str, Any]]:
        """Its facts in words, as `facts_view` has them. Two queries and `facts`."""
        return facts_shown(self.house, self.connection, self.facts)

    @cached_property
    def names(self) -> Mapping[str, str]:
        """Names of its requester and authors by ID. Two queries."""
        wanted = [self.change.requester, *self.change.authors]
        found = self.house.identity.persons.principals(self.connection, wanted)
        return {one: found.get(one, {}).get("name", one) for one in wanted}

    @cached_property
    def approval(self) -> Approval | None:
        """Its newest round of approval. Seven queries. Raises Forbidden."""
        return self.house.approvals.of(self.connection, self.change.id, self.actor)

    @cached_property
    def scope(self) -> Scope:
        """What submitting it is about. One query where the reader's rights are narrowed to teams."""
        return self.house.changes.scope(self.connection, self.change, self.actor)

    @cached_property
    def services(self) -> Sequence[Service]:
        """Every service of the catalogue. One query."""
        return self.house.catalog.services(self.connection)

    @cached_property
    def objectives(self) -> Sequence[dict[str, Any]]:
        """The objectives at stake, as they stand now. Four queries, three an objective, and the telemetry's."""
        return self.house.objectives.view(self.connection, self.change, self.house.clock.now())

    @cached_property
    def evidence(self) -> list[dict[str, Any]]:
        """What machines said about it, newest first. One query."""
        return [
            {
                "type": one.type,
                "green": one.green,
                "source": one.source,
                "digest": one.digest,
                "counts": one.counts,
                "at": rfc3339(one.at),
            }
            for one in self.house.evidence.of(self.connection, self.change)
        ]

    @cached_property
    def findings(self) -> list[dict[str, Any]]:
        """What the inspectors found at the last submit or edit. One query and `facts`."""
        told = [
            fact.body["findings"]
            for fact in self.facts
            if fact.type in ("change.submitted", "change.edited") and fact.body.get("findings") is not None
        ]
        if not told:
            return []
        texts = self.house.journal.texts(self.connection, {finding["message"] for finding in told[-1]})
        return [{**finding, "message": texts.get(finding["message"], "")} for finding in told[-1]]
