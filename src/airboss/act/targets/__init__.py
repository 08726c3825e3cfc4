"""What carries exposure: one port, one adapter for each kind of thing traffic can be moved on.

The tower asks `Targets` for the adapter a unit names and calls nothing else. Every call may be repeated with its key.
"""

from airboss.act.targets.flag import FlagTarget
from airboss.act.targets.model import Baseline, Exposure, Observation, UnitRef
from airboss.act.targets.ports import Target, Targets

__all__ = ["Baseline", "Exposure", "FlagTarget", "Observation", "Target", "Targets", "UnitRef"]
