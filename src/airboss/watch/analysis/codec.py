"""State to JSON and back, exactly.

Floats are written by their shortest decimal that reads back to the same bits, whole floats come back as integers from
canonical JSON and are made floats again, and histograms are stored from their first to their last used bin.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from typing import Any, cast

import numpy as np
from scipy.special import zeta

from airboss.kernel.canonical import Json
from airboss.kernel.errors import Invalid
from airboss.watch.analysis import harmless, mixture
from airboss.watch.analysis.bins import BIN_COUNT, Counts, Floats
from airboss.watch.analysis.model import Design, Kind, Metric, StepContext
from airboss.watch.analysis.state import FORMAT, State, Tally, Track, start

_ARRAYS = ("harm_main", "harm_late", "safe_relative", "safe_excess", "safe_ceiling", "safe_pods", "likelihood")
_HISTOGRAMS = ("past", "step_canary", "step_baseline")


def to_json(state: State) -> dict[str, Json]:
    """Return the state as JSON-able values (finite numbers, strings, lists, objects)."""
    return {
        "format": FORMAT,
        "design": state.design.value,
        "alpha": state.alpha,
        "beta": state.beta,
        "units": state.units,
        "metrics": [{**asdict(metric), "kind": metric.kind.value} for metric in state.metrics],
        "tracks": [_track_json(track) for track in state.tracks],
        "split": _numbers(state.split),
        "step": None if state.step is None else asdict(state.step),
        "looks": state.looks,
        "looks_ahead": state.looks_ahead,
        "last_start_us": state.last_start_us,
        "last_end_us": state.last_end_us,
        "last_strata": list(state.last_strata),
    }


def from_json(value: Mapping[str, Any]) -> State:
    """Return the state that `to_json` wrote.

    Raises Invalid (`analysis-state-unreadable`) for another format or a damaged value; the way out is `reopen`.
    """
    if value.get("format") not in (1, FORMAT):
        raise _unreadable(f"format {value.get('format')!r}, this version reads 1 and {FORMAT}")
    try:
        return _state(value if value["format"] == FORMAT else _of_first_format(value))
    except (KeyError, TypeError, ValueError, Invalid) as fault:
        raise _unreadable(str(fault)) from fault


def _unreadable(why: str) -> Invalid:
    return Invalid(
        f"the analysis state cannot be read: {why}",
        code="analysis-state-unreadable",
        way_out="close it and reopen with half the alpha left",
    )


def _state(value: Mapping[str, Any]) -> State:
    metrics = tuple(_metric(item) for item in value["metrics"])
    # `start` checks levels and names as for a new state.
    fresh = start(
        metrics, float(value["alpha"]), float(value["beta"]), int(value["units"]), design=Design(value["design"])
    )
    tracks = tuple(_track(item) for item in value["tracks"])
    split = _array(value["split"])
    if len(tracks) != len(metrics) or split.shape != fresh.split.shape:
        raise ValueError("tracks, metrics or split do not fit together")
    return State(
        design=fresh.design,
        alpha=fresh.alpha,
        beta=fresh.beta,
        units=fresh.units,
        metrics=metrics,
        tracks=tracks,
        split=split,
        step=None if value["step"] is None else _step(value["step"]),
        looks=int(value["looks"]),
        looks_ahead=int(value["looks_ahead"]),
        last_start_us=int(value["last_start_us"]),
        last_end_us=int(value["last_end_us"]),
        last_strata=tuple(value["last_strata"]),
    )


def _of_first_format(value: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a state of format 1 as one of today's: without harmlessness by pods, and with the late start's old law.

    That law was π_s = (s+5)^−1.2 / ζ(1.2, 6) at a weight of one quarter. What began is kept at its old value, under the new
    weights; what had not begun is put as far along the new law as leaves no more of it than there was. So the evidence
    stays what it was or falls by a trifle, and goes on from there as an e-process.
    """
    early, late = math.log(0.75) - math.log1p(-mixture.LATE), math.log(0.25) - math.log(mixture.LATE)
    looks = int(value["looks"])
    ahead = 0
    if looks:
        left = math.log(float(zeta(1.2, looks + 6.0)) / float(zeta(1.2, 6.0))) + late
        while mixture.log_unstarted(looks + ahead) > left:
            ahead += 1 + ahead // 64
    tracks = [
        {
            **track,
            "harm_main": [one + (early if looks else 0.0) for one in track["harm_main"]],
            "harm_late": [max(one + late, mixture.NEVER) if looks else one for one in track["harm_late"]],
            "safe_pods": [0.0] * len(harmless.LOG_WEIGHTS),
            "apart": 0,
        }
        for track in value["tracks"]
    ]
    return {**value, "tracks": tracks, "looks_ahead": ahead}


