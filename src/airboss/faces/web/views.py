"""What each page is made of: plain dictionaries, so that a page can be rendered and looked at without a server.

Read views build these; templates only lay them out. Everything a person reads is a finished sentence here, in the words of
the glossary; a template never decides what a number means. Times are aware datetimes, shares are percents (0 to 100),
numbers that people read are text with their unit ("0.21 %", "34 ms").

Conventions:
- `tone` is one of the four states, the only ones a page shows: `well` (going well), `waiting`, `needs` (needs you) and
  `harmed`. Each has its own icon and colour; the word always stands beside it.
- an `Action` is a form: it works without JavaScript, and only those the reader may take are listed.
- every time is shown relative with the absolute in the title, from `Shell.now`.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal, NotRequired, TypeAlias

from typing_extensions import TypedDict

Tone: TypeAlias = Literal["well", "waiting", "needs", "harmed"]


class State(TypedDict):
    """Where something stands: `word` is one or two words, `sentence` says what it waits for and what can be done."""

    tone: Tone
    word: str
    sentence: NotRequired[str]


class NavItem(TypedDict):
    """One entry of the top bar. `count` is shown when it is above 0 (things that wait for the reader)."""

    label: str
    href: str
    current: bool
    count: NotRequired[int]


class Shell(TypedDict):
    """What every page has. `user` is the reader's handle, None when signed out; `sign_out` is where that form posts."""

    now: datetime
    user: str | None
    role: NotRequired[str]
    nav: list[NavItem]
    more: NotRequired[list[NavItem]]
    """What the menu at the end of the bar leads to."""
    version: str
    demo: NotRequired[bool]
    """A page of a demo server says so at the top."""
    flash: NotRequired[State]
    """What the last action came to, told once."""


class Field(TypedDict):
    """One line of words an action may be given. `rows` above 1 makes it a text area."""

    name: str
    label: str
    required: bool
    rows: NotRequired[int]
    hint: NotRequired[str]


class Action(TypedDict):
    """Something the reader may do now, as a form.

    `hidden` carries what the command must name (the expected version, the digest that was seen). `confirm` is what happens
    next, in a sentence; with it the first press opens the sentence and the second one does it. `key` is a shortcut (`a`, `r`).
    """

    name: str
    label: str
    href: str
    hidden: dict[str, str]
    look: Literal["primary", "plain", "danger"]
    confirm: NotRequired[str]
    confirm_label: NotRequired[str]
    fields: NotRequired[list[Field]]
    key: NotRequired[str]


class Fault(TypedDict):
    """What is wrong with a form: the field it stands at, and words with the way out."""

    field: str
    words: str


# ---------------------------------------------------------------------------------------------------- the list


class ChangeRow(TypedDict):
    """One change in a list. `exposure` is observed, in percent, None while nothing is exposed."""

    id: str
    href: str
    title: str
    state: State
    kind: str
    services: list[str]
    owner: str
    tier: str | None
    exposure: float | None
    moved_at: datetime


class Group(TypedDict):
    """Changes that have one thing in common, e.g. "Needs you", "Moving", "Waiting", "Over"."""

    heading: str
    tone: Tone
    rows: list[ChangeRow]


class Empty(TypedDict):
    """What an empty page teaches: the one next step, and the command to copy for it."""

    heading: str
    sentence: str
    command: NotRequired[str]


class ChangesPage(TypedDict):
    """The list. `query` are the words searched for, `given` all that was asked; `older` leads on, as (label, address)."""

    shell: Shell
    groups: list[Group]
    query: str
    given: dict[str, str]
    narrowed: bool
    states: list[tuple[str, str]]
    tiers: list[tuple[str, str]]
    fault: NotRequired[Fault]
    empty: NotRequired[Empty]
    older: list[tuple[str, str]]


# ------------------------------------------------------------------------------------------------- one change


class Numbers(TypedDict):
    """One measured value: `value` with its unit, `interval` in words where it matters, `of` the count behind it."""

    value: str
    interval: NotRequired[str]
    of: NotRequired[str]


class Spark(TypedDict):
    """The small plot of a gate: equally long lists, None where there was no data; drawn to a common scale."""

    canary: list[float | None]
    baseline: list[float | None]
    bound: NotRequired[float]


class Gate(TypedDict):
    """One gate of a step, as a row. `needs` says what is still missing and how long that takes at this traffic."""

    name: str
    what: str
    verdict: State
    canary: NotRequired[Numbers]
    baseline: NotRequired[Numbers]
    bound: NotRequired[str]
    age_s: NotRequired[float]
    needs: NotRequired[str]
    spark: NotRequired[Spark]


