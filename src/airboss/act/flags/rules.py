"""What a flag serves, what an edit would do to people, and what the kill switch falls back to. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from airboss.act.flags.model import Definition, Exposure, Flag
from airboss.kernel.errors import Invalid, Refused
from airboss.sdk.attributes import CHANGE_ID
from airboss.sdk.evaluator import compile_flag
from airboss.sdk.fractional import weighted
from airboss.sdk.ramp import UNITS_PER_PERCENT, read_ramp, to_targeting

SAMPLE: Final = 10_000
"""People made up to see who would be moved; a share of 1 % is then known to about ±0.2 %."""

JUMP_PERCENT: Final = 50.0
"""From nobody to more than this in one step is a jump that wants clearance."""


def held_by(flag: str, environment: str, change_id: str) -> Refused:
    """Return the refusal of a ramp where another change has one."""
    return Refused(
        f"flag {flag} is being ramped in {environment} by change {change_id}",
        code="flag-ramped",
        way_out=f"wait for {change_id}, or take it back: airboss rollback {change_id}",
    )


def exact_percent(percent: float) -> float:
    """Return a percentage at the ramp's resolution of 0.001. Raises Invalid outside 0 to 100 and for finer ones."""
    units = percent * UNITS_PER_PERCENT
    if not 0 <= percent <= 100 or abs(units - round(units)) > 1e-6:
        raise Invalid(
            f"{percent:g} % is not an exposure", code="bad-exposure", way_out="use 0 % to 100 % in steps of 0.001 %"
        )
    return round(units) / UNITS_PER_PERCENT


def served(flag: Flag, environment: str) -> dict[str, Any]:
    """Return the flag as an evaluator of ours gets it, with its ramp and its kill switch."""
    definition = flag.definition
    source: dict[str, Any] = {
        **definition.plain,
        "defaultVariant": flag.serves(environment),
        "bucketing": {"version": definition.bucketing_version, "key": definition.bucketing_key},
        "revision": flag.revision,
    }
    if definition.value_type == "float":
        source["type"] = "float"
    killed, active = flag.killed(environment), flag.active(environment)
    if killed is not None:
        source["killed"] = {"variant": killed.variant}
    if active is not None:
        source["ramp"] = _ramp(active)
    return source


def _ramp(exposure: Exposure) -> dict[str, Any]:
    ramp: dict[str, Any] = {
        "change_id": exposure.change_id,
        "percent": exposure.percent,
        "on_variant": exposure.on_variant,
        "off_variant": exposure.off_variant,
        "salt": exposure.salt,
    }
    if exposure.split:
        ramp["split"] = [[variant, weight] for variant, weight in exposure.split]
    return ramp


def exported(flag: Flag, environment: str) -> dict[str, Any]:
    """Return the flag in plain flagd, for other people's evaluators of the same bucketing generation.

    The envelope and the ramp's change go into `metadata`. A killed flag is one that serves its variant to everybody.
    """
    definition, source = flag.definition, served(flag, environment)
    plain: dict[str, Any] = {
        "state": source["state"],
        "variants": dict(definition.variants),
        "defaultVariant": source["defaultVariant"],
        "metadata": {
            **(definition.plain.get("metadata") or {}),
            "airboss.owner": definition.owner,
            "airboss.kind": definition.kind.value,
            "airboss.revision": flag.revision,
            "airboss.bucketing": definition.bucketing_version,
        },
    }
    if definition.remove_by is not None:
        plain["metadata"]["airboss.remove_by"] = definition.remove_by
    if "killed" in source:
        plain |= {"state": "ENABLED", "defaultVariant": source["killed"]["variant"]}
        plain["metadata"]["airboss.killed"] = True
        return plain
    targeting = definition.plain.get("targeting")
    if "ramp" in source:
        ramp = read_ramp(source["ramp"], definition.variants, definition.bucketing_key)
        rule = to_targeting(ramp)
        plain["targeting"] = {"if": [{"==": [targeting, None]}, rule, targeting]} if targeting else rule
        plain["metadata"] |= {CHANGE_ID: ramp.change_id, "airboss.percent": ramp.percent}
    elif targeting:
        plain["targeting"] = targeting
    return plain


