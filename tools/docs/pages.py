"""The generated pages of docs/reference: each function returns one page, made from the code as it is."""

from __future__ import annotations

import contextlib
import json
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, Final

import typer

from airboss.act.rollout import LEGAL
from airboss.bootstrap import House, build
from airboss.changes import FACTS, MOVES
from airboss.decide.policy import InlineEngine, schema
from airboss.faces.api import create_app
from airboss.faces.cli.app import app
from airboss.faces.cli.exit_codes import MEANING
from airboss.kernel.settings import Settings
from airboss.people.access import RULES, Role
from tools.docs import sdk as sdk_page
from tools.docs import source
from tools.docs.fields import KINDS, fields_of
from tools.docs.kinds import kinds

HERE: Final = Path(__file__).parent
SHIPPED: Final = HERE.parents[1] / "src/airboss/faces/api"
EXAMPLES: Final = source.ROOT / "examples"
MADE: Final = "<!-- Made by `python -m tools.docs` from the code. Edit there, not here. -->"


def table(name: str, columns: int) -> list[list[str]]:
    """Return the rows of a hand-written table of this folder. Raises ValueError for a row of another width."""
    rows = []
    # What errors mean is shipped with the server, which answers for its own problem types.
    file = SHIPPED / name if name == "errors.txt" else HERE / name
    for number, line in enumerate(file.read_text().splitlines(), start=1):
        if not line or line.startswith("#"):
            continue
        row = [cell.strip() for cell in line.split(" | ")]
        if len(row) != columns:
            raise ValueError(f"{name}:{number}: {len(row)} cells, not {columns}")
        rows.append(row)
    return rows


def page(title: str, *parts: str) -> str:
    """Return a page with its title and the note that it is generated."""
    return "\n\n".join([f"# {title}", MADE, *(part.strip("\n") for part in parts)]) + "\n"


