"""The file `airboss change new` makes: what a template knows is filled in, what nobody has said stands in capitals."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from airboss.changes import Template


@dataclass(frozen=True, slots=True)
class Blank:
    """A field of a target that only its author knows: its name, the question, what stands there until it is answered."""

    name: str
    question: str
    stands: str


TARGETS: Final[Mapping[str, tuple[Blank, ...]]] = {
    "flag": (
        Blank("name", "Flag", "FLAG"),
        Blank("old", "Variant everybody has now", "off"),
        Blank("new", "Variant they will have", "on"),
    ),
    "envoy": (
        Blank("connection", "Connection of the Envoy", "CONNECTION"),
        Blank("route", "Route", "ROUTE"),
        Blank("old", "Cluster that has the traffic now", "OLD"),
        Blank("new", "Cluster that will have it", "NEW"),
    ),
}
"""The kinds of target a file can be begun for."""
_PLAIN: Final = re.compile(r"[A-Za-z][A-Za-z0-9._/-]*")
_SENTENCE: Final = re.compile(r"[A-Za-z](?:[A-Za-z0-9 ,.()%/-]*[A-Za-z0-9.)%])?")
_WORDS: Final = frozenset({"on", "off", "yes", "no", "y", "n", "true", "false", "null"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What an author said; None is what they have still to say."""

    template: Template
    id: str
    service: str | None = None
    title: str | None = None
    why: str | None = None
    team: str | None = None
    environment: str = "production"
    version: str | None = None
    digest: str | None = None
    users_percent: float | None = None
    way_back: str | None = None
    runbook: str | None = None
    target: str | None = None
    params: Mapping[str, str] = field(default_factory=dict)


def fitting(template: Template) -> list[str]:
    """Return the kinds of target a template is for that a file can be begun for; it may be none."""
    return [kind for kind in template.spec.targets or TARGETS if kind in TARGETS]


def proposal(wanted: Wanted) -> str:
    """Return a change, as YAML, for its author to mend and submit."""
    spec, given = wanted.template.spec, wanted.template.spec.proposal
    plan = _text(wanted.way_back or given.rollback.plan or "")
    window = f", window: {_span(given.rollback.window)}" if given.rollback.window else ""
    users = "USERS_PERCENT" if wanted.users_percent is None else f"{wanted.users_percent:g}"
    runbook = wanted.runbook or "RUNBOOK"
    artifact = f"{_text(wanted.version or 'VERSION')}, digest: {_text(wanted.digest or 'sha256:DIGEST')}"
    lines = [
        "apiVersion: airboss/v1",
        "kind: Change",
        f"metadata: {{id: {wanted.id}}}",
        "spec:",
        f"  template: {wanted.template.metadata.name}",
        f"  title: {_sentence(wanted.title or 'TITLE, what will be different')}",
        f"  why: {_sentence(wanted.why or 'WHY, what it is for')}",
        f"  services: [{_text(wanted.service or 'SERVICE')}]",
        f"  owner: {{team: {_text(wanted.team or 'TEAM')}}}",
        *([f"  artifact: {{version: {artifact}}}"] if given.artifact else []),
        f"  impact: {{users_percent: {users}, reversible: {json.dumps(given.reversible)}, data: {given.data}}}",
        f"  rollback: {{plan: {plan}{window}}}",
        *([f"  mitigation: {{plan: {_text(given.mitigation)}, runbook: {runbook}}}"] if given.mitigation else []),
        *([f"  runbook: {runbook}  # {spec.runbook.about}"] if spec.runbook.needed else []),
        "  rollout:  # steps and gates come from the template; written here, yours count",
        "    stages:",
        f"      - environment: {_text(wanted.environment)}",
        f"        target: {_target(wanted)}",
    ]
    return "\n".join(lines)


def blanks(wanted: Wanted) -> list[str]:
    """Return what its author has still to say, by the words that stand in the file."""
    spec, given = wanted.template.spec, wanted.template.spec.proposal
    kind = _kind(wanted)
    said = (
        ("TITLE", wanted.title, True),
        ("WHY", wanted.why, True),
        ("SERVICE", wanted.service, True),
        ("TEAM", wanted.team, True),
        ("VERSION", wanted.version, given.artifact),
        ("DIGEST", wanted.digest, given.artifact),
        ("USERS_PERCENT", wanted.users_percent, True),
        ("RUNBOOK", wanted.runbook, spec.runbook.needed or given.mitigation),
        *((one.stands, wanted.params.get(one.name), one.stands.isupper()) for one in TARGETS.get(kind, ())),
    )
    return [word for word, value, asked in said if asked and value is None]


def _kind(wanted: Wanted) -> str:
    return wanted.target or next(iter(fitting(wanted.template)), (wanted.template.spec.targets or ["TARGET"])[0])


def _target(wanted: Wanted) -> str:
    kind = _kind(wanted)
    params = [f"{one.name}: {_text(wanted.params.get(one.name) or one.stands)}" for one in TARGETS.get(kind, ())]
    return f"{{{kind}: {{{', '.join(params)}}}}}"


def _span(seconds: int) -> str:
    """Return a duration in the largest unit that says it whole."""
    for length, unit in ((86_400, "d"), (3_600, "h"), (60, "m")):
        if seconds % length == 0:
            return f"{seconds // length}{unit}"
    return f"{seconds}s"


def _text(value: str) -> str:
    """Return a text as YAML inside braces, quoted unless it can only be read as itself."""
    plain = _PLAIN.fullmatch(value) and value.lower() not in _WORDS
    return value if plain else json.dumps(value, ensure_ascii=False)


def _sentence(value: str) -> str:
    """Return a text as YAML on a line of its own."""
    plain = _SENTENCE.fullmatch(value) and value.lower() not in _WORDS
    return value if plain else json.dumps(value, ensure_ascii=False)
