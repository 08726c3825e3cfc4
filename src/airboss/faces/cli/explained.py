"""An explanation of a decision, and what an approver weighs, as lines for a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

View = Mapping[str, Any]

_OUTCOMES: Final = {"allow": "allowed", "pending": "waits", "block": "refused"}
_MARKS: Final = {"fired": "+", "quiet": "-", "error": "!", "not_asked": " "}


def lines(view: View, *, every: bool) -> Iterator[str]:
    """Yield an explanation: the outcome, what stands in the way and what clears it, then the rules."""
    yield f"{_OUTCOMES[view['outcome']]} at {view['point']}, {view['tier']} risk, score {view['score']} ({view['at']})"
    if not view["bundle_in_force"]:
        yield "Other packs are in force by now; it is judged again at the next look."
    for one in view["stands"]:
        yield ""
        yield f"{one['kind']}: {one['why']}"
        yield f"  clears it: {one['words']}"
        asked = one.get("round")
        if asked is not None:
            yield f"  now: {asked['sentence']} (until {asked['expires_at']})"
    if not view["stands"]:
        yield "Nothing stands in the way."
    yield ""
    for rule in view["rules"]:
        if rule["state"] in ("fired", "error") or every:
            yield f"{_MARKS[rule['state']]} {rule['pack']}/{rule['rule']} [{rule['effect']}] {rule['message']}"
            if rule["read"]:
                yield f"    {', '.join(f'{name} = {_value(value)}' for name, value in rule['read'].items())}"
    quiet = sum(rule["state"] in ("quiet", "not_asked") for rule in view["rules"])
    if quiet and not every:
        yield f"{quiet} rules had no say: --all lists them with what they read."
    yield from view["notes"]


def weighed(view: View) -> Iterator[str]:
    """Yield what an approver weighs."""
    change, risk, reach, back = view["change"], view["risk"], view["blast_radius"], view["way_back"]
    yield f"{change['title']} ({change['kind']}, {change['phase'].replace('_', ' ')})"
    if change["why"]:
        yield f"Why: {change['why']}"
    yield f"Risk: {risk['tier'] or 'not decided yet'}, score {risk['score'] if risk['score'] is not None else '-'}"
    yield from (f"  {one['message']} [{one['rule']}]" for one in risk["reasons"])
    yield from (_objective(one) for one in view["objectives"])
    yield from (f"Finding ({one['severity']}): {one['subject']}: {one['message']}" for one in view["findings"])
    yield from _evidence(view)
    tiers = ", ".join(
        f"{one['name']} ({one['tier']}{', stateful' if one['stateful'] else ''})" for one in reach["services"]
    )
    yield f"Reach: {reach['users_percent']:g} % of users, {', '.join(reach['environments'])}: {tiers}"
    if reach["dependents"]:
        yield f"  needed by {', '.join(reach['dependents'])}"
    yield f"Way back: {back['plan'] or 'none'}{'' if back['reversible'] else ' (not reversible)'}"
    if back["mitigation"]:
        yield f"  mitigation: {back['mitigation']['plan']}"
    yield from (f"Conflict: {one['title']} ({one['id']}): {one['why']}" for one in view["conflicts"])
    if view["cost"]:
        yield f"Cost: {view['cost']['amount']:g} {view['cost']['currency']} a month"
    calendar = view["calendar"]
    if not calendar["open"]:
        yield f"Closed: {calendar['why']}" + (f", next open at {calendar['opens_at']}" if calendar["opens_at"] else "")
    yield from _since(view["changed_since"])
    if view["approval"] is not None:
        yield f"Approval: {view['approval']['sentence']}"


def _objective(one: View) -> str:
    if not one["known"]:
        return f"Objective {one['name']}: no data yet"
    return f"Objective {one['name']}: {100 * one['budget_left']:.0f} % of the error budget left"


def _evidence(view: View) -> Iterator[str]:
    for one in view["evidence"]:
        counts = "" if one["counts"] else ", of another digest"
        yield f"Evidence {one['type']}: {'green' if one['green'] else 'red'} ({one['source']}{counts})"
    if not view["evidence"]:
        yield "Evidence: none"


def _since(changed: View | None) -> Iterator[str]:
    if changed is None or not changed["fields"]:
        return
    yield f"Since you looked ({changed['looked_at']}):"
    yield from (f"  {one['field']}: {_value(one['was'])} -> {_value(one['is'])}" for one in changed["fields"])
    if changed["more"]:
        yield f"  and {changed['more']} more"


def _value(value: Any) -> str:
    return "not set" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
