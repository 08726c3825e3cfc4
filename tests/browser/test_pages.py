"""The pages in a real browser: accessible in both themes, operable by keyboard, live, and of use without JavaScript."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, Route, expect
from tests.faces.web import samples, samples_lists
from tests.faces.web.site import served

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with served() as url:
        yield url


def _keep_waiting(route: Route) -> None:
    """Leave a request without an answer: the stream is there and silent."""


@pytest.mark.parametrize("name", samples_lists.PAGES)
@pytest.mark.parametrize(("theme", "width"), [("dark", 1280), ("light", 390)])
def test_pages_are_accessible(page: Page, address: str, theme: str, name: str, width: int) -> None:
    """axe finds nothing wrong in either theme, at a desk or on a phone, with everything opened."""
    page.emulate_media(color_scheme=theme)
    page.set_viewport_size({"width": width, "height": 844})
    page.goto(f"{address}/{name}")
    page.evaluate("document.querySelectorAll('details').forEach((fold) => { fold.open = true; })")
    found = Axe().run(page)
    told = [(rule["id"], [node["html"] for node in rule["nodes"]]) for rule in found.response["violations"]]
    assert told == []


@pytest.mark.parametrize("name", samples_lists.PAGES)
def test_pages_fit_a_phone(page: Page, address: str, name: str) -> None:
    """Nothing is wider than 360 pixels, so nobody scrolls sideways at night."""
    page.set_viewport_size({"width": 360, "height": 740})
    page.goto(f"{address}/{name}")
    assert page.evaluate("document.documentElement.scrollWidth") <= 360


def test_the_first_page_is_small(page: Page, address: str) -> None:
    """The list with everything it loads takes at most 100 KB on the wire."""
    sizes: list[int] = []
    page.on("requestfinished", lambda request: sizes.append(request.sizes()["responseBodySize"]))
    page.goto(f"{address}/changes", wait_until="networkidle")
    assert len(sizes) >= 5
    assert sum(sizes) <= 100_000


def test_keys(page: Page, address: str) -> None:
    """`/` searches, `j` and `k` move, Enter opens, `?` helps."""
    page.goto(f"{address}/changes")
    page.keyboard.press("?")
    expect(page.locator("#keys")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator("#keys")).to_be_hidden()
    page.keyboard.press("/")
    expect(page.locator("#search")).to_be_focused()
    page.keyboard.press("Escape")
    for key, title in [("j", "One-press"), ("j", "New VAT"), ("k", "One-press")]:
        page.keyboard.press(key)
        expect(page.locator(".row.here a")).to_be_focused()
        expect(page.locator(".row.here")).to_contain_text(title)


def test_deciding_by_keyboard_never_decides_by_one_key(page: Page, address: str) -> None:
    """`a` and `r` lead to the decision, they do not take it: the form is sent by a second press."""
    page.goto(f"{address}/waiting-for-me")
    page.keyboard.press("a")
    expect(page.get_by_role("button", name="Approve")).to_be_focused()
    page.goto(f"{address}/rolling")
    page.keyboard.press("r")
    expect(page.get_by_role("button", name="Roll back now")).to_be_focused()
    page.keyboard.press("Escape")
    expect(page.get_by_role("button", name="Roll back now")).to_be_hidden()


def test_a_copied_id_is_the_id(page: Page, address: str) -> None:
    """A press on the ID puts it into the clipboard."""
    page.goto(f"{address}/rolling")
    page.locator(".crumbs .id").click()
    expect(page.locator(".crumbs .id")).to_have_text("Copied")
    assert page.evaluate("navigator.clipboard.readText()") == samples.ID


def test_the_theme_is_kept(page: Page, address: str) -> None:
    """A chosen theme outlives a reload and overrules the system's."""
    page.emulate_media(color_scheme="light")
    page.goto(f"{address}/changes")
    page.get_by_role("button", name="Light or dark").click()
    dark = "getComputedStyle(document.body).backgroundColor"
    chosen = page.evaluate(dark)
    page.reload()
    assert page.evaluate(dark) == chosen == "rgb(18, 21, 23)"


def test_the_plot_is_drawn(page: Page, address: str) -> None:
    """The numbers of the plot's address end on a canvas, and the pointer reads them out."""
    page.goto(f"{address}/rolling")
    expect(page.locator(".canvas canvas")).to_have_count(2)
    page.locator(".u-over").first.hover(position={"x": 300, "y": 60})
    expect(page.locator(".read-out").first).to_contain_text("must stay below 1.2 %")
    page.locator(".u-over").last.hover(position={"x": 300, "y": 60})
    expect(page.locator(".read-out").last).to_contain_text("convicted at 200 : 1")
    expect(page.locator(".read-out").last).to_contain_text("users needed")
    page.set_viewport_size({"width": 390, "height": 844})  # a phone is turned: the plot follows
    expect(page.locator("html")).to_have_js_property("scrollWidth", 390)


def test_a_live_page_takes_what_is_new_and_keeps_what_is_open(page: Page) -> None:
    """A message makes the page fetch its parts again; what the reader opened stays open."""
    with served(moving=True) as url:
        page.route("**/stream*", _keep_waiting)
        page.goto(f"{url}/rolling")
        page.locator("#step-1 > summary").click()
        page.evaluate("htmx.trigger(document.body, 'airboss:moved')")
        expect(page.locator("#head")).to_contain_text("Rolling back")
        expect(page.locator("#step-1")).to_have_attribute("open", "")
        expect(page.locator("#timeline")).to_contain_text("Convicted")


def test_the_stream_alone_moves_the_page(page: Page) -> None:
    """One message on the event stream is enough; nobody presses anything."""
    with served(moving=True) as url:
        page.goto(f"{url}/rolling")
        expect(page.locator("#head")).to_contain_text("Rolling back")
        page.goto("about:blank")


def test_words_being_written_are_not_taken_away(page: Page) -> None:
    """A reason half written survives what arrives meanwhile; the rest of the page moves on."""
    with served(moving=True) as url:
        page.route("**/stream*", _keep_waiting)
        page.goto(f"{url}/waiting-for-me")
        page.locator("#decide-comment").fill("looks fine, but")
        page.evaluate("htmx.trigger(document.body, 'airboss:moved')")
        expect(page.locator("#head")).to_contain_text("Rolling back")
        expect(page.locator("#decide-comment")).to_have_value("looks fine, but")


def test_without_javascript_everything_needed_is_there(browser: Browser, address: str) -> None:
    """Reading, approving, rejecting and rolling back work where scripts are off."""
    context = browser.new_context(java_script_enabled=False)
    plain = context.new_page()
    posted: list[tuple[str, str | None]] = []
    plain.on(
        "request", lambda request: posted.append((request.url, request.post_data)) if request.method == "POST" else None
    )
    plain.goto(f"{address}/rolling")
    expect(plain.locator("#timeline")).to_contain_text("Step 1 ended well")
    plain.get_by_text("Roll back", exact=True).click()
    plain.get_by_role("button", name="Roll back now").click()
    plain.goto(f"{address}/waiting-for-me")
    plain.locator("#decide-comment").fill("seen")
    plain.get_by_role("button", name="Reject").click()
    context.close()
    assert posted == [
        (f"{address}{samples.HREF}/rollback", "version=7"),
        (f"{address}{samples.HREF}/reject", f"seen={samples.DIGEST.replace(':', '%3A')}&comment=seen"),
    ]
