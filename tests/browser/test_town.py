"""A morning in a real browser, over the real server and a house in virtual time: sign in, approve, watch, abort, review."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, Page, expect
from tests.faces.web.stories import flags
from tests.faces.web.town import Town, town
from tests.tower.world import ramp

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def served() -> Iterator[Town]:
    with tempfile.TemporaryDirectory() as folder, town(Path(folder)) as made:
        made.world.apply(flags("pay.onepress", "search.ranking", "mail.receipt"))
        made.run(40)
        yield made


@pytest.fixture
def abroad(page: Page, served: Town) -> Iterator[list[str]]:
    """What a page asked of anybody but us; must stay empty."""
    asked: list[str] = []
    page.on(
        "request", lambda request: None if request.url.startswith((served.url, "data:")) else asked.append(request.url)
    )
    yield asked
    assert asked == []


def _sign_in(page: Page, served: Town, handle: str) -> None:
    page.context.add_cookies([served.cookie(handle)])
    page.goto(served.url)
    expect(page.locator(".me")).to_contain_text(handle)


def _sound(page: Page) -> None:
    """axe finds nothing, in either theme, with everything opened."""
    page.evaluate("document.querySelectorAll('details').forEach((fold) => { fold.open = true; })")
    for theme in ("light", "dark"):
        page.emulate_media(color_scheme=theme)
        found = Axe().run(page)
        assert [(rule["id"], [node["html"] for node in rule["nodes"]]) for rule in found.response["violations"]] == []


def test_a_link_signs_in_once_and_a_password_brings_back(
    page: Page, served: Town, abroad: list[str], faults: list[str]
) -> None:
    """Whoever opens a link is asked before it is spent, may set a password, and comes back to the page they asked for."""
    page.goto(f"{served.url}/changes?q=vat")
    expect(page).to_have_url(f"{served.url}/sign-in?next=/changes%3Fq%3Dvat")
    link = served.link("dev-c")
    page.goto(link)
    expect(page.get_by_role("heading")).to_have_text("Sign in as dev-c")
    _sound(page)
    page.get_by_role("button", name="Sign in").click()
    page.get_by_label("New password").fill("a tired person at the tower")
    page.get_by_role("button", name="Set it").click()
    expect(page.get_by_role("status")).to_contain_text("Password set.")
    page.get_by_role("button", name="Sign out").click()
    page.goto(link)
    expect(page.get_by_role("alert")).to_contain_text("This link was used already.")
    assert [fault for fault in faults if "401" not in fault] == []
    faults.clear()  # the browser notes that the answer was a refusal
    page.goto(f"{served.url}/changes?q=vat")
    page.get_by_label("Name").fill("dev-c")
    page.get_by_label("Password").fill("a tired person at the tower")
    page.get_by_role("button", name="Sign in").click()
    expect(page).to_have_url(f"{served.url}/changes?q=vat")


def test_a_bad_change_is_approved_watched_and_convicted(page: Page, served: Town, abroad: list[str]) -> None:
    """Another person approves; the page moves by itself from waiting to rolling out to rolled back, plot and all."""
    world = served.world
    world.nature.flag, world.nature.bad_new = "pay.onepress", 0.06
    change = world.propose(ramp(flag="pay.onepress", users=40, title="One-press payment"))
    served.run(3)
    _sign_in(page, served, "dev-b")
    expect(page.locator(".group.needs")).to_contain_text("One-press payment")
    _sound(page)
    page.get_by_role("link", name="Inbox").click()
    expect(page.locator(".group.needs")).to_contain_text("You have not looked at it yet.")
    _sound(page)
    page.get_by_role("link", name="Decide about One-press payment").click()
    expect(page.locator("#decide")).to_contain_text("dev-a wrote it and may not approve it.")
    _sound(page)
    page.locator("#decide-comment").fill("watched the last one, fine")
    page.get_by_role("button", name="Approve").click()
    expect(page.locator(".flash")).to_contain_text("Approved.")
    served.run(14)
    expect(page.locator("#head")).to_contain_text("Rolling out")
    expect(page.locator("#rollout")).to_contain_text("1 % exposed")
    assert served.run(300, until=lambda: world.phase(change) == "reviewing")
    expect(page.locator("#head")).to_contain_text("Convicted at")
    expect(page.locator("#timeline")).to_contain_text("checkout-errors fails")
    expect(page.locator(".canvas canvas")).to_have_count(2)
    page.locator(".u-over").first.hover(position={"x": 400, "y": 60})
    expect(page.locator(".read-out").first).to_contain_text("must stay below")
    _sound(page)
    assert "canary" in page.locator("#table-canary-checkout-errors").inner_text().casefold()


def test_a_review_is_closed_from_its_facts(page: Page, served: Town, abroad: list[str]) -> None:
    """What was rolled back is reviewed on its page: the facts have answered, a person agrees, the change is closed."""
    change = next(one for one in _ids(served) if served.world.phase(one) == "reviewing")
    _sign_in(page, served, "dev-b")
    page.goto(f"{served.url}/changes/{change}")
    page.get_by_text("Close the review").first.click()
    page.get_by_label("right", exact=True).check()
    page.get_by_label("What it teaches").fill("A fixture of the payment page was missing.")
    page.get_by_role("button", name="Close the review").click()
    expect(page.locator(".flash")).to_contain_text("Review closed.")
    served.run(2)
    assert served.world.phase(change) == "closed"


def test_a_fact_is_proven_on_its_page(page: Page, served: Town, abroad: list[str]) -> None:
    """From a line of the timeline to the signed root that holds it, and the file to take away."""
    change = _ids(served)[0]
    served.world.house.checkpoints.write_now()
    _sign_in(page, served, "viewer")
    page.goto(f"{served.url}/changes/{change}?all=1")
    page.locator(".timeline summary").last.click()
    page.get_by_role("link", name="proof that it is in the record").last.click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("is in the record")
    _sound(page)
    with page.expect_download() as download:
        page.get_by_role("link", name="Download the evidence").click()
    assert download.value.suggested_filename == f"{change}-evidence.json"


def test_a_moving_change_is_taken_back_by_two_presses(page: Page, served: Town, abroad: list[str]) -> None:
    """On a phone: Roll back, what happens next in a sentence, Roll back now; the page follows it home."""
    world = served.world
    world.nature.flag, world.nature.bad_new = "search.ranking", 0.002
    change = world.propose(ramp(flag="search.ranking", users=5, title="Learned ranking"))
    served.run(3)
    if world.phase(change) == "awaiting_approval":
        world.approve(change, "dev-b")
    assert served.run(30, until=lambda: world.percent("search.ranking") == 1)
    _sign_in(page, served, "dev-b")
    page.set_viewport_size({"width": 390, "height": 844})
    page.goto(f"{served.url}/changes/{change}")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.get_by_text("Roll back", exact=True).click()
    expect(page.locator("#act-rollback")).to_contain_text("goes back to 0 % at once")
    _sound(page)
    page.get_by_role("button", name="Roll back now").click()
    expect(page.locator(".flash")).to_contain_text("Rolling back.")
    served.run(10)
    expect(page.locator("#head")).to_contain_text("Rolled back")
    assert world.percent("search.ranking") == 0
    expect(page.get_by_text("Roll back", exact=True)).to_have_count(0)


def test_only_what_one_may_do_is_there(page: Page, served: Town, abroad: list[str]) -> None:
    """A viewer reads everything and finds no button; asked for directly, the server refuses with a way out."""
    draft = _draft(served)
    _sign_in(page, served, "viewer")
    page.goto(f"{served.url}/changes/{draft}")
    expect(page.locator("#head form, #head details")).to_have_count(0)


def test_what_is_not_there_is_a_page_with_a_way_out(browser: Browser, served: Town) -> None:
    """A wrong address is answered as a page, with what to do."""
    context, page = _fresh(browser, served)
    for path in ("/changes/chg_01ke6p5vxgf6dsr3w4tea1t2ct", "/nowhere"):
        answer = page.goto(served.url + path)
        assert answer is not None
        assert answer.status == 404
        expect(page.get_by_role("link", name="Back")).to_be_visible()
    _sound(page)
    context.close()


def test_the_first_page_is_small(page: Page, served: Town, abroad: list[str]) -> None:
    """The list as a newcomer loads it takes at most 100 KB on the wire."""
    _sign_in(page, served, "dev-b")
    sizes: list[int] = []
    fresh = page.context.browser.new_context()  # type: ignore[union-attr]
    fresh.add_cookies(page.context.cookies())
    first = fresh.new_page()
    first.on("requestfinished", lambda request: sizes.append(request.sizes()["responseBodySize"]))
    first.goto(served.url, wait_until="networkidle")
    fresh.close()
    assert len(sizes) >= 5
    assert sum(sizes) <= 100_000


def test_without_javascript_a_change_is_submitted_and_rejected(browser: Browser, served: Town) -> None:
    """With scripts off: a draft is submitted by its author, another person reads and rejects it."""
    draft = _draft(served, users=60)
    context, page = _fresh(browser, served, handle="dev-a", scripts=False)
    page.goto(f"{served.url}/changes/{draft}")
    page.get_by_role("button", name="Submit for review").click()
    expect(page.get_by_role("status").first).to_contain_text("Submitted.")
    context.close()
    served.run(3)
    context, page = _fresh(browser, served, scripts=False)
    page.goto(f"{served.url}/changes/{draft}")
    page.get_by_role("button", name="Reject").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("Mend the input")
    page.get_by_role("link", name="Back").click()
    page.locator("#decide-comment").fill("not before the holidays")
    page.get_by_role("button", name="Reject").click()
    expect(page.locator(".flash")).to_contain_text("Rejected.")
    context.close()
    served.run(3)
    assert served.world.phase(draft) == "rejected"


def _ids(served: Town) -> list[str]:
    page = served.world.house.changes.list(actor=served.world.people["root"])
    return [one.id for one in reversed(page.items)]


def _draft(served: Town, *, users: int = 5) -> str:
    from airboss.changes import Create

    data = ramp(flag="mail.receipt", users=users, title="Receipts by mail").encode()
    world = served.world
    return world.house.changes.create(Create(data=data, source="mail.yaml"), actor=world.people["dev-a"]).id


def _fresh(
    browser: Browser, served: Town, *, handle: str = "dev-b", scripts: bool = True
) -> tuple[BrowserContext, Page]:
    context = browser.new_context(java_script_enabled=scripts)
    page = context.new_page()
    page.set_default_timeout(10_000)
    _sign_in(page, served, handle)
    return context, page
