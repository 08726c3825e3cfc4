"""The policies in force, and the decisions they give."""

from __future__ import annotations

import json
import threading
from collections import OrderedDict
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from sqlalchemy import Connection

from airboss.catalog import Applied, Kind, Order, Parsed
from airboss.decide.policy import repo
from airboss.decide.policy.engine import EngineFailed, PolicyEngine, rule_on
from airboss.decide.policy.explanation import Explanation, explain, to_clear, without_engine
from airboss.decide.policy.model import Bundle, Decision, Pack, Point, Ruling, Tier, read_ruling, ruling_json
from airboss.decide.policy.packs import SHIPPED_NAME, parse, profile_bytes, profile_of, profile_pack, read_pack
from airboss.decide.policy.repo import StoredDecision, StoredPack
from airboss.decide.policy.trial import refusal, try_pack
from airboss.decide.policy.vocabulary import SCHEMA, masked_input
from airboss.kernel import spans
from airboss.kernel.canonical import Json, digest, digest_bytes
from airboss.kernel.clock import Clock, rfc3339
from airboss.kernel.errors import Invalid, NotFound, Refused
from airboss.kernel.ids import FactId, Ids
from airboss.people.access import SYSTEM, Action, Actor, require
from airboss.records.journal import Fact, Journal
from airboss.records.store import Store, Tx

_LOCK: Final = "policy"
"""Row that orders changes of the bundle: two packs put in force at once must not each miss the other."""
_KEPT: Final = 8
DEFAULT_PROFILE: Final = "intermediate"
REPLAYED: Final = 200
"""Decisions judged again before a profile is changed, the newest ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay:
    """A recorded decision judged again from its stored bytes."""

    decision: StoredDecision
    ruling: Ruling
    same: bool
    """Whether outcome, risk, rules, words and values all came out as they did then."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Flip:
    """A recorded decision that would come out otherwise: outcome and tier then, and by the other packs."""

    decision: str
    subject: str
    point: str
    before: str
    after: str
    tier_before: str
    tier_after: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfileMove:
    """A move to another profile: what was in force, what is, and which of the newest decisions differ by it."""

    before: str | None
    after: str
    outcome: str
    judged: int
    not_comparable: int
    flips: tuple[Flip, ...]


