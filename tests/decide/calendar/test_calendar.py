# ruff: noqa: DTZ001 - windows are written in local time
"""Windows and freezes: when a change may start, in the local time of those who wrote them."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.changes.desk import ADMIN, DEV, EXAMPLES, KNOWN, RELEASE, Desk

from airboss.catalog import Catalog, Kinds
from airboss.changes import expand, read_change, template
from airboss.decide.calendar import WINDOW, Calendar, Closed, Length, Open, Reach, Window, occurrences, state
from airboss.kernel.errors import Forbidden, Invalid
from airboss.kernel.yaml import load_one

BERLIN = ZoneInfo("Europe/Berlin")
HOURS = Window(
    name="business-hours",
    allow=True,
    zone="Europe/Berlin",
    starts=datetime(2026, 1, 5, 9),
    lasts=Length(days=0, seconds=7 * 3600),
    repeats="FREQ=WEEKLY;BYDAY=MO,TU,WE,TH",
)
FREEZE = Window(
    name="year-end-freeze",
    allow=False,
    zone="Europe/Berlin",
    starts=datetime(2026, 12, 18, 18),
    lasts=Length(days=17, seconds=0),
    reach=Reach(tiers=frozenset({"critical"}), environments=frozenset({"production"})),
    reason="year-end trading",
)
CHECKOUT = Reach(
    services=frozenset({"checkout"}),
    tiers=frozenset({"critical"}),
    environments=frozenset({"staging", "production"}),
    kinds=frozenset({"service-release"}),
)


def _at(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=BERLIN).astimezone(UTC)


def test_a_named_window_must_be_open():
    """A change that names business hours starts in them, and is told when they come again."""
    assert state([HOURS], CHECKOUT, _at(2026, 6, 1, 10), named="business-hours") == Open(until=_at(2026, 6, 1, 16))
    assert state([HOURS], CHECKOUT, _at(2026, 6, 4, 16), named="business-hours") == Closed(
        why="the change asked for business-hours, which is closed now",
        window="business-hours",
        opens_at=_at(2026, 6, 8, 9),
    )


def test_an_allowing_window_without_a_scope_binds_only_who_names_it():
    """Business hours that say no scope leave other changes alone; with a scope they bind whom they mean."""
    night = _at(2026, 6, 1, 3)
    assert state([HOURS], CHECKOUT, night) == Open(until=None)
    scoped = replace(HOURS, reach=Reach(tiers=frozenset({"critical"})))
    assert state([scoped], CHECKOUT, night) == Closed(
        why="changes like this start only in business-hours", window="business-hours", opens_at=_at(2026, 6, 1, 9)
    )
    assert isinstance(state([scoped], replace(CHECKOUT, tiers=frozenset({"standard"})), night), Open)
    second = replace(scoped, name="nights", starts=datetime(2026, 1, 5, 1))
    assert isinstance(state([scoped, second], CHECKOUT, night), Open)


def test_a_freeze_goes_before_every_window():
    """In the freeze nothing it means starts, even in its window; it says why and when the window opens after it."""
    assert state([HOURS, FREEZE], CHECKOUT, _at(2026, 12, 21, 10), named="business-hours") == Closed(
        why="year-end-freeze is a freeze (year-end trading)",
        window="year-end-freeze",
        opens_at=_at(2027, 1, 5, 9),
    )
    assert isinstance(
        state([FREEZE], replace(CHECKOUT, environments=frozenset({"staging"})), _at(2026, 12, 21, 10)), Open
    )
    assert state([FREEZE], CHECKOUT, _at(2026, 12, 18, 17, 59)) == Open(until=_at(2026, 12, 18, 18))
    everything = replace(FREEZE, reach=Reach())
    assert isinstance(state([everything], Reach(), _at(2026, 12, 21, 10)), Closed)


def test_a_window_nobody_knows_is_closed():
    """A missing window never reads as open."""
    assert state([], CHECKOUT, _at(2026, 6, 1, 10), named="tea") == Closed(
        why="the window tea does not exist", window="tea", opens_at=None
    )


def test_local_hours_stay_local_over_summer_time():
    """Nine o'clock stays nine o'clock: 08:00 UTC in winter, 07:00 UTC in summer."""
    (winter,) = occurrences(HOURS, _at(2026, 3, 26, 0), _at(2026, 3, 27, 0))
    (summer,) = occurrences(HOURS, _at(2026, 3, 30, 0), _at(2026, 3, 31, 0))
    assert (winter[0].hour, summer[0].hour) == (8, 7)
    assert winter[1] - winter[0] == summer[1] - summer[0] == timedelta(hours=7)


def test_days_end_at_the_same_time_of_day_and_hours_after_as_many_hours():
    """Over the night of 29 March 2026 a day has 23 hours and 24 hours are a little more than a day."""
    day = replace(HOURS, repeats=None, starts=datetime(2026, 3, 28, 18), lasts=Length(days=1, seconds=0))
    hours = replace(day, lasts=Length(days=0, seconds=24 * 3600))
    whole = (_at(2026, 3, 28), _at(2026, 3, 31))
    assert list(occurrences(day, *whole)) == [(_at(2026, 3, 28, 18), _at(2026, 3, 29, 18))]
    assert list(occurrences(hours, *whole)) == [(_at(2026, 3, 28, 18), _at(2026, 3, 29, 19))]


@pytest.mark.parametrize(
    ("starts", "begins"),
    [
        (datetime(2026, 3, 29, 2, 30), datetime(2026, 3, 29, 1, 30, tzinfo=UTC)),  # left out: read as 03:30 summer time
        (datetime(2026, 10, 25, 2, 30), datetime(2026, 10, 25, 0, 30, tzinfo=UTC)),  # comes twice: the first
    ],
)
def test_times_that_are_left_out_or_come_twice(starts, begins):
    """What the clock skips or repeats is read as RFC 5545 says."""
    window = replace(HOURS, repeats=None, starts=starts)
    assert [span[0] for span in occurrences(window, begins - timedelta(days=1), begins + timedelta(days=1))] == [begins]


# Half hours around both changes of the clock, in zones that change, that do not, and that change at other hours.
TURNS = st.sampled_from(
    [datetime(2026, 3, 29, 1), datetime(2026, 10, 25, 1), datetime(2026, 3, 8, 7), datetime(2026, 11, 1, 6)]
)


@settings(max_examples=60, deadline=None)
@given(
    zone=st.sampled_from(["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata", "UTC"]),
    turn=TURNS,
    starts=st.integers(0, 47),
    lasts=st.integers(1, 60),
    days=st.integers(0, 1),
    allow=st.booleans(),
    ask=st.integers(-96, 96),
)
def test_closed_and_next_open_hold_over_a_change_of_the_clock(*, zone, turn, starts, lasts, days, allow, ask):
    """The answer and the moment told equal a walk through time by half hours over each window's own local span."""
    local = turn.replace(tzinfo=UTC).astimezone(ZoneInfo(zone)).replace(tzinfo=None, hour=0, minute=0) - timedelta(
        days=1
    )
    window = Window(
        name="w",
        allow=allow,
        zone=zone,
        starts=local + timedelta(minutes=30 * starts),
        lasts=Length(days=days, seconds=1800 * lasts),
        repeats="FREQ=DAILY;INTERVAL=3",
        reach=Reach(kinds=frozenset({"service-release"})),
    )
    at = turn.replace(tzinfo=UTC) + timedelta(minutes=30 * ask)

    def is_open(moment):
        here = ZoneInfo(zone)
        for turns in range(9):
            begins = window.starts + timedelta(days=3 * turns)
            opens = begins.replace(tzinfo=here).astimezone(UTC)
            ends = (begins + timedelta(days=days)).replace(tzinfo=here).astimezone(UTC) + timedelta(
                seconds=1800 * lasts
            )
            if opens <= moment < ends:
                return allow
        return not allow

    answer = state([window], CHECKOUT, at)
    assert isinstance(answer, Open) is is_open(at)
    step = timedelta(minutes=30)
    moment = at + step
    while moment < at + timedelta(days=5) and is_open(moment) is is_open(at):
        moment += step
    told = answer.until if isinstance(answer, Open) else answer.opens_at
    if moment < at + timedelta(days=5):
        assert told == moment


