"""Wires adapters to ports. The only place that knows every room, and the only one that reads settings.

`build` returns the `House`: the services faces call and the loops `airboss serve` runs. Importing does nothing.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Connection

from airboss.act.flags import FlagInspector, Flags, flag_digests, flag_kind
from airboss.act.rollout import Rollouts, poke
from airboss.act.targets import (
    EnvoyConnection,
    EnvoyInspector,
    EnvoyTarget,
    FlagTarget,
    Target,
    Targets,
    check_connection,
    read_connection,
)
from airboss.catalog import Catalog, Kinds
from airboss.changes import TEMPLATE, Change, Changes, Inspector, Phase, row_digests
from airboss.decide.approvals import Approvals, Asked, Subject
from airboss.decide.calendar import WINDOW, Calendar
from airboss.decide.evidence import Evidence
from airboss.decide.policy import Policies, PolicyEngine, WorkerEngine, pack_digests
from airboss.kernel.clock import Clock, SystemClock
from airboss.kernel.errors import Invalid, Refused
from airboss.kernel.ids import Chance, Ids, SystemChance, TimeOrderedIds
from airboss.kernel.settings import BUCKETS_FILE, DATABASE_FILE, Settings
from airboss.kernel.yaml import Document
from airboss.learn.reviews import Reviews
from airboss.people.access import LOCAL, SYSTEM, Actor
from airboss.people.identity import Identity
from airboss.records.audit import Checkpoints, Signer, StateDigests, change_key, signer_of
from airboss.records.idempotency import IdempotencyKeys
from airboss.records.journal import Journal, Timekeeping
from airboss.records.store import LeaseClock, Store, Tx, open_store
from airboss.tower.clearance import Clearance
from airboss.tower.desk import Desk
from airboss.tower.exposures import TowerExposures
from airboss.tower.facts import PolicyFacts
from airboss.tower.fly import Flight
from airboss.tower.history import ChangeHistory
from airboss.tower.judge import Judge
from airboss.tower.loop import Tower
from airboss.tower.objectives import Standings
from airboss.tower.planner import Planner
from airboss.tower.steer import Steering
from airboss.watch.slo import parse_sli, parse_slo
from airboss.watch.telemetry import BucketStore, TelemetryReader, TelemetrySettings, open_bucket_store

KEY_FILE: Final = "journal.key"
CHECKPOINT_FILE: Final = "checkpoints"
DEMO_MARK: Final = "THIS-IS-A-DEMO"
ENVOY: Final = "envoy"


@dataclass(frozen=True, slots=True, kw_only=True)
class House:
    """Every service of one server, wired."""

    settings: Settings
    clock: Clock
    ids: Ids
    chance: Chance
    store: Store
    journal: Journal
    timekeeping: Timekeeping
    signer: Signer
    checkpoints: Checkpoints
    idempotency: IdempotencyKeys
    identity: Identity
    catalog: Catalog
    kinds: Kinds
    changes: Changes
    policies: Policies
    approvals: Approvals
    calendar: Calendar
    evidence: Evidence
    flags: Flags
    rollouts: Rollouts
    telemetry: TelemetryReader
    objectives: Standings
    planner: Planner
    reviews: Reviews
    targets: Targets
    tower: Tower
    steering: Steering
    buckets: BucketStore

    def close(self) -> None:
        """Let go of processes and connections."""
        self.policies.close()
        self.buckets.close()
        self.store.close()


def read_settings(environment: Mapping[str, str] | None = None, **given: object) -> Settings:
    """Return the settings: what was given on the command line, else `AIRBOSS_*`, else the defaults. Raises Invalid."""
    found = dict(os.environ if environment is None else environment)

    def text(name: str) -> str | None:
        value = given.get(name)
        return str(value) if value is not None else found.get(f"AIRBOSS_{name.upper()}")

    def number(name: str, default: int) -> int:
        value = text(name)
        if value is None:
            return default
        if not value.isdigit() or not 0 <= int(value) <= 65535:
            raise Invalid(f"{value!r} is no port", code="bad-setting", place=name, way_out="use 0 to 65535")
        return int(value)

    def path(name: str) -> Path | None:
        value = text(name)
        return None if value is None else Path(value)

    def seconds(name: str, default: int, *, least: int, most: int) -> int:
        value = text(name)
        if value is None:
            return default
        if not value.isdigit() or not least <= int(value) <= most:
            raise Invalid(
                f"{value!r} is no such time", code="bad-setting", place=name, way_out=f"use {least} to {most}"
            )
        return int(value)

    defaults = Settings(data=Path())
    return Settings(
        data=Path(text("data") or "airboss-data"),
        host=text("host") or defaults.host,
        port=number("port", defaults.port),
        ingest_port=number("ingest_port", defaults.ingest_port),
        database=text("database"),
        buckets=text("buckets"),
        public_url=text("public_url"),
        hosts=tuple(name.strip() for name in (text("hosts") or "").split(",") if name.strip()),
        behind_proxy=(text("behind_proxy") or "").lower() in ("1", "true", "yes"),
        tls_certificate=path("tls_certificate"),
        tls_key=path("tls_key"),
        demo=(text("demo") or "").lower() in ("1", "true", "yes"),
        lateness_s=seconds("lateness_s", defaults.lateness_s, least=1, most=300),
        route_folder=path("route_folder"),
        spans_to=text("spans_to") or _collector(found),
    )


def _collector(environment: Mapping[str, str]) -> str | None:
    """Return where spans go by OpenTelemetry's own variables (its specification, OTLP exporter configuration)."""
    if environment.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return None
    general = environment.get("OTEL_EXPORTER_OTLP_ENDPOINT")
    return environment.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") or (
        f"{general.rstrip('/')}/v1/traces" if general else None
    )


