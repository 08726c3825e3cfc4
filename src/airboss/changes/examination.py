"""Makes a draft whole: checks it against the catalog, expands it, has its payload looked into, fixes its digests."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from sqlalchemy import Connection

from airboss.catalog import Catalog
from airboss.changes import expansion, fitness
from airboss.changes.draft import Draft, refused
from airboss.changes.expansion import Known
from airboss.changes.inspection import Finding, Inspection, Inspector, Reviewer
from airboss.changes.shelf import Shelf
from airboss.changes.spec import Section, Spec, section_digests, total_digest
from airboss.kernel.errors import Invalid, Refused


@dataclass(frozen=True, slots=True, kw_only=True)
class Expanded:
    """A draft made whole: the spec, the digests of its sections, and what the inspectors found."""

    spec: Spec
    stored: bytes
    sections: Mapping[Section, str]
    digest: str
    findings: tuple[Finding, ...]


Flags = Callable[[Connection], Collection[str]]
"""Names the flags there are, which can be switched off when things go wrong."""


class Examiner:
    """Reads the catalog and asks the inspectors; writes nothing."""

    def __init__(
        self,
        catalog: Catalog,
        *,
        inspectors: Mapping[str, Inspector],
        reviewers: Sequence[Reviewer],
        flags: Flags | None = None,
    ) -> None:
        self._catalog = catalog
        self._shelf = Shelf(catalog)
        self._flags = flags
        self._inspectors = dict(inspectors)
        self._reviewers = tuple(reviewers)

    @property
    def targets(self) -> frozenset[str]:
        """The kinds of target there is an inspector for."""
        return frozenset(self._inspectors)

    def expand(self, connection: Connection, draft: Draft) -> Expanded:
        """Return a draft made whole. Raises Refused with the place of what keeps it from being reviewed."""
        try:
            defaults = self._shelf.find(connection, draft.spec.template)
        except Invalid as gone:
            place = draft.place(("spec", "template"))
            raise Refused(gone.detail, code=gone.code, place=place, way_out=gone.way_out) from gone
        known = self.known(connection)
        for fault in fitness.unfit(draft.spec, defaults, known):
            raise fault.raised(draft, Refused)
        spec = expansion.expand(draft, defaults, known)
        try:
            seen = self.inspect(connection, spec)
        except (Refused, Invalid) as fault:
            raise refused(draft, fault) from fault
        for objection in seen.objections:
            raise refused(draft, objection)
        spec = replace(spec, pinned=dict(seen.pinned))
        stored = spec.stored()
        sections = section_digests(stored)
        return Expanded(
            spec=spec,
            stored=stored,
            sections=sections,
            digest=total_digest(sections),
            findings=(*fitness.remarks(draft.spec, spec, defaults, known), *seen.findings),
        )

    def inspect(self, connection: Connection, spec: Spec) -> Inspection:
        """Return what the inspectors of a change's targets see now, and its reviewers.

        Raises Refused for a kind of target nothing here can carry.
        """
        seen = [inspector.inspect(spec, connection) for inspector in self._asked(spec)]
        pinned = {subject: digest for one in seen for subject, digest in one.pinned.items()}
        # Reviewers see the change as it would be carried out, with what its payload was pinned to.
        whole = replace(spec, pinned=pinned)
        seen += [reviewer.inspect(whole, connection) for reviewer in self._reviewers]
        return Inspection(
            findings=tuple(finding for one in seen for finding in one.findings),
            objections=tuple(objection for one in seen for objection in one.objections),
            pinned=pinned,
        )

    def pins(self, connection: Connection, spec: Spec) -> dict[str, str]:
        """Return what the payload is now: differing from the spec's `pinned` is drift. Raises what `inspect` raises."""
        asked = self._asked(spec)
        return {subject: digest for one in asked for subject, digest in one.pins(spec, connection).items()}

    def _asked(self, spec: Spec) -> list[Inspector]:
        asked: list[Inspector] = []
        for number, stage in enumerate(spec.stages):
            inspector = self._inspectors.get(stage.target.kind)
            if inspector is None:
                raise Refused(
                    f"nothing here can carry a change to {stage.target.kind!r}",
                    code="unknown-target",
                    place=f"spec.rollout.stages[{number}].target",
                    way_out=f"there are {', '.join(sorted(self._inspectors)) or 'no targets'}",
                )
            if inspector not in asked:
                asked.append(inspector)
        return asked

    def owners(self, connection: Connection, services: Collection[str]) -> frozenset[str]:
        """Return the teams that own some services; one that is not in the catalog has none. One query."""
        return frozenset(service.owner for service in self._catalog.services(connection, services))

    def known(self, connection: Connection) -> Known:
        """Return what a change can refer to. Eight queries."""
        names = self._catalog.known(connection)
        services = self._catalog.services(connection)
        slis = self._catalog.slis(connection)
        slos = self._catalog.slos(connection)
        used = {(slo.service, slo.indicator) for slo in slos}
        called = {service.telemetry_name: service.name for service in services}
        runbooks = self._catalog.documents(connection, "Runbook")
        return Known(
            services={service.name: service.stateful for service in services},
            environments={one.name: one.rank for one in self._catalog.environments(connection)},
            teams=frozenset(name for kind, name in names if kind == "Team"),
            seats=self._catalog.seats(names),
            runbooks=frozenset(runbook.name for runbook in runbooks),
            mitigating=frozenset(one.name for one in runbooks if {"mitigation", "rollback"} & set(one.value["for"])),
            runbooks_of={service.name: service.runbooks for service in services},
            owners={service.name: service.owner for service in services},
            flags=frozenset(self._flags(connection)) if self._flags is not None else frozenset(),
            carried=frozenset(self._inspectors),
            sli_service={sli.name: called.get(sli.service, sli.service) if sli.service else None for sli in slis},
            sli_signals={sli.name: sli.signals for sli in slis},
            windows={
                window.name: bool(window.value["spec"]["allow"])
                for window in self._catalog.documents(connection, "Window")
            },
            connections=frozenset(name for kind, name in names if kind == "Connection"),
            slis={sli.name: sli.kind for sli in slis},
            slis_of={
                service.name: tuple(
                    sli.name for sli in slis if sli.service == service.name or (service.name, sli.name) in used
                )
                for service in services
            },
            slos={
                slo.name: expansion.Objective(
                    service=slo.service, indicator=slo.indicator, target=slo.target, signals=slo.signals
                )
                for slo in slos
            },
        )
