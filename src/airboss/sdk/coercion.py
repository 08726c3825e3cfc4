"""JsonLogic's values: comparison, truth and arithmetic with JavaScript's coercions, as flagd-core for Python has them.

Agreement with flagd-core is the point, its corners included (`cat` of a boolean gives `True`), because a flag must answer
the same whoever evaluates it. Where that library would let a definition eat the machine (repeated squaring, doubling
texts) there is a limit, and passing it is an error of that one evaluation.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, time
from email.utils import formatdate
from math import isnan
from operator import ge, gt, le, lt
from time import mktime
from typing import Any, Final

NAN: Final = float("nan")
LONGEST_TEXT: Final = 65_536
LONGEST_LIST: Final = 1_000
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_BIGGEST: Final = 2**1023


class OverLimit(ValueError):
    """A value grew past what one evaluation may build."""


def to_number(value: Any) -> float:
    """Return the number a value stands for, NaN where it stands for none."""
    if isinstance(value, int | float):
        return value
    if value is None:
        return 0
    if isinstance(value, list):
        if not value:
            return 0
        return to_number(value[0]) if len(value) == 1 else NAN
    if isinstance(value, dict):
        return NAN
    if isinstance(value, str):
        return _number_in(value)
    if isinstance(value, datetime):
        return (value - _EPOCH).total_seconds() * 1000.0
    if isinstance(value, date):
        return (datetime.combine(value, time(), tzinfo=UTC) - _EPOCH).total_seconds() * 1000.0
    return float(value)


def _number_in(text: str) -> float:
    if text.strip().lower() in {"inf", "-inf", "+inf"}:
        return NAN
    try:
        return float(text)
    except ValueError:
        return NAN


def to_text(value: Any) -> str:
    """Return the text a value stands for."""
    if isinstance(value, str):
        return value
    if isinstance(value, float):
        return f"{value:.15g}"
    if isinstance(value, int):
        return str(value)
    if value is None:
        return "null"
    if isinstance(value, list):
        return ",".join(to_text(item) for item in value)
    if isinstance(value, dict):
        return "[object Object]"
    if isinstance(value, date):
        return formatdate(mktime(value.timetuple()), usegmt=True)
    return str(value)


def truth(value: Any) -> bool:
    """Return whether a value counts as true: empty texts, lists, zero and NaN do not; every object does."""
    if value is True:
        return True
    if value is False or value is None:
        return False
    if isinstance(value, float):
        return not isnan(value) and bool(value)
    if isinstance(value, str | int | list):
        return bool(value)
    return True


def equals(left: Any = None, right: Any = None, *_: Any) -> bool:
    """`==`: with coercion; lists and objects are equal only to themselves."""
    if type(left) is type(right):
        return left is right if type(left) in {list, dict} else bool(left == right)
    if isinstance(left, int | float):
        return left == (right if isinstance(right, int | float) else to_number(right))
    if isinstance(right, int | float):
        return to_number(left) == right
    if left is None or right is None:
        return False
    match left, right:
        case (str(), list() | dict()):
            return bool(left == to_text(right))
        case (list() | dict(), list() | dict()):
            return False
        case (list() | dict(), str()):
            return to_text(left) == right
        case _:
            raise TypeError(f"{type(left).__name__} and {type(right).__name__} cannot be compared")


def differs(left: Any = None, right: Any = None, *_: Any) -> bool:
    """`!=`."""
    return not equals(left, right)


def same(left: Any = None, right: Any = None, *_: Any) -> bool:
    """`===`."""
    return bool(left == right)


def not_same(left: Any = None, right: Any = None, *_: Any) -> bool:
    """`!==`."""
    return bool(left != right)


def _ordering(holds: Callable[[Any, Any], bool]) -> Callable[..., bool]:
    def pair(left: Any, right: Any) -> bool:
        if isinstance(left, int | float):
            return holds(left, to_number(right))
        if isinstance(right, int | float):
            return holds(to_number(left), right)
        if isinstance(left, str):
            return holds(left, to_text(right))
        if isinstance(right, str):
            return holds(to_text(left), right)
        return holds(to_number(left), to_number(right))

    def compare(left: Any = None, middle: Any = None, right: Any = None, *_: Any) -> bool:
        return pair(left, middle) if right is None else pair(left, middle) and pair(middle, right)

    return compare


less, more, at_most, at_least = _ordering(lt), _ordering(gt), _ordering(le), _ordering(ge)


def negation(value: Any = None, *_: Any) -> bool:
    """`!`."""
    return not truth(value)


def yes(value: Any = None, *_: Any) -> bool:
    """`!!`."""
    return truth(value)


def _bounded(number: float) -> float:
    """Keep integers within what a float holds: beyond it JavaScript would have said Infinity long ago."""
    if isinstance(number, int) and abs(number) > _BIGGEST:
        raise OverLimit("an integer grew past 2^1023")
    return number


def add(*values: Any) -> float:
    """`+`."""
    total: float = 0
    for value in values:
        total += to_number(value)
    return _bounded(total)


def multiply(*values: Any) -> float:
    """`*`."""
    product: float = 1
    for value in values:
        product = _bounded(product * to_number(value))
    return product


def subtract(left: Any = None, right: Any = None, *_: Any) -> float:
    """`-`: with one value, its negative."""
    return -to_number(left) if right is None else _bounded(to_number(left) - to_number(right))


def divide(left: Any, right: Any, *_: Any) -> float:
    """`/`. Raises ZeroDivisionError."""
    return to_number(left) / to_number(right)


def modulo(left: Any, right: Any, *_: Any) -> float:
    """`%`. Raises ZeroDivisionError."""
    return to_number(left) % to_number(right)


def least(*values: Any) -> float:
    """`min`; NaN of nothing."""
    return min((to_number(value) for value in values), default=NAN)


def greatest(*values: Any) -> float:
    """`max`; NaN of nothing."""
    return max((to_number(value) for value in values), default=NAN)


def concatenate(*values: Any) -> str:
    """`cat`."""
    text = "".join(map(to_text, values))
    if len(text) > LONGEST_TEXT:
        raise OverLimit(f"a text grew past {LONGEST_TEXT} characters")
    return text


def merge(*values: Any) -> list[Any]:
    """`merge`."""
    merged: list[Any] = []
    for value in values:
        if isinstance(value, list):
            merged.extend(value)
        else:
            merged.append(value)
    if len(merged) > LONGEST_LIST:
        raise OverLimit(f"a list grew past {LONGEST_LIST} items")
    return merged


def contains(needle: Any = None, haystack: Any = None, *_: Any) -> bool:
    """`in`."""
    if isinstance(haystack, list):
        return needle in haystack
    return isinstance(haystack, str) and to_text(needle) in haystack


def substring(value: Any = None, start: Any = None, length: Any = None, *_: Any) -> str:
    """`substr`: a negative start counts from the end, a negative length leaves that many off the end."""
    text = to_text(value)
    size = len(text)
    offset = to_number(start)
    if isnan(offset):
        begin = 0
    elif offset < 0:
        begin = 0 if -offset >= size else size - int(-offset)
    else:
        begin = size if offset >= size else int(offset)
    if length is None:
        return text[begin:]
    count = to_number(length)
    if isnan(count):
        return ""
    whole = int(count)
    return text[begin : max(begin, size + whole)] if whole < 0 else text[begin : begin + whole]


_ABSENT: Final = object()


def look_up(data: Any, key: Any = None, default: Any = None, *_: Any) -> Any:
    """`var`: follow a dotted path through objects, lists and texts."""
    if key is None or key == "":
        return data
    if isinstance(key, int | float):
        if isinstance(data, list | str):
            index = int(key) if key == key // 1 else -1
            return data[index] if 0 <= index < len(data) else default
        data = data.get(key) if isinstance(data, dict) else None
        if data is None:
            return default
    for part in to_text(key).split("."):
        if isinstance(data, dict):
            data = data.get(part)
        elif isinstance(data, list | str):
            if part == "length":
                return len(data)
            data = _item(data, part)
        else:
            data = _ABSENT
        if data is _ABSENT:
            return default
    return default if data is None else data


def _item(items: list[Any] | str, part: str) -> Any:
    """Return an item by its index written in decimal, as JavaScript would take it."""
    if not part.isdecimal() or str(int(part)) != part or int(part) >= len(items):
        return _ABSENT
    return items[int(part)]


def missing(data: Any, *keys: Any) -> list[Any]:
    """`missing`: the keys for which `var` finds nothing or an empty text."""
    asked = keys[0] if keys and isinstance(keys[0], list) else keys
    return [key for key in asked if (value := look_up(data, key)) is None or value == ""]


def missing_some(data: Any, needed: Any = 0, keys: Any = None, *_: Any) -> list[Any]:
    """`missing_some`: nothing when at least `needed` of the keys are there, else the missing ones."""
    if not isinstance(keys, list):
        return []
    absent = missing(data, keys)
    return [] if len(keys) - len(absent) >= to_number(needed) else absent


def starts_with(text: Any = None, prefix: Any = None, *rest: Any) -> bool | None:
    """Return what flagd's `starts_with` does; None unless it is given exactly two texts."""
    return text.startswith(prefix) if not rest and isinstance(text, str) and isinstance(prefix, str) else None


def ends_with(text: Any = None, suffix: Any = None, *rest: Any) -> bool | None:
    """Return what flagd's `ends_with` does; None unless it is given exactly two texts."""
    return text.endswith(suffix) if not rest and isinstance(text, str) and isinstance(suffix, str) else None


def identity(value: Any = None, *_: Any) -> Any:
    """`log`: hand the value on. A flag has no business writing to a service's standard output."""
    return value


OPERATORS: Final[dict[str, Callable[..., Any]]] = {
    "==": equals,
    "!=": differs,
    "===": same,
    "!==": not_same,
    "<": less,
    ">": more,
    "<=": at_most,
    ">=": at_least,
    "!": negation,
    "!!": yes,
    "+": add,
    "*": multiply,
    "-": subtract,
    "/": divide,
    "%": modulo,
    "in": contains,
    "min": least,
    "max": greatest,
    "cat": concatenate,
    "substr": substring,
    "merge": merge,
    "log": identity,
    "starts_with": starts_with,
    "ends_with": ends_with,
}
"""The operators that need only their arguments."""
