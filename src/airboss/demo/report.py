"""What the demo shows in numbers: from the facts of the record, from what the customers got, from an offline verification.

`measure` asks the server and the files; `judge` and what it uses are pure.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from airboss.demo.caller import Away, Refused
from airboss.demo.load import variant_totals
from airboss.demo.nature import SERVICES
from airboss.demo.people import ADMIN
from airboss.demo.scene import Followed, Scene, Story
from airboss.demo.stories import expected_outcome

FORMAT: Final = 1
FIXED_BAKE_S: Final = 300.0
VERIFY_MOST_S: Final = 60.0
SHOP_FAULTS_MOST_PCT: Final = 2.0
"""The shop's own errors are 0.2 %, 0.4 % in a shock; a shop that failed with the server would show far more."""

Fact = Mapping[str, Any]


def measure(fault: str, seed: int, told: Sequence[Story], scene: Scene, load: Path) -> dict[str, Any]:
    """Return the report: outcome of each story, times, what customers got, coverage, journal, verification."""
    caller = scene.people[ADMIN]
    journal = [json.loads(line) for line in caller.lines("/audit/export")]
    lines = load.read_text().splitlines()
    services = {one["name"]: one for one in caller.get("/services")["items"]}
    stories = [_story(story, fault, scene, journal, lines, services) for story in told]
    verified = _verified(scene)
    found: dict[str, Any] = {
        "format": FORMAT,
        "fault": fault,
        "seed": seed,
        "stories": stories,
        "traffic": _traffic(lines),
        "coverage": [
            {"service": one["service"], "items": one["items"], "annotated_pct": one["annotated_pct"]}
            for one in caller.get("/coverage")["items"]
            if one["signal"] == "traces"
        ],
        "coverage_while_split_pct": {story.service: coverage(story.coverage) for story in told},
        "export_delay": {name: one["export_delay"] for name, one in services.items()},
        "journal": {
            "entries": sum(line["kind"] == "fact" for line in journal),
            "bytes": sum(path.stat().st_size for path in scene.server.data.glob("airboss.db*")),
        },
        "verification": verified,
        "data": str(scene.server.data),
    }
    found["failures"] = [
        f"story {story['story']}: {sentence}" for story in stories for sentence in story["failures"]
    ] + ([] if verified["ok"] else ["the offline verification found the record damaged"])
    found["as_expected"] = not found["failures"]
    return found


# -- one story -----------------------------------------------------------------------------------------------------


def _story(
    story: Story,
    fault: str,
    scene: Scene,
    journal: Sequence[Mapping[str, Any]],
    lines: list[str],
    services: Mapping[str, Any],
) -> dict[str, Any]:
    """Return one story's part of the report, with what is wrong with it in sentences."""
    change = story.change
    expected = expected_outcome(story, fault)
    told: dict[str, Any] = {
        "story": story.number,
        "name": story.name,
        "promise": story.promise,
        "service": story.service,
        "change": None if change is None else change.id,
        "address": None if change is None else f"{scene.server.base_url}/changes/{change.id}",
        "outcome": None if change is None else change.outcome,
        "expected": expected,
        "steps": [] if change is None else steps(change.facts),
    }
    failures = [] if story.stuck is None else [story.stuck]
    if change is None or not change.view:
        return {**told, "failures": failures or ["its change was never proposed"]}
    if change.outcome != expected:
        why = change.view.get("sentence", "")
        failures.append(f"the change is {change.outcome or change.phase}, and must be {expected}: {why}")
    flag = SERVICES[story.service].flag if scene.means.sticky else None
    told["record"] = record = recorded(change, journal, flag)
    failures += record["faults"]
    if story.name == "cleared":
        votes = sum(fact["type"] == "vote.cast" for fact in change.facts)
        told["votes"] = votes
        if scene.means.sticky and votes:
            failures.append("somebody had to vote")
    if story.name == "judged":
        told |= _judged(story, change, scene, lines, services)
        failures += _judged_faults(told, expected)
    if story.name == "outage":
        told |= _outage(story, scene, lines)
        failures += _outage_faults(told)
    return {**told, "failures": failures}


def steps(facts: Sequence[Fact]) -> list[dict[str, Any]]:
    """Return each exposure that stood: its percent, how long, and what ended it."""
    rows: list[dict[str, Any]] = []
    for fact in facts:
        body = fact["body"]
        if fact["type"] == "step.started" and body["kind"] == "expose":
            rows.append(
                {"step": body["step"], "percent": body["percent"], "least_s": body["least_s"], "most_s": body["most_s"]}
            )
        elif fact["type"] == "step.ended":
            rows[-1] |= {"ended_after_s": round(body["after_s"], 1), "ended_by": "evidence"}
        elif fact["type"] == "step.skipped":
            rows[-1]["ended_by"] = "a person"
        elif fact["type"] == "harm.convicted" and rows:
            rows[-1] |= {"ended_after_s": round(body["after_s"], 1), "ended_by": "harm"}
    return rows


