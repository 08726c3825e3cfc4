"""Pictures of every page as the server gives it: both themes, desk and phone, and the evidence page as it prints.

`python -m tests.faces.web.screenshots FOLDER [PAGE …]`.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from playwright.sync_api import BrowserContext, Page, sync_playwright
from tests.browser.chromium import launch
from tests.faces.web.stories import morning
from tests.faces.web.town import Town, town

from airboss.people.access import Role, TokenScope
from airboss.people.identity import AddPerson, IssueToken

SIZES = {"desk": (1280, 900), "phone": (390, 844)}
EMPTY = {
    "empty-changes": "/",
    "empty-inbox": "/inbox",
    "empty-reviews": "/reviews",
    "quiet": "/on-call",
    "no-versions": "/versions",
    "no-calendar": "/calendar",
}
"""What teaches the next step before anything has happened."""


def main(folder: Path, only: list[str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as data, town(Path(data)) as served, sync_playwright() as playwright:
        browser = launch(playwright)
        context, admin = browser.new_context(), browser.new_context()
        _sign_in(context.new_page(), served, "dev-b")
        _shoot(context, served, EMPTY, folder, only)
        found = morning(served)
        pages = _pages(served, found)
        _shoot(context, served, pages, folder, only)
        _sign_in(admin.new_page(), served, "root")
        _shoot(admin, served, {"people-admin": "/people"}, folder, only)
        _narrowed(browser.new_context(), served, found, folder, only)
        _evidence(context.new_page(), served, found["convicted"], folder, only)
        if not only or "sign-in" in only:
            _signed_out(browser.new_context().new_page(), served, folder)
        browser.close()


def _shoot(context: BrowserContext, served: Town, pages: dict[str, str], folder: Path, only: list[str]) -> None:
    wanted = {name: address for name, address in pages.items() if not only or name in only}
    page = context.new_page()
    for name, address in wanted.items():
        page.emulate_media(color_scheme="light")
        page.goto(served.url + address)
        page.wait_for_timeout(400)
        for size, (width, height) in SIZES.items():
            page.set_viewport_size({"width": width, "height": height})
            for theme in ("light", "dark"):
                page.emulate_media(color_scheme=theme)
                page.wait_for_timeout(150)
                page.screenshot(path=folder / f"{name}-{theme}-{size}.png", full_page=True)
    page.close()


def _pages(served: Town, found: dict[str, str]) -> dict[str, str]:
    house = served.world.house
    with house.store.read() as connection:
        position = house.journal.of(connection, found["convicted"])[-4].position
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
        "flag-killed": "/flags/basket.hints",
        "password": "/password",
        "error": "/changes/chg_01ke6p5vxgf6dsr3w4tea1t2ct",
    }


def _narrowed(context: BrowserContext, served: Town, found: dict[str, str], folder: Path, only: list[str]) -> None:
    """Somebody whose rights are narrowed to a team that does not own the service, with a token of their own."""
    identity, root = served.world.house.identity, served.world.people["root"]
    identity.persons.add(AddPerson(handle="dev-n", role=Role.ENGINEER, teams=("search",)), root)
    identity.tokens.issue(
        IssueToken(label="ci of checkout", scopes=frozenset({TokenScope.READ}), days=30, personal=False), root
    )
    _sign_in(context.new_page(), served, "dev-n")
    pages = {"draft-narrowed": f"/changes/{found['draft']}", "held-narrowed": f"/changes/{found['held']}"}
    _shoot(context, served, pages, folder, only)


def _evidence(page: Page, served: Town, change: str, folder: Path, only: list[str]) -> None:
    """The evidence page: as a file is opened, and as it prints."""
    if only and "evidence" not in only:
        return
    answer = page.request.get(f"{served.url}/changes/{change}/evidence-pack.html")
    file = folder / "evidence.html"
    file.write_bytes(answer.body())
    page.goto(file.resolve().as_uri())
    for size, (width, height) in SIZES.items():
        page.set_viewport_size({"width": width, "height": height})
        page.screenshot(path=folder / f"evidence-{size}.png", full_page=True)
    page.pdf(
        path=folder / "evidence.pdf", format="A4", margin=dict.fromkeys(("top", "bottom", "left", "right"), "16mm")
    )


def _sign_in(page: Page, served: Town, handle: str) -> None:
    page.goto(served.link(handle))
    page.get_by_role("button", name="Sign in").click()
    page.get_by_role("link", name="Not now").click()
    page.close()


def _signed_out(page: Page, served: Town, folder: Path) -> None:
    link = served.link("dev-a")
    for theme in ("light", "dark"):
        page.emulate_media(color_scheme=theme)
        page.goto(f"{served.url}/sign-in")
        page.screenshot(path=folder / f"sign-in-{theme}-desk.png")
        page.goto(link)
        page.screenshot(path=folder / f"link-{theme}-desk.png")
    page.get_by_role("button", name="Sign in").click()
    page.get_by_role("link", name="Not now").click()
    page.get_by_role("button", name="Sign out").click()
    page.goto(link)
    page.screenshot(path=folder / "link-used-dark-desk.png")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
