"""Policy: which packs are in force, and what their rules say."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection

from airboss.bootstrap import House
from airboss.decide.policy import EFFECTS, Case, Rule, parse
from airboss.kernel.clock import rfc3339


def policy_view(house: House, connection: Connection) -> dict[str, Any]:
    """Return the packs in force with their rules: {bundle, packs}. Three queries."""
    bundle = house.policies.active_bundle(connection)
    packs = house.policies.packs(connection)
    people = house.identity.persons.principals(connection, [one.applied_by for one in packs])
    items = []
    for one in packs:
        pack = parse(one.data, one.source)
        items.append(
            {
                "name": one.name,
                "revision": one.revision,
                "digest": one.digest,
                "layer": str(pack.layer),
                "applied_at": rfc3339(one.applied_at),
                "applied_by": people.get(one.applied_by, {}).get("name", one.applied_by),
                "version": pack.version,
                "owner": pack.owner,
                "source": one.source,
                "rules": [_rule(rule) for rule in pack.rules],
                "tests": [_test(case) for case in pack.cases],
            }
        )
    return {"bundle": bundle.digest, "packs": items}


def _rule(rule: Rule) -> dict[str, Any]:
    return {
        "id": rule.id,
        "title": rule.title,
        "mode": str(rule.mode),
        "at": [str(point) for point in rule.at],
        "when": rule.when,
        "effect": EFFECTS[type(rule.effect)],
        "message": rule.message,
        "link": rule.link,
        "expires": None if rule.expires is None else rfc3339(rule.expires),
    }


def _test(case: Case) -> dict[str, Any]:
    wanted = [str(one) for one in (case.outcome, case.tier) if one is not None]
    wanted += [f"score {case.score}"] if case.score is not None else []
    return {"name": case.name, "at": str(case.at), "expects": ", ".join(wanted)}
