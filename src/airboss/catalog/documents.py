"""What a file holds: documents of registered kinds, in the order in which they can be applied.

`Kinds` is the one register. The catalog brings the kinds it keeps; other rooms (flags, policy, changes) register a
`Kind` that knows how to check and how to apply theirs. A file is checked whole before any of it is applied.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Literal, NoReturn, TypeAlias

from airboss.kernel.errors import Invalid
from airboss.kernel.yaml import Document, load_documents
from airboss.people.access import Action, Actor, require

AIRBOSS: Final = "airboss/v1"
OPENSLO: Final = "openslo/v1"

Outcome: TypeAlias = Literal["created", "changed", "unchanged"]

_FENCE: Final = re.compile(rb"---[ \t]*\r?\n")
_CLOSE: Final = re.compile(rb"^---[ \t]*\r?$", re.MULTILINE)


class Order:
    """When a kind is applied: what others name comes first."""

    ORGANISATION: Final = 10
    ENVIRONMENT: Final = 20
    RUNBOOK: Final = 30
    SERVICE: Final = 40
    OBJECTIVE: Final = 50
    WINDOW: Final = 60
    FLAG: Final = 70
    POLICY: Final = 80
    CHANGE: Final = 90


@dataclass(frozen=True, slots=True, kw_only=True)
class Parsed:
    """One checked document. `name` is empty for a change whose ID is still to be minted."""

    api_version: str
    kind: str
    name: str
    document: Document

    @property
    def value(self) -> dict[str, Any]:
        """The plain mapping."""
        assert isinstance(self.document.value, dict)
        return self.document.value


@dataclass(frozen=True, slots=True, kw_only=True)
class Applied:
    """What applying a document did. `warnings` name what it refers to and is not there (yet)."""

    kind: str
    name: str
    outcome: Outcome
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """How documents of one kind are checked and applied.

    `check` returns the document's name or raises Invalid with a place; it touches no database. `together` judges all the
    documents of the kind that are given at once, against those in force. `apply` is one use case, and `action` what it takes
    at least: who may not is told before any document of theirs is in force.
    """

    kind: str
    order: int
    action: Action
    check: Callable[[Document], str]
    apply: Callable[[Parsed, Actor], Applied]
    api_version: str = AIRBOSS
    together: Callable[[Sequence[Parsed]], None] | None = None


class Kinds:
    """The register of kinds: parses any file, applies any document."""

    def __init__(self, kinds: Iterable[Kind] = ()) -> None:
        self._kinds: dict[tuple[str, str], Kind] = {}
        for kind in kinds:
            self.register(kind)

    def register(self, kind: Kind) -> None:
        """Add a kind. Raises ValueError when it is there already: that is a mistake of ours."""
        key = (kind.api_version, kind.kind)
        if key in self._kinds:
            raise ValueError(f"{kind.kind} is registered twice")
        self._kinds[key] = kind

    @property
    def names(self) -> list[str]:
        """The kinds there are, in the order in which they are applied."""
        return [kind.kind for kind in sorted(self._kinds.values(), key=lambda kind: kind.order)]

    def parse(self, data: bytes, source: str) -> list[Parsed]:
        """Return the documents of a file in the order of applying. Raises Invalid with `source:line:column`."""
        return self.parse_all([(data, source)])

    def parse_all(self, files: Iterable[tuple[bytes, str]]) -> list[Parsed]:
        """Return the documents of several files as one ordered list. Raises Invalid, also for a name given twice."""
        found = [self._one(document) for data, source in files for document in read_file(data, source)]
        seen: dict[tuple[str, str], Parsed] = {}
        for parsed in found:
            first = seen.setdefault((parsed.kind, parsed.name), parsed)
            if first is not parsed and parsed.name:
                raise Invalid(
                    f"{parsed.kind} {parsed.name} is given twice, first at {first.document.place()}",
                    code="doubled",
                    place=parsed.document.place(),
                )
        return sorted(found, key=self.order)

    def together(self, parsed: Sequence[Parsed]) -> None:
        """Judge documents given at once, against each other and those in force. Raises Invalid before any is applied."""
        for key, kind in self._kinds.items():
            given = [one for one in parsed if (one.api_version, one.kind) == key]
            if given and kind.together is not None:
                kind.together(given)

    def require(self, parsed: Parsed, actor: Actor) -> None:
        """Raise Forbidden for whoever may apply no document of this kind."""
        require(actor, self._kinds[parsed.api_version, parsed.kind].action)

    def apply(self, parsed: Parsed, *, actor: Actor) -> Applied:
        """Apply one document. Raises what its room raises: Forbidden, Invalid, Refused."""
        return self._kinds[parsed.api_version, parsed.kind].apply(parsed, actor)

    def apply_all(self, parsed: Sequence[Parsed], *, actor: Actor) -> list[Applied]:
        """Apply documents one by one, each a use case of its own; applying again is harmless."""
        self.together(parsed)
        return [self.apply(one, actor=actor) for one in parsed]

    def order(self, parsed: Parsed) -> int:
        """Return when a document of this kind is applied."""
        return self._kinds[parsed.api_version, parsed.kind].order

    def _one(self, document: Document) -> Parsed:
        value = document.value
        if not isinstance(value, dict):
            document.refuse((), "a document is a mapping with apiVersion and kind", code="bad-document")
        api_version, kind = value.get("apiVersion"), value.get("kind")
        for field, found in (("apiVersion", api_version), ("kind", kind)):
            if not isinstance(found, str):
                document.refuse(
                    (field,),
                    f"{field} is missing or not text",
                    code="bad-document",
                    way_out=f"start with apiVersion: {AIRBOSS} and kind: one of {', '.join(self.names)}",
                )
        handler = self._kinds.get((str(api_version), str(kind)))
        if handler is None:
            self._refuse_kind(document, str(api_version), str(kind))
        return Parsed(
            api_version=handler.api_version, kind=handler.kind, name=handler.check(document), document=document
        )

    def _refuse_kind(self, document: Document, api_version: str, kind: str) -> NoReturn:
        versions = sorted({version for version, known in self._kinds if known == kind})
        if versions:
            document.refuse(
                ("apiVersion",),
                f"{kind} is not known in {api_version}",
                code="unknown-kind",
                way_out=f"write apiVersion: {versions[0]}",
            )
        document.refuse(
            ("kind",), f"unknown kind {kind!r}", code="unknown-kind", way_out=f"there are {', '.join(self.names)}"
        )


def read_file(data: bytes, source: str) -> list[Document]:
    """Return the documents of a YAML or JSON file, or the one document of a Markdown file with front matter.

    Raises Invalid (code `bad-yaml` or `bad-document`) with the place.
    """
    if source.endswith((".md", ".markdown")):
        return [_markdown(data, source)]
    return load_documents(data, source)


def _markdown(data: bytes, source: str) -> Document:
    """Return the front matter as a document, with the text below it as `body`. Lines keep their numbers."""
    opening = _FENCE.match(data)
    closing = _CLOSE.search(data, opening.end()) if opening else None
    if opening is None or closing is None:
        raise Invalid(
            "a Markdown document starts with front matter between two lines of ---",
            code="bad-document",
            place=f"{source}:1:1",
            way_out="start the file with ---, apiVersion, kind, name, and ---",
        )
    found = load_documents(b"\n" + data[opening.end() : closing.start()], source)
    if len(found) != 1 or not isinstance(found[0].value, dict):
        raise Invalid("the front matter is one mapping", code="bad-document", place=f"{source}:2:1")
    try:
        body = data[closing.end() :].decode("utf-8").replace("\r\n", "\n").strip("\n")
    except UnicodeDecodeError as fault:
        raise Invalid("the text is not UTF-8", code="bad-document", place=f"{source}:1:1") from fault
    if "\0" in body:
        raise Invalid("the character NUL stands in no text", code="bad-document", place=f"{source}:1:1")
    if "body" in found[0].value:
        found[0].refuse(("body",), "`body` is the text below the front matter", code="bad-document")
    return replace(found[0], value={**found[0].value, "body": body})
