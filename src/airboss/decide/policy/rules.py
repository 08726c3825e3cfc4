"""How the answers of rules add up to a ruling. Pure: no CEL, no clock, no database.

Any deny blocks. An error in an enforced rule blocks. Requirements unite. Obligations take the strictest. The score is
the sum, the tier the highest of what was set and what the score comes to. Nothing is cleared by silence: at submit and
approve somebody must say who approves, or that nobody needs to.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, TypeVar

from airboss.decide.policy.model import (
    EFFECTS,
    MAY_CLEAR,
    ApprovalNeed,
    AutoApprove,
    Denial,
    Deny,
    EvidenceNeed,
    Fired,
    Layer,
    Mode,
    Notice,
    Obligate,
    Outcome,
    Point,
    RequireApproval,
    RequireEvidence,
    Rule,
    Ruling,
    Schedule,
    Seats,
    Tier,
    Warn,
)

THRESHOLDS: Final = ((60, Tier.HIGH), (30, Tier.MEDIUM), (0, Tier.LOW))
"""Least score of each tier."""

_T = TypeVar("_T")


def risk_of(fired: Iterable[Mapping[str, Any]], *, in_error: bool) -> dict[str, Any]:
    """Return {tier, score} of the risk rules that fired, each {points} or {tier}.

    A risk rule that could not be judged makes the tier high: not knowing is not a low risk.
    """
    effects = list(fired)
    score = sum(effect.get("points", 0) for effect in effects)
    tiers = [Tier(effect["tier"]) for effect in effects if "tier" in effect]
    tiers.append(next(tier for least, tier in THRESHOLDS if score >= least))
    if in_error:
        tiers.append(Tier.HIGH)
    return {"tier": max(tiers, key=lambda tier: tier.rank).value, "score": score}


def combine(
    rules: Sequence[Rule], answer: Mapping[str, Any], *, point: Point, facts: Mapping[str, Any], alone: bool = False
) -> Ruling:
    """Add up what the engine answered (`Program.judge`) about these rules, for facts (the masked input, parsed).

    `alone`: the rules are one pack on trial, and asking people or evidence is answer enough; in force, somebody above says
    who may clear.
    """
    told = [(rules[item["rule"]], item) for item in answer["answers"]]
    enforced = [(rule, item) for rule, item in told if rule.mode is Mode.ENFORCE]
    held = [(rule, item) for rule, item in enforced if "error" not in item]
    tier = Tier(answer["risk"]["tier"])
    denials = [_denied(rule, item) for rule, item in held if isinstance(rule.effect, Deny)]
    denials += [_in_error(rule, item) for rule, item in enforced if "error" in item]
    approvals = _approvals(_of(held, RequireApproval))
    evidence = _evidence(_of(held, RequireEvidence), facts)
    outcome = Outcome.PENDING if approvals or any(not need.met for need in evidence) else Outcome.ALLOW
    asks = alone and outcome is Outcome.PENDING
    early = point in {Point.SUBMIT, Point.APPROVE}
    if not denials and early and not asks and (unclear := _unclear(held, tier, point)):
        denials.append(unclear)
    if denials:
        outcome = Outcome.BLOCK
    return Ruling(
        point=point,
        outcome=outcome,
        score=answer["risk"]["score"],
        tier=tier,
        fired=tuple(_fired(rule, item) for rule, item in told if rule.mode is not Mode.SHADOW and "error" not in item),
        not_fired=tuple(rules[index].id for index in answer["quiet"]),
        shadow=tuple(_fired(rule, item) for rule, item in told if rule.mode is Mode.SHADOW),
        warnings=tuple(_warned(rule, item) for rule, item in told if _is_warning(rule)),
        denials=tuple(denials),
        approvals=approvals,
        evidence=evidence,
        obligations=_strictest([effect for _, effect in _of(held, Obligate)]),
        schedule=_when([effect for _, effect in _of(held, Schedule)]),
    )


def engine_failed(point: Point, reason: str) -> Ruling:
    """Return the ruling when there is no answer: block, and say that the engine and not a rule did it."""
    denial = Denial(
        kind="engine",
        message=f"policy engine {reason}; without its answer nothing passes",
        way_out="it is judged again at the next attempt; if this stays, look at the policies applied last and at readiness",
    )
    return Ruling(point=point, outcome=Outcome.BLOCK, score=0, tier=Tier.HIGH, denials=(denial,))


def _of(held: Sequence[tuple[Rule, Mapping[str, Any]]], kind: type[_T]) -> list[tuple[Rule, _T]]:
    return [(rule, rule.effect) for rule, _ in held if isinstance(rule.effect, kind)]


def _words(rule: Rule, item: Mapping[str, Any]) -> str:
    return str(item.get("message") or rule.title)


def _fired(rule: Rule, item: Mapping[str, Any]) -> Fired:
    error = item.get("error")
    return Fired(
        rule=rule.id,
        pack=rule.pack,
        title=rule.title,
        effect=EFFECTS[type(rule.effect)],
        mode=rule.mode,
        message=f"could not be judged: {error}" if error else _words(rule, item),
        read=item["read"],
        link=rule.link,
        place=rule.place,
    )


def _is_warning(rule: Rule) -> bool:
    return rule.mode is Mode.WARN or (rule.mode is Mode.ENFORCE and isinstance(rule.effect, Warn))


def _warned(rule: Rule, item: Mapping[str, Any]) -> Notice:
    if "error" in item:
        return Notice(rule=rule.id, pack=rule.pack, message=f"{rule.title}: could not be judged: {item['error']}")
    return Notice(rule=rule.id, pack=rule.pack, message=_words(rule, item))


def _denied(rule: Rule, item: Mapping[str, Any]) -> Denial:
    return Denial(
        kind="rule",
        message=_words(rule, item),
        way_out="change what the rule read" + (f", or see {rule.link}" if rule.link else ""),
        rule=rule.id,
        pack=rule.pack,
        when=rule.when,
        read=item["read"],
        link=rule.link,
        place=rule.place,
    )


def _in_error(rule: Rule, item: Mapping[str, Any]) -> Denial:
    return Denial(
        kind="error",
        message=f"rule {rule.id} ({rule.title}) could not be judged: {item['error']}",
        way_out="say what is not set, or have the rule ask first: has(…) is true when a fact is set",
        rule=rule.id,
        pack=rule.pack,
        when=rule.when,
        read=item["read"],
        link=rule.link,
        place=rule.place,
    )


def _unclear(held: Sequence[tuple[Rule, Mapping[str, Any]]], tier: Tier, point: Point) -> Denial | None:
    """Return that nobody says who may clear a change, if nobody does whose word counts.

    A lower layer only tightens: that it asks somebody does not stand for the word of those above it.
    """
    if any(rule.layer in MAY_CLEAR for rule, _ in _of(held, RequireApproval)):
        return None
    offers = _of(held, AutoApprove)
    if any(tier.rank <= effect.up_to.rank for _, effect in offers):
        return None
    message = "no rule says who may clear this"
    if offers:
        names = ", ".join(f"{rule.id} up to {effect.up_to.value}" for rule, effect in offers)
        message += f": the tier is {tier.value}, and what needs no person is {names}"
    layers = " or ".join(layer.value for layer in Layer if layer in MAY_CLEAR)
    return Denial(
        kind="unclear",
        message=message,
        way_out=f"have a rule of layer {layers} at {point.value} with require_approval or auto_approve cover such a change",
    )


def _approvals(needs: Sequence[tuple[Rule, RequireApproval]]) -> tuple[ApprovalNeed, ...]:
    """All that want `all_of` become one need, the strictest of each; every `any_of` stays its own."""
    together = [(rule, effect) for rule, effect in needs if effect.of == "all"]
    united = [_unite(together)] if together else []
    for rule, effect in needs:
        if effect.of == "any":
            united.append(_unite([(rule, effect)]))
    return tuple(united)


def _unite(needs: Sequence[tuple[Rule, RequireApproval]]) -> ApprovalNeed:
    united: dict[str, Seats] = {}
    for _, effect in needs:
        for seats in effect.groups:
            known = united.get(seats.group)
            united[seats.group] = seats if known is None else _unite_seats(known, seats)
    return ApprovalNeed(
        rules=tuple(rule.id for rule, _ in needs),
        of=needs[0][1].of,
        take=needs[0][1].take,
        groups=tuple(united.values()),
        distinct_from=frozenset[Any]().union(*(effect.distinct_from for _, effect in needs)),
        sla_s=_strict(min, [effect.sla_s for _, effect in needs]),
        # Rules come highest layer first: the highest that names a backup has the word.
        backup=next((effect.backup for _, effect in needs if effect.backup), None),
    )


def _unite_seats(one: Seats, other: Seats) -> Seats:
    covers = None
    if one.covers is not None and other.covers is not None:
        covers = tuple(dict.fromkeys((*one.covers, *other.covers)))
    return Seats(group=one.group, least=max(one.least, other.least), covers=covers)


def _evidence(needs: Sequence[tuple[Rule, RequireEvidence]], facts: Mapping[str, Any]) -> tuple[EvidenceNeed, ...]:
    united = []
    for kind in dict.fromkeys(effect.type for _, effect in needs):
        same = [(rule, effect) for rule, effect in needs if effect.type == kind]
        max_age_s = _strict(min, [effect.max_age_s for _, effect in same])
        why = _lacking(kind, facts.get("evidence", {}).get(kind), max_age_s)
        united.append(
            EvidenceNeed(
                rules=tuple(rule.id for rule, _ in same),
                type=kind,
                max_age_s=max_age_s,
                met=not why,
                why=why or "present",
            )
        )
    return tuple(united)


def _lacking(kind: str, found: Mapping[str, Any] | None, max_age_s: int | None) -> str:
    """Return why evidence does not count, or "" when it does. An unknown age is too old."""
    if not found:
        return f"there is no evidence of {kind}"
    if found.get("green") is not True:
        return f"{kind} is not green"
    age = found.get("age_s")
    if max_age_s is not None and (age is None or age > max_age_s):
        return f"{kind} is {'of unknown age' if age is None else f'{age:.0f} s old'}; at most {max_age_s} s counts"
    return ""


def _strictest(wanted: Sequence[Obligate]) -> Obligate:
    return Obligate(
        canary=any(item.canary for item in wanted),
        bake_least_s=_strict(max, [item.bake_least_s for item in wanted]),
        largest_step_percent=_strict(min, [item.largest_step_percent for item in wanted]),
        review=any(item.review for item in wanted),
    )


def _when(wanted: Sequence[Schedule]) -> Schedule:
    return Schedule(
        not_before=_strict(max, [item.not_before for item in wanted]),
        windows=tuple(dict.fromkeys(name for item in wanted for name in item.windows)),
    )


def _strict(pick: Callable[..., _T], values: Iterable[_T | None]) -> _T | None:
    stated = [value for value in values if value is not None]
    return pick(stated) if stated else None
