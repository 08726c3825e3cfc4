"""What a request is decoded to, whatever its encoding: a table of root spans, and the exposures they carry."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from airboss.sdk import exposure
from airboss.sdk.attributes import SERVICE_NAME
from airboss.watch.telemetry.model import (
    CHANGE_ATTRIBUTES,
    ENVIRONMENT_ATTRIBUTES,
    INSTANCE_ATTRIBUTES,
    NUM_GROUPS,
    UNKNOWN,
)

LONGEST_NAME: Final = 255
LONGEST_CHANGE_ID: Final = 90
MOST_EXPOSURES: Final = 16
"""Elements one span may carry; a longer array is malformed."""
SUBJECT_LETTERS: Final = 16
LONGEST_SHOWN: Final = 120
SHOWN_ATTRIBUTES: Final = (
    *("http.request.method", "http.route", "http.response.status_code", "error.type", "rpc.system", "rpc.service"),
    *("rpc.method", "rpc.grpc.status_code", "messaging.system", "messaging.operation.name", "db.system.name"),
)
"""Attributes of an exemplar that are kept. None says who somebody is; addresses and queries are not among them."""
_ARMS: Final = {exposure.CANARY.encode(): 0, exposure.BASELINE.encode(): 1}
_GROUPS: Final = {b"%d" % number: number for number in range(NUM_GROUPS)}

KIND_SERVER: Final = 2
KIND_CONSUMER: Final = 5
STATUS_ERROR: Final = 2
PARENT_IS_REMOTE: Final = 0x200
"""SPAN_FLAGS_CONTEXT_IS_REMOTE_MASK of opentelemetry/proto/trace/v1/trace.proto."""


class Origin(NamedTuple):
    """Who made an item, from its resource attributes."""

    service: str
    environment: str
    change_ids: tuple[str, ...]
    instance: str = ""
    """Which pod, empty when it does not say."""


NOBODY: Final = Origin(UNKNOWN, UNKNOWN, ())


def shown(text: str) -> str:
    """Return a text as it is kept of an exemplar: on one line, and no longer than `LONGEST_SHOWN`."""
    return "".join(letter if letter.isprintable() else " " for letter in text[:LONGEST_SHOWN])


def origin(attributes: Mapping[str, str]) -> Origin:
    """Return who made an item. Of aliases for environment and pod the first one present wins; changes are all kept."""
    environment = next((attributes[key] for key in ENVIRONMENT_ATTRIBUTES if attributes.get(key)), UNKNOWN)
    changes = tuple(dict.fromkeys(attributes[key] for key in CHANGE_ATTRIBUTES if attributes.get(key)))
    service = attributes.get(SERVICE_NAME) or UNKNOWN
    instance = next((attributes[key] for key in INSTANCE_ATTRIBUTES if attributes.get(key)), "")
    return Origin(
        service[:LONGEST_NAME],
        environment[:LONGEST_NAME],
        tuple(c[:LONGEST_NAME] for c in changes),
        instance[:LONGEST_NAME],
    )


class Evaluation(NamedTuple):
    """One answer of a flag that was a split, as the plain OpenTelemetry hook tells it."""

    flag: str
    variant: str
    key: str


class Detail(NamedTuple):
    """What is shown of one span: IDs in hex, its name, and attributes of the short list `SHOWN_ATTRIBUTES`."""

    trace_id: str
    span_id: str
    name: str
    attributes: dict[str, str]


@dataclass(slots=True)
class Columns:
    """Root spans of one request, in the order they came. All lists of one table have the same length.

    `items[i]` counts every span (data point, log record) of `origins[i]`. `resource`, `start_ns`, `end_ns` and `bad` have
    one entry per root span. `exposed`, `changes`, `arms` (0 canary, 1 baseline), `groups` and `subjects` (16 letters, not
    checked yet to be hex) have one entry per exposure element; `exposed` names its root span. `malformed` names root spans
    with an element that cannot be read.
    """

    origins: list[Origin] = field(default_factory=list)
    items: list[int] = field(default_factory=list)
    resource: list[int] = field(default_factory=list)
    start_ns: list[int] = field(default_factory=list)
    end_ns: list[int] = field(default_factory=list)
    bad: list[bool] = field(default_factory=list)
    exposed: list[int] = field(default_factory=list)
    changes: list[bytes] = field(default_factory=list)
    arms: list[int] = field(default_factory=list)
    groups: list[int] = field(default_factory=list)
    subjects: list[bytes] = field(default_factory=list)
    malformed: list[int] = field(default_factory=list)
    evaluations: list[tuple[int, Evaluation]] = field(default_factory=list)
    """What the plain OpenTelemetry hook said, by root span."""
    details: Callable[[Sequence[int]], Mapping[int, Detail]] | None = field(default=None, compare=False)
    """Reads root spans (by row, in order) a second time, for what is shown of them."""

    def expose(self, element: bytes) -> None:
        """Add an element `<change_id>/<canary|baseline>/<group 0-99>/<subject: 16 hex>` to the root span that is added
        next.
        """
        try:
            change, arm, group, subject = element.split(b"/")
            arm_number, group_number = _ARMS[arm], _GROUPS[group]
        except (ValueError, KeyError):
            self.malformed.append(len(self.resource))
            return
        if len(subject) != SUBJECT_LETTERS or len(change) > LONGEST_CHANGE_ID:
            self.malformed.append(len(self.resource))
            return
        self._add(len(self.resource), change, arm_number, group_number, subject)

    def expose_subject(self, row: int, change_id: str, arm: int, key: str) -> None:
        """Add to a root span the element that the SDK would have written for this subject's key.

        Raises UnicodeEncodeError for a lone surrogate.
        """
        subject = exposure.subject_of(change_id, key).encode()
        self._add(row, change_id.encode(), arm, exposure.group_of(change_id, key), subject)

    def _add(self, row: int, change: bytes, arm: int, group: int, subject: bytes) -> None:
        self.exposed.append(row)
        self.changes.append(change)
        self.arms.append(arm)
        self.groups.append(group)
        self.subjects.append(subject)
