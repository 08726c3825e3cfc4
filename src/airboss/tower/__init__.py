"""The tower: steers each change through the wings, one look at a time.

`bootstrap` puts its parts together and `airboss serve` runs its loop. Read views ask `retrace` how a judgement went,
and `compare` whether that is what was told.
"""

from airboss.tower.course import Point, Trace, retrace
from airboss.tower.replay import Replayed, compare

__all__ = ["Point", "Replayed", "Trace", "compare", "retrace"]