def recorded(change: Followed, journal: Sequence[Mapping[str, Any]], flag: str | None) -> dict[str, Any]:
    """Check from the exported journal that nothing was lost, repeated or skipped: positions and the change's own numbers
    are gapless, each step began once and in order, and the flag was moved once to each exposure; without a flag, each
    exposure was observed.
    """
    positions = [line["position"] for line in journal if line["kind"] == "fact"]
    ours = [line["fact"] for line in journal if line["kind"] == "fact" and line["fact"]["subject"] == change.id]
    moves = [
        line["fact"]["body"]["percent"]
        for line in journal
        if line["kind"] == "fact"
        and line["fact"]["type"] == "flag.exposed"
        and line["fact"]["subject"] == f"flag/{flag}"
        and line["fact"]["body"]["change_id"] == change.id
    ]
    if flag is None:
        moves = [fact["body"]["percent"] for fact in ours if fact["type"] == "exposure.reached"]
    begun = [fact["body"]["step"] for fact in ours if fact["type"] == "step.started"]
    wanted = [fact["body"]["percent"] for fact in ours if fact["type"] == "step.started"]
    faults = []
    if positions != list(range(len(positions))):
        faults.append("the positions of the journal have gaps")
    if [fact["subject_seq"] for fact in ours] != list(range(1, len(ours) + 1)):
        faults.append("the facts of the change have gaps")
    if begun != list(range(1, len(begun) + 1)):
        faults.append(f"steps were skipped or repeated: {begun}")
    if moves != wanted:
        faults.append(f"exposure went to {moves}, and the steps wanted {wanted}")
    return {"facts": len(ours), "steps_begun": begun, "flag_moves": moves, "gapless": not faults, "faults": faults}


# -- 2: what was found, how fast, and what it cost ------------------------------------------------------------------


def _judged(
    story: Story, change: Followed, scene: Scene, lines: list[str], services: Mapping[str, Any]
) -> dict[str, Any]:
    again = story.again
    review = change.view.get("review")
    return {
        "approval": {"proposed_by": story.found.get("proposed_by"), "approved_by": story.found.get("approved_by")},
        "detection": detection(change.facts, services[story.service]["export_delay"]),
        "served": served(change.facts, lines, scene.world.urls[story.service], steps(change.facts)),
        "proposed_again": None
        if again is None or not again.view
        else {"change": again.id, "phase": again.phase, "sentence": again.view["sentence"]},
        "review_open": review is not None and change.phase == "reviewing",
    }


