"""A decision in words: one sentence for the head of a page, and the reasons below it."""

from __future__ import annotations

from collections.abc import Mapping

from airboss.decide.policy.model import ApprovalNeed, Decision, Denial, Outcome
from airboss.kernel.canonical import Json, canonical

_VERBS = {"submit": "proposed", "approve": "approved", "start": "started", "promote": "taken further"}


def sentence(decision: Decision) -> str:
    """Return what was decided and why, in one sentence a tired person understands."""
    ruling = decision.ruling
    tier = f"{ruling.tier.value} risk"
    if ruling.outcome is Outcome.BLOCK:
        more = len(ruling.denials) - 1
        rest = f" (and {more} more reason{'s' if more > 1 else ''})" if more else ""
        return f"Refused: {ruling.denials[0].message}{rest}."
    if ruling.outcome is Outcome.PENDING:
        wanted = [need_words(need) for need in ruling.approvals]
        wanted += [f"evidence of {need.type} ({need.why})" for need in ruling.evidence if not need.met]
        return f"Waiting for {'; and for '.join(wanted)}: {tier}."
    cleared = next((item for item in ruling.fired if item.effect == "auto_approve"), None)
    if cleared is not None:
        return f"Cleared without a person: {cleared.message}."
    return f"May be {_VERBS.get(ruling.point.value, 'completed')}: {tier}, and no rule stands against it."


def need_words(need: ApprovalNeed) -> str:
    """Return who is asked: "1 of service-owners and 1 of sre, other people than the requester"."""
    joined = (" and " if need.of == "all" else " or ").join(f"{seats.least} of {seats.group}" for seats in need.groups)
    if need.take > 1:
        joined = f"{need.take} of these: {joined}"
    excluded = " and ".join(f"the {who}" for who in sorted(need.distinct_from, reverse=True))
    return joined + (f", other people than {excluded}" if excluded else "")


def reasons(decision: Decision) -> list[str]:
    """Return one line for each rule that had a say: its words, and the input values it read."""
    lines = [denial_words(denial) for denial in decision.denials]
    denying = {denial.rule for denial in decision.denials}
    lines += [
        f"{item.message} [{item.rule}: {item.effect}]{_read(item.read)}"
        for item in decision.ruling.fired
        if item.rule not in denying
    ]
    return lines


def denial_words(denial: Denial) -> str:
    """Return why something is refused and what would clear it, with the text of the rule."""
    text = f"Refused: {denial.message}."
    if denial.rule is not None:
        text += f" Rule {denial.rule} of {denial.pack} at {denial.place}: when {denial.when}.{_read(denial.read)}"
    text += f" Way out: {denial.way_out}."
    return text


def _read(read: Mapping[str, Json]) -> str:
    if not read:
        return ""
    pairs = [
        f"{name} {'is not set' if value is None else '= ' + canonical(value).decode()}" for name, value in read.items()
    ]
    return f" ({', '.join(pairs)})"
