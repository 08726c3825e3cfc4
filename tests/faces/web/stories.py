"""A morning at a shop, in virtual time: changes in every state a page has, each brought there by what happened to it."""

from __future__ import annotations

from datetime import timedelta

from tests.faces.web.town import Town
from tests.tower.world import RISING, ramp

from airboss.changes import Cancel, Create
from airboss.decide.approvals import CastVote, Verdict

_TITLES = {
    "refund.self": "Refunds without a call",
    "spring.sale": "Prices of the spring sale",
    "till.queue": "The till says how long the queue is",
}
_NEVER_OUT = tuple(_TITLES)
_STOCKTAKING = """
apiVersion: airboss/v1
kind: Window
metadata: {{name: stocktaking}}
spec: {{allow: false, zone: UTC, starts: "{starts}", lasts: 4h, reason: the shop is counted}}
"""
PATIENT = RISING.replace("most: 120s", "most: 600s")


def flags(*names: str) -> str:
    """More flags of the same service."""
    return "\n---\n".join(
        f"""apiVersion: airboss/v1
kind: Flag
metadata: {{name: {name}}}
spec:
  owner: payments
  purpose: {name}
  kind: release
  services: [checkout]
  bucketing: {{version: v3, key: targetingKey}}
  definition:
    state: ENABLED
    variants: {{"on": "{name}", "off": "none"}}
    defaultVariant: "off"
"""
        for name in names
    )


def morning(town: Town) -> dict[str, str]:
    """Let the morning pass; return the changes by what became of them."""
    world = town.world
    world.apply(flags("basket.hints", "pay.onepress", "search.ranking", "cart.summary", "mail.receipt", *_NEVER_OUT))
    town.run(60)
    found = {}

    found["completed"] = _begin(town, "tax.engine", "New VAT engine for everybody", users=5)
    town.run(400, until=lambda: world.phase(found["completed"]) == "closed")

    world.nature.bad_new = 0.03
    found["convicted"] = _begin(town, "pay.onepress", "One-press payment", users=40, approve=True)
    town.run(400, until=lambda: world.phase(found["convicted"]) == "reviewing")

    world.nature.bad_new = 0.002
    found["held"] = _begin(town, "search.ranking", "Learned ranking of search results", users=5, steps=PATIENT)
    town.run(400, until=lambda: "step.ended" in world.facts(found["held"]))
    world.nature.per_s = 120
    town.run(12)

    for name, flag in zip(("rejected", "cancelled", "scheduled"), _NEVER_OUT, strict=True):
        found[name] = world.propose(ramp(flag=flag, users=60, title=_TITLES[flag]))
    town.run(3)
    seen = {name: world.change(found[name]).digest or "" for name in ("rejected", "scheduled")}
    said = "The refund page has no way back yet."
    reject = CastVote(change=found["rejected"], verdict=Verdict.REJECT, seen=seen["rejected"], comment=said)
    world.house.approvals.vote(reject, world.people["dev-b"])
    cancel = Cancel(change_id=found["cancelled"], reason="the campaign was put off")
    world.house.changes.cancel(cancel, actor=world.people["dev-a"])
    opens = (world.clock.now() - timedelta(minutes=1)).isoformat(timespec="seconds").replace("+00:00", "")
    world.apply(_STOCKTAKING.format(starts=opens))
    world.approve(found["scheduled"], "dev-b")
    town.run(3)

    found["waiting"] = world.propose(ramp(flag="cart.summary", users=60, title="Cart summary beside the till"))
    draft = ramp(flag="mail.receipt", users=5, title="Receipts by mail, with the new layout").encode()
    found["draft"] = world.house.changes.create(Create(data=draft, source="mail.yaml"), actor=world.people["dev-b"]).id
    town.run(5)
    world.house.flags.kill("basket.hints", "hints cover the total", actor=world.people["dev-b"])
    world.house.checkpoints.write_now()
    return found


def _begin(town: Town, flag: str, title: str, *, users: int, approve: bool = False, steps: str = RISING) -> str:
    world = town.world
    world.nature.flag = flag
    change = world.propose(ramp(flag=flag, users=users, title=title, steps=steps))
    town.run(3)
    if world.phase(change) == "awaiting_approval" or approve:
        world.approve(change, "dev-b")
    return change
