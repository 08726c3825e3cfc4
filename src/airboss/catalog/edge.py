"""Where strangers' files become models: strict Pydantic shapes, and errors that point at the line.

Used by every room that reads documents (catalog, changes, calendar, flags, policy). The value of a document is checked
once, here; what comes out is trusted by the rules behind.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Iterable
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, Final, Literal, Protocol, TypeVar
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import ErrorDetails, PydanticCustomError

from airboss.kernel.canonical import canonical
from airboss.kernel.errors import Invalid
from airboss.kernel.ids import NAME
from airboss.kernel.yaml import Document, Path

_UNITS_S: Final = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}
_DURATION: Final = re.compile(
    r"(?:([0-9]{1,9})w)?(?:([0-9]{1,9})d)?(?:([0-9]{1,9})h)?(?:([0-9]{1,9})m)?(?:([0-9]{1,9})s)?"
)
MOST_DURATION_S: Final = 2 * 366 * 86_400
MOST_TOLD: Final = 400
"""Characters of a reason, which may quote what was written."""
FIRST_YEAR: Final = 2000
LAST_YEAR: Final = 2199
_PERCENT: Final = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?) ?%")
_LOCAL: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}(:[0-9]{2})?")
_HANDLE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+-]{0,126}")
_TAG: Final = re.compile(r"<.*>")

M = TypeVar("M", bound=BaseModel)


class Placed(Protocol):
    """Knows where the value at a path stands."""

    def place(self, path: Path = ()) -> str: ...


class Shape(BaseModel):
    """A mapping of a file. Unknown fields are refused by name, together with the fields there are."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, populate_by_name=False)

    @model_validator(mode="before")
    @classmethod
    def _known_fields(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        known = [field.alias or name for name, field in cls.model_fields.items()]
        for key in value:
            if key not in known:
                raise PydanticCustomError(
                    "unknown_field",
                    "unknown field '{field}'; there are {known}",
                    {"field": key, "known": ", ".join(known)},
                )
        return value


def duration_s(text: str) -> int:
    """Return the seconds of `90s`, `2m`, `4h`, `10d`, `1h30m`. Raises ValueError for anything else and beyond two years."""
    found = _DURATION.fullmatch(text)
    if not text or found is None:
        raise ValueError(f"{text!r} is not a duration: write 90s, 2m, 4h, 10d or 1h30m")
    seconds = sum(int(count) * _UNITS_S[unit] for count, unit in zip(found.groups(), "wdhms", strict=True) if count)
    if seconds > MOST_DURATION_S:
        raise ValueError(f"{text} is longer than two years")
    return seconds


def percent(text: str) -> Decimal:
    """Return the number of `5%` or `0.05%`, exactly. Raises ValueError for anything else and above 100 %."""
    found = _PERCENT.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r} is not a percentage: write 1% or 0.05%")
    number = Decimal(found[1])
    if number > 100:
        raise ValueError(f"{text} is more than 100 %")
    return number


def _taking_text(code: str, what: str, read: Callable[[str], Any]) -> Callable[[Any], Any]:
    """Return a validator that reads text with `read` and tells its ValueError under `code`."""

    def check(value: Any) -> Any:
        if not isinstance(value, str):
            raise PydanticCustomError(code, "{what} is expected, not {found}", {"what": what, "found": repr(value)})
        try:
            return read(value)
        except ValueError as fault:
            raise PydanticCustomError(code, "{why}", {"why": str(fault)}) from fault

    return check


def _name(text: str) -> str:
    if not NAME.fullmatch(text):
        raise PydanticCustomError(
            "bad_name",
            "'{name}' cannot be a name: use 1 to 63 of a-z, 0-9, '.', '_' and '-', with a letter or digit at both ends",
            {"name": text},
        )
    return text


def _handle(text: str) -> str:
    if not _HANDLE.fullmatch(text):
        raise PydanticCustomError("bad_name", "'{name}' cannot name a person", {"name": text})
    return text


def _zone(text: str) -> str:
    try:
        ZoneInfo(text)
    except (KeyError, OSError, ValueError) as fault:
        raise ValueError(f"{text!r} is not a time zone: write one such as Europe/Berlin or UTC") from fault
    return text


def _local_time(text: str) -> datetime:
    if not _LOCAL.fullmatch(text):
        raise ValueError(f"{text!r} is not a local time: write 2026-01-05T09:00, the zone stands beside it")
    return within_sight(datetime.fromisoformat(text))


def within_sight(at: datetime) -> datetime:
    """Return a time that people may mean. Raises ValueError for years in which sums over time would leave the calendar."""
    if not FIRST_YEAR <= at.year <= LAST_YEAR:
        raise ValueError(f"{at:%Y-%m-%d} is not between the years {FIRST_YEAR} and {LAST_YEAR}")
    return at


def _distinct(items: list[str]) -> list[str]:
    for item in items:
        if items.count(item) > 1:
            raise PydanticCustomError("doubled", "'{item}' stands twice", {"item": item})
    return items


