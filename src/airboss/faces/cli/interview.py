"""The questions `airboss change new` asks on a terminal: only what a template cannot know, offering what the server knows."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from textwrap import shorten
from typing import TYPE_CHECKING, Any, Final

from airboss.faces.cli.problems import Problem
from airboss.faces.cli.proposal import TARGETS, Wanted, fitting
from airboss.faces.cli.screen import say

if TYPE_CHECKING:
    from airboss.changes import Template
    from airboss.faces.cli.client import Api

SHOWN: Final = 5
"""Offered values beside a question; `?` lists all."""
LINE_MOST: Final = 200
_DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}")

Offer = Mapping[str, str]
"""What may be answered → a word about it, which may be empty."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What the server could be asked beforehand; `why` says why there is nothing, where it did not answer."""

    services: Mapping[str, Mapping[str, Any]]
    flags: Mapping[str, Mapping[str, Any]]
    why: str | None = None


def known(api: Api) -> Known:
    """Ask the server for services and flags. Where it does not answer nothing is offered, and that is said."""
    try:
        services = {one["name"]: one for one in api.listed("/services")["items"]}
        flags = {one["name"]: one for one in api.listed("/flags")["items"]}
    except Problem as fault:
        return Known(services={}, flags={}, why=fault.detail)
    return Known(services=services, flags=flags)


def interview(templates: Sequence[Template], known_: Known, api: Api, *, id_: str) -> Wanted:
    """Ask on the terminal and return what was said. Raises EOFError or KeyboardInterrupt where somebody had enough."""
    say("Enter takes what stands in brackets, ? lists what may be answered, Ctrl-C ends and writes nothing.")
    if known_.why is not None:
        say(f"The server is not asked, so nothing is offered: {known_.why}")
    say()
    kinds = {one.metadata.name: one for one in templates}
    kind = ask(
        "Kind of change",
        offer={name: one.spec.summary for name, one in kinds.items()},
        default="flag-ramp",
        only=True,
    )
    wanted = Wanted(template=kinds[kind], id=id_)
    owners = {name: f"owned by {one['owner']}" for name, one in known_.services.items()}
    service = ask("Service", offer=owners, check=_name)
    _unless_known(service, owners, "service")
    wanted = replace(wanted, service=service, title=ask("Title, what will be different", check=_line))
    wanted = replace(wanted, why=ask("Why", check=_line))
    of = known_.services.get(service, {})
    wanted = replace(wanted, team=ask("Owner, a team", default=of.get("owner"), check=_name))
    places = list(of.get("environments", ()))
    where = "production" if "production" in places or not places else places[-1]
    wanted = replace(
        wanted, environment=ask("Environment", offer=dict.fromkeys(places, ""), default=where, check=_name)
    )
    wanted = _carried(wanted, known_, api)
    given = wanted.template.spec.proposal
    if given.artifact:
        wanted = replace(wanted, version=ask("Version", check=_line), digest=ask("Its digest, sha256:…", check=_sha256))
    users = ask("Users it can touch, in per cent", check=_percent)
    wanted = replace(wanted, users_percent=float(users))
    wanted = replace(wanted, way_back=ask("The way back", default=given.rollback.plan, check=_line))
    if wanted.template.spec.runbook.needed or given.mitigation:
        runbooks = _runbooks(api, service, known_)
        only = next(iter(runbooks), None) if len(runbooks) == 1 else None
        about = wanted.template.spec.runbook.about
        wanted = replace(wanted, runbook=ask(f"Runbook ({about})", offer=runbooks, default=only, check=_name))
    return wanted


def free_name() -> str:
    """Return a name for the file that is not taken here: change.yaml, change-2.yaml, …"""
    number = 1
    while Path(found := "change.yaml" if number == 1 else f"change-{number}.yaml").exists():
        number += 1
    return found


def _carried(wanted: Wanted, known_: Known, api: Api) -> Wanted:
    """Ask by what a change is carried, and for what that needs."""
    kinds = fitting(wanted.template)
    if not kinds:
        return wanted
    kind = (
        kinds[0] if len(kinds) == 1 else ask("Carried by", offer=dict.fromkeys(kinds, ""), default=kinds[0], only=True)
    )
    last = _last_target(api, wanted.service, kind) if known_.why is None else {}
    params: dict[str, str] = {}
    for blank in TARGETS[kind]:
        default: str | None = last.get(blank.name)
        offer: Offer = {}
        if kind == "flag":
            default, offer = _of_flag(blank.name, params, known_, wanted.service)
        params[blank.name] = ask(blank.question, offer=offer, default=default, check=_line)
        if kind == "flag" and blank.name == "name":
            _unless_known(params["name"], known_.flags, "flag")
    return replace(wanted, target=kind, params=params)


