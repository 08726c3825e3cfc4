"""What can be measured, and how one subject is run."""

from __future__ import annotations

import time
from importlib import import_module

from bench.table import Effort, Row

SUBJECTS = {
    "flags": "flag evaluation beside flagd-core, GrowthBook, Unleash and LaunchDarkly",
    "policy": "one policy decision of 50 rules",
    "slo": "1,200 burn rates",
    "otlp": "OTLP intake beside OpenTelemetry's generated classes",
    "journal": "durable transitions, and the verification of a journal",
    "controller": "durable steps beside DBOS, and thousands of rollouts in flight",
    "flood": "memory of the receiver under a flood of distinct names",
    "abort": "an abort while the intake is flooded",
    "cold": "start of the command line and the server, and the weight of the first page",
    "judges": "false alarms and delay beside fixed-window and repeated tests",
    "states": "how fast the canary's tests are, many at once and one stored state",
}


def measured(subject: str, effort: Effort) -> tuple[list[Row], float]:
    """Measure one subject, in a process of its own. Return its rows and how many seconds it took."""
    began = time.monotonic()
    rows = list(import_module(f"bench.{subject}").rows(effort))
    return rows, time.monotonic() - began