@given(
    at=st.datetimes(datetime(2026, 1, 1), datetime(2027, 12, 31)).map(lambda at: at.replace(tzinfo=UTC)),
    named=st.sampled_from([None, "business-hours"]),
)
def test_the_moment_told_is_the_moment(at, named):
    """When the answer says it changes, it does: there and not a microsecond before."""
    windows = [HOURS, FREEZE]
    answer = state(windows, CHECKOUT, at, named=named)
    moment = answer.until if isinstance(answer, Open) else answer.opens_at
    if moment is None:
        return
    assert moment > at
    assert type(state(windows, CHECKOUT, moment, named=named)) is not type(answer)
    assert type(state(windows, CHECKOUT, moment - timedelta(microseconds=1), named=named)) is type(answer)


@pytest.mark.parametrize(
    ("field", "code"),
    [
        ("zone: Mars/Olympus", "bad-zone"),
        ("starts: 2026-01-05 09:00", "bad-time"),
        ("lasts: 0s", "bad-duration"),
        ("lasts: long", "bad-duration"),
        ("repeats: FREQ=SECONDLY", "bad-repeat"),
        ("repeats: FREQ=WEEKLY;BYSECOND=1", "bad-repeat"),
        ("repeats: FREQ=DAILY;INTERVAL=0", "bad-repeat"),
        ("repeats: FREQ=MONTHLY;BYMONTH=2;BYMONTHDAY=30", "bad-repeat"),
        ("repeats: FREQ=DAILY;UNTIL=20260301T000000Z", "bad-repeat"),
        ("repeats: FREQ=DAILY;COUNT=2;UNTIL=20260301", "bad-repeat"),
        ("repeats: FREQ=WEEKLY;BYDAY=XX", "bad-repeat"),
        ("repeats: every monday", "bad-repeat"),
        ("scope: {tiers: [vital]}", "bad-value"),
    ],
)
def test_bad_windows_are_refused(field, code):
    """A window that cannot be read, never happens or costs too much to walk is refused with its place."""
    good = {"allow": "true", "zone": "UTC", "starts": "2026-01-05T09:00", "lasts": "7h"}
    name, _, value = field.partition(": ")
    lines = [f"  {key}: {text}" for key, text in {**good, name: value}.items()]
    text = "\n".join(["apiVersion: airboss/v1", "kind: Window", "metadata: {name: w}", "spec:", *lines])
    kinds = Kinds(Catalog(None, None, held=[WINDOW]).kinds())  # type: ignore[arg-type]  # parsing touches no store
    with pytest.raises(Invalid) as caught:
        kinds.parse(text.encode(), "w.yaml")
    assert caught.value.code == code
    assert caught.value.place.startswith("w.yaml:")


