"""Flags, compiled: an immutable snapshot that answers in about a microsecond and never raises.

The document is flagd's (`flags`, `$evaluators`, `metadata`) with four additions to each flag:

- `bucketing: {version: v2 | v3, key: targetingKey}`, the pinned generation and whose key a ramp buckets by;
- `ramp: {change_id, percent, on_variant, off_variant, salt, split?}`, the exposure a change holds right now;
- `killed: {variant}`, the overriding record of a kill switch;
- `type: float`, so that 1.0 stays a float after canonical JSON has made it 1; and `revision`.

What they mean when they meet: a kill switch beats everything; then flagd's DISABLED; then targeting; whoever targeting
says nothing about is split by the ramp; the rest gets the default variant. Only people whom the ramp split have an arm.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Final, NamedTuple, TypeAlias

from airboss.sdk.attributes import CHANGE_ID, EXPOSURE
from airboss.sdk.bucketing import Generation
from airboss.sdk.faults import BadDefinition
from airboss.sdk.fractional import Split
from airboss.sdk.jsonlogic import Compiler, Rule
from airboss.sdk.ramp import Ramp, compile_ramp, read_ramp

TARGETING_KEY: Final = "targetingKey"
KILLED: Final = "airboss.killed"
REVISION: Final = "airboss.revision"
MOST_FLAGS: Final = 20_000
MOST_VARIANTS: Final = 256

Metadata: TypeAlias = Mapping[str, bool | int | float | str]


class Reason(StrEnum):
    """Why an answer is what it is, in OpenFeature's words."""

    SPLIT = "SPLIT"
    TARGETING_MATCH = "TARGETING_MATCH"
    STATIC = "STATIC"
    DEFAULT = "DEFAULT"
    DISABLED = "DISABLED"
    ERROR = "ERROR"


class Resolution(NamedTuple):
    """One answer. `variant` None means: use the caller's default. `arm` is the element of `airboss.exposure`, if any.

    A tuple and not a dataclass because it is made on the hot path. `value` belongs to the snapshot: do not change it.
    """

    value: Any
    variant: str | None
    reason: str
    metadata: Metadata
    arm: str | None = None
    error_code: str | None = None
    error: str | None = None


_NOTHING: Final[Metadata] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class CompiledFlag:
    """One flag of a snapshot. `evaluate(targeting_key, attributes)` never raises and changes nothing it is given."""

    key: str
    evaluate: Callable[[Any, Mapping[str, Any]], Resolution]
    variants: tuple[str, ...]
    source: Mapping[str, Any]
    used: Mapping[str, Any]
    """What it was compiled with besides itself: the `$evaluators` and the set's metadata."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """All flags at one revision. `faults` names the flags that did not compile; they keep their last good form."""

    revision: int = 0
    flags: Mapping[str, CompiledFlag] = field(default_factory=dict)
    faults: Mapping[str, str] = field(default_factory=dict)

    def evaluate(self, flag: str, targeting_key: str | None, attributes: Mapping[str, Any]) -> Resolution:
        """Return the answer of a flag for one context. Never raises; an unknown flag answers FLAG_NOT_FOUND."""
        found = self.flags.get(flag)
        if found is None:
            return failure("FLAG_NOT_FOUND", f"there is no flag {flag!r}")
        return found.evaluate(targeting_key, attributes)


def failure(code: str, detail: str, metadata: Metadata = _NOTHING) -> Resolution:
    """Return an ERROR answer with OpenFeature's error code."""
    return Resolution(None, None, Reason.ERROR, metadata, None, code, detail)


def compile_snapshot(
    document: Mapping[str, Any], *, previous: Snapshot | None = None, now: Callable[[], float] = time.time
) -> Snapshot:
    """Return the snapshot of a document, reusing what did not change since `previous`.

    A flag that does not compile is named in `faults` and keeps the form it had in `previous`; the others do not suffer.
    Raises BadDefinition only for a document that is no set of flags at all.
    """
    sources = document.get("flags", {})
    evaluators = document.get("$evaluators") or {}
    shared = document.get("metadata") or {}
    if not isinstance(sources, Mapping) or not isinstance(evaluators, Mapping) or not isinstance(shared, Mapping):
        raise BadDefinition("`flags`, `$evaluators` and `metadata` must be objects")
    if len(sources) > MOST_FLAGS:
        raise BadDefinition(f"more than {MOST_FLAGS} flags")
    revision = document.get("revision", 0)
    used = copy.deepcopy({"$evaluators": dict(evaluators), "metadata": dict(shared)})
    before = previous.flags if previous else {}
    flags: dict[str, CompiledFlag] = {}
    faults: dict[str, str] = {}
    for key, source in sources.items():
        last = before.get(key)
        if last is not None and last.source == source and last.used == used:
            flags[key] = last
            continue
        try:
            flags[key] = compile_flag(key, source, used=used, now=now)
        except BadDefinition as fault:
            faults[key] = str(fault)
            if last is not None:
                flags[key] = last
    return Snapshot(
        revision=revision if isinstance(revision, int) else 0,
        flags=MappingProxyType(flags),
        faults=MappingProxyType(faults),
    )


