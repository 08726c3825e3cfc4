"""The tower: steers each change through the wings, one look at a time.

`bootstrap` puts its parts together and `airboss serve` runs its loop. Read views ask `retrace` how a judgement went.
"""

from airboss.tower.course import Point, Trace, retrace

__all__ = ["Point", "Trace", "retrace"]