def grid(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table."""
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    lines += [f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |" for row in rows]
    return "\n".join(lines)


def errors() -> str:
    """Return the page of every stable code."""
    found = source.codes()
    status = {
        "AirbossError": "500",
        "Invalid": "422",
        "Fault": "422",
        "NotFound": "404",
        "Unauthenticated": "401",
        "Forbidden": "403",
        "Refused": "409",
        "Stale": "412",
        "Unavailable": "503",
        "OutcomeUnknown": "500",
        "TooLarge": "413",
        "Unreadable": "415",
        "NotUnderstood": "415",
        "Misdirected": "421",
        "Unconditional": "428",
        "TooMany": "429",
    }
    parts = []
    for code, means, way_out in table("errors.txt", 3):
        classes = found[code].classes if code in found else set()
        told = sorted({status[name] for name in classes if name in status})
        notes = []
        if told:
            notes.append(f"HTTP {' or '.join(told)}")
        if "Finding" in classes:
            notes.append("a finding shown with the change")
        if "Problem" in classes:
            notes.append("the command line")
        line = f"*{', '.join(notes)}.* " if notes else ""
        parts.append(f"## {code}\n\n{line}{means}\n\n**Way out.** {way_out}")
    return page(
        "Errors and findings",
        "Every refusal has a stable `code`, a sentence, often the `place` of the fault (`file:line:column` or a path in the "
        "body), and the way out. Over HTTP it is `application/problem+json` (RFC 9457); on the command line it is at most "
        "three lines on standard error. Programs branch on the code; it never gets another meaning.\n\n"
        "The class of an error says what to do next: *mend the input* (422), *look elsewhere* (404), *say who you are* (401), "
        "*ask somebody who may* (403), *not now* (409), *somebody was faster* (412), *nothing happened, try again* (503), "
        "*it may have happened, look first* (`outcome-unknown`).",
        *parts,
    )


def facts() -> str:
    """Return the page of every fact type."""
    return page(
        "Facts",
        "A fact is something that became true, recorded in the transaction that made it true. Its stored form is canonical "
        "JSON: `format`, `log_id`, `fact_id`, `at`, `actor_id`, `subject`, `subject_seq`, `type`, `body`, and where a state "
        "row changed `state_digest`. The last fact of a closed subject carries `closes_after`.\n\n"
        "*Text* in the table means a reference `blob:sha256:…`: the words lie beside the chain and can be erased. "
        "*The fields of a move* are `from`, `to`, `version`, `attempt` and `reason` (text).",
        grid(
            ("type", "about", "when", "fields of the body"),
            ([f"`{row[0]}`", *row[1:]] for row in table("facts.txt", 4)),
        ),
    )


def settings() -> str:
    """Return the page of settings."""
    told = {row[0]: row[1:] for row in table("settings.txt", 3)}
    defaults = Settings(data=Path("airboss-data"))
    rows = []
    for field in fields(Settings):
        default = getattr(defaults, field.name)
        shown = "" if default in (None, (), False) else f"`{default}`"
        option, means = told.pop(field.name)
        rows.append((f"`{option}`" if option != "-" else "", f"`AIRBOSS_{field.name.upper()}`", shown, means))
    others = [(f"`{name}`", means) for name, (_, means) in told.items()]
    return page(
        "Settings",
        "A setting given on the command line wins over the environment, which wins over the default. They are read once, at "
        "the start.",
        grid(("option of `serve`", "variable", "default", "meaning"), rows),
        "Beside the server's settings these variables are read:",
        grid(("variable", "meaning"), others),
    )


def policy_facts() -> str:
    """Return the page of what a rule may read."""
    rows = [(f"`{name}`", kind, means) for name, kind, means in schema()]
    return page(
        "Policy facts",
        "What `when` and `message` of a rule may read. A name that is not here is refused when the pack is loaded. A scalar "
        "nobody stated is unset; reading it makes the rule an error, and an error in an enforced rule blocks. Ask with "
        "`has(x)`, or `x == null`, first. A group that could not be fetched is absent as a whole.",
        grid(("fact", "type", "meaning"), rows),
    )


def access() -> str:
    """Return the page of roles, acts and scopes."""

    def tick(least: Role | None, role: Role) -> str:
        return "yes" if least is not None and role.covers(least) else ""

    rows = [
        (
            f"`{action}`",
            rule.what,
            *(tick(rule.least, role) for role in Role),
            f"`{rule.scope}`" if rule.scope is not None else "no token",
            "yes" if rule.personal else "",
            "yes" if rule.owned else "",
        )
        for action, rule in RULES.items()
    ]
    return page(
        "Roles and access",
        "Three roles, each with everything of the one before it. A token does what its scopes name and no more; a personal "
        "token never exceeds its person. *Personal* acts are refused to everything that is not one person. Who may fill a "
        "seat of an approval is not a role: groups and teams of the catalogue say it. Sending telemetry and evaluating flags "
        "needs a token bound to the service; no role includes it. A viewer or engineer may be narrowed to teams "
        "(`airboss user role NAME engineer --team payments`): then *owned* acts reach only changes, flags and services of these "
        "teams. Pausing, aborting, rolling back and killing are not owned: whoever is awake may stop harm.",
        grid(("act", "what it is", *(str(role) for role in Role), "scope of a token", "personal", "owned"), rows),
    )


def lifecycle() -> str:
    """Return the page of phases, moves and orders."""
    moves = [
        (
            f"`{phase}`",
            ", ".join(f"`{after}`" for after in sorted(MOVES[phase])) or "nothing follows",
            f"`{FACTS[phase]}`",
        )
        for phase in MOVES
    ]
    orders = [(f"`{verb}`", ", ".join(f"`{phase}`" for phase in sorted(phases))) for verb, phases in LEGAL.items()]
    return page(
        "The life of a change",
        "A change is in one phase; only these moves are legal. While it is rolling out it progresses, is held, or is paused.",
        grid(("phase", "can become", "fact of its arrival"), moves),
        "## Orders\n\nWhat people may order, and in which phase. Ordering the same twice is one order.",
        grid(("order", "possible in"), orders),
    )


def files() -> str:
    """Return the page of every kind of file, each with its example."""
    parts = []
    for kind, example, means in table("files.txt", 3):
        text = (EXAMPLES / example).read_text()
        fence = "markdown" if example.endswith(".md") else "yaml"
        shown = text if fence == "markdown" else _document(text, kind)
        parts.append(f"## {kind}\n\n{means}\n\nFrom `examples/{example}`:\n\n````{fence}\n{shown.strip()}\n````")
        if kind in KINDS:
            parts.append(_fields(kind))
    return page(
        "Files",
        "Everything a team writes is a document with `apiVersion` and `kind`, put in force by `airboss apply`. Files are "
        "YAML 1.2, read strictly: `on`, `2.10` and `no` stay text, an unknown field or a duplicate key is refused with line "
        "and column, and a file is checked whole before any of it is applied. Several documents stand in one file, parted "
        "by `---`. Secrets are given by reference: `{env: NAME}` or `{file: path}`. Durations carry their unit (`30s`, `5m`, "
        "`4h`, `17d`), shares are percentages (`5%`). A field that is *required* stands wherever the mapping it lies in does.",
        *parts,
    )


def _fields(kind: str) -> str:
    """Return the table of a kind's fields. Raises ValueError where a field is not explained, or an explanation has none."""
    means = {path: words for of, path, words in table("fields.txt", 3) if of == kind}
    found = fields_of(kind)
    if differing := set(means) ^ {field.path for field in found}:
        raise ValueError(f"fields.txt and the model of {kind} differ: {', '.join(sorted(differing))}")
    rows = [(f"`{field.path}`", field.kind, field.default, means[field.path]) for field in found]
    return grid(("field", "what may stand there", "left out", "meaning"), rows)


def _document(text: str, kind: str) -> str:
    """Return the document of a kind out of a file of several."""
    documents = text.split("\n---\n")
    fitting = [document for document in documents if f"\nkind: {kind}\n" in f"\n{document}\n"]
    if not fitting:
        raise ValueError(f"no example holds kind: {kind}")
    return fitting[0]


def cli() -> str:
    """Return the page of the command line."""
    parts: list[str] = []

    def tell(command: Any, path: str, parent: Any) -> None:
        context = type(parent)(command, info_name=path.rsplit(" ", 1)[-1], parent=parent) if parent else None
        context = context or command.make_context("airboss", [], resilient_parsing=True)
        usage = " ".join([path, *command.collect_usage_pieces(context)])
        text = [f"## {path}", f"```text\n{usage}\n```", _prose(command.help or "")]
        records = [
            (f"`{name}`", help_.replace("\n", " "))
            for parameter in command.params
            if (record := parameter.get_help_record(context)) is not None
            for name, help_ in [record]
        ]
        if records:
            text.append(grid(("option", "meaning"), records))
        parts.append("\n\n".join(text))
        for name, below in sorted(getattr(command, "commands", {}).items()):
            if not below.hidden:
                tell(below, f"{path} {name}", context)

    tell(typer.main.get_command(app), "airboss", None)
    codes = grid(("code", "meaning"), ((f"{code:d}", meaning) for code, meaning in MEANING.items()))
    return page(
        "The command line",
        "Verbs after nouns. `--json` gives what programs read; words go to people. Errors are three lines at most on standard "
        "error. IDs of changes may be shortened to their end where that is unambiguous.",
        f"## Exit codes\n\n{codes}",
        *parts,
    )


def _prose(text: str) -> str:
    return "\n\n".join(" ".join(part.split()) for part in text.replace("\b", "").split("\n\n"))


def api() -> str:
    """Return the page of the routes."""
    described = openapi()
    rows = []
    for path, operations in sorted(described["paths"].items()):
        for method, operation in operations.items():
            if method in ("get", "post", "put", "delete", "patch"):
                said = " ".join(operation.get("description", "").split()) or operation.get("summary", "")
                rows.append((f"`{method.upper()} {path}`", said.split(". ")[0].rstrip(".")))
    return page(
        "The HTTP API",
        "A running server describes itself at `/openapi.json` (OpenAPI 3.1, with shapes and examples); this is the list of "
        "what it answers. Send `Authorization: Bearer abt_…`, or the cookie of a session with an `Origin` of the server. "
        "Errors are [problem documents](errors.md). Lists are paged: pass `next_cursor` as `cursor`. An edit names the "
        "version it replaces in `If-Match`. Times are RFC 3339 in UTC.\n\n"
        "Telemetry goes to the ingest port: `POST /v1/traces`, `/v1/metrics`, `/v1/logs` (OTLP/HTTP, protobuf or JSON, plain or "
        "gzip), with a token of scope `telemetry.write` bound to the service.",
        grid(("route", "what it does"), rows),
    )


def openapi() -> Mapping[str, Any]:
    """Return the OpenAPI description of a server built on an empty folder."""
    with house() as server:
        found: Mapping[str, Any] = json.loads(json.dumps(create_app(server).openapi()))
    return found


@contextlib.contextmanager
def house() -> Iterator[House]:
    """Give the services of a server on an empty folder that is gone afterwards."""
    with tempfile.TemporaryDirectory() as folder:
        built = build(Settings(data=Path(folder)), engine=InlineEngine())
        try:
            yield built
        finally:
            built.close()


def sdk() -> str:
    """Return the page about what services import."""
    return page(
        "The SDK",
        "`pip install airboss` brings the evaluator, the ID codec and the attribute names (two small dependencies); "
        "`airboss[openfeature]` adds what the provider needs. Nothing of the server comes along. Everything below is "
        "typed (`py.typed`) and imported from `airboss.sdk`; names that are not here are private to the project.",
        "What it promises your service: no evaluation waits on a network, none raises, and none writes to what you "
        "pass in. While the server is away the last known flags answer, with a `cache_file` also after a restart. A span "
        "that your sampler drops carries no arm and is not counted; head sampling by trace ID drops both arms alike, "
        "so shares stay right and evidence comes slower.",
        *sdk_page.sections(),
    )


def kinds_of_change() -> str:
    """Return the page of the shipped templates."""
    with house() as server:
        return kinds(page, grid, server.changes.targets)


PAGES: Final[Mapping[str, Callable[[], str]]] = {
    "errors.md": errors,
    "facts.md": facts,
    "settings.md": settings,
    "policy-facts.md": policy_facts,
    "access.md": access,
    "lifecycle.md": lifecycle,
    "files.md": files,
    "templates.md": kinds_of_change,
    "cli.md": cli,
    "api.md": api,
    "sdk.md": sdk,
}
REFERENCE: Final = source.ROOT / "docs" / "reference"
