"""Air-traffic control for production changes."""

__version__ = "0.1.0"
