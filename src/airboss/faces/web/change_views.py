"""What the page of one change is made of; the conventions are those of `views`."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal, NotRequired

from typing_extensions import TypedDict

from airboss.faces.web.views import Action, Change, Objective, Shell, State, Tone


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
    everybody: NotRequired[Numbers]
    """What a gate that tells no arms apart has measured, in their place."""
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


class Seat(TypedDict):
    """One seat of an approval: who sits there, or who may."""

    group: str
    by: str | None
    at: datetime | None
    may: list[str]
    comment: NotRequired[str]


class Remark(TypedDict):
    """What somebody said besides taking a seat: rejected it, asked for changes, abstained, or only said."""

    by: str
    said: str
    comment: str
    at: datetime


class Approval(TypedDict):
    """Who is asked and, while they are, the card that decides. `weighed` is what an approver weighs; `changed` what is
    different since the reader last looked. `actions` decide (approve, reject, ask), `asides` do not (comment, abstain); all
    take the same reason, and only those the reader may take are there.
    """

    state: State
    seats: list[Seat]
    remarks: list[Remark]
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
    withheld: str
    """Why the reader may not do what others may, where only the teams their rights are narrowed to stand in the way."""
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