class Step(TypedDict):
    """One step of the plan. `phase` says whether it is over, going on or still to come; gates only where it was entered."""

    number: int
    label: str
    percent: float | None
    """The exposure it wants; None for a step that asks or runs something."""
    phase: Literal["done", "now", "ahead", "failed", "skipped"]
    note: str
    """In a few words: "held 41 s", "4 s of at least 6 s", "at least 10 s"."""
    gates: list[Gate]


class Exposure(TypedDict):
    """The bar. `wanted` and `observed` in percent; `back` is true while it goes back to the baseline."""

    wanted: float
    observed: float | None
    back: bool
    sentence: str
    """The same for those who do not see the bar."""


class PlotTable(TypedDict):
    """The numbers of a plot, newest first, as text."""

    columns: list[str]
    rows: list[list[str]]


class Plot(TypedDict):
    """The large plot of one indicator. `data` is where its PlotData comes from."""

    name: str
    title: str
    caption: str
    evidence: str
    """What the picture of the evidence says, in a sentence; empty where there is none yet."""
    needs: str
    data: str
    table: PlotTable


class PlotData(TypedDict):
    """What a plot's address answers, as JSON. Lists of one length; times in Unix seconds; null where there was no data.

    `low` and `high` bound the canary's value at every moment at once (the confidence sequence; null beside a known canary
    means not bounded); `margin` is what it may not exceed. `harm` and `safe` are the e-values as powers of ten (1.3 is 10^1.3),
    `harm_at` and `safe_at` the powers at which harm is convicted and a step passes; `needed` are users still to come. `marks` are the change's steps; `verdicts` shade the time from which a verdict stood.
    """

    unit: str
    scale: Literal["share", "ms", "count"]
    t: list[float]
    canary: list[float | None]
    baseline: list[float | None]
    low: list[float | None]
    high: list[float | None]
    margin: list[float | None]
    harm: list[float | None]
    safe: list[float | None]
    harm_at: float | None
    safe_at: float | None
    needed: list[int | None]
    marks: list[dict[str, Any]]
    """{"t": Unix seconds, "label": "10 %"}"""
    verdicts: list[dict[str, Any]]
    """{"from": Unix seconds, "to": Unix seconds or null, "tone": Tone}"""


class Reason(TypedDict):
    """A rule that spoke: its ID, what it said, and the values it read."""

    rule: str
    effect: str
    message: str
    read: list[tuple[str, str]]


class Risk(TypedDict):
    """How risky the change is. `decided` is the outcome in a sentence; the rules stand with the decision."""

    tier: str
    score: int
    decided: str


class Stand(TypedDict):
    """One thing in the way: why, what clears it, the rules that ask for it, and the facts as (name, is, must be).

    `now` says how far it is where people are asked; `command` is what sends what is missing.
    """

    kind: str
    state: State
    why: str
    clears: str
    rules: list[str]
    facts: list[tuple[str, str, str]]
    now: NotRequired[str]
    command: NotRequired[str]


class Decision(TypedDict):
    """A decision of policy explained: what stands in the way, the rules that spoke, and those that had no say."""

    state: State
    id: str
    at: datetime
    summary: str
    stands: list[Stand]
    spoke: list[Reason]
    silent: list[Reason]
    notes: list[str]
    bundle: str
    earlier: list[tuple[str, datetime]]
    """(what it came to and at which point, when), the newest first"""


class Line(TypedDict):
    """One line below a thing that is weighed: a rule with the values it read, another change, a test result."""

    text: str
    href: NotRequired[str]
    rule: NotRequired[str]
    read: NotRequired[str]


class Weighed(TypedDict):
    """One thing an approver weighs; a `wide` one takes the whole width of the card."""

    label: str
    words: str
    lines: NotRequired[list[Line]]
    wide: NotRequired[bool]


class Change(TypedDict):
    """What is different from what the reader saw last: one field of the change."""

    field: str
    was: str
    now: str


class Seat(TypedDict):
    """One seat of an approval: who sits there, or who may."""

    group: str
    by: str | None
    at: datetime | None
    may: list[str]
    comment: NotRequired[str]


class Approval(TypedDict):
    """Who is asked and, while they are, the card that decides. `weighed` is what an approver weighs; `changed` what is
    different since the reader last looked. `actions` decide (approve, reject, ask), `asides` do not (comment, abstain); all
    take the same reason, and only those the reader may take are there.
    """

    state: State
    seats: list[Seat]
    weighed: list[Weighed]
    changed: list[Change]
    stale: NotRequired[str]
    """What changed after somebody had approved."""
    actions: list[Action]
    asides: list[Action]
    due_at: NotRequired[datetime]


