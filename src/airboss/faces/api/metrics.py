"""What Airboss says of itself to Prometheus, computed when asked from what is stored: every server says the same.

Source of the format: Prometheus text exposition format 0.0.4. A group that cannot be read is left out and said so
(`airboss_metrics_readable`), never shown as zero. `change_id` stands on `airboss_change_info` only.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from importlib import metadata
from typing import Final, TypeAlias

from airboss.act.rollout import lag as tower_lag
from airboss.bootstrap import House
from airboss.changes import ENDED, Phase
from airboss.faces.reads import services_view
from airboss.kernel.clock import from_micros
from airboss.kernel.errors import AirbossError
from airboss.records.audit import latest

MEDIA_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
WINDOW: Final = timedelta(days=28)
RECENT_MOST: Final = 1_000
ANSWERS: Final = ("pass", "fail", "inconclusive", "error")
_AT_REST: Final = ENDED | {Phase.DRAFT, Phase.REVIEWING, Phase.CLOSED}
_LIVE: Final = tuple(phase for phase in Phase if phase not in _AT_REST)

Sample: TypeAlias = tuple[Mapping[str, str], float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Gauge:
    """One metric with its samples. Everything here can fall, so everything is a gauge."""

    name: str
    help: str
    samples: Iterable[Sample]

    def lines(self) -> list[str]:
        """Return its lines of the exposition."""
        head = [f"# HELP {self.name} {self.help}", f"# TYPE {self.name} gauge"]
        return head + [f"{self.name}{_labels(labels)} {value!r}" for labels, value in self.samples]


def exposition(house: House) -> str:
    """Return every metric there is to say now."""
    gauges: list[Gauge] = []
    readable: list[Sample] = []
    groups: tuple[tuple[str, Callable[[House], list[Gauge]]], ...] = (
        ("changes", _changes),
        ("journal", _journal),
        ("telemetry", _telemetry),
        ("outcomes", _outcomes),
        ("gates", _gates),
        ("objectives", _objectives),
    )
    for name, read in groups:
        try:
            gauges += read(house)
            readable.append(({"group": name}, 1.0))
        except AirbossError:
            readable.append(({"group": name}, 0.0))
    gauges += [
        Gauge(
            name="airboss_metrics_readable",
            help="Whether a group of these metrics could be read; what could not is left out.",
            samples=readable,
        ),
        Gauge(
            name="airboss_build_info",
            help="The version that answers.",
            samples=[({"version": metadata.version("airboss")}, 1.0)],
        ),
    ]
    return "\n".join(line for gauge in gauges for line in gauge.lines()) + "\n"


def _changes(house: House) -> list[Gauge]:
    """Three queries."""
    with house.store.read() as connection:
        tally = house.changes.tally(connection)
        live = house.changes.in_phases(connection, _LIVE)
        lag = tower_lag(connection, house.clock.now())
    return [
        Gauge(
            name="airboss_changes",
            help="Changes by kind, phase and outcome; the outcome is empty until a change has ended.",
            samples=[
                ({"kind": kind, "phase": str(phase), "outcome": outcome or ""}, float(count))
                for kind, phase, outcome, count in tally
            ],
        ),
        Gauge(
            name="airboss_change_info",
            help="Each change between submit and its end, the newest thousand.",
            samples=[
                (
                    {
                        "change_id": one.id,
                        "kind": one.kind,
                        "phase": str(one.phase),
                        "services": ",".join(one.services),
                        "team": one.owner_team,
                    },
                    1.0,
                )
                for one in live
            ],
        ),
        Gauge(
            name="airboss_tower_lag_seconds",
            help="How late the most overdue change is looked at.",
            samples=[({}, float(lag))],
        ),
    ]


def _outcomes(house: House) -> list[Gauge]:
    """Two queries. How long things took, of the newest thousand changes reviewed in 28 days; oldest wait for approval."""
    now = house.clock.now()
    with house.store.read() as connection:
        times = house.reviews.times(connection, since=now - WINDOW)
        asked = house.changes.in_phases(connection, (Phase.AWAITING_APPROVAL,))
    waits = [(now - (one.submitted_at or one.created_at)).total_seconds() for one in asked]
    spans = {
        "lead": ("From submit to completed.", [one.lead_s for one in times]),
        "approval": ("From submit to the last word that cleared it.", [one.approval_lead_s for one in times]),
        "detection": ("From the first exposure to the conviction.", [one.detection_s for one in times]),
        "rollback": ("From detection, or the order, to everything back.", [one.rollback_s for one in times]),
    }
    found = [
        Gauge(
            name="airboss_approval_oldest_wait_seconds",
            help="How long the change that waits longest for approval has waited; 0 when none waits.",
            samples=[({}, max(0.0, *waits) if waits else 0.0)],
        )
    ]
    for name, (help_, measured) in spans.items():
        known = sorted(one for one in measured if one is not None)
        found.append(
            Gauge(
                name=f"airboss_change_{name}_time_seconds",
                help=f"{help_} Of changes reviewed in the last 28 days.",
                samples=[({"percentile": str(at)}, known[(len(known) - 1) * at // 100]) for at in (50, 90) if known],
            )
        )
    return found


def _gates(house: House) -> list[Gauge]:
    """Two queries. What gates answered and what was taken back in the last hour, among the newest facts."""
    since = house.clock.now() - timedelta(hours=1)
    with house.store.read() as connection:
        size = house.journal.size(connection)
        recent = [one for one in house.journal.read(connection, after=size - 1 - RECENT_MOST) if one.at >= since]
    answers = Counter(str(one.body["outcome"]) for one in recent if one.type == "gate.answered")
    taken_back = sum(one.type == "rollback.started" for one in recent)
    return [
        Gauge(
            name="airboss_gate_answers",
            help="Answers of gates in the last hour by outcome, among the newest 1,000 facts.",
            samples=[({"outcome": outcome}, float(answers[outcome])) for outcome in ANSWERS],
        ),
        Gauge(
            name="airboss_rollbacks_started",
            help="Rollbacks begun in the last hour, among the newest 1,000 facts.",
            samples=[({}, float(taken_back))],
        ),
    ]


def _objectives(house: House) -> list[Gauge]:
    """One query for each service, and some of telemetry for each objective."""
    with house.store.read() as connection:
        services = services_view(house, connection, house.clock.now())
    left: list[Sample] = []
    burn: list[Sample] = []
    for service in services:
        for one in service["objectives"]:
            labels = {"service": service["name"], "objective": one["name"], "environment": one["environment"]}
            if one["budget_left"] is not None:
                left.append((labels, float(one["budget_left"])))
            if one["burn"] is not None:
                burn.append((labels, float(one["burn"])))
    return [
        Gauge(
            name="airboss_objective_budget_left_ratio",
            help="Error budget left over the objective's window; below 0 when overspent, absent when unknown.",
            samples=left,
        ),
        Gauge(
            name="airboss_objective_burn_rate_ratio",
            help="How many times faster than allowed the budget is spent now; absent when unknown.",
            samples=burn,
        ),
    ]


def _journal(house: House) -> list[Gauge]:
    """Three queries."""
    now = house.clock.now()
    with house.store.read() as connection:
        size = house.journal.size(connection)
        pending = house.journal.oldest_pending(connection)
        signed = latest(connection)
    gauges = [
        Gauge(name="airboss_journal_size", help="Entries of the record.", samples=[({}, float(size))]),
        Gauge(
            name="airboss_journal_pending_seconds",
            help="How long the oldest fact waits for its position.",
            samples=[({}, 0.0 if pending is None else max(0.0, (now - pending).total_seconds()))],
        ),
    ]
    if signed is not None:
        gauges += [
            Gauge(
                name="airboss_journal_signed_size",
                help="Entries under the last signed checkpoint.",
                samples=[({}, float(signed.size))],
            ),
            Gauge(
                name="airboss_journal_checkpoint_age_seconds",
                help="How long ago the last checkpoint was signed; hourly while nothing happens.",
                samples=[({}, max(0.0, (now - signed.at).total_seconds()))],
            ),
        ]
    return gauges


def _telemetry(house: House) -> list[Gauge]:
    """Two queries, and one of telemetry for each kind of thing asked."""
    now = house.clock.now()
    with house.store.read() as connection:
        expected = {one.telemetry_name for one in house.catalog.services(connection)}
    covered = house.telemetry.coverage(now=now)
    written = [from_micros(boot.last_flush_us) for boot in house.telemetry.ingesters(now=now) if not boot.ended]
    gauges = [
        Gauge(
            name="airboss_annotation_coverage_ratio",
            help="Share of the last hour's telemetry that names its change.",
            samples=[
                (
                    {"service": one.service, "environment": one.environment, "signal": one.signal},
                    one.annotated_share,
                )
                for one in covered
                if one.annotated_share is not None
            ],
        ),
        Gauge(
            name="airboss_services_unobserved",
            help="Services of the catalogue of which nothing was ever received.",
            samples=[({}, float(len(expected - house.telemetry.services_ever())))],
        ),
    ]
    if written:
        gauges.append(
            Gauge(
                name="airboss_ingest_age_seconds",
                help="How long ago the receiver last wrote.",
                samples=[({}, max(0.0, (now - max(written)).total_seconds()))],
            )
        )
    return gauges


def _labels(labels: Mapping[str, str]) -> str:
    if not labels:
        return ""
    return "{" + ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items()) + "}"


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
