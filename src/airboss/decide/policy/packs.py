"""Reading a pack: strict YAML to rules and tests, every fault with `file:line:column`."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import datetime
from enum import StrEnum
from importlib.resources import files
from typing import Any, Final, NoReturn, TypeVar

from airboss.decide.policy.model import (
    MAY_CLEAR,
    AddRisk,
    AutoApprove,
    Case,
    Deny,
    Effect,
    Layer,
    Mode,
    Obligate,
    Outcome,
    Pack,
    Point,
    RequireApproval,
    RequireEvidence,
    Rule,
    Schedule,
    Seats,
    SetTier,
    Tier,
    Warn,
)
from airboss.decide.policy.vocabulary import EVIDENCE, WrongFact, fixture, masked_input, overlay
from airboss.kernel.clock import parse_rfc3339
from airboss.kernel.errors import Invalid, NotFound
from airboss.kernel.ids import NAME
from airboss.kernel.yaml import Document, load_documents, load_one

MAX_RULES: Final = 500
MAX_CASES: Final = 500
_RULE_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_DURATION: Final = re.compile(r"(\d{1,9})(s|m|h|d)")
_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_PERCENT: Final = re.compile(r"(\d{1,3}(?:\.\d+)?)\s?%")

_E = TypeVar("_E", bound=StrEnum)
_MISSING: Final = object()


def parse(data: bytes, source: str) -> Pack:
    """Return the pack in a file. CEL is compiled later, by the engine. Raises Invalid with the place of the fault."""
    return read_pack(load_one(data, source))


def parse_all(data: bytes, source: str) -> list[Pack]:
    """Return the packs of a file that may hold several documents, each a pack. Raises Invalid."""
    return [read_pack(document) for document in load_documents(data, source)]


def read_pack(document: Document) -> Pack:
    """Return the pack a document holds; its bytes are those of the document alone. Raises Invalid with the place."""
    top = _Fields(document, (), of="policy pack")
    top.word("apiVersion", frozenset({"airboss/v1"}))
    top.word("kind", frozenset({"PolicyPack"}))
    metadata = top.group("metadata")
    name = metadata.text("name")
    if not NAME.fullmatch(name):
        metadata.refuse("name", f"{name!r} cannot name a pack", way_out="use 1 to 63 of a-z, 0-9, '.', '_' and '-'")
    version = metadata.text("version", default="1")
    metadata.done()
    spec = top.group("spec")
    top.done()
    layer = spec.one("layer", Layer)
    owner = spec.text("owner")
    rules: dict[str, Rule] = {}
    for fields in spec.groups("rules", of="rule"):
        rule = _rule(fields, pack=name, layer=layer, owner=owner)
        if rule.id in rules:
            fields.refuse(
                "id",
                f"the rule {rule.id} stands twice, first at {rules[rule.id].place}",
                way_out="give one of them another id, or take it out",
            )
        rules[rule.id] = rule
    if not 0 < len(rules) <= MAX_RULES:
        spec.refuse("rules", f"a pack has 1 to {MAX_RULES} rules")
    cases = tuple(_case(fields, known=rules) for fields in spec.groups("tests", of="test", default=True))
    if len(cases) > MAX_CASES:
        spec.refuse("tests", f"a pack has at most {MAX_CASES} tests")
    spec.done()
    places = {rule_id: ("spec", "rules", at) for at, rule_id in enumerate(rules)}

    def inside(rule_id: str, field: str, offset: int) -> str:
        return document.inside((*places[rule_id], field), offset)

    return Pack(
        name=name,
        version=version,
        owner=owner,
        layer=layer,
        rules=tuple(rules.values()),
        cases=cases,
        source=document.source,
        data=document.alone(),
        inside=inside,
        place=document.place(("spec", "layer")),
    )


PROFILES: Final[Mapping[str, str]] = {
    "beginner": "beginner.yaml",
    "intermediate": "default.yaml",
    "advanced": "advanced.yaml",
    "regulated": "regulated.yaml",
}
"""The packs that ship with Airboss, by profile; all have one name, so that exactly one of them is in force."""
SHIPPED: Final = "airboss:"
"""Marks the source of a shipped pack: an upgrade may replace it."""
SHIPPED_NAME: Final = "airboss-default"
"""Name of each of them."""
DEFAULT_SOURCE: Final = f"{SHIPPED}{PROFILES['intermediate']}"
"""Source of the shipped pack an empty store gets."""


def default_pack() -> Pack:
    """Return the pack that ships with Airboss and is in force when nothing else is said."""
    return profile_pack("intermediate")


def default_bytes() -> bytes:
    """Return the bytes of that pack."""
    return profile_pack("intermediate").data


def profile_pack(profile: str) -> Pack:
    """Return the shipped pack of a profile. Raises NotFound with the profiles there are."""
    return parse(profile_bytes(profile), f"{SHIPPED}{PROFILES[profile]}")


def profile_bytes(profile: str) -> bytes:
    """Return the file of that pack, unread: reading one takes a tenth of a second. Raises NotFound likewise."""
    if profile not in PROFILES:
        raise NotFound(
            f"there is no profile {profile[:60]!r}", code="profile-unknown", way_out=f"use {', '.join(PROFILES)}"
        )
    return files("airboss.decide.policy").joinpath(f"packs/{PROFILES[profile]}").read_bytes()


def profile_of(source: str) -> str | None:
    """Return the profile a pack with this source is, or None for one that people wrote."""
    return next((profile for profile, name in PROFILES.items() if source == f"{SHIPPED}{name}"), None)


class _Fields:
    """One mapping of the file, taken field by field; what is left over at the end is refused."""

    def __init__(self, document: Document, path: tuple[str | int, ...], *, of: str) -> None:
        self._document, self.path, self._of = document, path, of
        value: Any = document.value
        for step in path:
            value = value[step]
        if not isinstance(value, dict):
            document.refuse(path, f"a {of} is a mapping of fields", code="bad-policy")
        self._left: dict[str, Any] = dict(value)
        self._known: list[str] = []

    @property
    def place(self) -> str:
        return self._document.place(self.path)

    @property
    def names(self) -> list[str]:
        """Fields not yet taken."""
        return list(self._left)

    def refuse(self, name: str, detail: str, way_out: str | None = None) -> NoReturn:
        self._document.refuse((*self.path, name), detail, code="bad-policy", way_out=way_out)

    def take(self, name: str, default: Any = _MISSING) -> Any:
        self._known.append(name)
        value = self._left.pop(name, None)
        if value is not None:
            return value
        if default is _MISSING:
            self.refuse(name, f"the {self._of} lacks {name}")
        return default

    def text(self, name: str, default: Any = _MISSING) -> Any:
        value = self.take(name, default)
        if value is default:
            return value
        raw = self._document.raw((*self.path, name))
        if raw is None or not raw.strip():
            self.refuse(name, f"{name} is text")
        return raw

    def word(self, name: str, known: frozenset[str], default: Any = _MISSING) -> Any:
        value = self.take(name, default)
        if value is not default and (not isinstance(value, str) or value not in known):
            self.refuse(name, f"{value!r} is not a {name}", way_out=f"one of {', '.join(sorted(known))}")
        return value

    def one(self, name: str, kind: type[_E], default: Any = _MISSING) -> Any:
        value = self.word(name, frozenset(item.value for item in kind), default)
        return value if value is default else kind(value)

    def truth(self, name: str) -> bool:
        value = self.take(name, default=False)
        if not isinstance(value, bool):
            self.refuse(name, f"{name} is true or false")
        return value

    def whole(self, name: str, *, least: int, most: int, default: Any = _MISSING) -> Any:
        value = self.take(name, default)
        if value is not default and (isinstance(value, bool) or not isinstance(value, int)):
            self.refuse(name, f"{name} is a whole number")
        if value is not default and not least <= value <= most:
            self.refuse(name, f"{name} is from {least} to {most}")
        return value

    def duration_s(self, name: str) -> int | None:
        value = self.take(name, None)
        if value is None:
            return None
        found = _DURATION.fullmatch(value) if isinstance(value, str) else None
        if found is None:
            self.refuse(name, f"{value!r} is not a duration", way_out="a number and s, m, h or d: 30m, 4h")
        return int(found[1]) * _SECONDS[found[2]]

    def percent(self, name: str) -> float | None:
        value = self.take(name, None)
        if value is None:
            return None
        found = _PERCENT.fullmatch(value) if isinstance(value, str) else None
        if found is None or not 0 < float(found[1]) <= 100:
            self.refuse(name, f"{value!r} is not a share", way_out="above 0% and at most 100%: 25%")
        return float(found[1])

    def time(self, name: str) -> datetime | None:
        value = self.take(name, None)
        if value is None:
            return None
        try:
            return parse_rfc3339(str(value))
        except ValueError:
            self.refuse(name, f"{value!r} is not a time", way_out="RFC 3339 with its zone: 2026-12-01T00:00:00Z")

    def words(self, name: str, known: frozenset[str] | None, default: Any = _MISSING) -> Any:
        value = self.take(name, default)
        if value is default:
            return value
        if not isinstance(value, list) or not value or not all(isinstance(item, str) for item in value):
            self.refuse(name, f"{name} is a list of words")
        for at, item in enumerate(value):
            if known is not None and item not in known:
                self._document.refuse(
                    (*self.path, name, at),
                    f"{item!r} is not known here",
                    code="bad-policy",
                    way_out=f"one of {', '.join(sorted(known))}",
                )
        return tuple(dict.fromkeys(value))

    def group(self, name: str, default: Any = _MISSING) -> _Fields:
        self.take(name, default)
        return _Fields(self._document, (*self.path, name), of=name)

    def groups(self, name: str, *, of: str, default: bool = False) -> list[_Fields]:
        value = self.take(name, [] if default else _MISSING)
        if not isinstance(value, list):
            self.refuse(name, f"{name} is a list")
        return [_Fields(self._document, (*self.path, name, at), of=of) for at in range(len(value))]

    def done(self) -> None:
        for name in self._left:
            raise Invalid(
                f"a {self._of} has no field {name}",
                code="bad-policy",
                place=self._document.key_place((*self.path, name)),
                way_out=f"its fields: {', '.join(self._known)}",
            )

    def place_of(self, path: tuple[str | int, ...]) -> str:
        return self._document.key_place((*self.path, *path))


def _rule(fields: _Fields, *, pack: str, layer: Layer, owner: str) -> Rule:
    rule_id = fields.text("id")
    if not _RULE_ID.fullmatch(rule_id):
        fields.refuse("id", f"{rule_id!r} cannot name a rule", way_out="letters, digits, '.', '_' and '-'")
    at = fields.words("at", frozenset(point.value for point in Point), tuple(point.value for point in Point))
    effect = _effect(fields.group("effect"))
    if isinstance(effect, AutoApprove) and layer not in MAY_CLEAR:
        fields.refuse(
            "effect",
            f"a pack of layer {layer.value} may only tighten, and auto_approve loosens",
            way_out="auto_approve belongs to the layers organisation and platform",
        )
    rule = Rule(
        id=rule_id,
        title=fields.text("title"),
        pack=pack,
        layer=layer,
        at=tuple(Point(name) for name in at),
        when=fields.text("when"),
        effect=effect,
        message=fields.text("message", None),
        mode=fields.one("mode", Mode, Mode.ENFORCE),
        link=fields.text("link", None),
        owner=fields.text("owner", owner),
        expires=fields.time("expires"),
        place=fields.place,
    )
    fields.done()
    return rule


def _effect(fields: _Fields) -> Effect:
    names = fields.names
    if len(names) != 1:
        raise Invalid(
            f"an effect is exactly one of the known ones, this has {len(names)}", code="bad-policy", place=fields.place
        )
    name = names[0]
    read = _EFFECTS.get(name)
    if read is None:
        raise Invalid(
            f"{name} is not an effect",
            code="bad-policy",
            place=fields.place_of((name,)),
            way_out=f"one of {', '.join(_EFFECTS)}",
        )
    return read(fields, name)


def _bare(make: Callable[[], Effect]) -> Callable[[_Fields, str], Effect]:
    def read(fields: _Fields, name: str) -> Effect:
        fields.group(name).done()
        return make()

    return read


def _add_risk(fields: _Fields, name: str) -> Effect:
    inner = fields.group(name)
    effect = AddRisk(points=inner.whole("points", least=1, most=1000), reason=inner.text("reason"))
    inner.done()
    return effect


def _set_tier(fields: _Fields, name: str) -> Effect:
    return SetTier(tier=fields.one(name, Tier))


SECTIONS: Final = frozenset({"intent", "scope", "payload", "plan", "way_back", "schedule"})
"""Sections of a change an approval may be bound to; how it is presented is none."""
BOTH: Final = ("requester", "authors")


def _require_approval(fields: _Fields, name: str) -> Effect:
    inner = fields.group(name)
    every = inner.groups("all_of", of="group to ask", default=True)
    some = inner.groups("any_of", of="group to ask", default=True)
    if bool(every) == bool(some):
        fields.refuse(name, "require_approval has either all_of or any_of, with at least one group")
    take = inner.whole("take", least=1, most=max(len(some), 1), default=1)
    if every and take != 1:
        inner.refuse("take", "take says how many of any_of, and here all are asked")
    effect = RequireApproval(
        of="all" if every else "any",
        take=take,
        groups=tuple(_seats(group) for group in every or some),
        # Who says nothing means the safe thing: nobody approves what is their own.
        distinct_from=frozenset(inner.words("distinct_from", frozenset(BOTH), BOTH)),
        sla_s=inner.duration_s("sla"),
        backup=inner.text("backup", None),
    )
    inner.done()
    return effect


def _seats(fields: _Fields) -> Seats:
    seats = Seats(
        group=fields.text("group"),
        least=fields.whole("least", least=1, most=20, default=1),
        covers=fields.words("covers", SECTIONS, None),
    )
    fields.done()
    return seats


def _require_evidence(fields: _Fields, name: str) -> Effect:
    inner = fields.group(name)
    effect = RequireEvidence(type=inner.word("type", EVIDENCE), max_age_s=inner.duration_s("max_age"))
    inner.done()
    return effect


def _obligate(fields: _Fields, name: str) -> Effect:
    inner = fields.group(name)
    effect = Obligate(
        canary=inner.truth("canary"),
        bake_least_s=inner.duration_s("bake_least"),
        largest_step_percent=inner.percent("largest_step"),
        review=inner.truth("review"),
    )
    inner.done()
    if effect == Obligate():
        fields.refuse(name, "this obliges to nothing", way_out="canary, bake_least, largest_step, review")
    return effect


def _auto_approve(fields: _Fields, name: str) -> Effect:
    inner = fields.group(name)
    up_to = inner.one("up_to", Tier, Tier.LOW)
    if up_to is Tier.HIGH:
        inner.refuse("up_to", "a high-risk change always needs a person", way_out="low or medium")
    inner.done()
    return AutoApprove(up_to=up_to)


def _schedule(fields: _Fields, name: str) -> Effect:
    inner = fields.group(name)
    effect = Schedule(not_before=inner.time("not_before"), windows=inner.words("windows", None, ()))
    inner.done()
    if effect == Schedule():
        fields.refuse(name, "this schedules nothing", way_out="not_before, windows")
    return effect


_EFFECTS: Final[Mapping[str, Callable[[_Fields, str], Effect]]] = {
    "deny": _bare(Deny),
    "warn": _bare(Warn),
    "add_risk": _add_risk,
    "set_tier": _set_tier,
    "require_approval": _require_approval,
    "require_evidence": _require_evidence,
    "obligate": _obligate,
    "auto_approve": _auto_approve,
    "schedule": _schedule,
}


def _case(fields: _Fields, *, known: Mapping[str, Rule]) -> Case:
    name = fields.text("name")
    at = fields.one("at", Point)
    given = fields.take("input", {})
    if not isinstance(given, dict):
        fields.refuse("input", "input is a mapping laid over the fixture")
    try:
        masked_input(at, overlay(fixture(), given))
    except WrongFact as fault:
        raise Invalid(fault.detail, code="bad-policy", place=fields.place_of(("input", *fault.path))) from fault
    expect = fields.group("expect")
    rules = frozenset(known)
    fired = expect.take("fired", None)
    if fired is not None:
        fired = frozenset(_fired_list(expect, fired, rules))
    case = Case(
        name=name,
        at=at,
        input=given,
        outcome=expect.one("outcome", Outcome, None),
        tier=expect.one("tier", Tier, None),
        score=expect.whole("score", least=0, most=10**6, default=None),
        fired=fired,
        not_fired=frozenset(expect.words("not_fired", rules, ())),
        says=expect.words("says", None, ()),
        place=fields.place,
    )
    expect.done()
    fields.done()
    return case


def _fired_list(fields: _Fields, fired: Any, known: frozenset[str]) -> list[str]:
    """Return a list of rule IDs, which may be empty: nothing fired."""
    if not isinstance(fired, list) or not all(isinstance(item, str) and item in known for item in fired):
        fields.refuse("fired", "fired is a list of rules of this pack", way_out=f"of {', '.join(sorted(known))}")
    return fired
