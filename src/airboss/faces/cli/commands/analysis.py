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
    full: Annotated[bool, typer.Option("--full", help="The acceptance list: 20,000 runs of 1,000 looks.")] = False,
    only: Annotated[
        list[str] | None, typer.Option("--only", help="A section of the report, such as late_change. May be repeated.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Measure false alarms, misses and delays on simulations.

    Each row says its goal and whether it is reached. Works offline; takes some minutes, --full some ten. Ends with 1 when
    a promised level is broken, with --full when any goal is missed.
    """
    from airboss.watch import analysis as room

    note(
        f"Simulating {20_000 if full else runs:,} rollouts of {1000 if full else looks:,} looks for each row, seed {seed}"
    )
    found = room.calibrate(
        seed, runs, looks, full=full, only=only or room.SECTIONS, progress=lambda what: note(f"… {what}")
    )
    if as_json:
        emit(found)
    else:
        _print_report(found)
    if not found["ok"]:
        raise typer.Exit(Exit.FAULT)


def _print_report(found: dict[str, Any]) -> None:
    """Write each row as two lines, which need no wide screen: what was simulated, and what came of it."""
    for name, title in _SECTIONS.items():
        if not found[name]:
            continue
        say(f"\n{title}")
        for row in found[name]:
            mark = {True: "reached", False: "MISSED ", None: "       "}[row["reached"]]
            goal = "" if row["goal"] is None else f"; goal: {row['goal']}"
            say(f"  {mark}  {row.get('world') or row['claim']}")
            say(f"           {_figures(row)}{goal}")
    say("\nEvery goal is reached." if not found["missed"] else "\nMissed: " + "; ".join(found["missed"]))


_SECTIONS = {
    "false_alarms": "False alarms: the change does nothing, and is convicted at some look",
    "false_certification": "False certification: the harm is at its margin, and is called harmless at some look",
    "detection": "Delay: canary requests until harm is convicted, beside the least that any test could need",
    "late_change": "Late change: the same, counted from the beginning of the harm",
    "planned": "Planned: canary requests until a harmless canary is certified, as planned and as measured",
}


def _figures(row: dict[str, Any]) -> str:
    if "rate" in row:
        low, high = 100 * row["low"], 100 * row["high"]
        return f"{100 * row['rate']:.2f} % ({low:.2f} to {high:.2f} %) of {row['runs']:,} runs"
    if "planned" in row:
        return f"planned {row['planned']:,}, measured {row['measured_mean']:,.0f} ({100 * row['off']:+.1f} %)"
    if row["mean_canary_units"] is None:
        return f"never found in {row['runs']:,} runs"
    text = f"mean {row['mean_canary_units']:,.0f}, median {row['median_canary_units']:,.0f}, {row['runs']:,} runs"
    if row["detected"] < 1.0:
        text += f", found in {100 * row['detected']:.4g} %"
    if row["alarms_before"]:
        text += f", alarms before {100 * row['alarms_before']:.2g} %"
    text += f", {row['times_bound']:.2f} times the bound of {row['bound']:,.0f}"
    return text + (f", {row['times_plain']:.2f} times the plain test" if row.get("times_plain") else "")


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
