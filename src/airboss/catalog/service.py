"""The catalog's use cases and views."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from pydantic import BaseModel
from sqlalchemy import Connection as Database

from airboss.catalog import repo, rules, shapes
from airboss.catalog.documents import AIRBOSS, OPENSLO, Applied, Kind, Order, Parsed
from airboss.catalog.edge import fit
from airboss.catalog.model import Connection, Environment, Group, Rota, Runbook, Service, Sli, Slo, Stored, Team
from airboss.kernel.canonical import canonical, digest_bytes
from airboss.kernel.yaml import Document
from airboss.people.access import Action, Actor, require
from airboss.records.journal import Fact, Journal
from airboss.records.store import Store, Tx

Check = Callable[[Document], None]
"""Judges what a document says beyond its envelope. Raises Invalid with the place."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """A kind the catalog keeps for another room: how it is read, and who may apply it."""

    kind: str
    order: int
    shape: type[BaseModel]
    api_version: str = AIRBOSS
    action: Action = Action.CATALOG_APPLY
    check: Check | None = None
    follows: Callable[[Mapping[str, Any], Document], None] | None = None
    """Judges a document against the one in force that it would replace. Raises Invalid with the place."""


OWN: Final = (
    Held(kind="Team", order=Order.ORGANISATION, shape=shapes.TeamShape),
    Held(kind="Group", order=Order.ORGANISATION, shape=shapes.GroupShape),
    Held(kind="Rota", order=Order.ORGANISATION, shape=shapes.RotaShape),
    Held(kind="Environment", order=Order.ENVIRONMENT, shape=shapes.EnvironmentShape),
    Held(kind="Connection", order=Order.ENVIRONMENT, shape=shapes.ConnectionShape),
    Held(kind="Runbook", order=Order.RUNBOOK, shape=shapes.RunbookShape),
    Held(kind="Service", order=Order.SERVICE, shape=shapes.ServiceShape),
    Held(kind="SLI", order=Order.OBJECTIVE, shape=shapes.OpenSloShape, api_version=OPENSLO),
    Held(kind="SLO", order=Order.OBJECTIVE + 1, shape=shapes.OpenSloShape, api_version=OPENSLO),
)

SERVICE_OWNERS: Final = "service-owners"
DEPENDENT_OWNERS: Final = "dependent-owners"
"""The group of whoever owns the services of a change, or what depends on them; resolved by `Catalog.seated`."""
LEADS: Final = "-leads"

Asked: TypeAlias = tuple[str, frozenset[str]]
"""A group, and the services that say who is in `SERVICE_OWNERS` and `DEPENDENT_OWNERS`."""


class Catalog:
    """Applies documents, and answers what they say.

    `held` are kinds kept for other rooms; `validators` judge the content of kinds by name (SLI, SLO) beyond the envelope.
    """

    def __init__(
        self,
        store: Store,
        journal: Journal,
        *,
        held: Sequence[Held] = (),
        validators: Mapping[str, Check] | None = None,
    ) -> None:
        self._store = store
        self._journal = journal
        self._held = {kind.kind: kind for kind in (*OWN, *held)}
        self._validators = dict(validators or {})

    # -- documents -----------------------------------------------------------------------------------------------

    def kinds(self) -> list[Kind]:
        """Return the kinds kept here, for the register."""
        return [
            Kind(
                kind=held.kind,
                order=held.order,
                action=held.action,
                api_version=held.api_version,
                check=self._checker(held),
                apply=lambda parsed, actor: self.apply(parsed, actor=actor),
                together=self._refuse_circles if held.kind == "Service" else None,
            )
            for held in self._held.values()
        ]

    def _checker(self, held: Held) -> Callable[[Document], str]:
        def check(document: Document) -> str:
            _, value = fit(held.shape, document)
            for judge in (held.check, self._validators.get(held.kind)):
                if judge is not None:
                    judge(document)
            return str(value["name"] if "name" in value else value["metadata"]["name"])

        return check

    def apply(self, document: Parsed, *, actor: Actor) -> Applied:
        """Put a document in force. The same content again records nothing.

        Raises Forbidden, or Invalid when the document was not checked and is wrong.
        """
        held = self._held[document.kind]
        require(actor, held.action)
        _, value = fit(held.shape, document.document)
        data = canonical(value)
        with self._store.write() as tx:
            about = repo.subject(document.kind, document.name)
            tx.lock(about)
            before = repo.find(tx.connection, document.kind, document.name)
            if before is not None and before.data == data:
                return Applied(
                    kind=document.kind,
                    name=document.name,
                    outcome="unchanged",
                    warnings=self._warnings(tx.connection, before),
                )
            if before is not None and held.follows is not None:
                held.follows(before.value, document.document)
            self._refuse_circle(tx, document, value)
            after = Stored(
                kind=document.kind,
                name=document.name,
                revision=1 if before is None else before.revision + 1,
                digest=digest_bytes(data),
                data=data,
                value=value,
                applied_at=tx.now(),
                applied_by=actor.id,
            )
            repo.save(tx, after)
            self._journal.record(
                tx,
                Fact(
                    subject=about,
                    type=f"{document.kind.lower()}.changed",
                    actor=actor.id,
                    body={
                        "name": after.name,
                        "revision": after.revision,
                        "digest": after.digest,
                        "digest_before": None if before is None else before.digest,
                    },
                    state_digest=repo.row_digest(after),
                ),
            )
            return Applied(
                kind=document.kind,
                name=document.name,
                outcome="created" if before is None else "changed",
                warnings=self._warnings(tx.connection, after),
            )

    def _warnings(self, connection: Database, stored: Stored) -> tuple[str, ...]:
        """Return what the document refers to and is not there."""
        wanted = rules.references(stored.kind, stored.value)
        known = repo.known(connection) if wanted else set()
        seats = self.seats(known)
        found = [
            f"{field}: there is no {'group or team' if kind == 'Seats' else kind.lower()} {name} yet"
            for field, kind, name in wanted
            if (name not in seats if kind == "Seats" else (kind, name) not in known)
        ]
        return tuple(found)

    def _refuse_circles(self, given: Sequence[Parsed]) -> None:
        """Refuse services whose dependencies would go in a circle, before any of them is applied."""
        with self._store.read() as connection:
            graph = {one.name: one.depends_on for one in self.services(connection)}
        graph |= {one.name: tuple(one.value["spec"].get("depends_on", ())) for one in given}
        for one in given:
            rules.refuse_circle(graph, one.name, one.document)

    def _refuse_circle(self, tx: Tx, document: Parsed, value: Mapping[str, Any]) -> None:
        """Refuse a service whose dependencies would go in a circle with those in force."""
        if document.kind != "Service" or not value["spec"].get("depends_on"):
            return
        # Two services that name each other at the same moment: the second sees the first.
        tx.lock("dependencies")
        graph = {one.name: one.depends_on for one in self.services(tx.connection)}
        rules.refuse_circle(
            {**graph, document.name: tuple(value["spec"]["depends_on"])}, document.name, document.document
        )

    def document(self, connection: Database, kind: str, name: str) -> Stored | None:
        """Return a document in force. One query."""
        return repo.find(connection, kind, name)

    def documents(self, connection: Database, kind: str) -> list[Stored]:
        """Return the documents of a kind in force, by name. One query."""
        return repo.found(connection, [kind])

    def revision(self, connection: Database, kind: str, name: str, number: int) -> Stored | None:
        """Return a document as it was at a revision, or None. One query."""
        return repo.revision(connection, kind, name, number)

    def revisions(self, connection: Database, kind: str, name: str) -> list[Stored]:
        """Return a document as it was at each revision, the oldest first. One query."""
        return repo.revisions(connection, kind, name)

    def known(self, connection: Database) -> set[tuple[str, str]]:
        """Return (kind, name) of every document in force. One query."""
        return repo.known(connection)

    # -- services ------------------------------------------------------------------------------------------------

    def services(self, connection: Database, names: Collection[str] | None = None) -> list[Service]:
        """Return the services, or those of `names` that exist. One query."""
        return [rules.service(stored) for stored in repo.found(connection, ["Service"], names)]

    def service(self, connection: Database, name: str) -> Service | None:
        """Return a service. One query."""
        return next(iter(self.services(connection, [name])), None)

    def dependants(self, connection: Database, name: str) -> list[Service]:
        """Return the services that say they depend on `name`. One query."""
        return [service for service in self.services(connection) if name in service.depends_on]

    def dependants_elsewhere(self, connection: Database, names: Collection[str]) -> list[Service]:
        """Return the services of other teams that say they depend on some of `names`. One query."""
        return _elsewhere(self.services(connection), names)

    def environments(self, connection: Database) -> list[Environment]:
        """Return the environments, the one nearest to users last. One query."""
        found = [rules.environment(stored) for stored in repo.found(connection, ["Environment"])]
        return sorted(found, key=lambda environment: (environment.rank, environment.name))

    def connection(self, connection: Database, name: str) -> Connection | None:
        """Return how to reach a system outside. One query."""
        stored = repo.find(connection, "Connection", name)
        return None if stored is None else rules.connection(stored)

    def runbook(self, connection: Database, name: str) -> Runbook | None:
        """Return a runbook. One query."""
        stored = repo.find(connection, "Runbook", name)
        return None if stored is None else rules.runbook(stored)

    def rota(self, connection: Database, name: str) -> Rota | None:
        """Return a rota. One query."""
        stored = repo.find(connection, "Rota", name)
        return None if stored is None else rules.rota(stored)

    # -- people --------------------------------------------------------------------------------------------------

    def teams(self, connection: Database) -> list[Team]:
        """Return the teams. One query."""
        return [rules.team(stored) for stored in repo.found(connection, ["Team"])]

    def groups(self, connection: Database) -> list[Group]:
        """Return the groups. One query."""
        return [rules.group(stored) for stored in repo.found(connection, ["Group"])]

    def group(self, connection: Database, name: str) -> Group | None:
        """Return a group, a team, or the leads of a team (`<team>-leads`) as a group; None if there is none.

        A group of that name goes before a team, a team before another team's leads. One query.
        """
        return _group(name, _by_name(repo.found(connection, ["Group", "Team"], {name, name.removesuffix(LEADS)})))

    def members(self, connection: Database, group: str) -> frozenset[str]:
        """Return the handles of a group, a team or `<team>-leads`; none for an unknown one. One query."""
        found = self.group(connection, group)
        return frozenset() if found is None else found.members

    def seated(self, connection: Database, asked: Collection[Asked]) -> dict[Asked, frozenset[str]]:
        """Return by what is asked who may sit there: a group as `members` has it, or the owners of the services beside it.

        `SERVICE_OWNERS` are the members of the teams that own those services, `DEPENDENT_OWNERS` those of other teams whose
        services depend on them. Two queries, however much is asked.
        """
        named = {group for group, _ in asked}
        near = frozenset[str]().union(*(services for group, services in asked if group == SERVICE_OWNERS))
        services: list[Service] = []
        if DEPENDENT_OWNERS in named or near:
            services = self.services(connection, None if DEPENDENT_OWNERS in named else near)
        names = {*named, *(name.removesuffix(LEADS) for name in named), *(service.owner for service in services)}
        known = _by_name(repo.found(connection, ["Group", "Team"], names))

        def owners(of: Collection[Service]) -> frozenset[str]:
            teams = (known.get(("Team", service.owner)) for service in of)
            return frozenset[str]().union(*(rules.team(team).members for team in teams if team is not None))

        found = {}
        for group, given in asked:
            if group == SERVICE_OWNERS:
                members = owners([service for service in services if service.name in given])
            elif group == DEPENDENT_OWNERS:
                members = owners(_elsewhere(services, given))
            else:
                stored = _group(group, known)
                members = frozenset() if stored is None else stored.members
            found[group, given] = members
        return found

    @staticmethod
    def seats(known: Collection[tuple[str, str]]) -> frozenset[str]:
        """Return the names that may stand where a group is asked for, given every (kind, name) in force."""
        teams = {name for kind, name in known if kind == "Team"}
        groups = {name for kind, name in known if kind == "Group"}
        return frozenset({SERVICE_OWNERS, DEPENDENT_OWNERS, *groups, *teams, *(f"{team}{LEADS}" for team in teams)})

    # -- objectives ----------------------------------------------------------------------------------------------

    def slis(self, connection: Database) -> list[Sli]:
        """Return the indicators. One query."""
        return [rules.sli(stored) for stored in repo.found(connection, ["SLI"])]

    def sli(self, connection: Database, name: str) -> Sli | None:
        """Return an indicator. One query."""
        stored = repo.find(connection, "SLI", name)
        return None if stored is None else rules.sli(stored)

    def slos(self, connection: Database) -> list[Slo]:
        """Return the objectives. One query."""
        return [rules.slo(stored) for stored in repo.found(connection, ["SLO"])]

    def slo(self, connection: Database, name: str) -> Slo | None:
        """Return an objective. One query."""
        stored = repo.find(connection, "SLO", name)
        return None if stored is None else rules.slo(stored)

    def slos_of(self, connection: Database, service: str) -> list[Slo]:
        """Return the objectives of a service. One query."""
        return [slo for slo in self.slos(connection) if slo.service == service]

    def slis_of(self, connection: Database, service: str) -> list[Sli]:
        """Return the indicators of a service: those whose source names it, and those its objectives use. Two queries."""
        used = {slo.indicator for slo in self.slos_of(connection, service)}
        return [sli for sli in self.slis(connection) if sli.service == service or sli.name in used]

    # -- proof ---------------------------------------------------------------------------------------------------

    row_digests = staticmethod(repo.row_digests)


def _by_name(found: Sequence[Stored]) -> dict[tuple[str, str], Stored]:
    return {(stored.kind, stored.name): stored for stored in found}


def _group(name: str, known: Mapping[tuple[str, str], Stored]) -> Group | None:
    """Return a group of that name, else a team as one, else another team's leads."""
    if stored := known.get(("Group", name)):
        return rules.group(stored)
    if stored := known.get(("Team", name)):
        return Group(name=name, members=rules.team(stored).members, backup=None)
    if name.endswith(LEADS) and (stored := known.get(("Team", name.removesuffix(LEADS)))):
        return Group(name=name, members=rules.team(stored).leads, backup=None)
    return None


def _elsewhere(services: Collection[Service], names: Collection[str]) -> list[Service]:
    """Return the services of other teams that say they depend on some of `names`."""
    teams = {one.owner for one in services if one.name in names}
    return [one for one in services if one.owner not in teams and set(names) & set(one.depends_on)]