def _of_flag(field: str, params: Mapping[str, str], known_: Known, service: str | None) -> tuple[str | None, Offer]:
    """Return default and offer of one field of a flag."""
    if field == "name":
        mine = {name: one["purpose"] or "" for name, one in known_.flags.items() if service in one["services"]}
        offer = mine or {name: one["purpose"] or "" for name, one in known_.flags.items()}
        return (next(iter(mine)) if len(mine) == 1 else None), offer
    flag = known_.flags.get(params["name"])
    if flag is None:
        return {"old": "off", "new": "on"}[field], {}
    variants = {name: str(value) for name, value in flag["variants"].items()}
    now = flag["state"]["serves"] or flag["state"]["off_variant"]
    if field == "old":
        return (now if now in variants else None), variants
    others = {name: value for name, value in variants.items() if name != params["old"]}
    return (next(iter(others)) if len(others) == 1 else None), others


def _last_target(api: Api, service: str | None, kind: str) -> dict[str, str]:
    """Return what the newest change of a service named, turned round: what was new then is what there is now."""
    try:
        newest = api.changes(1, service=service)
        spec = api.get(f"/changes/{newest[0]['id']}")["document"]["spec"] if newest else {}
        targets = [stage["target"].get(kind) for stage in spec.get("rollout", {}).get("stages", ())]
    except Problem:
        return {}
    found: Mapping[str, Any] = next((target for target in reversed(targets) if target), {})
    done = newest[0]["outcome"] == "completed" if newest else False
    return {name: str(value) for name, value in found.items() if name not in ("old", "new")} | (
        {"old": str(found["new"])} if done and "new" in found else {}
    )


def _runbooks(api: Api, service: str, known_: Known) -> Offer:
    if service not in known_.services:
        return {}
    try:
        return dict.fromkeys(api.get(f"/services/{service}")["runbooks"], "")
    except Problem:
        return {}


def _unless_known(name: str, offered: Mapping[str, object], of: str) -> None:
    if offered and name not in offered:
        say(f"  There is no {of} {name} yet; until there is, the change cannot be submitted.")


# -- one question ----------------------------------------------------------------------------------------------------


def ask(
    question: str,
    *,
    default: str | None = None,
    offer: Offer | None = None,
    only: bool = False,
    check: Callable[[str], str] | None = None,
) -> str:
    """Ask until something usable is said, and return it. `only`: nothing but what is offered is usable.

    `check` returns what was meant, or raises ValueError with what is wrong with it.
    """
    offered = offer or {}
    while True:
        with _completing(list(offered)):
            typed = input(_prompt(question, default, list(offered))).strip() or default or ""
        if typed == "?":
            _list(offered)
        elif not typed:
            say("  This cannot be left open.")
        elif only and typed not in offered:
            near = [one for one in offered if typed in one]
            if len(near) == 1:
                return near[0]
            say(f"  {'Which: ' + ', '.join(near) if near else f'There is no {typed}'}; ? lists them.")
        else:
            try:
                return check(typed) if check is not None else typed
            except ValueError as fault:
                say(f"  {fault}")


def _prompt(question: str, default: str | None, offered: Sequence[str]) -> str:
    choice = ""
    if 1 < len(offered) <= SHOWN:
        choice = f" ({', '.join(offered)})"
    elif len(offered) > SHOWN:
        choice = " (? lists them)"
    return f"{question}{choice}{f' [{default}]' if default else ''}: "


def _list(offered: Offer) -> None:
    if not offered:
        say("  Nothing is offered here: type it.")
        return
    width = max(map(len, offered))
    for name, about in offered.items():
        say(f"  {name:<{width}}  {shorten(about, 76 - width, placeholder=' …') if about else ''}".rstrip())


@contextlib.contextmanager
def _completing(offered: Sequence[str]) -> Iterator[None]:
    """Have Tab complete what is offered, where the terminal's line editor is there."""
    try:
        import readline
    except ImportError:
        yield
        return

    def at(text: str, number: int) -> str | None:
        near = [one for one in offered if one.startswith(text)]
        return near[number] if number < len(near) else None

    readline.set_completer_delims("")
    readline.parse_and_bind("tab: complete")
    readline.set_completer(at)
    try:
        yield
    finally:
        readline.set_completer(None)


def _name(text: str) -> str:
    from airboss.kernel.errors import Invalid
    from airboss.kernel.ids import name

    try:
        return name(text, of="thing")
    except Invalid as fault:
        raise ValueError(fault.detail) from fault


def _line(text: str) -> str:
    if len(text) > LINE_MOST or not text.isprintable():
        raise ValueError(f"One line of at most {LINE_MOST} characters.")
    return text


def _sha256(text: str) -> str:
    if not _DIGEST.fullmatch(text):
        raise ValueError("A digest is sha256: and 64 hexadecimal digits; your registry or build prints it.")
    return text


def _percent(text: str) -> str:
    number = text.removesuffix("%").strip()
    try:
        value = float(number)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 100:
        raise ValueError("A number from 0 to 100.")
    return number