class Policies:
    """Keeps packs by revision, and judges facts by those in force.

    Judging waits on the engine's pipe, so it is never called inside a write transaction: decide first, then open the
    transaction and `record` the decision with what it led to.
    """

    def __init__(
        self,
        store: Store,
        journal: Journal,
        *,
        engine: PolicyEngine,
        clock: Clock,
        ids: Ids,
        aside: PolicyEngine | None = None,
    ) -> None:
        """`aside` is asked for explanations and replays, so that readers never hold up a decision."""
        self._store, self._journal = store, journal
        self._engine, self._clock, self._ids = engine, clock, ids
        self._aside = aside or engine
        self._bundles: OrderedDict[str, Bundle] = OrderedDict()
        self._guard = threading.Lock()

    # -- packs ---------------------------------------------------------------------------------------------------

    def seed(self) -> Applied | None:
        """Put the shipped pack in force if there is none of its name, or a newer one of its profile. Returns what it did.

        A pack of that name which people have put in force is theirs and stays, and one they retired stays retired. Called
        once at start.
        """
        with self._store.read() as connection:
            held = repo.packs(connection, active=None, name=SHIPPED_NAME)
        last = held[-1] if held else None
        profile = DEFAULT_PROFILE if last is None else profile_of(last.source)
        if profile is None or (last is not None and not last.active):
            return None
        if last is not None and last.data == profile_bytes(profile):
            return None  # as in nearly every start, and told without reading the file's YAML
        shipped = profile_pack(profile)
        if last is not None and last.digest == shipped.digest:
            return None
        return self._put(shipped, actor=SYSTEM)

    def profile(self, connection: Connection) -> str | None:
        """Return the shipped profile in force; None when people's own pack, or none, stands in its place. One query."""
        held = repo.packs(connection, name=SHIPPED_NAME)
        return profile_of(held[0].source) if held else None

    def choose_profile(self, name: str, *, actor: Actor, dry_run: bool = False) -> ProfileMove:
        """Put another shipped profile in force, after judging the newest decisions again by it.

        A dry run only judges. Raises Forbidden, NotFound (no such profile), or Refused when the pack in force is people's
        own: it is not overwritten.
        """
        require(actor, Action.POLICY_APPLY)
        wanted = profile_pack(name)
        with self._store.read() as connection:
            held = repo.packs(connection, name=wanted.name)
            packs = [pack for pack in self.active_bundle(connection).packs if pack.name != wanted.name]
            recent = repo.recent_decisions(connection, limit=REPLAYED)
        if held and profile_of(held[0].source) is None:
            raise Refused(
                f"the pack {wanted.name} in force is your own ({held[0].source}), and a profile would overwrite it",
                code="own-pack",
                way_out=f"keep its file and retire it first: airboss policy retire {wanted.name}",
            )
        before = profile_of(held[0].source) if held else None
        bundle = Bundle(packs=(*packs, wanted))
        flips, judged, apart = self._flips(recent, bundle)
        applied = None if dry_run else self._put(wanted, actor=actor)
        return ProfileMove(
            before=before,
            after=name,
            outcome="would be changed" if applied is None else applied.outcome,
            judged=judged,
            not_comparable=apart,
            flips=tuple(flips),
        )

    def _flips(self, recent: list[StoredDecision], bundle: Bundle) -> tuple[list[Flip], int, int]:
        """Return which recorded decisions come out otherwise by a bundle, how many were judged, and how many cannot be."""
        flips: list[Flip] = []
        judged = apart = 0
        for then in recent:
            if json.loads(then.input).get("schema") != SCHEMA:
                apart += 1  # its facts are of an older kind: a rule would err over what nobody could say then
                continue
            judged += 1
            now = rule_on(self._aside, bundle, then.input)
            if (then.outcome, then.body["tier"]) != (now.outcome.value, now.tier.value):
                flips.append(
                    Flip(
                        decision=then.id,
                        subject=then.subject,
                        point=then.point,
                        before=then.outcome,
                        after=now.outcome.value,
                        tier_before=then.body["tier"],
                        tier_after=now.tier.value,
                    )
                )
        return flips, judged, apart

    def put_pack(self, data: bytes, source: str, *, actor: Actor) -> Applied:
        """Put a pack in force: it is parsed, compiled and tested first, and the same content again records nothing.

        Raises Forbidden, or Invalid with the place; then what was in force stays in force.
        """
        require(actor, Action.POLICY_APPLY)
        return self._put(parse(data, source), actor=actor)

    def kind(self) -> Kind:
        """Return PolicyPack for the register of documents (`airboss apply`)."""

        def check(document: Any) -> str:
            # Compiled and tried here too: what a file set is refused for must be known before any of it is in force.
            pack = read_pack(document)
            with self._store.read() as connection:
                for held in repo.packs(connection, name=pack.name):
                    _same_layer(pack, parse(held.data, held.source))
            if refused := refusal(try_pack(pack, self._engine)):
                raise refused
            return pack.name

        def apply(parsed: Parsed, actor: Actor) -> Applied:
            require(actor, Action.POLICY_APPLY)
            return self._put(read_pack(parsed.document), actor=actor)

        return Kind(kind="PolicyPack", order=Order.POLICY, action=Action.POLICY_APPLY, check=check, apply=apply)

    def _put(self, pack: Pack, *, actor: Actor) -> Applied:
        report = try_pack(pack, self._engine)
        if refused := refusal(report):
            raise refused
        warnings = tuple(f"no test shows {rule_id} both firing and staying quiet" for rule_id in report.unproven)
        with self._store.write() as tx:
            tx.lock(_LOCK)
            before = repo.packs(tx.connection, active=None, name=pack.name)
            newest = before[-1] if before else None
            if newest is not None and newest.active:
                _same_layer(pack, parse(newest.data, newest.source))
            if newest is not None and newest.active and newest.digest == pack.digest:
                return Applied(kind="PolicyPack", name=pack.name, outcome="unchanged", warnings=warnings)
            after = StoredPack(
                name=pack.name,
                revision=newest.revision + 1 if newest else 1,
                active=True,
                digest=pack.digest,
                source=pack.source,
                data=pack.data,
                applied_at=tx.now(),
                applied_by=actor.id,
            )
            self._save(tx, after, "policy.activated", actor, rules=len(pack.rules), layer=pack.layer.value)
        return Applied(kind="PolicyPack", name=pack.name, outcome="changed" if newest else "created", warnings=warnings)

    def retire_pack(self, name: str, *, actor: Actor) -> None:
        """Take a pack out of force. Raises Forbidden, or NotFound when none of that name is in force."""
        require(actor, Action.POLICY_APPLY)
        with self._store.write() as tx:
            tx.lock(_LOCK)
            held = repo.packs(tx.connection, name=name)
            if not held:
                others = ", ".join(pack.name for pack in repo.packs(tx.connection))
                raise NotFound(f"no policy pack {name} is in force", way_out=f"in force: {others or 'none'}")
            self._save(tx, replace(held[0], active=False), "policy.retired", actor)

    def _save(self, tx: Tx, after: StoredPack, fact: str, actor: Actor, **more: str | int) -> None:
        repo.save_pack(tx, after)
        bundle = self.active_bundle(tx.connection)
        repo.save_bundle(tx, bundle)
        body = {"name": after.name, "revision": after.revision, "digest": after.digest, "bundle": bundle.digest, **more}
        self._journal.record(
            tx,
            Fact(
                subject=f"policy/{after.name}",
                type=fact,
                actor=actor.id,
                body=body,
                state_digest=repo.row_digest(after),
            ),
        )

    def packs(self, connection: Connection) -> list[StoredPack]:
        """Return the packs in force, by name. One query."""
        return repo.packs(connection)

    def revisions(self, connection: Connection, name: str) -> list[StoredPack]:
        """Return every revision of a pack, oldest first. One query."""
        return repo.packs(connection, active=None, name=name)

    # -- bundles -------------------------------------------------------------------------------------------------

    def active_bundle(self, connection: Connection) -> Bundle:
        """Return the packs in force together. One query; packs are parsed once for each bundle."""
        return self._assemble(repo.packs(connection))

    def bundle(self, connection: Connection, bundle_digest: str) -> Bundle:
        """Return a bundle that was in force once. Two queries. Raises NotFound."""
        pairs = repo.bundle_pairs(connection, bundle_digest)
        if pairs is None:
            raise NotFound(f"no bundle {bundle_digest} was ever in force here")
        held = repo.packs_by_digest(connection, [pack_digest for _, pack_digest in pairs])
        return self._assemble([held[pair] for pair in pairs])

    def _assemble(self, stored: list[StoredPack]) -> Bundle:
        key = json.dumps(sorted((pack.name, pack.digest) for pack in stored))
        with self._guard:
            if key in self._bundles:
                self._bundles.move_to_end(key)
                return self._bundles[key]
        bundle = Bundle(packs=tuple(parse(pack.data, pack.source) for pack in stored))
        with self._guard:
            self._bundles[key] = bundle
            while len(self._bundles) > _KEPT:
                self._bundles.popitem(last=False)
        return bundle

    # -- decisions -----------------------------------------------------------------------------------------------

    def decide(self, point: Point, facts: Mapping[str, Any], *, bundle: Bundle | None = None) -> Decision:
        """Judge facts (see `schema`) at a point, by the bundle in force or the one given. Stores nothing.

        There is always a decision; an engine that fails blocks. `now` is filled in. Raises WrongFact for facts that do
        not fit the declaration: a mistake of ours.
        """
        started = self._clock.monotonic()
        data = masked_input(point, {"now": rfc3339(self._clock.now()), **facts})
        if bundle is None:
            with self._store.read() as connection:
                bundle = self.active_bundle(connection)
        with spans.span(f"policy {point}", bundle=bundle.digest) as telling:
            ruling = rule_on(self._engine, bundle, data)
            telling.set_attribute("airboss.tier", str(ruling.tier))
        return Decision(
            id=self._ids.new("dec"),
            ruling=ruling,
            bundle=bundle.digest,
            engine=self._engine.name,
            input=data,
            input_digest=digest_bytes(data),
            ages=dict(facts.get("ages") or {}),
            duration_us=round((self._clock.monotonic() - started) * 1_000_000),
        )

    def record(self, tx: Tx, decision: Decision, *, subject: str, actor: Actor = SYSTEM) -> FactId:
        """Keep a decision and its input, and record `policy.decided` about the subject, in the caller's transaction."""
        repo.save_decision(tx, decision, subject=subject)
        body: dict[str, Json] = {
            "decision": decision.id,
            "format": decision.format,
            "point": decision.point.value,
            "outcome": decision.outcome.value,
            "tier": decision.tier.value,
            "score": decision.ruling.score,
            "fired": [f"{item.pack}/{item.rule}" for item in decision.ruling.fired],
            "denied": [f"{item.pack}/{item.rule}" if item.rule else item.kind for item in decision.denials],
            "bundle": decision.bundle,
            "engine": decision.engine,
            "input_digest": decision.input_digest,
            "decision_digest": digest(decision.as_json()),
        }
        return self._journal.record(tx, Fact(subject=subject, type="policy.decided", actor=actor.id, body=body))

    def decision(self, connection: Connection, decision_id: str) -> StoredDecision:
        """Return a recorded decision. One query. Raises NotFound."""
        found = repo.decisions(connection, decision_id=decision_id)
        if not found:
            raise NotFound(f"there is no decision {decision_id}")
        return found[0]

    def decisions_of(self, connection: Connection, subject: str) -> list[StoredDecision]:
        """Return the recorded decisions about a subject, oldest first. One query."""
        return repo.decisions(connection, subject=subject)

    def decisions_of_each(self, connection: Connection, subjects: Collection[str]) -> dict[str, list[StoredDecision]]:
        """Return by subject the recorded decisions about it, oldest first. One query."""
        return repo.decisions_by_subject(connection, subjects)

    def outdated(self, connection: Connection, subject: str) -> bool:
        """Return whether other packs are in force than those the newest decision about a subject was made by.

        Two queries. Nothing decided yet is not outdated.
        """
        last = repo.last_bundle(connection, subject)
        return last is not None and last != self.active_bundle(connection).digest

    def tiers_of(self, connection: Connection, subjects: Collection[str]) -> dict[str, Tier]:
        """Return by subject the highest tier policy ever came to; those nothing was decided about are left out. One query."""
        return repo.tiers(connection, subjects)

    def replay(self, decision_id: str, *, bundle: Bundle | None = None) -> Replay:
        """Judge a recorded decision again from its stored bytes, by the bundle of then or another. Raises NotFound."""
        with self._store.read() as connection:
            then = self.decision(connection, decision_id)
            bundle = bundle or self.bundle(connection, then.bundle)
        ruling = rule_on(self._aside, bundle, then.input)
        again = json.loads(json.dumps(ruling_json(ruling)))
        return Replay(decision=then, ruling=ruling, same=all(then.body[name] == again[name] for name in again))

    def explain(self, decision_id: str) -> Explanation:
        """Return a recorded decision explained: every rule with what it read, and what would clear a refusal.

        The stored bytes are judged again by the bundle of then. Raises NotFound.
        """
        with self._store.read() as connection:
            then = self.decision(connection, decision_id)
            bundle = self.bundle(connection, then.bundle)
        recorded = read_ruling(then.body)
        facts = json.loads(then.input)
        try:
            answer = self._aside.explain(bundle, then.input, to_clear(bundle, recorded))
        except EngineFailed as failed:
            return without_engine(bundle, recorded, str(failed), about=then.subject)
        return explain(bundle, facts, answer, recorded, about=then.subject)

    def close(self) -> None:
        """End the engines."""
        self._engine.close()
        self._aside.close()


def _same_layer(pack: Pack, held: Pack) -> None:
    """Refuse a pack that would take the place of one of a higher layer: that would loosen it. Raises Invalid."""
    if pack.layer.rank > held.layer.rank:
        raise Invalid(
            f"{pack.name} is in force as a pack of layer {held.layer.value}, and one of layer {pack.layer.value} cannot "
            "take its place: a lower layer may only tighten",
            code="bad-policy",
            place=pack.place,
            way_out=f"give it another name, or retire the other first: airboss policy retire {pack.name}",
        )