def off_variant(flag: Flag, environment: str, named: str | None = None) -> str:
    """Return what a killed flag serves.

    The one named; else the old side of the ramp that is on or of the last change that moved the flag; else the only
    variant that is false; else the one called `off`. Raises Invalid for a variant there is not, Refused when none fits.
    """
    variants = flag.definition.variants
    if named is not None:
        if named not in variants:
            raise Invalid(
                f"flag {flag.definition.name} has no variant {named!r}",
                code="unknown-variant",
                way_out=f"there are {', '.join(sorted(variants))}",
            )
        return named
    here = [one for one in flag.exposures if one.environment == environment and one.off_variant in variants]
    if here:
        return max(here, key=lambda one: (one.state == "active", one.revision)).off_variant
    false = [name for name, value in variants.items() if value is False]
    if len(false) == 1:
        return false[0]
    if "off" in variants:
        return "off"
    raise Refused(
        f"flag {flag.definition.name} does not say which variant is its off side",
        code="no-off-variant",
        way_out=f"name the variant to serve: {', '.join(sorted(variants))}",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """Who would be moved between two states of a flag.

    `moves` counts people of the sample by (variant before, variant after), None standing for the caller's default;
    `sentences` say the same in words. `moved_pct` is how many get another answer, `everybody` that all of them do.
    """

    moves: Mapping[tuple[str | None, str | None], int]
    sample: int
    sentences: tuple[str, ...] = ()

    @property
    def moved_pct(self) -> float:
        """The share of the sample that would get another variant, in per cent."""
        return 100.0 * sum(count for (old, new), count in self.moves.items() if old != new) / max(1, self.sample)

    def into_pct(self, variant: str) -> float:
        """Return the share that would newly get `variant`, in per cent."""
        gained = sum(count for (old, new), count in self.moves.items() if new == variant != old)
        return 100.0 * gained / max(1, self.sample)

    def out_of_pct(self, variant: str) -> float:
        """Return the share that would lose `variant`, in per cent."""
        lost = sum(count for (old, new), count in self.moves.items() if old == variant != new)
        return 100.0 * lost / max(1, self.sample)

    @property
    def everybody(self) -> bool:
        """Whether everybody would get another answer at once."""
        return self.sample > 0 and all(old != new for old, new in self.moves)


def preview(
    name: str,
    before: Mapping[str, Any],
    after: Mapping[str, Any],
    *,
    contexts: Iterable[Mapping[str, Any]] | None = None,
    people: int | None = None,
) -> Preview:
    """Return who would be moved from one served state of a flag to another.

    Evaluates both for `contexts`, by default for 10,000 people who have nothing but a key. `people` is how many
    there are, if known; sentences then say a number beside the share. Raises BadDefinition for what does not compile.
    """
    old, new = compile_flag(name, before), compile_flag(name, after)
    key = (after.get("bucketing") or {}).get("key", "targetingKey")
    sampled = contexts if contexts is not None else ({key: f"sample-{number}"} for number in range(SAMPLE))
    moves: Counter[tuple[str | None, str | None]] = Counter()
    for context in sampled:
        subject = context.get("targetingKey")
        moves[old.evaluate(subject, context).variant, new.evaluate(subject, context).variant] += 1
    sample = sum(moves.values())
    told = []
    for (one, other), count in sorted(moves.items(), key=lambda item: -item[1]):
        if one != other:
            share = 100.0 * count / sample
            number = f", some {round(people * count / sample):,} people" if people else ""
            told.append(f"{share:.3g} % go from {_called(one)} to {_called(other)}{number}")
    return Preview(moves=dict(moves), sample=sample, sentences=tuple(told))


def _called(variant: str | None) -> str:
    return "the caller's default" if variant is None else repr(variant)


def is_neutral(before: Definition, after: Definition) -> bool:
    """Return whether an edit moves nobody, whoever they are: the same rules over the same or more variants."""
    old, new = before.plain, after.plain
    same_rules = all(
        (old.get(field) or None) == (new.get(field) or None) for field in ("state", "defaultVariant", "targeting")
    )
    same_buckets = (before.bucketing_version, before.bucketing_key) == (after.bucketing_version, after.bucketing_key)
    kept = all(name in new["variants"] and new["variants"][name] == value for name, value in old["variants"].items())
    return same_rules and same_buckets and kept and before.value_type == after.value_type


def refuse_unless_harmless(before: Flag, after: Definition, *, cleared: bool) -> None:
    """Refuse an edit that would move people behind a change's back.

    Raises Refused: while a change holds a ramp on the flag every edit of what it answers is refused, because its
    canary would be compared with something else; without a ramp an edit that may move people wants `cleared`.
    """
    if before.definition.digest == after.digest:
        return
    holders = sorted({one.change_id for one in before.exposures if one.state == "active"})
    if holders:
        raise Refused(
            f"flag {after.name} is being ramped by change {holders[0]}; its definition stays as it is until that ends",
            code="flag-ramped",
            way_out=f"wait for {holders[0]}, or take it back: airboss rollback {holders[0]}",
        )
    if cleared or is_neutral(before.definition, after):
        return
    raise Refused(
        f"this edit of flag {after.name} changes what people get: {'; '.join(_effects(before, after))}",
        code="flag-edit-moves-people",
        way_out="expose it by a change (template flag-ramp), or apply it with the change that clears it",
    )


def _effects(before: Flag, after: Definition) -> list[str]:
    environments = sorted({one.environment for one in before.standings} | {"production"})
    changed = Flag(
        definition=after, revision=before.revision + 1, created_at=before.created_at, standings=before.standings
    )
    told: list[str] = []
    if before.definition.bucketing_version != after.bucketing_version:
        told.append(
            f"bucketing {before.definition.bucketing_version} to {after.bucketing_version} deals everybody anew"
        )
    for environment in environments:
        serves = changed.serves(environment)
        if serves is not None and serves not in after.variants:
            told.append(f"in {environment} the variant in force, {serves!r}, would be gone")
            continue
        seen = preview(after.name, served(before, environment), served(changed, environment))
        told += [f"in {environment} {sentence}" for sentence in seen.sentences]
    return told or ["its rules for some attributes are others"]


def check_sides(flag: Flag, environment: str, new: str, old: str, split: Sequence[tuple[str, int]]) -> None:
    """Refuse sides a ramp cannot have. Raises Invalid or Refused."""
    name, variants = flag.definition.name, flag.definition.variants
    for variant in (new, old, *(one for one, _ in split)):
        if variant not in variants:
            raise Invalid(
                f"flag {name} has no variant {variant!r}",
                code="unknown-variant",
                way_out=f"there are {', '.join(sorted(variants))}",
            )
    if split and weighted(split) is None:
        raise Invalid("the weights of a split are whole numbers with a sum above 0", code="bad-split")
    if new == old:
        raise Invalid(f"both sides of flag {name} are {new!r}", code="same-variant", way_out="name two variants")
    if flag.definition.plain.get("state") == "DISABLED":
        raise Refused(
            f"flag {name} is disabled: callers get their own default", code="flag-disabled", way_out="enable it first"
        )
    if flag.serves(environment) != old:
        raise Refused(
            f"people get {flag.serves(environment)!r} of flag {name} in {environment}, not {old!r}",
            code="flag-old-side",
            way_out=f"name {flag.serves(environment)!r} as the old side",
        )


def warnings(definition: Definition, before: Flag | None) -> tuple[str, ...]:
    """Return what is odd about a definition and no reason to refuse it."""
    told = []
    if before is None and definition.variants.get(definition.default_variant or "") is True:
        told.append(f"flag {definition.name} starts with {definition.default_variant!r} for everybody")
    if len(definition.variants) == 1:
        told.append(f"flag {definition.name} has one variant only and can decide nothing")
    return tuple(told)