Name = Annotated[str, AfterValidator(_name)]
"""What may name a thing: see `airboss.kernel.ids.NAME`."""
Names = Annotated[list[Name], Field(max_length=200), AfterValidator(_distinct)]
Handle = Annotated[str, AfterValidator(_handle)]
"""A person, by handle or by e-mail address."""
Handles = Annotated[list[Handle], Field(max_length=500), AfterValidator(_distinct)]
Line = Annotated[
    str, Field(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f\u2028\u2029\u202a-\u202e\u2066-\u2069]+$")
]
"""One line of text. Marks that turn the direction of writing are left out: they show an approver what is not written."""
Prose = Annotated[str, Field(min_length=1, max_length=10_000)]
Duration = Annotated[int, BeforeValidator(_taking_text("bad_duration", "a duration such as 2m", duration_s))]
"""A length of time, in seconds."""
Percent = Annotated[
    float, BeforeValidator(_taking_text("bad_percent", "a percentage such as 5%", lambda text: float(percent(text))))
]
"""A percentage, 0 to 100."""
Share = Annotated[
    float,
    BeforeValidator(_taking_text("bad_percent", "a percentage such as 5%", lambda text: float(percent(text) / 100))),
]
"""A percentage in the file, a share 0 to 1 in the model."""
Zone = Annotated[str, AfterValidator(_taking_text("bad_zone", "a time zone", _zone))]
LocalTime = Annotated[
    datetime, BeforeValidator(_taking_text("bad_time", "a local time such as 2026-01-05T09:00", _local_time))
]
"""A time of day on a date, in the zone that stands beside it; without a zone of its own."""


class Metadata(Shape):
    """Who a document is."""

    name: Name


class Envelope(Shape):
    """What every document of ours starts with."""

    api_version: Literal["airboss/v1"] = Field(alias="apiVersion")


def read_model(shape: type[M], document: Document) -> M:
    """Return a document as `shape`. Raises Invalid with the place of the first fault in the file."""
    return fit(shape, document)[0]


def fit(shape: type[M], document: Document) -> tuple[M, dict[str, Any]]:
    """Return a document as `shape`, and its value with numbers in text fields as they were written (`2.10`).

    Raises Invalid with the place of the first fault in the file.
    """
    value: Any = document.value
    try:
        return _told_exactly(shape.model_validate(value), value, document)
    except ValidationError as fault:
        first = fault
    # A version such as 2.10 reads as a number; where text is wanted, what stands in the file is meant.
    value = copy.deepcopy(value)
    mended = False
    for error in first.errors(include_url=False):
        path = _path(error)
        if error["type"] == "string_type" and type(error["input"]) in (int, float):
            mended |= _put(value, path, document.raw(path))
    if mended:
        try:
            return _told_exactly(shape.model_validate(value), value, document)
        except ValidationError as fault:
            first = fault
    raise invalid(first.errors(include_url=False), document) from None


def _told_exactly(model: M, value: Any, document: Document) -> tuple[M, dict[str, Any]]:
    """Return both, or raise Invalid for what JSON cannot carry exactly (numbers beyond 2^53, half a surrogate pair)."""
    try:
        canonical(value)
    except ValueError as fault:
        raise Invalid(str(fault), code="bad-value", place=document.place()) from fault
    return model, value


def invalid(errors: Iterable[ErrorDetails], document: Document) -> Invalid:
    """Return what Pydantic found as our error: the first fault in the file, with its place, and how many more."""
    found = sorted(errors, key=lambda error: _position(_place(error, document)))
    first = found[0]
    more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
    where = dotted(_path(first))
    code, detail = _told(first)
    if len(detail) > MOST_TOLD:
        detail = f"{detail[:MOST_TOLD]}…"
    return Invalid(f"{where}: {detail}{more}" if where else f"{detail}{more}", code=code, place=_place(first, document))


def dotted(path: Path) -> str:
    """Return a path as people write it: `spec.rollout.stages[0].target`."""
    text = ""
    for step in path:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else step
    return text


def _path(error: ErrorDetails) -> Path:
    """Return where an error is, without the tags of our unions (`<expose>`)."""
    path = tuple(step for step in error["loc"] if isinstance(step, int) or not _TAG.fullmatch(step))
    if error["type"] == "unknown_field":
        return (*path, error["ctx"]["field"])
    return path


def _place(error: ErrorDetails, document: Document) -> str:
    path = _path(error)
    return document.key_place(path) if error["type"] == "unknown_field" else document.place(path)


def _position(place: str) -> tuple[int, int]:
    _, line, column = place.rsplit(":", 2)
    return int(line), int(column)


def _told(error: ErrorDetails) -> tuple[str, str]:
    """Return the stable code and the words of one error."""
    kind, message = error["type"], error["msg"]
    match kind:
        case "missing":
            return "missing-field", "this field is missing"
        case "literal_error" | "enum":
            return "bad-value", f"{error['input']!r} is not one of {error['ctx']['expected']}"
        case "model_type" | "model_attributes_type" | "dict_type":
            return "wrong-type", "a mapping (name: value) is expected here"
        case "list_type":
            return "wrong-type", "a list is expected here"
        case _ if kind.endswith(("_type", "_parsing")):
            return "wrong-type", f"{_lower(message)}, not {error['input']!r}"
        case "string_pattern_mismatch":
            return (
                "bad-value",
                f"{error['input']!r} does not fit: one line without control characters, or the form named in the guide",
            )
        case _ if kind.replace("_", "-") in OWN_CODES:
            return kind.replace("_", "-"), message
        case _:
            return "bad-value", _lower(message)


OWN_CODES: Final = frozenset(
    {
        "unknown-field",
        "bad-name",
        "bad-duration",
        "bad-percent",
        "bad-zone",
        "bad-time",
        "doubled",
        "bad-step",
        "bad-gate",
        "bad-target",
    }
    | {"secret-in-file", "bad-reference", "bad-repeat", "bad-link", "bad-change-id"}
)
"""Codes raised by validators of ours; others of Pydantic's are told as `bad-value`, `wrong-type` or `missing-field`."""


def _lower(message: str) -> str:
    return message[:1].lower() + message[1:]


def _put(value: Any, path: Path, text: str | None) -> bool:
    """Write the text of a scalar into the copied value; return whether it could be."""
    if text is None or not path:
        return False
    holder = value
    for step in path[:-1]:
        holder = holder[step]
    holder[path[-1]] = text
    return True
