"""What each error code means and what to do about it: read from the page's own source, `errors.txt`."""

from __future__ import annotations

import functools
from importlib import resources


@functools.cache
def meanings() -> dict[str, tuple[str, str]]:
    """Return code → (meaning, way out) of every error there is."""
    text = (resources.files("airboss.faces.api") / "errors.txt").read_text("utf-8")
    rows = (line.split(" | ") for line in text.splitlines() if line and not line.startswith("#"))
    return {code.strip(): (means.strip(), way_out.strip()) for code, means, way_out in rows}
