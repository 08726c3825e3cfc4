"""The pages of flags: where each stands, what moves it, what somebody would get, and the kill switch."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final, NotRequired

from starlette.responses import Response
from typing_extensions import TypedDict

from airboss.faces.reads import evaluation_view, flag_page_view, flags_view
from airboss.faces.web.frame import Frame, fault_of, flash_of
from airboss.faces.web.render import percent
from airboss.faces.web.views import Action, Empty, Fault, Shell, State, Tone
from airboss.faces.web.visits import Visit, see
from airboss.faces.web.words import sentence
from airboss.kernel.clock import parse_rfc3339
from airboss.kernel.errors import Invalid
from airboss.kernel.ids import name as checked
from airboss.people.access import Action as Act
from airboss.people.access import Actor, Scope, may, require

View = Mapping[str, Any]

ATTRIBUTES_MOST: Final = 50
ASKED: Final = ("environment", "who", "attributes")
_REASONS: Final[Mapping[str, str]] = {
    "SPLIT": "The ramp dealt this key to that side.",
    "TARGETING_MATCH": "The flag's own targeting says so.",
    "STATIC": "Everybody gets it.",
    "DEFAULT": "Nothing says otherwise, so it is the default.",
    "DISABLED": "The flag is disabled or killed: nobody is asked who they are.",
}


class Place(TypedDict):
    """Where a flag stands in one environment; without `state` nothing moves. `kill` or `restore` where the reader may."""

    environment: str
    state: State | None
    words: str
    change: str | None
    percent: float
    told: str
    at: datetime | None
    action: Action | None


class FlagRow(TypedDict):
    """One flag of the list."""

    name: str
    href: str
    purpose: str
    about: list[str]
    places: list[Place]
    exposed_at: datetime | None


class FlagsPage(TypedDict):
    """All flags, by name."""

    shell: Shell
    rows: list[FlagRow]
    empty: NotRequired[Empty]


class Answer(TypedDict):
    """What a context got; `value` as JSON, None where the caller's own default stands."""

    tone: Tone
    word: str
    value: str | None
    sentence: str


class Moved(TypedDict):
    """One change that moved the flag, and what it came to."""

    change: str
    href: str
    environment: str
    what: str
    state: str
    percent: str
    at: datetime


class FlagPage(TypedDict):
    """One flag. `given` and `answer` are the evaluation somebody tried; `exposures` newest first."""

    shell: Shell
    name: str
    purpose: str
    about: list[str]
    places: list[Place]
    variants: list[tuple[str, str, str]]
    exposures: list[Moved]
    rules: str
    environments: list[tuple[str, str]]
    given: dict[str, str]
    answer: NotRequired[Answer]
    fault: NotRequired[Fault]
    commands: list[str]


