"""Honest stand-ins that ship to users: a clock that is moved by hand, chance from a seed."""

from airboss.testing.ports import ManualClock, SeededChance

__all__ = ["ManualClock", "SeededChance"]