def open_folder(settings: Settings, *, files: bool = True) -> None:
    """Make the data folder ours, with empty files of the databases in it unless told otherwise.

    Raises Invalid or Refused (not writable, or a demo's).
    """
    try:
        settings.data.mkdir(mode=0o700, parents=True, exist_ok=True)
        probe = settings.data / ".writable"
        probe.touch()
        probe.unlink()
        # Hashes of passwords lie in them: nobody else reads them, whatever a folder that was there before allows.
        for url, file in ((settings.database_url, DATABASE_FILE), (settings.buckets_url, BUCKETS_FILE)):
            if files and url == f"sqlite:///{settings.data / file}":
                (settings.data / file).touch(mode=0o600)
    except OSError as fault:
        raise Invalid(
            f"the data folder {settings.data} cannot be written: {fault.strerror}",
            code="bad-data-folder",
            way_out="name another with --data, or mend its permissions",
        ) from fault
    mark = settings.data / DEMO_MARK
    if settings.demo:
        mark.touch()
    elif mark.exists():
        raise Refused(
            f"{settings.data} is the folder of a demo: its people are not real and its secrets lie in it",
            code="demo-folder",
            way_out="serve another folder: --data FOLDER",
        )


def new_key(settings: Settings, *, reason: str, clock: Clock | None = None, chance: Chance | None = None) -> str:
    """Give the log of a data folder another signing key, as a recorded act, and return its public key.

    Raises what opening raises: Invalid, Refused, Unavailable. The servers of the database are to be stopped.
    """
    clock, chance = clock or SystemClock(), chance or SystemChance()
    store = open_store(settings.database_url, clock=clock)
    try:
        store.create()
        journal = Journal(store, clock=clock, ids=TimeOrderedIds(clock, chance), chance=chance)
        path = settings.data / KEY_FILE
        signer = change_key(store, journal, path, reason=reason, actor=LOCAL.id, chance=chance)
        Checkpoints(store, signer, clock=clock, file=settings.data / CHECKPOINT_FILE).write_now()
        return signer.vkey
    finally:
        store.close()


def accept_clock(
    settings: Settings, *, reason: str, clock: Clock | None = None, chance: Chance | None = None
) -> datetime:
    """Say, as a recorded act, that this machine's clock is right and the record ran ahead; return up to when it had run.

    Raises Refused where it had not, and what opening raises: Invalid, Unavailable.
    """
    clock, chance = clock or SystemClock(), chance or SystemChance()
    store = open_store(settings.database_url, clock=clock)
    try:
        store.create()
        journal = Journal(store, clock=clock, ids=TimeOrderedIds(clock, chance), chance=chance)
        journal.open()
        return Timekeeping(store, journal, clock=clock, actor=LOCAL.id).accept(reason=reason, actor=LOCAL.id)
    finally:
        store.close()


