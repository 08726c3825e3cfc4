"""Pictures of every sample page: both themes, desk and phone. `python -m tests.faces.web.screenshots FOLDER`."""

from __future__ import annotations

import sys
from pathlib import Path

from playwright.sync_api import sync_playwright
from tests.browser.chromium import launch
from tests.faces.web import samples
from tests.faces.web.site import served

SIZES = {"desk": (1280, 900), "phone": (390, 844)}


def main(folder: Path, only: list[str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with served() as address, sync_playwright() as playwright:
        browser = launch(playwright)
        for theme in ("light", "dark"):
            for size, (width, height) in SIZES.items():
                context = browser.new_context(
                    color_scheme=theme, viewport={"width": width, "height": height}, device_scale_factor=1
                )
                page = context.new_page()
                for name in only or samples.PAGES:
                    page.goto(f"{address}/{name}")
                    page.wait_for_timeout(300)
                    page.screenshot(path=folder / f"{name}-{theme}-{size}.png", full_page=True)
                context.close()
        browser.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
