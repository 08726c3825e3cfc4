"""The command line. `airboss` enters by `main`; nothing heavy is imported before a command needs it."""

from __future__ import annotations


def main() -> int:
    """Run `airboss` with the arguments of this process and return its exit code."""
    from airboss.faces.cli.app import run

    return run()


__all__ = ["main"]
