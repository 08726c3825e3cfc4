"""Pictures of every page as the server gives it: both themes, desk and phone.

`python -m tests.faces.web.screenshots FOLDER [PAGE …]`.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from playwright.sync_api import Page, sync_playwright
from tests.browser.chromium import launch
from tests.faces.web.stories import morning
from tests.faces.web.town import Town, town

SIZES = {"desk": (1280, 900), "phone": (390, 844)}


def main(folder: Path, only: list[str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as data, town(Path(data)) as served, sync_playwright() as playwright:
        pages = _pages(served, morning(served))
        browser = launch(playwright)
        context = browser.new_context()
        _sign_in(context.new_page(), served)
        for theme in ("light", "dark"):
            for size, (width, height) in SIZES.items():
                page = context.new_page()
                page.emulate_media(color_scheme=theme)
                page.set_viewport_size({"width": width, "height": height})
                for name, address in pages.items():
                    if only and name not in only:
                        continue
                    page.goto(served.url + address)
                    page.wait_for_timeout(400)
                    page.screenshot(path=folder / f"{name}-{theme}-{size}.png", full_page=True)
                page.close()
        if not only or "sign-in" in only:
            _signed_out(browser.new_context().new_page(), served, folder)
        browser.close()


def _pages(served: Town, found: dict[str, str]) -> dict[str, str]:
    facts = served.world.house
    with facts.store.read() as connection:
        position = facts.journal.of(connection, found["convicted"])[-4].position
    return {
        "changes": "/",
        "searched": "/changes?q=payment",
        "inbox": "/inbox",
        "reviews": "/reviews",
        "services": "/services",
        "service": "/services/checkout",
        "not-found": "/changes?q=nothing+like+it",
        **{name: f"/changes/{change}" for name, change in found.items()},
        "proof": f"/changes/{found['convicted']}/facts/{position}/proof",
        **{name: f"/{name}" for name in ("on-call", "calendar", "versions", "people")},
        "policy": f"/policy?change={found['waiting']}",
        "audit": f"/audit?change={found['draft']}",
        "flags": "/flags",
        "flag": "/flags/search.ranking?who=user-17",
        "password": "/password",
        "error": "/changes/chg_01ke6p5vxgf6dsr3w4tea1t2ct",
    }


def _sign_in(page: Page, served: Town) -> None:
    page.goto(served.link("dev-b"))
    page.get_by_role("button", name="Sign in").click()
    page.get_by_role("link", name="Not now").click()
    page.close()


def _signed_out(page: Page, served: Town, folder: Path) -> None:
    for theme in ("light", "dark"):
        page.emulate_media(color_scheme=theme)
        page.goto(f"{served.url}/sign-in")
        page.screenshot(path=folder / f"sign-in-{theme}-desk.png")
        page.goto(served.link("dev-a"))
        page.screenshot(path=folder / f"link-{theme}-desk.png")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
