"""Writes the generated pages: `python -m tools.docs`; with `--check` it only says which are not up to date."""

from __future__ import annotations

import sys

from tools.docs.pages import PAGES, REFERENCE


def main(arguments: list[str]) -> int:
    """Return 0, or 1 when `--check` found a page that is not what the code says."""
    old = 0
    for name, make in PAGES.items():
        path = REFERENCE / name
        text = make()
        if path.exists() and path.read_text() == text:
            continue
        old += 1
        if "--check" in arguments:
            sys.stdout.write(f"{path} is not up to date: python -m tools.docs\n")
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
            sys.stdout.write(f"wrote {path}\n")
    return 1 if old and "--check" in arguments else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