class Flagging:
    """Handlers of flags."""

    def __init__(self, frame: Frame) -> None:
        self._frame = frame

    def flags(self, visit: Visit) -> Response:
        """List the flags. Five queries, however many there are."""
        require(visit.actor, Act.FLAG_READ)
        with self._frame.house.store.read() as connection:
            found = flags_view(self._frame.house, connection)
        page: FlagsPage = {"shell": self._frame.shell(visit), "rows": [_row(one) for one in found]}
        if not found:
            page["empty"] = {
                "heading": "No flags yet",
                "sentence": "A flag is a file with kind: Flag. Once applied it stands here, off for everybody.",
                "command": "airboss apply -f flag.yaml",
            }
        return self._frame.page(visit, "flags", page)

    def flag(self, visit: Visit) -> Response:
        """Show one flag, and what a context would get of it. Fourteen queries at most, two more where it is killed."""
        require(visit.actor, Act.FLAG_READ)
        given = {field: visit.query.get(field, "")[:4_000] for field in ASKED}
        asked = bool({"who", "attributes"} & set(visit.query))
        answer = fault = None
        with self._frame.house.store.read() as connection:
            found = flag_page_view(self._frame.house, connection, visit.path["name"], "production")
            if asked:
                try:
                    environment = checked(given["environment"] or "production", of="environment")
                    context = read_context(given["who"], given["attributes"])
                    answer = evaluation_view(self._frame.house, connection, found["name"], environment, context)
                except Invalid as refused:
                    fault = fault_of(refused, ASKED, otherwise="attributes")
        page = flag_page(found, shell=self._frame.shell(visit), actor=visit.actor, given=given)
        if answer is not None:
            page["answer"] = told_answer(answer)
        if fault is not None:
            page["fault"] = fault
        return self._frame.page(visit, "flag", page, status=200 if fault is None else 422)

    def kill(self, visit: Visit) -> Response:
        """Give everybody the off side at once."""
        name, environment = visit.path["name"], checked(visit.form.get("environment", "production"), of="environment")
        done = self._frame.house.flags.kill(
            name, visit.form.get("reason", ""), actor=visit.actor, environment=environment
        )
        told = f"Everybody in {environment} gets {_called(done.serves)}, whatever ramps and targeting say."
        return see(f"/flags/{name}", told=flash_of("harmed", "Killed.", told))

    def unkill(self, visit: Visit) -> Response:
        """Lift the kill switch."""
        name, environment = visit.path["name"], checked(visit.form.get("environment", "production"), of="environment")
        self._frame.house.flags.unkill(name, actor=visit.actor, environment=environment)
        told = f"In {environment} the flag answers as its definition and its ramp say."
        return see(f"/flags/{name}", told=flash_of("well", "Restored.", told))


def read_context(who: str, attributes: str) -> dict[str, Any]:
    """Return OpenFeature's context from a form: the targeting key, and attributes as lines of `name = value`.

    A value that reads as JSON is that value, any other is text. Raises Invalid, its place the field.
    """
    context: dict[str, Any] = {}
    for number, line in enumerate(attributes.splitlines(), 1):
        name, sign, value = (part.strip() for part in line.partition("="))
        if not line.strip():
            continue
        if not sign or not name:
            raise Invalid(
                f"line {number} is not name = value", code="bad-attribute", place="attributes", way_out="plan = premium"
            )
        context[name] = _value(value)
    if len(context) > ATTRIBUTES_MOST:
        raise Invalid(f"at most {ATTRIBUTES_MOST} attributes can be tried", code="too-long", place="attributes")
    if who.strip():
        context["targetingKey"] = who.strip()
    return context


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def told_answer(answer: View) -> Answer:
    """Return an evaluation as the page tells it."""
    if answer["error"] is not None:
        return {"tone": "needs", "word": "No answer", "value": None, "sentence": sentence(answer["error"])}
    killed = bool(answer["metadata"].get("airboss.killed"))
    reason = "The kill switch is on." if killed else _REASONS.get(answer["reason"], "")
    if answer["variant"] is None:
        return {"tone": "waiting", "word": "The caller's own default", "value": None, "sentence": reason}
    return {
        "tone": "harmed" if killed else "well",
        "word": answer["variant"],
        "value": json.dumps(answer["value"], ensure_ascii=False),
        "sentence": reason,
    }


def _row(one: View) -> FlagRow:
    return {
        "name": one["name"],
        "href": f"/flags/{one['name']}",
        "purpose": one["purpose"],
        "about": _about(one),
        "places": [_place(state, None) for state in one["states"]],
        "exposed_at": None if one["exposed_at"] is None else parse_rfc3339(one["exposed_at"]),
    }


def _about(one: View) -> list[str]:
    found = [", ".join(one["services"]), str(one["kind"]), str(one["owner"])]
    return [*found, f"to be removed by {one['remove_by']}"] if one["remove_by"] else found


def _called(variant: str | None) -> str:
    return "the caller's own default" if variant is None else variant


