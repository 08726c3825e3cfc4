"""Where a rollout stands, what was seen, and what is to be done about it. All of it plain data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any, Final, Literal, TypeAlias

from airboss.act.targets import Baseline, Exposure, Observation
from airboss.kernel.canonical import Json
from airboss.kernel.clock import parse_rfc3339, rfc3339
from airboss.kernel.errors import Refused

FORMAT: Final = 1

Outcome: TypeAlias = Literal["pass", "fail", "inconclusive", "error"]
HoldKind: TypeAlias = Literal["inconclusive", "error", "policy"]
Mode: TypeAlias = Literal["progressing", "paused", "held"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a gate says now. `numbers` hold the measured values and the bound; `age_s` is the age of the data."""

    gate: str
    kind: str
    outcome: Outcome
    sentence: str
    numbers: Mapping[str, Json] = field(default_factory=dict)
    age_s: float | None = None
    patient: bool = False
    """Undecided for a reason that is no evidence against the change: waiting for it has no deadline."""

    def stored(self) -> dict[str, Json]:
        """Return plain JSON; `patient` only where it is so."""
        value = asdict(self)
        if not self.patient:
            del value["patient"]
        return value


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """Why nothing moves, and since when. `asked_until` is the deadline of a question put to people."""

    kind: HoldKind
    since: datetime
    sentence: str
    asked_until: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """The state of a rollout: everything `decide` remembers between two looks."""

    step: int = 0
    started_at: datetime | None = None
    step_started_at: datetime | None = None
    moving_since: datetime | None = None
    """Since when the exposure of this step is on its way; None once it stands."""
    reached_at: datetime | None = None
    extensions: int = 0
    drifts: int = 0
    paused: bool = False
    hold: Hold | None = None
    baselines: Mapping[str, Baseline] = field(default_factory=dict)
    verdicts: Mapping[str, Outcome] = field(default_factory=dict)
    """The last outcome told of each gate, so that only changes of verdict become facts."""
    rollback_started_at: datetime | None = None
    rollback_reason: str = ""
    rollback_retries: int = 0
    verify_started_at: datetime | None = None
    convicted: bool = False
    strayed: Mapping[str, int] = field(default_factory=dict)
    """By unit of an earlier stage: how often it was found elsewhere than where its last step had brought it."""
    astray: tuple[str, ...] = ()
    """Those that are elsewhere now."""
    format: int = FORMAT

    @property
    def mode(self) -> Mode:
        """What the engine is doing, in one word."""
        if self.paused:
            return "paused"
        return "held" if self.hold is not None else "progressing"

    def stored(self) -> dict[str, Json]:
        """Return the run as plain JSON."""
        value: dict[str, Any] = asdict(self)
        for key in _TIMES:
            value[key] = _time(value[key])
        if self.hold is not None:
            value["hold"]["since"] = _time(self.hold.since)
            value["hold"]["asked_until"] = _time(self.hold.asked_until)
        return value


def read_run(value: Mapping[str, Any]) -> Run:
    """Return the run of stored JSON. Raises Refused for a format this version does not know."""
    if value["format"] != FORMAT:
        raise Refused(f"run format {value['format']} needs a newer server", code="format-newer")
    given: dict[str, Any] = dict(value)
    for key in _TIMES:
        given[key] = _read_time(given.get(key))
    if given["hold"] is not None:
        hold = given["hold"]
        given["hold"] = Hold(
            **{**hold, "since": _read_time(hold["since"]), "asked_until": _read_time(hold["asked_until"])}
        )
    given["astray"] = tuple(given.get("astray", ()))
    given["baselines"] = {name: Baseline(**baseline) for name, baseline in given["baselines"].items()}
    return Run(**given)


_TIMES: Final = (
    "started_at",
    "step_started_at",
    "moving_since",
    "reached_at",
    "rollback_started_at",
    "verify_started_at",
)


def _time(at: datetime | None) -> str | None:
    return None if at is None else rfc3339(at)


def _read_time(text: str | None) -> datetime | None:
    return None if text is None else parse_rfc3339(text)


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What the tower saw before this look."""

    units: Mapping[str, Observation | None]
    """None: the target did not answer."""
    silent: Mapping[str, str] = field(default_factory=dict)
    """By unit: why a target gave no answer that could be used, where that is known."""
    answers: tuple[Answer, ...] = ()
    clearance: str | None = None
    """None: policy lets the change go on; else why not."""
    answered_by: str | None = None
    """Who answered the question a step or a hold asks, if somebody did."""
    skipped_by: str | None = None
    """Who ordered this step to be skipped."""
    fault: str | None = None
    """What the target said when it was last asked for the exposure that is wanted, None if it accepted."""
    reverts: Mapping[str, int] = field(default_factory=dict)
    """By unit: how many reverts were accepted and had their time. One that is away all the same needs another."""
    doubt: str | None = None
    """Why the clock cannot be believed, None where it can: then nothing goes forward by it."""
    settled: bool = True
    """No effect begun earlier can still arrive: its lease and its deadline have passed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Want:
    """An effect to record and then carry out."""

    kind: Literal["apply", "revert", "finish"]
    unit: str
    exposure: Exposure | None = None

    again: int = 0
    """Counts drifts mended and reverts that did not hold, so that the same exposure can be asked for anew."""

    def key(self, change_id: str, attempt: int) -> str:
        """Return the idempotency key: the same want has the same one, however often it is looked at."""
        share = "" if self.exposure is None else f"/{self.exposure.new_percent:g}"
        again = f"/{self.again}" if self.again else ""
        return f"{change_id}/{attempt}/{self.kind}/{self.unit}{share}{again}"


Move: TypeAlias = Literal["stay", "verify", "complete", "roll_back", "rolled_back", "rollback_failed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ruling:
    """What one look decided. `facts` are (type, body); a ruling without facts changes nothing but the next look."""

    run: Run
    move: Move = "stay"
    wants: tuple[Want, ...] = ()
    facts: tuple[tuple[str, Mapping[str, Any]], ...] = ()
    sentence: str = ""
    look_in_s: float = 1.0