def test_the_calendar_over_the_catalog(store, journal, clock, ids):
    """Applied windows answer for an expanded change by its tiers, environments and schedule."""
    desk = Desk(store, journal, clock, ids).furnish()
    draft = read_change(load_one(RELEASE, "c.yaml"))
    spec = expand(draft, template("service-release"), KNOWN)
    calendar = Calendar(desk.catalog)
    with store.read() as connection:
        assert calendar.reach(connection, spec) == CHECKOUT
        assert isinstance(calendar.state(connection, spec, _at(2026, 6, 1, 10)), Open)
        frozen = calendar.state(connection, spec, _at(2026, 12, 21, 10))
        assert isinstance(frozen, Closed)
        assert frozen.window == "year-end-freeze"
        late = replace(
            spec, schedule=replace(spec.schedule, not_before=_at(2026, 6, 2, 20), not_after=_at(2026, 6, 3, 12))
        )
        assert calendar.state(connection, late, _at(2026, 6, 1, 10)) == Closed(
            why="it is to start not before 2026-06-02 18:00 UTC", window="schedule", opens_at=_at(2026, 6, 3, 9)
        )
        assert calendar.state(connection, late, _at(2026, 6, 3, 10)) == Open(until=_at(2026, 6, 3, 12))
        assert isinstance(calendar.state(connection, late, _at(2026, 6, 3, 12)), Closed)


def test_windows_have_their_own_right(store, journal, clock, ids):
    """Applying a window asks for the calendar's right, not for the catalog's."""
    desk = Desk(store, journal, clock, ids)
    parsed = desk.kinds.parse((EXAMPLES / "calendar.yaml").read_bytes(), "calendar.yaml")
    with pytest.raises(Forbidden):
        desk.kinds.apply(parsed[0], actor=DEV)
    assert [one.outcome for one in desk.kinds.apply_all(parsed, actor=ADMIN)] == ["created", "created"]