def detection(facts: Sequence[Fact], delay: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Return how long it took from the first exposure to the verdict and from there to the baseline, in seconds; None
    where nothing was convicted. `export_delay_s` is the part that telemetry spent on its way.
    """
    exposed, convicted, back = (
        _first(facts, kind) for kind in ("exposure.reached", "harm.convicted", "rollback.ended")
    )
    if exposed is None or convicted is None:
        return None
    return {
        "exposed_at": exposed["at"],
        "convicted_at": convicted["at"],
        "time_to_detect_s": _between(exposed, convicted),
        "export_delay_s": None if delay is None else delay["median_s"],
        "convicted_at_step": convicted["body"]["step"],
        "gates": [gate["gate"] for gate in convicted["body"]["gates"]],
        "sentence": convicted["body"]["gates"][0]["sentence"],
        "time_to_roll_back_s": None if back is None else _between(convicted, back),
    }


def served(facts: Sequence[Fact], lines: list[str], url: str, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return what customers of the new side got while it was exposed, counted by the customers themselves, and what a
    rollout that only looks after five minutes at each step would have served of it.

    That estimate takes the bad share and the traffic measured here, and lets it end at the same step.
    """
    first, last = _first(facts, "exposure.reached"), facts[-1]
    ended = _first(facts, "rollback.ended") or _first(facts, "change.completed") or last
    if first is None:
        return {"new_side_requests": 0, "new_side_bad": 0}
    since, until = _unix(first), _unix(ended) + 2
    totals = variant_totals(lines, since=since, until=until)
    new, new_bad = totals.get((url, "on"), (0, 0))
    old, old_bad = totals.get((url, "off"), (0, 0))
    per_s = (new + old) / max(until - since, 1.0)
    bad_share = new_bad / new if new else 0.0
    shares = [row["percent"] / 100 for row in rows]
    return {
        "new_side_requests": new,
        "new_side_bad": new_bad,
        "new_side_bad_pct": _pct(new_bad, new),
        "old_side_bad_pct": _pct(old_bad, old),
        "excess_bad": max(0, round(new_bad - new * (old_bad / old if old else 0.0))),
        "fixed_bake": {
            "seconds_a_step": FIXED_BAKE_S,
            "steps_pct": [row["percent"] for row in rows],
            "new_side_bad": round(sum(shares) * per_s * FIXED_BAKE_S * bad_share),
        },
    }


def _judged_faults(told: Mapping[str, Any], expected: str) -> Iterable[str]:
    if told["approval"]["approved_by"] in (None, told["approval"]["proposed_by"]):
        yield "nobody but its author approved it"
    if expected != "rolled back" or told["outcome"] != "rolled back":
        return
    if told["detection"] is None:
        yield "it was taken back without a conviction"
    again = told["proposed_again"]
    if again is None or again["phase"] != "in_review" or not again["sentence"].startswith("Refused"):
        yield "proposed again unchanged, it was not held"
    if not told["review_open"]:
        yield "no review was opened"


# -- 3: the outage --------------------------------------------------------------------------------------------------


def _outage(story: Story, scene: Scene, lines: list[str]) -> dict[str, Any]:
    found = story.found
    if "killed_at" not in found:
        return {"outage": None}
    totals = variant_totals(lines, since=found["killed_at"], until=found["back_at"] + 1)
    ours = {key: value for key, value in totals.items() if key[0] == scene.world.urls[story.service]}
    requests = sum(requests for requests, _ in ours.values())
    bad = sum(bad for _, bad in ours.values())
    return {
        "outage": {
            "seconds": round(found["back_at"] - found["killed_at"], 1),
            "step": found["step"],
            "percent": found["percent"],
            "shop": {
                "requests": requests,
                "bad_pct": _pct(bad, requests),
                "unanswered": sum(value[0] for (_, variant), value in totals.items() if not variant),
            },
            "arms": found["arms"],
        }
    }


def _outage_faults(told: Mapping[str, Any]) -> Iterable[str]:
    outage = told["outage"]
    if outage is None:
        yield "the change had ended before the server could be killed in the middle of it"
        return
    arms, shop = outage["arms"], outage["shop"]
    if arms["changed_while_away"] or arms["went_back_after"]:
        yield f"{arms['changed_while_away'] + arms['went_back_after']} customers changed sides"
    if arms["unanswered"] or shop["unanswered"]:
        yield "the shop did not answer everybody while the server was away"
    if not shop["requests"] or shop["bad_pct"] > SHOP_FAULTS_MOST_PCT:
        yield f"the shop failed while the server was away: {shop['bad_pct']} % of {shop['requests']} requests"


# -- all of it ------------------------------------------------------------------------------------------------------


def _traffic(lines: list[str]) -> dict[str, Any]:
    totals = variant_totals(lines)
    seconds = {json.loads(line)["second"] for line in lines}
    requests = sum(requests for requests, _ in totals.values())
    return {
        "requests": requests,
        "bad": sum(bad for _, bad in totals.values()),
        "per_s": round(requests / max(len(seconds), 1)),
        "left_out": sum(json.loads(line).get("left_out", 0) for line in lines),
    }


def _verified(scene: Scene) -> dict[str, Any]:
    """Verify the data folder as anybody would: in a process of its own, against a checkpoint and the key taken now."""
    data, caller = scene.server.data, scene.people[ADMIN]
    checkpoint, key = data / "checkpoint.kept", data / "checkpoint.kept.key"
    try:
        checkpoint.write_text(caller.text("/audit/checkpoint"))
        key.write_text(caller.text("/audit/key"))
    except (Away, Refused) as fault:
        return {"ok": False, "why": str(fault)}
    command = [sys.executable, "-m", "airboss.faces.cli", "audit", "verify", str(data), "--json"]
    command += ["--checkpoint", str(checkpoint), "--key", str(key)]
    done = subprocess.run(  # noqa: S603  # our own interpreter and module
        command, capture_output=True, text=True, timeout=VERIFY_MOST_S, check=False
    )
    try:
        report: dict[str, Any] = json.loads(done.stdout)
    except ValueError:
        return {"ok": False, "exit_code": done.returncode, "why": done.stderr.strip()[-500:]}
    kept = ("ok", "size", "subjects", "states", "texts", "checkpoints", "signatures", "findings", "caveats")
    return {**{name: report[name] for name in kept}, "exit_code": done.returncode}


def coverage(seen: Sequence[tuple[int, int]]) -> float | None:
    """Return the percent of spans that named the change, of those that came between the first and the last look while
    its customers were split; None without two looks.
    """
    if len(seen) < 2 or seen[-1][0] <= seen[0][0]:
        return None
    return _pct(seen[-1][1] - seen[0][1], seen[-1][0] - seen[0][0])


def _first(facts: Sequence[Fact], kind: str) -> Fact | None:
    return next((fact for fact in facts if fact["type"] == kind), None)


def _unix(fact: Fact) -> float:
    return datetime.fromisoformat(fact["at"]).timestamp()


def _between(earlier: Fact, later: Fact) -> float:
    return round(_unix(later) - _unix(earlier), 1)


def _pct(part: int, whole: int) -> float:
    return round(100 * part / whole, 3) if whole else 0.0


# -- in words -------------------------------------------------------------------------------------------------------


def lines(report: Mapping[str, Any]) -> list[str]:
    """Return the report as people read it."""
    told: list[str] = []
    for story in report["stories"]:
        mark = "✕" if story["failures"] else "✓"
        told.append(f"{mark} {story['story']}  {story['promise']}: {story['outcome'] or 'not ended'}")
        ended = [row for row in story["steps"] if "ended_after_s" in row]
        if ended:
            told.append("     " + ", ".join(f"{row['percent']:g} % {row['ended_after_s']:.0f} s" for row in ended))
        told += [f"     {sentence}" for sentence in _about(story)]
        told += [f"     FAILED: {sentence}" for sentence in story["failures"]]
    told += ["", *_sums(report)]
    return told


def _about(story: Mapping[str, Any]) -> Iterable[str]:
    found = story.get("detection")
    if story["name"] == "judged" and story.get("approval", {}).get("approved_by"):
        yield f"approved by {story['approval']['approved_by']}, proposed by {story['approval']['proposed_by']}"
    if found is not None:
        delay = found["export_delay_s"]
        told = "" if delay is None else f", of which telemetry was on its way for {delay:.1f} s"
        yield f"harm found {found['time_to_detect_s']:.0f} s after the first exposure{told}"
        if found["time_to_roll_back_s"] is not None:
            yield f"everything back {found['time_to_roll_back_s']:.1f} s after the verdict"
        cost = story["served"]
        yield (
            f"{cost['new_side_bad']} requests of the new side went badly ({cost['new_side_bad_pct']:.1f} % of "
            f"{cost['new_side_requests']:,}); with five minutes a step, some {cost['fixed_bake']['new_side_bad']:,}"
        )
    again = story.get("proposed_again")
    if again is not None:
        yield f"proposed again: {again['sentence']}"
    if story.get("review_open"):
        yield "its review is open, drawn up from the facts"
    outage = story.get("outage")
    if outage is not None:
        yield f"killed at {outage['percent']:g} %, away for {outage['seconds']:.1f} s; every step begun once, none skipped"
        yield (
            f"{outage['shop']['requests']:,} requests meanwhile, {outage['shop']['bad_pct']:.1f} % bad, "
            f"{outage['shop']['unanswered']} unanswered"
        )
        arms = outage["arms"]
        if arms["sticky"]:
            yield f"{arms['changed_while_away'] + arms['went_back_after']} of {arms['customers']} customers changed sides"
        else:
            yield (
                f"of {arms['customers']} requests the new version answered {arms['on_before']} before and "
                f"{arms['on_while_away']} while the server was away, {arms['unanswered']} unanswered"
            )


def _sums(report: Mapping[str, Any]) -> Iterable[str]:
    split = {name: share for name, share in report["coverage_while_split_pct"].items() if share is not None}
    shares = ", ".join(f"{name} {share:.1f} %" for name, share in split.items()) or "none was split"
    journal, verified, traffic = report["journal"], report["verification"], report["traffic"]
    yield f"Traffic      {traffic['requests']:,} requests, {traffic['per_s']:,} a second"
    if split:
        yield f"Coverage     requests that named their change while customers were split: {shares}"
    yield f"Journal      {journal['entries']:,} facts, {journal['bytes'] / 1e6:.1f} MB"
    how = "all is as it was recorded" if verified["ok"] else "NOT as it was recorded"
    yield f"Verification offline, {verified.get('size', 0):,} entries: {how}"
    if report["as_expected"]:
        yield "Every story came out as it must."
    else:
        yield f"{len(report['failures'])} thing(s) did not come out as a correct system must let them."
