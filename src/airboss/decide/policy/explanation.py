"""The whole explanation of one decision: every rule with the values it read, and for what stands in the way its way out.

Pure: what the engine answered about the stored input comes in (`Program.explain`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, TypeAlias

from airboss.decide.policy.explain import need_words
from airboss.decide.policy.model import (
    EFFECTS,
    ApprovalNeed,
    Bundle,
    Denial,
    Deny,
    EvidenceNeed,
    Mode,
    Rule,
    Ruling,
    plain,
)
from airboss.decide.policy.rules import combine
from airboss.kernel.canonical import Json
from airboss.kernel.clock import rfc3339

RuleState: TypeAlias = Literal["fired", "quiet", "error", "not_asked"]

_WAYS: Final[Mapping[str, str]] = {
    "change": "edit the change",
    "services": "the catalogue says it: apply the service anew",
    "slos": "wait until it recovers",
    "slos_known": "have telemetry of these services arrive",
    "evidence": "have the machine that checks it report again",
    "calendar": "wait, or have the window changed",
    "history": "it passes with time",
    "risk": "change what adds to the risk",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleTold:
    """One rule of the bundle at this point: whether it fired, what it read, and if it was not asked, why not."""

    rule: str
    pack: str
    layer: str
    owner: str | None
    title: str
    effect: str
    mode: Mode
    state: RuleState
    message: str
    when: str
    read: Mapping[str, Json]
    link: str | None
    place: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FactToClear:
    """A fact that would clear what stands in the way: what it is, what it would have to be, and how that comes about."""

    fact: str
    now: Json
    be: str
    how: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """One thing that stands in the way: `kind` is a denial's, or evidence or approval.

    `words` says what would clear it; `facts`, `evidence` and `approval` say the same as data.
    """

    kind: str
    rules: tuple[str, ...]
    why: str
    words: str
    facts: tuple[FactToClear, ...] = ()
    evidence: EvidenceNeed | None = None
    approval: ApprovalNeed | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """A decision explained. `same`: judged again from its stored bytes, it came out as it did then."""

    ruling: Ruling
    rules: tuple[RuleTold, ...]
    stands: tuple[Standing, ...]
    same: bool = True
    notes: tuple[str, ...] = field(default=())

    def as_json(self) -> dict[str, Any]:
        """Return it for the API: `rules` and what `stands` in the way."""
        return {
            "rules": [plain(one) for one in self.rules],
            "stands": [plain(one) for one in self.stands],
            "notes": list(self.notes),
        }


def to_clear(bundle: Bundle, ruling: Ruling) -> list[int]:
    """Return the rules, by index, whose firing refuses: the engine is asked what would clear them."""
    refusing = {(denial.pack, denial.rule) for denial in ruling.denials if denial.kind == "rule"}
    return [
        index
        for index, rule in enumerate(bundle.rules)
        if isinstance(rule.effect, Deny) and (rule.pack, rule.id) in refusing
    ]


def explain(
    bundle: Bundle, facts: Mapping[str, Any], answer: Mapping[str, Any], ruling: Ruling, *, about: str
) -> Explanation:
    """Return the explanation of what the engine answered (`Program.explain`) about facts (the masked input, parsed).

    `about` is the change the decision is about: ways out are commands that can be run as they stand.
    """
    rules = bundle.rules
    told = {item["rule"]: item for item in answer["answers"]}
    named = {(rule.pack, rule.id): index for index, rule in enumerate(rules)}
    stands = [
        _denial(denial, answer["clears"].get(str(named.get((denial.pack or "", denial.rule or ""))), ()))
        for denial in ruling.denials
    ]
    stands += [_evidence(need, about) for need in ruling.evidence if not need.met]
    stands += [_approval(need) for need in ruling.approvals]
    again = combine(rules, answer, point=ruling.point, facts=facts)
    return Explanation(
        ruling=ruling,
        rules=tuple(
            _rule(rule, told.get(index), answer["quiet_read"].get(str(index)), facts)
            for index, rule in enumerate(rules)
        ),
        stands=tuple(stands),
        same=again == ruling,
    )


def without_engine(bundle: Bundle, ruling: Ruling, reason: str, *, about: str) -> Explanation:
    """Return what can be said when the engine gives no answer: what was recorded, without the rules that stayed quiet."""
    stands = [_denial(denial, ()) for denial in ruling.denials]
    stands += [_evidence(need, about) for need in ruling.evidence if not need.met]
    stands += [_approval(need) for need in ruling.approvals]
    fired = {(item.pack, item.rule): item for item in (*ruling.fired, *ruling.shadow)}
    rules = []
    for rule in bundle.rules:
        item = fired.get((rule.pack, rule.id))
        if item is not None:
            rules.append(_told(rule, "fired", item.message, item.read))
    note = f"the policy engine {reason}, so the rules that stayed quiet are not listed"
    return Explanation(ruling=ruling, rules=tuple(rules), stands=tuple(stands), notes=(note,))


def _rule(
    rule: Rule, item: Mapping[str, Any] | None, quiet: Mapping[str, Json] | None, facts: Mapping[str, Any]
) -> RuleTold:
    if item is not None:
        state: RuleState = "error" if "error" in item else "fired"
        words = f"could not be judged: {item['error']}" if "error" in item else str(item.get("message") or rule.title)
        return _told(rule, state, words, item["read"])
    if quiet is not None:
        return _told(rule, "quiet", "its condition does not hold", quiet)
    expired = rule.expires is not None and rfc3339(rule.expires) <= str(facts.get("now", ""))
    why = "it has expired" if expired else f"it is asked at {', '.join(point.value for point in rule.at)} only"
    return _told(rule, "not_asked", why, {})


def _told(rule: Rule, state: RuleState, message: str, read: Mapping[str, Json]) -> RuleTold:
    return RuleTold(
        rule=rule.id,
        pack=rule.pack,
        layer=rule.layer.value,
        owner=rule.owner,
        title=rule.title,
        effect=EFFECTS[type(rule.effect)],
        mode=rule.mode,
        state=state,
        message=message,
        when=rule.when,
        read=read,
        link=rule.link,
        place=rule.place,
    )


def _denial(denial: Denial, clears: Sequence[Mapping[str, Any]]) -> Standing:
    facts = tuple(FactToClear(fact=one["fact"], now=one["now"], be=one["be"], how=_how(one["fact"])) for one in clears)
    if denial.kind == "error":
        facts = tuple(
            FactToClear(fact=name, now=None, be="stated", how=_how(name))
            for name, value in denial.read.items()
            if value is None
        )
    words = f"any one of these: {'; '.join(_fact(one) for one in facts)}" if len(facts) > 1 else ""
    words = words or (_fact(facts[0]) if facts else denial.way_out)
    return Standing(
        kind=denial.kind,
        rules=(denial.rule,) if denial.rule else (),
        why=denial.message,
        words=words + (f"; see {denial.link}" if denial.link and facts else ""),
        facts=facts,
    )


def _fact(one: FactToClear) -> str:
    return f"{one.fact} {one.be} ({one.how})"


def _how(fact: str) -> str:
    return _WAYS.get(fact.partition(".")[0].partition("[")[0], "have it stated")


def _evidence(need: EvidenceNeed, about: str) -> Standing:
    fresh = "" if need.max_age_s is None else f", not older than {need.max_age_s} s"
    return Standing(
        kind="evidence",
        rules=need.rules,
        why=need.why,
        words=f"green evidence of {need.type}{fresh}: airboss change evidence {about} --type {need.type} --green --source …",
        evidence=need,
    )


def _approval(need: ApprovalNeed) -> Standing:
    return Standing(
        kind="approval",
        rules=need.rules,
        why="people have to agree",
        words=f"approval of {need_words(need)}",
        approval=need,
    )
