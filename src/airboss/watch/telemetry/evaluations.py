"""What the plain OpenTelemetry hook of OpenFeature says: a span event for each flag that was evaluated.

The event lies on whichever span was current. What counts is its local root, so it is looked for among the spans of the
same resource in the same body; where the root comes in another body, the evaluation is not counted.

Source: OpenTelemetry semantic conventions, feature flags in events; OpenFeature specification, appendix D.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final, NamedTuple

from airboss.watch.telemetry.columns import Columns, Evaluation
from airboss.watch.telemetry.schema import MESSAGES

EVENT: Final = "feature_flag.evaluation"
MARK: Final = EVENT.encode()
"""A body without these bytes holds no evaluation."""
FLAG: Final = "feature_flag.key"
VARIANT: Final = "feature_flag.result.variant"
REASON: Final = "feature_flag.result.reason"
CONTEXT: Final = "feature_flag.context.id"
SPLIT: Final = "split"
MOST_EVENTS: Final = 32
"""Events of one span that are looked at."""
LONGEST_KEY: Final = 1024
_DEEPEST: Final = 64


class Seen(NamedTuple):
    """A span of one resource: its ID, its parent's where it is no local root, and what was evaluated in it."""

    id: tuple[Any, Any]
    parent: tuple[Any, Any] | None
    evaluations: list[Evaluation]


def join(columns: Columns, first_row: int, spans: Iterable[Seen]) -> None:
    """Add the evaluations of one resource's spans to their local roots, whose rows begin at `first_row`."""
    rows: dict[tuple[Any, Any], int] = {}
    parents: dict[tuple[Any, Any], tuple[Any, Any]] = {}
    found = []
    row = first_row
    for span in spans:
        if span.parent is None:
            rows[span.id] = row
            row += 1
        else:
            parents[span.id] = span.parent
        found += [(span.id, evaluation) for evaluation in span.evaluations]
    for at, evaluation in found:
        place: tuple[Any, Any] | None = at
        for _ in range(_DEEPEST):
            if place is None or place in rows:
                break
            place = parents.get(place)
        if place in rows:
            columns.evaluations.append((rows[place], evaluation))


def evaluation(text: Callable[[str], str]) -> Evaluation | None:
    """Return what an event says, by its attributes; None unless a split answered it for somebody."""
    flag, variant, key = text(FLAG), text(VARIANT), text(CONTEXT)
    if not flag or not variant or not 0 < len(key) <= LONGEST_KEY or text(REASON).lower() != SPLIT:
        return None
    return Evaluation(flag, variant, key)


def of_events(events: Iterable[bytes]) -> list[Evaluation]:
    """Return the evaluations of a span's events. Raises DecodeError."""
    found = []
    for data, _ in zip(events, range(MOST_EVENTS), strict=False):
        if MARK not in data:
            continue
        event = MESSAGES["Event"].FromString(data)
        if event.name == MARK:
            one = evaluation(lambda name, of=event.attributes: _text(of.get(name)))  # type: ignore[misc]
            found += [] if one is None else [one]
    return found


def _text(value: bytes | None) -> str:
    if value is None:
        return ""
    text: str = MESSAGES["AnyValue"].FromString(value).string
    return text
