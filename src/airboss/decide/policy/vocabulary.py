"""What a rule may read: the declared facts, their check and masking, and the complete fixture tests start from.

The table below is the one source. From it come the protobuf messages the engine reads (`facts.py`), the check of what
the tower hands in, and the reference page. A group that could not be fetched is absent, never empty; a scalar that
nobody said is unset. Reading either is an error in the rule, and an error in an enforced rule blocks.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from airboss.decide.policy.model import Point
from airboss.kernel.canonical import canonical
from airboss.kernel.clock import parse_rfc3339, rfc3339
from airboss.kernel.errors import Invalid

SCHEMA: Final = 3
"""Version of the input, stored in it. A rule that reads fields a stored input did not have cannot be compared."""

Path: TypeAlias = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Field:
    """One fact: `kind` is text, number, whole, truth, texts, or the name of a message (a list of them if `many`)."""

    kind: str
    meaning: str
    many: bool = False
    masked: bool = False
    """E-mail addresses and secrets are struck out of it before the engine sees it."""


MESSAGES: Final[Mapping[str, Mapping[str, Field]]] = {
    "Change": {
        "id": Field("text", "the change ID, chg_…"),
        "kind": Field("text", "the template: service-release, flag-ramp"),
        "title": Field("text", "what the requester calls it", masked=True),
        "labels": Field("texts", "labels, such as reliability", masked=True),
        "environments": Field("texts", "names of the environments it touches"),
        "impact": Field("Impact", "what the requester says it can do"),
        "services": Field("texts", "names of the services it touches"),
        "dependents": Field("texts", "names of the services of other teams that say they depend on these"),
        "strategy": Field("text", "canary, ramp"),
        "emergency": Field("truth", "whether it repairs production now"),
        "artifact": Field("Artifact", "what is rolled out"),
        "first_step_percent": Field("number", "exposure of the first production step, percent"),
        "largest_step_percent": Field("number", "largest rise of exposure in one production step, percent points"),
        "rollback_window_s": Field("number", "seconds for which the way back stays open"),
        "behind_flag": Field("truth", "whether all of it is behind flags, raised step by step"),
        "automated_rollback": Field("truth", "whether it takes itself back when it harms, and can be taken back whole"),
        "waived_signals": Field("texts", "what its kind is watched by, and this change waived with a reason"),
        "traffic_known": Field("truth", "whether recent requests tell how long each judged step will take"),
        "accepts_underpowered": Field(
            "truth", "whether it starts steps whose evidence may not come in time, with a reason"
        ),
        "has_mitigation": Field("truth", "whether something else than a rollback can stop the harm"),
    },
    "Impact": {
        "users_percent": Field("number", "share of users it can reach, percent"),
        "reversible": Field("truth", "whether it can be taken back whole"),
        "data": Field("text", "what it does to data: none, compatible, incompatible, loss"),
        "risks": Field("Risks", "stated risks, each none, low or material"),
        "cross_team": Field("truth", "whether it reaches services of other teams"),
    },
    "Risks": {
        "availability": Field("text", "none, low, material"),
        "integrity": Field("text", "none, low, material"),
        "security": Field("text", "none, low, material"),
        "compliance": Field("text", "none, low, material"),
        "cost": Field("text", "none, low, material"),
    },
    "Artifact": {
        "version": Field("text", "version, as written"),
        "digest": Field("text", "sha256:…"),
    },
    "Service": {
        "name": Field("text", "name in the catalogue"),
        "tier": Field("text", "critical, important, standard, experimental"),
        "stateful": Field("truth", "whether it keeps data"),
        "owner": Field("text", "the owning team"),
    },
    "Slo": {
        "name": Field("text", "name of the objective"),
        "service": Field("text", "the service it speaks of"),
        "budget_left": Field("number", "error budget left, 1 is all of it, 0 none, below 0 overspent"),
        "burn": Field("number", "burn rate over the last hour; 1 spends the budget exactly in its window"),
        "target": Field("number", "the objective, such as 0.999"),
    },
    "Evidence": {
        "ci": Field("Ci", "the last build of the artifact"),
        "staging": Field("Ci", "the last test of exactly this in staging"),
    },
    "Ci": {
        "green": Field("truth", "whether it passed"),
        "age_s": Field("number", "seconds since it ended"),
    },
    "Calendar": {
        "frozen": Field("truth", "whether a freeze covers this change now"),
        "freeze": Field("text", "name of that freeze"),
        "reason": Field("text", "why there is one", masked=True),
        "opens_at": Field("text", "when it ends, RFC 3339"),
    },
    "Actor": {
        "id": Field("text", "who asks, usr_… or tok_…"),
        "name": Field("text", "their handle", masked=True),
        "kind": Field("text", "person, token, system"),
        "role": Field("text", "viewer, engineer, admin"),
    },
    "History": {
        "service_failures_30d": Field("whole", "changes of these services rolled back or failed in 30 days"),
        "last_failed_digest_same": Field("truth", "whether exactly this payload was rolled back before"),
    },
    "Risk": {
        "tier": Field("text", "low, medium, high: what the first pass came to"),
        "score": Field("whole", "sum of the points of add_risk"),
    },
    "Ages": {
        "services_s": Field("number", "seconds since the catalogue was read"),
        "slos_s": Field("number", "seconds since the newest telemetry the objectives were computed from"),
        "evidence_s": Field("number", "seconds since evidence was read"),
        "calendar_s": Field("number", "seconds since the calendar was read"),
        "history_s": Field("number", "seconds since the history was read"),
    },
}

VARIABLES: Final[Mapping[str, Field]] = {
    "point": Field("text", "submit, approve, start, promote, complete"),
    "now": Field("text", "time of the decision, RFC 3339 UTC"),
    "change": Field("Change", "the change"),
    "services": Field("Service", "the services it touches, from the catalogue", many=True),
    "slos_known": Field("truth", "whether the objectives of all these services could be read"),
    "slos": Field("Slo", "their objectives; absent when they could not be read", many=True),
    "evidence": Field("Evidence", "what machines have said about the artifact"),
    "calendar": Field("Calendar", "freezes"),
    "actor": Field("Actor", "who asks"),
    "history": Field("History", "what happened to changes like this"),
    "ages": Field("Ages", "how old each group of facts is"),
    "risk": Field("Risk", "what the first pass came to; only rules of the second pass may read it"),
}

EVIDENCE: Final = frozenset(MESSAGES["Evidence"])
"""Types of evidence a rule may require."""


def schema() -> list[tuple[str, str, str]]:
    """Return (field, type, meaning) of everything a rule may read, for the reference pages and completion."""
    rows: list[tuple[str, str, str]] = []

    def walk(prefix: str, field: Field) -> None:
        name = f"{prefix}[]" if field.many else prefix
        if field.kind in MESSAGES:
            rows.append((prefix, "list" if field.many else "group", field.meaning))
            for below, inner in MESSAGES[field.kind].items():
                walk(f"{name}.{below}", inner)
        else:
            rows.append((prefix, _CEL[field.kind], field.meaning))

    for name, field in VARIABLES.items():
        walk(name, field)
    return rows


_CEL: Final = {"text": "string", "number": "double", "whole": "int", "truth": "bool", "texts": "list(string)"}


class WrongFact(Invalid):
    """A fact does not fit the declaration; `path` says which."""

    def __init__(self, path: Path, detail: str) -> None:
        name = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path).lstrip(".")
        super().__init__(f"{name}: {detail}", code="bad-policy-input", place=name)
        self.path = path


def masked_input(point: Point, facts: Mapping[str, Any]) -> bytes:
    """Return the masked input as canonical JSON: the bytes that are judged, stored and digested.

    Absent and None are the same: unset. A number that is not finite is unset too, for nobody can compare it.
    Raises WrongFact for a field that is not declared or has another type, and for `risk`, which only the engine sets.
    """
    if "risk" in facts:
        raise WrongFact(("risk",), "is computed by the rules, never given")
    checked = {name: value for name, value in facts.items() if value is not None}
    checked["point"] = point.value
    if "now" in checked:
        checked["now"] = _moment(checked["now"])
    taken = _take(VARIABLES, checked, ())
    taken["schema"] = SCHEMA
    return canonical(taken)


def _moment(value: Any) -> str:
    """Return a time in the one form in which times compare as text."""
    try:
        return rfc3339(parse_rfc3339(value))
    except (TypeError, ValueError) as fault:
        raise WrongFact(("now",), "is a time, RFC 3339 with its zone") from fault


def _take(fields: Mapping[str, Field], values: Mapping[str, Any], path: Path) -> dict[str, Any]:
    taken: dict[str, Any] = {}
    for name, value in values.items():
        field = fields.get(name)
        if field is None:
            raise WrongFact((*path, name), f"is not declared; known here: {', '.join(sorted(fields))}")
        if value is None:
            continue
        if field.many:
            taken[name] = [
                _group(field.kind, item, (*path, name, at)) for at, item in enumerate(_list(value, (*path, name)))
            ]
        elif field.kind in MESSAGES:
            taken[name] = _group(field.kind, value, (*path, name))
        else:
            scalar = _SCALARS[field.kind](value, (*path, name))
            if scalar is not None:
                taken[name] = _mask(scalar) if field.masked else scalar
    return taken


def _group(kind: str, value: Any, path: Path) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise WrongFact(path, "is a group of fields")
    return _take(MESSAGES[kind], value, path)


def _list(value: Any, path: Path) -> list[Any]:
    if not isinstance(value, list | tuple | frozenset | set):
        raise WrongFact(path, "is a list")
    return sorted(value) if isinstance(value, frozenset | set) else list(value)


def _text(value: Any, path: Path) -> str:
    if not isinstance(value, str):
        raise WrongFact(path, "is text")
    return str(value)


def _number(value: Any, path: Path) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise WrongFact(path, "is a number")
    return float(value) if math.isfinite(value) else None


def _whole(value: Any, path: Path) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise WrongFact(path, "is a whole number")
    return value


def _truth(value: Any, path: Path) -> bool:
    if not isinstance(value, bool):
        raise WrongFact(path, "is true or false")
    return value


def _texts(value: Any, path: Path) -> list[str]:
    return [_text(item, (*path, at)) for at, item in enumerate(_list(value, path))]


_SCALARS: Final[Mapping[str, Any]] = {
    "text": _text,
    "number": _number,
    "whole": _whole,
    "truth": _truth,
    "texts": _texts,
}

# Bounded parts: an open-ended one would make a long title cost its length squared. Lengths are those of RFC 5321.
_EMAIL: Final = re.compile(r"[\w.+-]{1,64}@[\w-]{1,63}(\.[\w-]{1,63}){1,8}")
_SECRET: Final = re.compile(
    r"(?i)\b(gh[pousr]_|xox[abprs]-|sk-|eyJ|AKIA)[\w.\-]{12,}|(?<=password=)\S+|(?<=token=)\S+|(?<=secret=)\S+"
)


def _mask(value: Any) -> Any:
    if isinstance(value, list):
        return [_mask(item) for item in value]
    return _SECRET.sub("<secret>", _EMAIL.sub("<e-mail>", value))


_FIXTURE: Final[Mapping[str, Any]] = {
    "now": "2026-01-15T10:00:00.000000Z",
    "change": {
        "id": "chg_01kq3z8x5wf6vtd0c1m2n3p4q5",
        "kind": "service-release",
        "title": "A change",
        "labels": [],
        "environments": ["production"],
        "impact": {
            "users_percent": 1.0,
            "reversible": True,
            "data": "none",
            "risks": dict.fromkeys(MESSAGES["Risks"], "none"),
            "cross_team": False,
        },
        "services": ["shop"],
        "dependents": [],
        "strategy": "canary",
        "emergency": False,
        "artifact": {"version": "1.0.0", "digest": "sha256:" + "0" * 64},
        "first_step_percent": 1.0,
        "largest_step_percent": 50.0,
        "rollback_window_s": 259200.0,
        "behind_flag": False,
        "automated_rollback": False,
        "has_mitigation": True,
        "waived_signals": [],
        "traffic_known": True,
        "accepts_underpowered": False,
    },
    "services": [{"name": "shop", "tier": "standard", "stateful": False, "owner": "shop-team"}],
    "slos_known": True,
    "slos": [{"name": "shop-availability", "service": "shop", "budget_left": 0.8, "burn": 0.5, "target": 0.999}],
    "evidence": {"ci": {"green": True, "age_s": 600.0}, "staging": {"green": True, "age_s": 600.0}},
    "calendar": {"frozen": False, "freeze": "", "reason": "", "opens_at": ""},
    "actor": {"id": "usr_01kq3z8x5wf6vtd0c1m2n3p4q5", "name": "dev-a", "kind": "person", "role": "engineer"},
    "history": {"service_failures_30d": 0, "last_failed_digest_same": False},
    "ages": dict.fromkeys(MESSAGES["Ages"], 1.0),
}


def fixture() -> dict[str, Any]:
    """Return a complete, ordinary set of facts: a small reversible release of a standard service on a quiet day."""
    return {name: _copy(value) for name, value in _FIXTURE.items()}


def overlay(facts: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Return `facts` with `over` laid on top: groups merge field by field, null takes a field or group away.

    A list replaces the list; where its entries are groups (services, slos), each starts from the first entry below it,
    so a test says only what it is about.
    """
    merged = {name: _copy(value) for name, value in facts.items()}
    for name, value in over.items():
        if value is None:
            merged.pop(name, None)
        elif isinstance(value, Mapping):
            below = merged.get(name)
            merged[name] = overlay(below if isinstance(below, Mapping) else {}, value)
        elif isinstance(value, list):
            below = merged.get(name)
            template = below[0] if isinstance(below, list) and below and isinstance(below[0], Mapping) else {}
            merged[name] = [overlay(template, item) if isinstance(item, Mapping) else item for item in value]
        else:
            merged[name] = value
    return merged


def _copy(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _copy(item) for name, item in value.items()}
    return [_copy(item) for item in value] if isinstance(value, list) else value
