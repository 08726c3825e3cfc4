"""The pages as HTML: sound, safe, and saying what the view says."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from html.parser import HTMLParser

import pytest
from tests.faces.web import samples, samples_lists

from airboss.faces.web import Assets, Renderer
from airboss.faces.web.render import ago, percent, seconds, spark

VOID = {"area", "base", "br", "col", "hr", "img", "input", "link", "meta", "source", "wbr"}
NOW = datetime(2026, 11, 23, 14, 0, tzinfo=UTC)


class _Reader(HTMLParser):
    """Reads a page and notes what is wrong with it."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.ids: list[str] = []
        self.faults: list[str] = []
        self.labels: set[str] = set()
        self.inputs: set[str] = set()
        self.text: list[str] = []

    def handle_starttag(self, tag, attrs) -> None:
        if tag not in VOID:
            self.open.append(tag)
        given = dict(attrs)
        if len(given) != len(attrs):
            self.faults.append(f"{tag} names an attribute twice")
        if "id" in given:
            self.ids.append(given["id"])
        for name in given:
            if name == "style" or name.startswith("on"):
                self.faults.append(f"{tag} has {name}: the content security policy forbids it")
        if tag == "script" and "src" not in given:
            self.faults.append("an inline script")
        if tag == "style":
            self.faults.append("an inline style sheet")
        self._fields(tag, given)

    def _fields(self, tag, given) -> None:
        if tag == "label":
            self.labels.add(given.get("for", ""))
        if tag in {"input", "textarea"} and given.get("type") != "hidden":
            self.inputs.add(given.get("id", ""))
        if tag == "form" and given.get("method", "get") == "post" and not given.get("action", "").startswith("/"):
            self.faults.append("a form that leaves us")

    def handle_startendtag(self, tag, attrs) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag) -> None:
        if not self.open or self.open.pop() != tag:
            self.faults.append(f"</{tag}> closes nothing")

    def handle_data(self, data) -> None:
        self.text.append(data)


def _read(html: str) -> _Reader:
    reader = _Reader()
    reader.feed(html)
    reader.close()
    return reader


@pytest.fixture(scope="module")
def renderer() -> Renderer:
    return Renderer(Assets())


@pytest.mark.parametrize("name", samples_lists.PAGES)
def test_pages_are_sound(renderer: Renderer, name: str) -> None:
    """Tags are balanced, IDs unique, every field has its label, and nothing is inline that the CSP forbids."""
    template, make = samples_lists.PAGES[name]
    read = _read(renderer.page(template, make()))
    assert read.faults == []
    assert read.open == []
    assert len(read.ids) == len(set(read.ids))
    assert read.inputs <= read.labels


def test_what_people_write_is_never_markup(renderer: Renderer) -> None:
    """A title, a reason or a fact that holds markup is shown as text, wherever it stands."""
    evil = '<img src=x onerror="alert(1)">\'"&'
    page = samples.waiting_for_me()
    page.update(title=evil, why=evil, owner=evil, requester=evil, way_back=evil, services=[evil])
    page["timeline"][0].update(text=evil, detail=evil, raw=evil, actor=evil)
    page["decision"]["spoke"][0].update(message=evil, rule=evil, read=[(evil, evil)])
    page["decision"]["stands"][0].update(why=evil, clears=evil, now=evil, facts=[(evil, evil, evil)])
    page["approval"]["weighed"][0].update(label=evil, words=evil, lines=[{"text": evil, "rule": evil, "read": evil}])
    page["approval"]["changed"] = [{"field": evil, "was": evil, "now": evil}]
    page["evidence"] = [{**page["evidence"][0], "source": evil, "type": evil}]
    page["approval"]["actions"][0]["hidden"] = {"seen": evil}
    html = renderer.page("change", page)
    assert "<img" not in html
    assert _read(html).faults == []
    assert "".join(_read(html).text).count("onerror") >= 12


def test_only_what_the_reader_may_do_is_there(renderer: Renderer) -> None:
    """Without actions there is neither a button nor a form for them; absent, not grey."""
    page = samples.taken_back()
    html = renderer.page("change", page)
    assert "/rollback" not in html
    assert 'class="act' not in html
    assert "disabled" not in html


def test_live_parts_name_the_parts_they_replace(renderer: Renderer) -> None:
    """What a live page fetches again replaces parts that the page has, each whole."""
    page = _read(renderer.page("change", samples.rolling()))
    live = renderer.page("live", samples.taken_back())
    assert live.count('hx-swap-oob="true"') == 9
    assert _read(live).faults == []
    for part in ("head", "decide", "rollout", "review", "timeline", "aside"):
        assert part in page.ids
        assert f'id="{part}"' in live


def test_the_title_tells_where_the_change_stands(renderer: Renderer) -> None:
    """Somebody with twenty tabs sees the state without opening one."""
    assert "<title>New VAT engine for everybody · Held · Airboss</title>" in renderer.page("change", samples.rolling())


@pytest.mark.parametrize(
    ("at", "words"),
    [
        (NOW, "just now"),
        (NOW - timedelta(seconds=59), "59 s ago"),
        (NOW - timedelta(minutes=61), "1 h ago"),
        (NOW - timedelta(days=3), "3 d ago"),
        (NOW + timedelta(minutes=14), "in 14 min"),
    ],
)
def test_times_are_relative_with_the_absolute_in_the_title(at: datetime, words: str) -> None:
    """A tired reader gets words, a careful one the time in a named zone."""
    element = ago(at, NOW)
    assert f">{words}</time>" in element
    assert f'title="{at:%Y-%m-%d %H:%M:%S} UTC"' in element


def test_a_time_of_another_zone_is_told_in_utc() -> None:
    """The zone that is named is the one that is meant."""
    assert "13:00:00 UTC" in ago(datetime(2026, 11, 23, 14, 0, tzinfo=timezone(timedelta(hours=1))), NOW)


@pytest.mark.parametrize(
    ("value", "text"), [(10, "10"), (2.5, "2.5"), (0.04, "0.04"), (0, "0"), (-4.0, "-4"), (100.0, "100")]
)
def test_percents_have_no_needless_digits(value: float, text: str) -> None:
    """A share reads as people write it."""
    assert percent(value) == f"{text}\N{NARROW NO-BREAK SPACE}%"


def test_durations_are_told_in_one_unit() -> None:
    """The age of data is a glance, not a sum."""
    assert (seconds(2.1), seconds(125), seconds(0.2)) == ("2 s", "2 min", "0 s")


def test_a_small_plot_has_gaps_where_there_was_no_data() -> None:
    """Missing is not zero: the line is broken, not drawn to the ground."""
    lines = spark({"canary": [1.0, None, 2.0, 2.0], "baseline": [0.0, 0.0, 0.0, 0.0], "bound": 4.0})
    assert lines["canary"].count("M") == 2
    assert lines["bound"].startswith("M0 1.0")
    assert spark({"canary": [], "baseline": []})["canary"] == ""
    assert spark({"canary": [3.0], "baseline": [3.0]})["canary"].startswith("M0.0")
