"""`airboss policy …`: try rule packs here, before they are in force anywhere."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from airboss.faces.cli.exit_codes import Exit
from airboss.faces.cli.options import AsJson, ChangeName, Files, answer, api
from airboss.faces.cli.screen import console, emit, marked, say, table
from airboss.faces.cli.words import short_id

if TYPE_CHECKING:
    from airboss.decide.policy import PackReport

app = typer.Typer(no_args_is_help=True, help="Rule packs: try them here, see which are in force.")


@app.command("check")
def check(files: Files, as_json: AsJson = False) -> int:
    """Compile rule packs and point at what cannot be used. Works offline; ends with 1 when something cannot."""
    from airboss.decide.policy import check as checked
    from airboss.faces.cli.offline import packs

    return _told(checked(packs(files)), tested=False, as_json=as_json)


@app.command("test")
def try_out(files: Files, as_json: AsJson = False) -> int:
    """Run the tests beside the rules of packs. Works offline; ends with 1 when one fails."""
    from airboss.decide.policy import test as tested
    from airboss.faces.cli.offline import packs

    return _told(tested(packs(files)), tested=True, as_json=as_json)


def _told(reports: list[PackReport], *, tested: bool, as_json: bool) -> int:
    good = all(report.good for report in reports)
    if as_json:
        emit({"ok": good, "packs": [_as_json(report) for report in reports]})
    else:
        for report in reports:
            _tell(report, tested=tested)
        if not reports:
            say("No rule packs in these files.")
    return Exit.OK if good else Exit.FAULT


def _as_json(report: PackReport) -> dict[str, Any]:
    return {
        "source": report.source,
        "pack": report.pack,
        "ok": report.good,
        "rules": report.rules,
        "problems": [
            {"place": one.place, "detail": one.detail, "code": one.code, "way_out": one.way_out}
            for one in report.problems
        ],
        "tests": [
            {"name": case.name, "place": case.place, "passed": case.passed, "faults": list(case.faults)}
            for case in report.cases
        ],
        "unproven": list(report.unproven),
    }


def _tell(report: PackReport, *, tested: bool) -> None:
    name = report.pack or report.source
    rules = f"{report.rules} rule{'' if report.rules == 1 else 's'}"
    passed = sum(case.passed for case in report.cases)
    counted = f"{rules}, {passed} of {len(report.cases)} tests pass" if tested else rules
    console().print(marked("well" if report.good else "harmed", f"{name}: {counted}"))
    for problem in report.problems:
        say(f"  {problem.place}: {problem.detail}")
        if problem.way_out:
            say(f"    way out: {problem.way_out}")
    for case in report.cases:
        for fault in case.faults:
            say(f"  {case.place}: the test {case.name!r}: {fault}")
    if report.unproven:
        say(f"  No test saw these both fire and stay quiet: {', '.join(report.unproven)}")


@app.command("explain")
def explain(
    change: ChangeName,
    decision: Annotated[
        str | None, typer.Option("--decision", help="dec_…; without it the strictest of those made last.")
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="List the rules that stayed quiet too.")] = False,
    as_json: AsJson = False,
) -> int:
    """Explain what policy decided, and what would clear the way.

    Ends with 3 when it was refused, 4 when it waits for people or evidence.
    """
    from airboss.faces.cli.explained import lines

    id_ = api().change_id(change)
    asked = {} if decision is None else {"decision": decision}
    found = api().get(f"/changes/{id_}/explanation", **asked)
    if as_json:
        emit(found)
    else:
        for line in lines(found, every=every):
            say(line)
    return {"block": Exit.REFUSED, "pending": Exit.WAITING}.get(str(found["outcome"]), Exit.OK)


@app.command("list")
def list_(as_json: AsJson = False) -> None:
    """List the packs in force."""
    found = api().get("/policy")
    if as_json:
        emit(found)
        return
    rows = [
        (one["name"], str(one["revision"]), one["layer"], str(len(one["rules"])), one["applied_by"])
        for one in found["packs"]
    ]
    table(
        ("Pack", "Revision", "Layer", "Rules", "Applied by"),
        rows,
        empty="No pack in force: nothing is allowed.",
        give="Pack",
    )
    say(f"bundle {found['bundle']}")


@app.command("profile")
def profile(
    name: Annotated[
        str | None, typer.Argument(metavar="PROFILE", help="beginner, intermediate, advanced or regulated.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would differ, and change nothing.")] = False,
    as_json: AsJson = False,
) -> None:
    """Say which shipped profile is in force, or put another in force.

    The newest decisions are judged again by it first, and those that come out otherwise are listed.
    """
    if name is None:
        found = api().get("/policy/profile")
        if as_json:
            emit(found)
        else:
            say(
                f"in force: {found['profile'] or 'a pack of your own, or none'}; there are {', '.join(found['profiles'])}"
            )
        return
    found = api().post("/policy/profile", {"profile": name, "dry_run": dry_run})
    if as_json:
        emit(found)
        return
    rows = [
        (
            short_id(one["subject"]),
            one["point"],
            f"{one['before']} ({one['tier_before']})",
            f"{one['after']} ({one['tier_after']})",
        )
        for one in found["flips"]
    ]
    table(("Change", "At", "Was", "Would be"), rows, empty="No recorded decision comes out otherwise.", give="Was")
    apart = f", {found['not_comparable']} of an older kind not comparable" if found["not_comparable"] else ""
    say(f"{found['judged']} decisions judged again{apart}")
    say(f"{found['before'] or 'no profile'} -> {found['after']}: {found['outcome']}")


@app.command()
def retire(name: Annotated[str, typer.Argument(metavar="PACK")], as_json: AsJson = False) -> None:
    """Take a pack out of force; what it decided stays in the record."""
    found = api().delete(f"/policy/{name}")
    answer(found or {"name": name}, as_json=as_json, sentence=f"{name} is no longer in force", at="/changes")