def build(  # noqa: PLR0915 - one place, one line a room
    settings: Settings,
    *,
    clock: Clock | None = None,
    chance: Chance | None = None,
    engine: PolicyEngine | None = None,
    buckets: BucketStore | None = None,
    targets: Mapping[str, Target] | None = None,
    more_inspectors: Mapping[str, Inspector] | None = None,
    telemetry: TelemetrySettings | None = None,
) -> House:
    """Open the stores of a server and wire its services. Raises what opening raises: Invalid, Refused, Unavailable."""
    clock = clock or SystemClock()
    chance = chance or SystemChance()
    ids = TimeOrderedIds(clock, chance)
    # Several servers of one database measure leases by its clock, unless a test moves the time.
    leases_by: LeaseClock = "database" if isinstance(clock, SystemClock) else "given"
    store = open_store(settings.database_url, clock=clock, lease_clock=leases_by)
    store.create()
    journal = Journal(store, clock=clock, ids=ids, chance=chance)
    log_id = journal.open()
    timekeeping = Timekeeping(store, journal, clock=clock, actor=SYSTEM.id)
    timekeeping.follow()
    signer = signer_of(store, log_id, settings.data / KEY_FILE, chance=chance)
    checkpoints = Checkpoints(store, signer, clock=clock, file=settings.data / CHECKPOINT_FILE)

    identity = Identity(store, journal, clock=clock, ids=ids, chance=chance)
    catalog = Catalog(
        store,
        journal,
        held=(WINDOW, TEMPLATE),
        validators={"SLI": _check_sli, "SLO": _check_slo, "Connection": check_connection},
    )
    flags = Flags(store, journal, clock)
    hint = _Hint()

    def wake(tx: Tx, change: str) -> None:
        poke(tx, change, clock.now())
        hint.poke()

    def unasked(tx: Tx, change: str, actor: Actor, *, edited: bool) -> None:
        (approvals.supersede if edited else approvals.withdraw)(tx, change, actor=actor)

    bucket_store = buckets or open_bucket_store(settings.buckets_url)
    bucket_store.create()
    exposures = TowerExposures(store)
    reader = TelemetryReader(
        bucket_store, exposures, telemetry or TelemetrySettings(lateness=timedelta(seconds=settings.lateness_s))
    )
    objectives = Standings(store=store, catalog=catalog, telemetry=reader)
    planner = Planner(catalog=catalog, telemetry=reader, clock=clock)
    inspectors: dict[str, Inspector] = {
        "flag": FlagInspector(flags),
        ENVOY: EnvoyInspector(catalog),
        **(more_inspectors or {}),
    }
    changes = Changes(
        store,
        journal,
        clock=clock,
        ids=ids,
        catalog=catalog,
        inspectors=inspectors,
        reviewers=(planner,),
        flags=lambda connection: [flag.definition.name for flag in flags.list(connection)],
        wake=wake,
        unasked=unasked,
    )
    policies = Policies(
        store, journal, engine=engine or WorkerEngine(), aside=engine or WorkerEngine(), clock=clock, ids=ids
    )
    policies.seed()
    calendar = Calendar(catalog)
    kinds = Kinds([*catalog.kinds(), flag_kind(flags), policies.kind(), changes.kind()])

    def eligible(connection: Connection, asked: Collection[Asked]) -> Mapping[Asked, frozenset[str]]:
        active = identity.persons.active(connection)
        return {one: named & active for one, named in catalog.seated(connection, asked).items()}

    def backup_of(connection: Connection, group: str) -> str | None:
        found = catalog.group(connection, group)
        return None if found is None else found.backup

    def subjects(connection: Connection, wanted: Collection[str]) -> Mapping[str, Subject]:
        return {
            found.id: Subject(
                change=found.id,
                sections={str(name): digest for name, digest in found.section_digests().items()},
                digest=found.digest,
                awaiting=found.phase is Phase.AWAITING_APPROVAL,
                content=found.spec or b"",
            )
            for found in changes.read_many(connection, wanted)
            if found.digest is not None
        }

    approvals = Approvals(
        store,
        journal,
        clock=clock,
        ids=ids,
        eligible=eligible,
        subjects=subjects,
        on_vote=wake,
        backup_of=backup_of,
    )
    reviews = Reviews(store, journal, clock=clock, ids=ids, on_closed=wake)
    evidence = Evidence(store, journal, clock=clock, ids=ids, changes=changes, wake=wake)
    rollouts = Rollouts(
        store,
        journal,
        clock=clock,
        ids=ids,
        changes=changes,
        members=catalog.members,
        poked=hint.poke,
    )
    envoy = EnvoyTarget(
        connections=lambda name: _envoy(store, catalog, name),
        folder=settings.routes,
        secret=os.environ.get,
        clock=clock,
        over=partial(_over_now, store, changes),
    )
    flag_target = FlagTarget(store, flags, clock=clock, over=partial(_over, changes))
    all_targets = Targets({"flag": flag_target, ENVOY: envoy, **(targets or {})})
    facts = PolicyFacts(
        catalog=catalog,
        objectives=objectives,
        calendar=calendar,
        history=ChangeHistory(changes),
        evidence=evidence,
        traffic=planner,
    )
    clearance = Clearance(
        store=store,
        clock=clock,
        changes=changes,
        policies=policies,
        approvals=approvals,
        calendar=calendar,
        facts=facts,
        persons=identity.persons.principals,
    )
    desk = Desk(store=store, clock=clock, changes=changes, policies=policies, doubt=timekeeping.doubt)
    judge = Judge(store=store, catalog=catalog, telemetry=reader, objective=objectives.burn)

    def open_review(tx: Tx, change: Change) -> None:
        reviews.open_for(tx, change.id)

    flight = Flight(
        desk=desk,
        targets=all_targets,
        judge=judge,
        clearance=clearance,
        rollouts=rollouts,
        open_review=open_review,
    )
    steering = Steering(
        desk=desk,
        approvals=approvals,
        clearance=clearance,
        calendar=calendar,
        targets=all_targets,
        reviews=reviews,
        fly=flight,
    )
    tower = Tower(store=store, clock=clock, owner=ids.new("srv"), look=steering)
    hint.listener = tower.poke
    return House(
        settings=settings,
        clock=clock,
        ids=ids,
        chance=chance,
        store=store,
        journal=journal,
        timekeeping=timekeeping,
        signer=signer,
        checkpoints=checkpoints,
        idempotency=IdempotencyKeys(store, clock=clock),
        identity=identity,
        catalog=catalog,
        kinds=kinds,
        changes=changes,
        policies=policies,
        approvals=approvals,
        calendar=calendar,
        evidence=evidence,
        flags=flags,
        rollouts=rollouts,
        telemetry=reader,
        objectives=objectives,
        planner=planner,
        reviews=reviews,
        targets=all_targets,
        tower=tower,
        steering=steering,
        buckets=bucket_store,
    )


