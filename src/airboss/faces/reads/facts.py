"""Facts in plain words: the timeline."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from sqlalchemy import Connection

from airboss.bootstrap import House
from airboss.kernel.clock import rfc3339
from airboss.records.journal import StoredFact, leaf_hash

Body = Mapping[str, Any]


def facts_view(house: House, connection: Connection, subject: str) -> list[dict[str, Any]]:
    """Return the facts about a subject, oldest first, in words. Three queries."""
    return facts_shown(house, connection, house.journal.of(connection, subject))


def facts_shown(house: House, connection: Connection, facts: Sequence[StoredFact]) -> list[dict[str, Any]]:
    """Return facts with their texts and names filled in. Two queries."""
    texts = house.journal.texts(connection, {text for fact in facts for text in _references(fact.body)})
    people = house.identity.persons.principals(connection, {id_ for fact in facts for id_ in (fact.actor, *_who(fact))})
    names = {id_: principal["name"] for id_, principal in people.items()}
    return [fact_view(fact, texts, names) for fact in facts]


def fact_view(fact: StoredFact, texts: Mapping[str, str], names: Mapping[str, str]) -> dict[str, Any]:
    """Return one fact as people and programs read it. `position` is -1 until it has its place in the order."""
    body = {key: _filled(value, texts) for key, value in fact.body.items()}
    return {
        "position": fact.position,
        "fact_id": fact.fact_id,
        "at": rfc3339(fact.at),
        "actor": names.get(fact.actor, fact.actor),
        "subject": fact.subject,
        "subject_seq": fact.subject_seq,
        "type": fact.type,
        "text": in_words(fact.type, body, names),
        "body": body,
        "raw": json.dumps(json.loads(fact.stored), indent=2, ensure_ascii=False),
        "leaf": leaf_hash(fact.stored).hex(),
    }


def _references(body: Body) -> Iterable[str]:
    for value in body.values():
        if isinstance(value, str) and value.startswith("blob:"):
            yield value
        elif isinstance(value, list):
            for item in value:
                if isinstance(item, dict):
                    yield from _references(item)


def _filled(value: Any, texts: Mapping[str, str]) -> Any:
    if isinstance(value, str) and value.startswith("blob:"):
        return texts.get(value, value)
    if isinstance(value, list):
        return [_filled(item, texts) for item in value]
    if isinstance(value, dict):
        return {key: _filled(item, texts) for key, item in value.items()}
    return value


def _who(fact: StoredFact) -> Iterable[str]:
    return (value for key, value in fact.body.items() if key in ("by", "person") and isinstance(value, str))


def in_words(kind: str, body: Body, names: Mapping[str, str]) -> str:
    """Return a fact in one plain sentence; an unknown kind is its type with the words spelt out."""
    tell = _TOLD.get(kind)
    if tell is None:
        return kind.replace(".", " ").replace("_", " ").capitalize()
    return tell(body, names)


def _reason(text: str) -> Callable[[Body, Mapping[str, str]], str]:
    def told(body: Body, _: Mapping[str, str]) -> str:
        reason = body.get("reason") or body.get("sentence")
        if not reason:
            return text
        return str(reason) if str(reason).startswith(text) else f"{text}: {reason}"  # nothing is said twice

    return told


def _plain(text: str) -> Callable[[Body, Mapping[str, str]], str]:
    return lambda *_: text


def _policy(body: Body, _: Mapping[str, str]) -> str:
    fired = ", ".join(rule.rpartition("/")[2] for rule in body["fired"]) or "no rule fired"
    said = {"allow": "allows", "pending": "asks for more", "block": "blocks"}[body["outcome"]]
    return f"Policy {said} at {body['point']}: {body['tier']} risk, score {body['score']} ({fired})"


def _step_started(body: Body, _: Mapping[str, str]) -> str:
    lead = f"Step {body['step']} of {body['of']}"
    if body["kind"] == "ask":
        return f"{lead}: {body['group']} is asked"
    return f"{lead}: to {body['percent']:g} %, for at least {body['least_s']:g} s"


def _gate(body: Body, _: Mapping[str, str]) -> str:
    """Tell an answer; its sentence names the gate where it needs to."""
    said = {"pass": "passes", "fail": "fails", "inconclusive": "is undecided", "error": "has no answer"}[
        body["outcome"]
    ]
    name = body["gate"].partition(":")[2] or {"data": "fresh data"}.get(body["gate"], body["gate"].replace("_", " "))
    sentence = body["sentence"].removeprefix(f"{name}: ")
    if sentence.startswith(f"{name} "):
        sentence = f"it{sentence.removeprefix(name)}"
    return f"{name} {said}: {sentence}"


def _convicted(body: Body, _: Mapping[str, str]) -> str:
    sentences = "; ".join(gate["sentence"] for gate in body["gates"])
    return f"Harm found {body['after_s']:.0f} s after the exposure stood: {sentences}"


def _named(body: Body, names: Mapping[str, str], key: str = "by") -> str:
    return names.get(body[key], body[key])


def _commanded(body: Body, _: Mapping[str, str]) -> str:
    return f"Ordered to {body['verb']}" + (f": {body['reason']}" if body.get("reason") else "")


def _vote(body: Body, _: Mapping[str, str]) -> str:
    said = {
        "approve": "Approved",
        "reject": "Rejected",
        "ask": "Asked for changes",
        "abstain": "Abstained",
        "comment": "Commented",
    }
    return said[body["verdict"]] + (f": {body['comment']}" if body.get("comment") else "")


_TOLD: Final[Mapping[str, Callable[[Body, Mapping[str, str]], str]]] = {
    "change.drafted": lambda body, _: f"Drafted: {body['title']}",
    "change.edited": lambda body, _: f"Edited: {', '.join(body.get('affected', [])) or 'the draft'}",
    "change.submitted": lambda body, _: "Submitted for review" if body.get("from") == "draft" else "Back in review",
    "policy.decided": _policy,
    "change.held": lambda body, _: f"Held: {body['sentence']}",
    "change.approval_requested": _reason("Approval requested"),
    "round.opened": _plain("People are asked to approve"),
    "vote.cast": _vote,
    "round.closed": lambda body, _: f"The round of approval closed: {body.get('outcome', '')}",
    "change.approved": _reason("Approved"),
    "change.scheduled": _reason("Scheduled"),
    "change.validation_started": _plain("Checking that everything still holds"),
    "evidence.recorded": lambda body, _: (
        f"{body['type']} evidence: {'green' if body['green'] else 'red'} ({body['source']})"
    ),
    "change.rollout_started": _plain("Rollout started"),
    "rollout.started": lambda body, _: f"Rolling out {', '.join(body['units'])}",
    "unit.prepared": lambda body, _: f"{body['unit']} stands at {body['baseline_percent']:g} %: that is the way back",
    "step.started": _step_started,
    "step.ended": lambda body, _: f"Step {body['step']} ended well after {body['after_s']:.0f} s",
    "step.skipped": lambda body, names: f"Step {body['step']} was skipped by {_named(body, names)}",
    "step.answered": lambda body, names: f"{_named(body, names)} said go on",
    "step.extended": lambda body, _: f"Step {body['step']} was extended to gather evidence",
    "exposure.reached": lambda body, _: f"{body['unit']} reached {body['percent']:g} %",
    "exposure.drifted": lambda body, _: (
        f"{body['unit']} was moved to {body['observed']:g} %; {body['wanted']:g} % is wanted"
    ),
    "gate.answered": _gate,
    "hold.begun": lambda body, _: f"Held: {body['sentence']}",
    "hold.ended": _plain("No longer held"),
    "hold.asked": _plain("A person is asked to decide"),
    "rollout.paused": lambda body, names: f"Paused by {_named(body, names)}",
    "rollout.resumed": lambda body, names: f"Resumed by {_named(body, names)}",
    "rollout.retimed": _plain("Its times were of a clock that ran ahead; the step begins anew"),
    "change.commanded": _commanded,
    "harm.convicted": _convicted,
    "version.blocked": lambda body, _: f"Version {body['digest'][:19]} of {body['service']} is blocked",
    "version.lifted": lambda body, _: (
        f"Version {body['digest'][:19]} of {body['service']} may start again: {body['reason']}"
    ),
    "change.rollback_started": _plain("Going back to where it was"),
    "rollback.started": lambda body, _: f"Taking back: {body['sentence']}",
    "rollback.ended": lambda body, _: f"Everything is back where it was, after {body['took_s']:.1f} s",
    "rollback.failed": lambda body, _: f"Rollback failed: {', '.join(f'{u} at {s}' for u, s in body['units'].items())}",
    "rollback.mitigated": _plain("Mitigated by hand"),
    "canary.missed": _plain("Found at full exposure, though the canary had let it through"),
    "exposure.restored": lambda body, _: f"{body['unit']} is back at {body['percent']:g} %",
    "change.retried": lambda body, _: f"Attempt {body['attempt']}",
    "rollback.retried": _plain("Trying to take back again"),
    "change.rolled_back": _plain("Rolled back"),
    "change.rollback_failed": _reason("Rollback failed"),
    "change.verification_started": _plain("At full exposure; verifying"),
    "rollout.verified": lambda body, _: f"Verified for {body['after_s']:.0f} s",
    "change.completed": _plain("Completed"),
    "change.review_opened": _plain("Review opened"),
    "change.rejected": _reason("Rejected"),
    "change.cancelled": _reason("Called off"),
    "change.expired": _reason("Expired"),
    "change.closed": _plain("Closed"),
    "flag.exposed": lambda body, _: f"Flag shown to {body['percent']:g} %",
    "flag.finished": lambda body, _: f"Flag: everybody has {body['on_variant']}",
    "flag.reverted": lambda body, _: f"Flag: back to {body['off_variant']}",
    "flag.killed": _reason("Kill switch on"),
    "flag.unkilled": _plain("Kill switch off"),
}
