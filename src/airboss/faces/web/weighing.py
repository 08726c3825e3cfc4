"""What an approver weighs, on one card: why it is risky, what it can cost, the way back, what is missing, what changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from airboss.faces.web.change_views import Line, Weighed
from airboss.faces.web.render import percent
from airboss.faces.web.views import Change
from airboss.faces.web.words import about, lasting, listed, sentence, value_read
from airboss.kernel.clock import parse_rfc3339

View = Mapping[str, Any]

CHANGES_MOST: Final = 12
VALUE_MOST: Final = 80


def weighed(view: View, weighs: View, forecast: Sequence[View]) -> list[Weighed]:
    """Return what an approver weighs, the reasons first. `weighs` is the approver's view of the change."""
    found: list[Weighed] = [
        {"label": "Why it is risky", "words": _risk(weighs), "lines": _rules(weighs), "wide": True},
        {"label": "What it can hurt", "words": _blast(view, weighs)},
        {"label": "What is left of the budget", "words": _budget(weighs)},
        {"label": "How it goes out", "words": going_out(view["spec"], forecast)},
        {"label": "How it goes back", "words": way_back(view, weighs)},
        {"label": "Who wrote it", "words": _authors(view)},
        {"label": "What is missing", "words": _missing(view)},
        {"label": "What is known", "words": _evidence(view), "lines": _evidence_lines(view)},
        {"label": "What else is going on", "words": _conflicts(weighs), "lines": _conflict_lines(weighs)},
        {"label": "When it may start", "words": _calendar(weighs)},
        {"label": "What it costs", "words": _cost(weighs)},
        {"label": "Watch out", "words": _findings(weighs, info=False)},
        {"label": "What the inspectors saw", "words": _findings(weighs, info=True)},
    ]
    return [one for one in found if one["words"]]


def changed_since(weighs: View) -> list[Change]:
    """Return what is different from what the reader saw last: field, was, is. Nothing at the first look."""
    since = weighs["changed_since"]
    return [] if since is None else changes_told(since, most=CHANGES_MOST)


def changes_told(since: View, *, most: int) -> list[Change]:
    """Return what differs in words, at most so many fields and how many more there are."""
    found: list[Change] = [
        {"field": one["field"].replace("_", " "), "was": _value(one["was"]), "now": _value(one["is"])}
        for one in since["fields"][:most]
    ]
    more = len(since["fields"]) - len(found) + since["more"]
    if more > 0:
        found.append({"field": f"and {more} more", "was": "", "now": ""})
    return found


def _value(value: Any) -> str:
    told = ", ".join(f"{name} {value_read(one)}" for name, one in value.items()) if isinstance(value, Mapping) else ""
    told = told or value_read(value)
    return told if len(told) <= VALUE_MOST else f"{told[: VALUE_MOST - 1]}…"


def _risk(weighs: View) -> str:
    tier = weighs["risk"]["tier"]
    return "" if tier is None else f"{tier.capitalize()} risk, score {weighs['risk']['score']}."


def _rules(weighs: View) -> list[Line]:
    return [
        {
            "text": sentence(one["message"] or one["title"]),
            "rule": one["rule"],
            "read": ", ".join(f"{field(name)} = {value_read(value)}" for name, value in sorted(one["read"].items())),
        }
        for one in weighs["risk"]["reasons"]
    ]


def field(name: str) -> str:
    """Return a fact's name as people read it."""
    return name.removeprefix("change.").removeprefix("impact.")


def _blast(view: View, weighs: View) -> str:
    reach = weighs["blast_radius"]
    who = f"{percent(reach['users_percent'])} of the users" if reach["users_percent"] is not None else "Users"
    named = [
        f"{one['name']} ({one['tier']}{', stateful' if one['stateful'] else ''})" for one in reach["services"]
    ] + reach["unknown_services"]
    told = [sentence(f"{who} of {listed(named)} in {listed(reach['environments'])}")]
    if reach["dependents"]:
        told.append(sentence(f"{listed(reach['dependents'])} {_need(reach['dependents'])} it"))
    stated = [f"{name} {value}" for name, value in reach["risks"].items() if value not in ("none", None)]
    if stated:
        told.append(sentence(f"stated risks: {listed(stated)}"))
    allowed = view["spec"]["plan"].get("allowance_share")
    if allowed:
        told.append(f"A step may at most spoil {percent(allowed * 100)} of all requests.")
    return " ".join(told)


def _need(names: Sequence[str]) -> str:
    return "needs" if len(names) == 1 else "need"


def _budget(weighs: View) -> str:
    told = [
        f"{percent(round(one['budget_left'] * 100, 1))} of {one['name']}, burning at {one['burn']:.2g} of what it may"
        if one["known"]
        else f"not known for {one['name']}, nobody counted yet"
        for one in weighs["objectives"]
    ]
    return sentence("; ".join(told)) if told else "No objective stands over these services."


