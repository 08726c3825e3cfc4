"""From a page's dictionary (see `views`) to HTML. Pure: the time shown is the page's own `shell.now`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from airboss.faces.web.assets import Assets
from airboss.kernel.clock import rfc3339

Page: TypeAlias = Literal[
    "sign_in",
    "password",
    "changes",
    "change",
    "live",
    "proof",
    "error",
    "flags",
    "flag",
    "inbox",
    "on_call",
    "on_call_live",
    "reviews",
    "services",
    "service",
    "audit",
    "people",
    "policy",
    "calendar",
    "versions",
]

SECURITY_HEADERS: Final = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "referrer-policy": "same-origin",
    "x-content-type-options": "nosniff",
    "cross-origin-opener-policy": "same-origin",
    "cache-control": "no-store",
}
"""What goes with every page."""

_UNITS: Final = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))
SPARK_WIDTH: Final = 88
SPARK_HEIGHT: Final = 32


class Renderer:
    """The templates, compiled once."""

    def __init__(self, assets: Assets) -> None:
        self._environment = Environment(
            loader=FileSystemLoader(Path(__file__).parent / "templates"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._environment.globals["asset"] = assets.url
        self._environment.filters.update(
            ago=ago, percent=percent, rfc3339=rfc3339, seconds=seconds, spark=spark, utc=utc
        )

    def page(self, name: Page, view: Mapping[str, Any]) -> str:
        """Return the page as HTML. Raises jinja2.UndefinedError for a view that lacks what the page needs: our own bug."""
        return self._environment.get_template(f"{name}.html").render(view)


def _span(seconds_: float) -> str:
    size = abs(seconds_)
    for length, unit in _UNITS:
        if size >= length:
            return f"{int(size // length)} {unit}"
    return "0 s"


def _left(seconds_: float) -> str:
    """Return how long is left, in two units where it is hours or days: a round that ends in 2 d 23 h does not end in 2 d."""
    for (length, unit), (below, smaller) in pairwise(_UNITS):
        if seconds_ >= length:
            rest = int(seconds_ % length // below)
            return f"{int(seconds_ // length)} {unit}" + (f" {rest} {smaller}" if rest and length > 60 else "")
    return _span(seconds_)


def ago(at: datetime, now: datetime) -> Markup:
    """Return a time element: relative words, the absolute time in UTC in its title."""
    past = (now - at).total_seconds()
    words = "just now" if abs(past) < 5 else f"in {_left(-past)}" if past < 0 else f"{_span(past)} ago"
    return Markup('<time datetime="{}" title="{}" data-ago>{}</time>').format(
        rfc3339(at), utc(at), words
    )  # formatted by Markup, which escapes


def utc(at: datetime) -> str:
    """Return a time as the record has it, to the second: 2026-11-23 14:00:05 UTC."""
    return at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def percent(value: float) -> str:
    """Return a share in percent with a narrow space, one decimal at most, two digits below one: 10 %, 2.5 %, 0.04 %."""
    digits = f"{value:.1f}".rstrip("0").rstrip(".") if abs(value) >= 1 else f"{value:.2g}"
    return f"{digits}\N{NARROW NO-BREAK SPACE}%"


def seconds(value: float) -> str:
    """Return a duration in its largest whole unit: 4 s, 2 min."""
    return _span(value)


def spark(view: Mapping[str, Any]) -> dict[str, str]:
    """Return the paths of a small plot, both lines and the bound to one scale.

    The scale starts at 0 where the values come near it, and below the smallest where they do not (durations).
    """
    bound = view.get("bound")
    values = [value for side in ("canary", "baseline") for value in view[side] if value is not None]
    top = max([*values, bound or 0.0]) or 1.0
    least = min(values, default=0.0)
    floor = 0.0 if least < top / 2 else least - (top - least) / 2
    return {
        "canary": _path(view["canary"], floor, top),
        "baseline": _path(view["baseline"], floor, top),
        "bound": "" if bound is None else f"M0 {_height(bound, floor, top)}H{SPARK_WIDTH}",
    }


def _height(value: float, floor: float, top: float) -> str:
    return f"{SPARK_HEIGHT - 1 - (SPARK_HEIGHT - 2) * (value - floor) / ((top - floor) or 1.0):.1f}"


def _path(values: Sequence[float | None], floor: float, top: float) -> str:
    """Return an SVG path through the values; a gap where there is none."""
    step = SPARK_WIDTH / max(1, len(values) - 1)
    parts, pen = [], "M"
    for number, value in enumerate(values):
        if value is None:
            pen = "M"
            continue
        parts.append(f"{pen}{number * step:.1f} {_height(value, floor, top)}")
        pen = "L"
    return "".join(parts)
