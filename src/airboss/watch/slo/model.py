"""Indicators, objectives, and what is said of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final, Literal, TypeAlias

Path: TypeAlias = tuple[str | int, ...]
Place: TypeAlias = Callable[[Path], str]
"""From a path in a document to where it stands in the file. `kernel.yaml.Document.place` is one."""


def path_place(path: Path) -> str:
    """Return the path itself as the place, for documents whose file is no longer at hand: `spec.objectives[0].target`."""
    text = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)
    return text.removeprefix(".") or "document"


class IndicatorKind(StrEnum):
    """How an indicator tells good events from bad ones."""

    STATUS = "status"
    """A server span with status ERROR is bad."""
    DURATION = "duration"
    """A server span that took longer than the objective's value is bad."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Indicator:
    """An OpenSLO SLI over the built-in spans of one service. `environment` None: that of whoever asks."""

    name: str
    kind: IndicatorKind
    service: str
    environment: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Objective:
    """`target` is the share of good events, in (0, 1). `limit_us` is the longest good duration of a DURATION indicator."""

    name: str
    target: float
    limit_us: float | None

    @property
    def allowed(self) -> float:
        """The share of events that may be bad."""
        return 1.0 - self.target


@dataclass(frozen=True, slots=True, kw_only=True)
class Slo:
    """An OpenSLO SLO by occurrences over a rolling window. The indicator stands inline, or `indicator_ref` names it."""

    name: str
    service: str | None
    indicator: Indicator | None
    indicator_ref: str | None
    window: timedelta
    objectives: tuple[Objective, ...]

    @property
    def strictest(self) -> Objective:
        """The objective with the highest target."""
        return max(self.objectives, key=lambda objective: objective.target)


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetStatus:
    """The error budget of one objective over its window.

    `known` false: there were no events, or none could be told good from bad; then the shares are None, never zero.
    `spent` is bad / (total × allowed share), above 1 when overspent; `left` is 1 − spent. `observed` is the part of the
    window somebody measured.
    """

    slo: str
    objective: str
    target: float
    window: timedelta
    known: bool
    total: int
    bad: int
    spent: float | None
    left: float | None
    observed: timedelta
    sentence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How an SLO stands: the budget of each objective, how many times faster than allowed that of the strictest was spent
    in the last hour (None without events), and when the newest event was.
    """

    budgets: tuple[BudgetStatus, ...]
    burn: float | None
    newest: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetUse:
    """What one objective's error budget lost in a stretch of time, of whatever cause.

    `total` and `bad` are the events of the stretch. `spent` is bad / (events of the objective's window × allowed share):
    1 is a whole budget. `burn` is how many times faster than allowed that was. Both None where there were no events or
    none could be told good from bad, never zero.
    """

    slo: str
    objective: str
    total: int
    bad: int
    spent: float | None
    burn: float | None
    sentence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BurnRule:
    """Burning when both windows burn at least `factor` times as fast as the budget allows.

    Guards against little traffic: the long window needs `least_events` events, and `least_bad` bad ones to fail.
    `severity`: whether a person is woken for it, or finds a ticket.
    """

    name: str
    factor: float
    long: timedelta
    short: timedelta
    severity: Literal["page", "ticket"] = "page"
    least_events: int = 100
    least_bad: int = 3


FAST: Final = BurnRule(name="fast", factor=14.4, long=timedelta(hours=1), short=timedelta(minutes=5))
"""2 % of a 30-day budget in an hour: a page, and the gate of a rollout."""
SLOW: Final = BurnRule(name="slow", factor=6.0, long=timedelta(hours=6), short=timedelta(minutes=30))
"""5 % in six hours: a page."""
RULES_30D: Final = (
    FAST,
    SLOW,
    BurnRule(name="daily", factor=3.0, long=timedelta(days=1), short=timedelta(hours=2), severity="ticket"),
    BurnRule(name="creeping", factor=1.0, long=timedelta(days=3), short=timedelta(hours=6), severity="ticket"),
)
"""The Site Reliability Workbook's table (chapter 5) for a window of 30 days; `rules.rules_for` scales it."""


class Answer(StrEnum):
    """What a gate says."""

    PASS = "pass"  # noqa: S105 (an answer, not a secret)
    FAIL = "fail"
    INCONCLUSIVE = "inconclusive"
    ERROR = "error"


@dataclass(frozen=True, slots=True, kw_only=True)
class Before:
    """A pair of windows that burns, held against how it burnt before a change was out. Rates are None without events.

    `short`: over the short window that ended when the change came out. `since_long`, `since_short`: since then, over at
    most each window. `worse`: what came on top of `short` is itself beyond the bound, in both.
    """

    began: bool
    """Whether it burnt already."""
    worse: bool
    short: float | None
    since_long: float | None
    since_short: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class GateAnswer:
    """What a burn gate comes to: the pair that decides, the answer, the sentence, and the comparison where there was one.

    `patient`: it is undecided for a reason that is no evidence against the change, so waiting has no deadline.
    """

    said: BurnAnswer
    answer: Answer
    sentence: str
    before: Before | None = None
    patient: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class BurnAnswer:
    """A burn gate's answer with what it saw. Burn rates are None where there were no events; `bound` is the factor they
    are held against; `age` is that of the newest sample.
    """

    answer: Answer
    slo: str
    objective: str
    rule: str
    bound: float
    burn_long: float | None
    burn_short: float | None
    total_long: int
    bad_long: int
    total_short: int
    bad_short: int
    newest: datetime | None
    age: timedelta | None
    sentence: str