def compile_flag(
    key: str, source: Any, *, used: Mapping[str, Any] | None = None, now: Callable[[], float] = time.time
) -> CompiledFlag:
    """Return one compiled flag. Raises BadDefinition with the path of the fault."""
    if not isinstance(source, Mapping):
        raise BadDefinition("a flag must be an object")
    source = copy.deepcopy(dict(source))
    used = used or {}
    variants = _variants(source)
    metadata = _metadata(source, used.get("metadata") or {})
    evaluate = _evaluation(key, source, used.get("$evaluators") or {}, variants, metadata, now)
    return CompiledFlag(key=key, evaluate=evaluate, variants=tuple(variants), source=source, used=used)


def _variants(source: Mapping[str, Any]) -> dict[str, Any]:
    variants = source.get("variants")
    if not isinstance(variants, Mapping) or not variants:
        raise BadDefinition("there must be at least one variant", ("variants",))
    if len(variants) > MOST_VARIANTS:
        raise BadDefinition(f"there are more than {MOST_VARIANTS} variants", ("variants",))
    as_float = source.get("type") == "float"
    found: dict[str, Any] = {}
    for name, value in variants.items():
        if not isinstance(name, str) or not name or value is None:
            raise BadDefinition("a variant needs a name and a value that is not null", ("variants", str(name)))
        whole = isinstance(value, int) and not isinstance(value, bool)
        found[name] = float(value) if as_float and whole else value
    return found


def _metadata(source: Mapping[str, Any], shared: Mapping[str, Any]) -> Metadata:
    own = source.get("metadata") or {}
    if not isinstance(own, Mapping):
        raise BadDefinition("must be an object", ("metadata",))
    metadata = {**shared, **own}
    for name, value in metadata.items():
        if not isinstance(name, str) or not name or not isinstance(value, bool | int | float | str):
            raise BadDefinition("must be a boolean, number or text", ("metadata", str(name)))
    if isinstance(source.get("revision"), int):
        metadata[REVISION] = source["revision"]
    return MappingProxyType(metadata)


def _evaluation(
    key: str,
    source: Mapping[str, Any],
    evaluators: Mapping[str, Any],
    variants: Mapping[str, Any],
    metadata: Metadata,
    now: Callable[[], float],
) -> Callable[[Any, Mapping[str, Any]], Resolution]:
    if source.get("killed") is not None:
        return _always(_killed(source["killed"], variants, metadata))
    state = source.get("state")
    if state not in {"ENABLED", "DISABLED"}:
        raise BadDefinition("must be ENABLED or DISABLED", ("state",))
    generation = _generation(source)
    default = _default(source, variants, metadata)
    ramp = read_ramp(source["ramp"], variants, _bucketing_key(source)) if source.get("ramp") else None
    compiler = Compiler(key, generation, evaluators)
    rule = _targeting(source, compiler)
    if state == "DISABLED":
        return _always(Resolution(None, None, Reason.DISABLED, metadata))
    untargeted = _untargeted(default, ramp, generation, variants, metadata, static=rule is None)
    if rule is None:
        return _guarded(key, untargeted, metadata)
    named = {name: Resolution(value, name, Reason.TARGETING_MATCH, metadata) for name, value in variants.items()}
    split = {name: Resolution(value, name, Reason.SPLIT, metadata) for name, value in variants.items()}
    asks_flagd = compiler.asks_flagd

    def targeted(targeting_key: Any, attributes: Mapping[str, Any]) -> Resolution:
        try:  # here and not around, which would cost a call
            scope = {**attributes, TARGETING_KEY: targeting_key}
            if asks_flagd:
                scope["$flagd"] = {"flagKey": key, "timestamp": int(now())}
            chosen = rule(scope)
            if chosen is None:
                return untargeted(targeting_key, attributes)
            if type(chosen) is Split:
                answer = split.get(chosen)
            else:
                answer = named.get(chosen if type(chosen) is str else Split.of(chosen))
        except Exception as fault:  # noqa: BLE001 - see _broken
            return _broken(key, fault, metadata)
        return answer or failure("GENERAL", f"targeting chose {str(chosen)[:80]!r}, which is no variant", metadata)

    return targeted