def _place(state: View, action: Action | None) -> Place:
    """Return where a flag stands in one environment, in words."""
    serves, kill = state["serves"], state.get("kill")
    shown: State | None = None
    words = f"everybody gets {_called(serves)}"
    told = ""
    if state["killed"]:
        shown = {"tone": "harmed", "word": "Killed"}
        if kill is not None:
            told = f"{kill['by']}: {kill['reason']}"
    elif state["change_id"] is not None:
        shown = {"tone": "well", "word": f"Ramp at {percent(state['percent'])}"}
        words = f"{state['on_variant']} for {percent(state['percent'])}, {state['off_variant']} for the rest"
    return {
        "environment": state["environment"],
        "state": shown,
        "words": words,
        "change": state["change_id"],
        "percent": state["percent"],
        "told": told,
        "at": None if kill is None else parse_rfc3339(kill["at"]),
        "action": action,
    }


def _switch(one: View, state: View) -> Action:
    """Return the form that kills a flag in one environment, or restores it."""
    environment = str(state["environment"])
    if state["killed"]:
        words = f"{one['name']} answers again in {environment} as its definition says"
        if state["change_id"] is not None:
            words += f", and the ramp exposes {percent(state['ramp_pct'])} at once"
        return {
            "name": f"restore-{environment}",
            "label": "Restore",
            "href": f"/flags/{one['name']}/unkill",
            "hidden": {"environment": environment},
            "look": "plain",
            "confirm": f"{words}.",
            "confirm_label": "Restore now",
        }
    return {
        "name": f"kill-{environment}",
        "label": "Kill",
        "href": f"/flags/{one['name']}/kill",
        "hidden": {"environment": environment},
        "look": "danger",
        "confirm": f"Everybody in {environment} gets the off side at once, whatever ramps and targeting say, until "
        "somebody restores it.",
        "confirm_label": "Kill it now",
        "fields": [{"name": "reason", "label": "Reason", "required": True, "hint": "Kept in the record."}],
    }


def flag_page(found: View, *, shell: Shell, actor: Actor, given: Mapping[str, str]) -> FlagPage:
    """Return the page of a flag, from its read view."""
    armed = may(actor, Act.FLAG_KILL, Scope(services=frozenset(found["services"])))
    places = [_place(state, _switch(found, state) if armed else None) for state in found["states"]]
    definition = found["definition"]
    rules = {field: definition[field] for field in ("state", "targeting") if definition.get(field)}
    environments = [place["environment"] for place in places]
    default = definition.get("defaultVariant")
    return {
        "shell": shell,
        "name": found["name"],
        "purpose": found["purpose"],
        "about": _about(found),
        "places": places,
        "variants": [
            (
                name,
                json.dumps(value, ensure_ascii=False),
                "default" if name == (str(default).lower() if isinstance(default, bool) else default) else "",
            )
            for name, value in found["variants"].items()
        ],
        "exposures": _exposures(found["exposures"]),
        "rules": json.dumps(rules, indent=2, ensure_ascii=False),
        "environments": [(one, one) for one in _production_first(environments)],
        "given": dict(given),
        "commands": [f"airboss flag show {found['name']}", f"airboss flag evaluate {found['name']} --key user-1"],
    }


def _production_first(environments: Sequence[str]) -> list[str]:
    return sorted(environments, key=lambda one: one != "production")


_ENDED: Final = {"active": "ramping", "finished": "on for everybody", "reverted": "taken back"}


def _exposures(rows: Sequence[View]) -> list[Moved]:
    return [
        {
            "change": one["change_id"],
            "href": f"/changes/{one['change_id']}",
            "environment": one["environment"],
            "what": f"{one['off_variant']} to {one['on_variant']}",
            "state": _ENDED[one["state"]],
            "percent": percent(one["percent"]),
            "at": parse_rfc3339(one["at"]),
        }
        for one in sorted(rows, key=lambda row: str(row["at"]), reverse=True)
    ]