def _over(changes: Changes, connection: Connection, change_id: str) -> bool:
    """Return whether nothing of a change is steered any more."""
    found = next(iter(changes.read_many(connection, [change_id])), None)
    return found is not None and found.phase in (Phase.ROLLED_BACK, Phase.REVIEWING, Phase.CLOSED)


def _over_now(store: Store, changes: Changes, change_id: str) -> bool:
    """Return the same, asking the database by itself."""
    with store.read() as connection:
        return _over(changes, connection, change_id)


def _envoy(store: Store, catalog: Catalog, name: str) -> EnvoyConnection:
    """Return the Envoy a connection leads to. Raises Refused where it leads to none (any more)."""
    with store.read() as connection:
        found = catalog.connection(connection, name)
    if found is None or found.system != ENVOY:
        raise Refused(
            f"there is no connection {name} to an Envoy", code="unknown-reference", way_out="apply its Connection again"
        )
    return read_connection(name, found.settings)


def _check_sli(document: Document) -> None:
    """Refuse an indicator that cannot be measured, where it stands in the file."""
    parse_sli(_mapping(document), document.place)


def _check_slo(document: Document) -> None:
    """Refuse an objective that cannot be judged, where it stands in the file."""
    parse_slo(_mapping(document), document.place)


def _mapping(document: Document) -> Mapping[str, Any]:
    if not isinstance(document.value, dict):
        document.refuse((), "a document is a mapping", code="bad-document")
    return document.value


def state_digests() -> tuple[StateDigests, ...]:
    """Return what compares the state rows of every room with their last facts, for the verifier."""
    return (row_digests, Catalog.row_digests, flag_digests, pack_digests)


class _Hint:
    """Tells the tower of this process that something is due; set once the tower is there."""

    def __init__(self) -> None:
        self.listener: Callable[[], None] | None = None

    def poke(self) -> None:
        if self.listener is not None:
            self.listener()
