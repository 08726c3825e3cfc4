"""`airboss analysis`: the statistics show that they keep their promises, on simulations and on recorded rollouts."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from airboss.faces.cli.exit_codes import Exit
from airboss.faces.cli.options import AsJson, api
from airboss.faces.cli.screen import emit, note, say, table

analysis = typer.Typer(no_args_is_help=True, help="The statistics: show that they keep their promises.")


@analysis.command("calibrate")
def calibrate(
    seed: Annotated[int, typer.Option("--seed", help="The same seed gives the same numbers.")] = 1,
    runs: Annotated[int, typer.Option("--runs", min=50, help="Simulated rollouts for each row.")] = 2000,
    looks: Annotated[int, typer.Option("--looks", min=10, help="Looks for each rollout.")] = 400,
    full: Annotated[
        bool, typer.Option("--full", help="The acceptance list: 20,000 runs of 1,000 looks; takes hours.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Measure false alarms, misses and delays on simulations.

    Works offline; takes some minutes. Ends with 1 when a promised level is broken.
    """
    from airboss.watch import analysis as room

    note(
        f"Simulating {20_000 if full else runs:,} rollouts of {1000 if full else looks:,} looks for each row, seed {seed}"
    )
    found = room.calibrate(seed, runs, looks, full=full)
    if as_json:
        emit(found)
    else:
        for name, value in found.items():
            if not isinstance(value, list):
                say(f"{name.replace('_', ' ')}: {value}")
                continue
            say(name.replace("_", " ").capitalize())
            for row in value:
                if isinstance(row, dict):
                    say("  " + ", ".join(f"{key} {_short(item)}" for key, item in row.items()))
    if not found["ok"]:
        raise typer.Exit(Exit.FAULT)


@analysis.command("replay")
def replay(
    change: Annotated[str, typer.Argument(help="The change, by its ID.")],
    as_json: AsJson = False,
) -> None:
    """Judge the recorded counts of a rollout again.

    Holds the verdicts against those that were told. Ends with 1 when one comes out otherwise.
    """
    found = api().get(f"/changes/{change}/replay")
    if as_json:
        emit(found)
    else:
        table(
            ("Step", "Gate", "Told", "Again", "Harm, log e", "Harmless, log e", "Same"),
            [_row(one) for one in found["verdicts"]],
            empty="No verdict of a canary gate has ended a step of this attempt.",
            give="Gate",
        )
    if found["same"] is False:
        raise typer.Exit(Exit.FAULT)


def _row(one: dict[str, Any]) -> tuple[str, ...]:
    told, again = one["told"], one["again"]
    return (
        str(one["step"]),
        one["gate"],
        told["outcome"],
        "no longer kept" if again is None else again["outcome"],
        f"{told['log_e_harm']:.3f}",
        f"{told['log_e_safe']:.3f}",
        "unknown" if one["same"] is None else "yes" if one["same"] else "NO",
    )


def _short(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list):
        return "–".join(_short(one) for one in value)
    return str(value)