class Proof(TypedDict):
    """One result a machine sent: where it can be looked up, what it is about. Missing ones have no time and a command."""

    type: str
    state: State
    source: str
    href: str | None
    at: datetime | None
    digest: NotRequired[str]
    command: NotRequired[str]


class Trace(TypedDict):
    """A trace worth opening: `span` is the name, `told` time and step in words."""

    trace_id: str
    span: str
    state: State
    duration: str
    at: datetime
    told: str


class Objective(TypedDict):
    """An objective at stake: `left` is the error budget left in percent (negative when overspent), `burn` the rate now."""

    name: str
    target: str
    left_percent: float | None
    burn: str
    state: State


class Running(TypedDict):
    """What runs where: a service in an environment, its variant or version and digest, and since when."""

    where: str
    what: str
    digest: NotRequired[str]
    since: datetime


class Entry(TypedDict):
    """One fact of the timeline in plain words. `raw` is the stored JSON, indented; `proof` the address of its inclusion proof."""

    position: int
    at: datetime
    actor: str
    tone: Tone | None
    text: str
    detail: NotRequired[str]
    raw: str
    leaf: str
    """The hash of the stored bytes, as hex."""
    proof: str


class ReviewQuestion(TypedDict):
    """One question of a review: what the facts answer, and the word that stands (a person's where there is one)."""

    name: str
    words: str
    answer: str
    facts: str
    note: str


class ReviewCard(TypedDict):
    """The review of an ended change. `action` is where the form posts, None where it is closed or not the reader's."""

    state: State
    sentence: str
    facts: list[tuple[str, str]]
    questions: list[ReviewQuestion]
    words: list[str]
    note: str
    verdict: str
    action: str | None


class ChangePage(TypedDict):
    """The page of one change. `live` is the address of its event stream, None where nothing moves any more; `position` is the
    journal position the page shows, so that the stream goes on from there.
    """

    shell: Shell
    id: str
    href: str
    title: str
    why: str
    state: State
    kind: str
    owner: str
    requester: str
    services: list[str]
    environments: list[str]
    created_at: datetime
    live: str | None
    position: int
    actions: list[Action]
    exposure: Exposure | None
    steps: list[Step]
    plots: list[Plot]
    risk: Risk | None
    decision: Decision | None
    evidence: list[Proof]
    traces: list[tuple[str, list[Trace]]]
    """By arm, failed ones first."""
    forecast: str
    """How long it will take at this traffic, before it starts."""
    approval: Approval | None
    objectives: list[Objective]
    running: list[Running]
    way_back: str
    links: list[tuple[str, str]]
    """(label, address)"""
    timeline: list[Entry]
    audit: str
    """Where the facts of this change can be taken away as a file."""
    review: NotRequired[ReviewCard | None]
    written: NotRequired[str]
    """A draft's document, where there is no plan to show yet."""
    more: NotRequired[int]
    """How many older facts the timeline leaves out."""


# -------------------------------------------------------------------------------------------------- the others


class SignInPage(TypedDict):
    """Signing in. With a one-time link: `link` says what it is good for (`handle` None: the person chooses one). Without:
    handle and password.
    """

    shell: Shell
    action: str
    hidden: NotRequired[dict[str, str]]
    """What goes with the form: the link's secret, where to go next."""
    link: NotRequired[SignInLink]
    fault: NotRequired[str]
    handle: NotRequired[str]


class PasswordPage(TypedDict):
    """Setting a password after the first sign-in, so that the next one needs no link. `next` leads on without one."""

    shell: Shell
    next: str
    current: bool
    """Whether the present password must be given."""
    fault: NotRequired[str]


class ProofPage(TypedDict):
    """The proof of one fact: the path from its leaf to a signed root, and the commands that check it offline."""

    shell: Shell
    change: str
    href: str
    title: str
    entry: Entry
    size: int
    root: str
    origin: str
    path: list[str]
    checkpoint: str
    key: str
    commands: list[str]
    download: str


class SignInLink(TypedDict):
    """A one-time link before it is used."""

    first_admin: bool
    handle: str | None
    expires_at: datetime


class ErrorPage(TypedDict):
    """A refusal or a fault: what, where, why, and the way out; the same words as the API's problem+json."""

    shell: Shell
    status: int
    title: str
    detail: str
    code: str
    place: NotRequired[str]
    way_out: NotRequired[str]
    back: NotRequired[str]