def _killed(record: Any, variants: Mapping[str, Any], metadata: Metadata) -> Resolution:
    """Return what a killed flag answers. It does not wait for a good definition: it needs one good variant."""
    name = record.get("variant") if isinstance(record, Mapping) else None
    if not isinstance(name, str) or name not in variants:
        raise BadDefinition(f"there is no variant {name!r}", ("killed", "variant"))
    return Resolution(variants[name], name, Reason.STATIC, MappingProxyType({**metadata, KILLED: True}))


def _targeting(source: Mapping[str, Any], compiler: Compiler) -> Rule | None:
    targeting = source.get("targeting")
    if not targeting:
        return None
    if not isinstance(targeting, Mapping):
        raise BadDefinition("must be an object", ("targeting",))
    return compiler.compile(targeting, ("targeting",), final=True)


def _guarded(
    key: str, evaluate: Callable[[Any, Mapping[str, Any]], Resolution], metadata: Metadata
) -> Callable[[Any, Mapping[str, Any]], Resolution]:
    def guarded(targeting_key: Any, attributes: Mapping[str, Any]) -> Resolution:
        try:
            return evaluate(targeting_key, attributes)
        except Exception as fault:  # noqa: BLE001 - see _broken
            return _broken(key, fault, metadata)

    return guarded


def _broken(key: str, fault: Exception, metadata: Metadata) -> Resolution:
    """Return the answer for an evaluation that raised: contexts are strangers', and no service must fall over them."""
    return failure("GENERAL", f"flag {key!r} could not be evaluated: {type(fault).__name__}: {fault}", metadata)


def _always(answer: Resolution) -> Callable[[Any, Mapping[str, Any]], Resolution]:
    return lambda _key, _attributes: answer


def _generation(source: Mapping[str, Any]) -> Generation:
    bucketing = source.get("bucketing") or {}
    try:
        return Generation(bucketing.get("version", Generation.V3))
    except (ValueError, AttributeError) as fault:
        raise BadDefinition("must be v2 or v3", ("bucketing", "version")) from fault


def _bucketing_key(source: Mapping[str, Any]) -> str:
    bucketing = source.get("bucketing") or {}
    key = bucketing.get("key", TARGETING_KEY)
    if not isinstance(key, str) or not key:
        raise BadDefinition("must name an attribute of the context", ("bucketing", "key"))
    return key


def _default(source: Mapping[str, Any], variants: Mapping[str, Any], metadata: Metadata) -> Resolution:
    """Return what a flag answers when nothing else does, with the reason DEFAULT."""
    name = source.get("defaultVariant")
    if name is None or name == "":
        return Resolution(None, None, Reason.DEFAULT, metadata)
    if isinstance(name, bool):
        name = str(name).lower()
    if not isinstance(name, str) or name not in variants:
        raise BadDefinition(f"there is no variant {name!r}", ("defaultVariant",))
    return Resolution(variants[name], name, Reason.DEFAULT, metadata)


def _untargeted(
    default: Resolution,
    ramp: Ramp | None,
    generation: Generation,
    variants: Mapping[str, Any],
    metadata: Metadata,
    *,
    static: bool,
) -> Callable[[Any, Mapping[str, Any]], Resolution]:
    if ramp is None:
        return _always(default._replace(reason=Reason.STATIC) if static and default.variant is not None else default)
    place = compile_ramp(ramp, generation)
    change_id = ramp.change_id
    everybody = ramp.percent == 100

    def ramped(targeting_key: Any, attributes: Mapping[str, Any]) -> Resolution:
        key = targeting_key if ramp.key == TARGETING_KEY else attributes.get(ramp.key)
        placed = place(key)
        if placed is None:
            # Nobody to split by: the old side until the ramp is through, then the new one; never an arm.
            name = ramp.on_variant if everybody else ramp.off_variant
            return Resolution(variants[name], name, Reason.DEFAULT, metadata)
        name, arm = placed
        return Resolution(variants[name], name, Reason.SPLIT, {**metadata, EXPOSURE: arm, CHANGE_ID: change_id}, arm)

    return ramped
