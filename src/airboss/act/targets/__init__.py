"""What carries exposure: one port, one adapter for each kind of thing traffic can be moved on.

The tower asks `Targets` for the adapter a unit names and calls nothing else. Every call may be repeated with its key.
"""

from airboss.act.targets.envoy import EnvoyConnection, EnvoyInspector, EnvoyTarget, check_connection, read_connection
from airboss.act.targets.flag import FlagTarget
from airboss.act.targets.model import Baseline, Exposure, Observation, UnitRef
from airboss.act.targets.ports import Target, Targets

__all__ = [
    "Baseline",
    "EnvoyConnection",
    "EnvoyInspector",
    "EnvoyTarget",
    "Exposure",
    "FlagTarget",
    "Observation",
    "Target",
    "Targets",
    "UnitRef",
    "check_connection",
    "read_connection",
]