def _metric(value: Mapping[str, Any]) -> Metric:
    return Metric(
        name=value["name"],
        kind=Kind(value["kind"]),
        quantile=float(value["quantile"]),
        margin=float(value["margin"]),
        harm_ratio=float(value["harm_ratio"]),
        ceiling=None if value["ceiling"] is None else float(value["ceiling"]),
        weight=float(value["weight"]),
        critical=value["critical"],
        label=value["label"],
    )


def _step(value: Mapping[str, Any]) -> StepContext:
    return StepContext(
        index=int(value["index"]),
        share_canary=float(value["share_canary"]),
        next_share=float(value["next_share"]),
        allowance=float(value["allowance"]),
        is_last_before_full=value["is_last_before_full"],
    )


def _track_json(track: Track) -> dict[str, Json]:
    values: dict[str, Json] = {name: _numbers(getattr(track, name)) for name in _ARRAYS}
    values.update({name: _packed(getattr(track, name)) for name in _HISTOGRAMS})
    values["tally"] = {item.name: getattr(track.tally, item.name) for item in fields(Tally)}
    values["robust"] = track.robust
    values["apart"] = track.apart
    values["threshold_bin"] = track.threshold_bin
    return values


def _track(value: Mapping[str, Any]) -> Track:
    return Track(
        harm_main=_array(value["harm_main"]),
        harm_late=_array(value["harm_late"]),
        safe_relative=_array(value["safe_relative"]),
        safe_excess=_array(value["safe_excess"]),
        safe_ceiling=_array(value["safe_ceiling"]),
        safe_pods=_array(value["safe_pods"]),
        likelihood=_array(value["likelihood"]),
        past=_unpacked(value["past"]),
        step_canary=_unpacked(value["step_canary"]),
        step_baseline=_unpacked(value["step_baseline"]),
        tally=Tally(**{item.name: int(value["tally"][item.name]) for item in fields(Tally)}),
        robust=value["robust"],
        apart=int(value["apart"]),
        threshold_bin=value["threshold_bin"],
    )


def _numbers(values: Floats) -> Json:
    return cast("list[Json]", values.tolist())


def _array(values: Sequence[float]) -> Floats:
    array = np.array(values, dtype=np.float64)
    if array.ndim != 1 or not np.isfinite(array).all():
        raise ValueError("an array of the state is not a list of finite numbers")
    return array


def _packed(counts: Counts) -> Json:
    used = np.flatnonzero(counts)
    if len(counts) == 0:
        return None
    if len(used) == 0:
        return {"from": 0, "counts": []}
    return {"from": int(used[0]), "counts": cast("list[Json]", counts[used[0] : used[-1] + 1].tolist())}


def _unpacked(value: Mapping[str, Any] | None) -> Counts:
    if value is None:
        return np.zeros(0, dtype=np.int64)
    counts = np.zeros(BIN_COUNT, dtype=np.int64)
    stored = np.array(value["counts"], dtype=np.int64)
    counts[int(value["from"]) : int(value["from"]) + len(stored)] = stored
    return counts