def going_out(spec: View, forecast: Sequence[View]) -> str:
    """Return the steps of a plan, and how long they take at this traffic."""
    steps = [step for stage in spec["plan"]["stages"] for step in stage["steps"]]
    shares = [f"{step['percent']:g}" for step in steps if step["step"] == "expose"]
    told = f"{' → '.join(shares)} %"
    seconds = [one["seconds"] for one in forecast]
    if seconds and all(one is not None for one in seconds):
        least = sum(step["least_s"] for step in steps if step["step"] == "expose")
        told += f", about {about(max(sum(seconds), least))} at this traffic if it is harmless"
    elif forecast:
        told += "; at this traffic not every step gathers its evidence in time"
    return sentence(told)


def forecast(spec: View, found: Sequence[View]) -> str:
    """Return the planner's answer before the start: whether and when the plan gets through at this traffic."""
    if not found:
        return ""
    if all(one["requests_per_s"] is None for one in found):
        return "How long it will take is not known: nobody has counted requests of these services yet."
    never = [percent(one["percent"]) for one in found if one["seconds"] is None]
    traffic = max(one["requests_per_s"] or 0.0 for one in found)
    told = f"The planner: at {traffic:.3g} requests a second"
    if never:
        return f"{told} {listed(never)} never gathers its evidence in time; ask for longer steps or a wider margin."
    return f"{told}, {going_out(spec, found)}"


def way_back(view: View, weighs: View | None = None) -> str:
    """Return how a change goes back; `weighs` adds by whom and for how long."""
    spec = view["spec"]
    if spec is None:
        return "Settled when it is submitted."
    back = spec["way_back"].get("rollback")
    told = [sentence(back["plan"]) if back is not None else "There is none; a mitigation stands in its place."]
    if weighs is not None:
        way = weighs["way_back"]
        if way["mitigation"] is not None:
            told.append(sentence(f"mitigation: {way['mitigation']['plan']}"))
        if way["reversible"] is False:
            told.append("It cannot be undone.")
        if back is not None:
            told.append("By itself, when a gate fails." if way["by_itself"] else "A person is asked when a gate fails.")
        if way["window_s"]:
            told.append(f"It is watched for {lasting(way['window_s'])} after the end.")
    impact = spec["intent"]["impact"]
    told.append({"none": "No data is touched.", None: ""}.get(impact.get("data"), f"Data: {impact.get('data')}."))
    return " ".join(told).strip()


def _authors(view: View) -> str:
    authors = list(dict.fromkeys([view["requester"], *view["authors"]]))
    verb = "wrote it and may not approve it" if len(authors) == 1 else "wrote it; none of them may approve it"
    return f"{listed(authors)} {verb}."


def _missing(view: View) -> str:
    found = [
        f"{one['count']} of {one['group']} ({' or '.join(one['may']) or 'nobody can sit there'})"
        for one in view["approval"]["missing"]
    ]
    wanted = missing_evidence(view)
    if wanted:
        found.append(f"{listed(wanted)} evidence")
    return sentence(listed(found)) if found else "Nothing: everybody asked has said yes."


def missing_evidence(view: View) -> list[str]:
    """Return the types of evidence policy asks for and nobody sent."""
    if view["decision"] is None:
        return []
    asked = [one.get("type", "") for one in view["decision"]["requirements"]["evidence"]]
    there = {one["type"] for one in view["evidence"] if one["counts"]}
    return [name for name in dict.fromkeys(asked) if name and name not in there]


def _evidence(view: View) -> str:
    red = sum(not one["green"] for one in view["evidence"] if one["counts"])
    if not view["evidence"]:
        return "No test result was sent with it."
    return f"{red} red {'result' if red == 1 else 'results'}." if red else "Every result that counts is green."


def _evidence_lines(view: View) -> list[Line]:
    found: list[Line] = []
    for one in view["evidence"]:
        line: Line = {"text": f"{one['type']} is {'green' if one['green'] else 'red'}: {one['source']}"}
        if not one["counts"]:
            line["text"] += ", about another artifact: it does not count"
        if str(one["source"]).startswith(("https://", "http://")):
            line["href"] = one["source"]
        found.append(line)
    return found


def _conflicts(weighs: View) -> str:
    count = len(weighs["conflicts"])
    if not count:
        return "No other change is moving on these services or beside them."
    return "Another change moves beside it." if count == 1 else f"{count} other changes move beside it."


def _conflict_lines(weighs: View) -> list[Line]:
    return [
        {
            "text": f"{one['title']}: {one['why']}{'' if one['in_flight'] else ', and is about to start'}",
            "href": f"/changes/{one['id']}",
        }
        for one in weighs["conflicts"]
    ]


def _calendar(weighs: View) -> str:
    found = weighs["calendar"]
    if found["open"]:
        return ""
    opens = "" if found["opens_at"] is None else f" It opens at {parse_rfc3339(found['opens_at']):%Y-%m-%d %H:%M} UTC."
    return sentence(found["why"]) + opens


def _cost(weighs: View) -> str:
    cost = weighs["cost"]
    return "" if cost is None else f"{cost['amount']:g} {cost['currency']} a month."


def _findings(weighs: View, *, info: bool) -> str:
    return " ".join(sentence(one["message"]) for one in weighs["findings"] if (one["severity"] == "info") is info)
