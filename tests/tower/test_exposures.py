"""What telemetry is told of the exposures the tower keeps."""

from __future__ import annotations

from datetime import timedelta

from tests.tower.world import World

from airboss.act.rollout.repo import ExposureRow, end_exposures, open_exposure


def test_telemetry_is_told_how_the_arms_of_a_unit_come_to_be(world: World) -> None:
    """A flag splits people: its unit is a ramp. Every other target runs two versions: its unit is a deploy."""
    now = world.clock.now()
    with world.house.store.write() as tx:
        for unit, kind in (("flag", "flag"), ("front", "envoy")):
            open_exposure(
                tx,
                ExposureRow(
                    change_id="chg_1",
                    unit=unit,
                    attempt=1,
                    step=1,
                    service="shop",
                    environment="production",
                    percent=5.0,
                    kind=kind,
                    from_at=now,
                    to_at=None,
                ),
            )
    assert {row.unit: row.design for row in world.exposures.since(now)} == {"flag": "ramp", "front": "deploy"}
    with world.house.store.write() as tx:
        end_exposures(tx, "chg_1", now + timedelta(seconds=5), unit="front")
    assert [row.end for row in world.exposures.of_change("chg_1") if row.design == "deploy"] == [
        now + timedelta(seconds=5)
    ]
