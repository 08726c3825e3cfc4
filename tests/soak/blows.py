"""What strikes the servers of a soak, at moments of chance, and how soon somebody goes on with what was under way."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError
from tests.faults.fleet import Database
from tests.soak.servers import Member, until

QUIET_S: Final = (20.0, 60.0)
"""Between the end of a blow and the next."""
STOPPED_S: Final = 20.0
"""Longer than a lease, and than any deadline of an effect."""
GOES_ON_S: Final = 15.0
MOST_S: Final = 90.0
AWAY_S: Final = (3.0, 20.0)
KINDS: Final = {"server": 6, "ingest": 3, "stopped": 3, "database": 2, "both": 1}
"""And how often each comes, against the others."""
DUE: Final = """
    SELECT wake.change_id, wake.fence FROM wake JOIN change ON change.id = wake.change_id
    WHERE change.phase IN ('rolling_out', 'verifying', 'rolling_back') AND {due}
"""


class Blows:
    """A thread that strikes. What it found wrong is raised by `check`."""

    def __init__(
        self,
        members: Sequence[Member],
        database: Database | None,
        engine: sa.Engine,
        *,
        seed: int,
        tell: Callable[..., None],
    ) -> None:
        self.counted: Counter[str] = Counter()
        self.took_s: dict[str, list[float]] = defaultdict(list)
        """By kind: from the blow until everything that was under way was looked at anew, by whoever was left."""
        self.ready_s: list[float] = []
        """From the start of a killed server until it was ready."""
        self.late: list[str] = []
        """Where one server was struck and the other did not go on in time."""
        self._members, self._database, self._engine, self._tell = members, database, engine, tell
        self._chance = random.Random(f"{seed}/blows")
        self._over = threading.Event()
        self._fault: BaseException | None = None
        self._thread = threading.Thread(target=self._run)
        alone = len(members) == 1
        self._kinds = {
            kind: weight
            for kind, weight in KINDS.items()
            if not (kind == "both" and alone) and not (kind == "database" and database is None)
        }

    def start(self) -> None:
        """Begin to strike."""
        self._thread.start()

    def end(self) -> None:
        """Finish the blow that is under way, and strike no more."""
        self._over.set()
        if self._thread.is_alive():
            self._thread.join()

    def check(self) -> None:
        """Raise what went wrong, if anything did."""
        if self._fault is not None:
            raise self._fault

    def found(self) -> dict[str, Any]:
        """Sum up: how often, and how long it took until somebody went on (middle and most, seconds)."""
        return {
            "counted": dict(self.counted),
            "went_on_s": {kind: _spread(took) for kind, took in self.took_s.items()},
            "ready_s": _spread(self.ready_s),
            "late": self.late,
        }

    def _run(self) -> None:
        try:
            while not self._over.wait(self._chance.uniform(*QUIET_S)):
                self._strike()
        except BaseException as fault:  # noqa: BLE001 - raised by `check`, in the thread that counts
            self._fault = fault

    def _strike(self) -> None:
        kind = self._chance.choices(tuple(self._kinds), tuple(self._kinds.values()))[0]
        victim = self._chance.choice(self._members)
        self.counted[kind] += 1
        self._tell("blow", kind=kind, victim=victim.name)
        strike = {
            "server": self._kill,
            "both": self._kill_all,
            "ingest": self._kill_ingest,
            "stopped": self._stop,
            "database": self._take_database,
        }[kind]
        took, back = strike(victim)
        if took is not None:
            self.took_s[kind].append(took)
        self._tell("over", kind=kind, went_on_s=None if took is None else round(took, 2), back_s=round(back, 2))
        if took is not None and kind in ("server", "stopped") and took >= GOES_ON_S:
            self.late.append(f"nobody went on for {took:.1f} s after {kind} of {victim.name}")

    # Each returns in how many seconds everything under way had been looked at anew, and in how many all was ready again.

    def _kill(self, victim: Member) -> tuple[float | None, float]:
        """Kill all of one server; it comes back when the other has gone on."""
        victim.kill()
        took = None if len(self._members) == 1 else self._went_on(self._under_way())
        time.sleep(self._chance.uniform(0.0, 4.0))
        return took, self._start([victim])

    def _kill_all(self, _victim: Member) -> tuple[float | None, float]:
        """Kill everybody at once, as a power cut would; counted from when they are started again."""
        for one in self._members:
            one.kill()
        before = self._under_way()
        time.sleep(self._chance.uniform(0.0, 4.0))
        began = time.monotonic()
        back = self._start(self._members)
        return (time.monotonic() - began if self._went_on(before) is not None else None), back

    def _kill_ingest(self, victim: Member) -> tuple[float | None, float]:
        """Kill an ingest; its server starts it again."""
        killed = victim.kill_ingest()
        began = time.monotonic()
        until(lambda: victim.processes.get("ingest", killed) != killed, f"{victim.name} has no ingest", MOST_S)
        victim.wait()
        return None, time.monotonic() - began

    def _stop(self, victim: Member) -> tuple[float | None, float]:
        """Put a control to sleep where it is, past its lease; awake, it must do nothing that is not its own any more."""
        victim.stop()
        began = time.monotonic()
        try:
            took = None if len(self._members) == 1 else self._went_on(self._under_way())
            time.sleep(max(0.0, STOPPED_S - (time.monotonic() - began)))
        finally:
            victim.go_on()
        return took, victim.wait()

    def _take_database(self, _victim: Member) -> tuple[float | None, float]:
        """Take the database away as a crash does, for some seconds; counted from when it is there again."""
        assert self._database is not None, "not one of the kinds without it"
        before = self._under_way()
        self._database.away()
        time.sleep(self._chance.uniform(*AWAY_S))
        self._database.back()
        began = time.monotonic()
        took = self._went_on(before)
        for one in self._members:
            one.wait()
        return took, time.monotonic() - began

    def _start(self, victims: Sequence[Member]) -> float:
        began = time.monotonic()
        for one in victims:
            one.start()
        for one in victims:
            one.wait()
        took = time.monotonic() - began
        self.ready_s.append(took)
        return took

    def _under_way(self) -> dict[str, int]:
        """Return the fences of what is claimed, or due within some seconds."""
        soon = "(wake.lease_until IS NOT NULL OR wake.due_at <= :soon)"
        with self._engine.connect() as connection:
            rows = connection.execute(sa.text(DUE.format(due=soon)), {"soon": time.time_ns() // 1000 + 3_000_000}).all()
        return {row.change_id: row.fence for row in rows}

    def _went_on(self, before: dict[str, int]) -> float | None:
        """Wait until all of it was claimed anew, or is over, and return how long that took; None where nothing was."""
        if not before:
            return None

        def all_claimed() -> bool:
            try:
                with self._engine.connect() as connection:
                    now = dict(connection.execute(sa.text(DUE.format(due="true"))).all())
            except SQLAlchemyError:  # it is just coming back
                return False
            return all(change not in now or now[change] > fence for change, fence in before.items())

        return until(all_claimed, f"nobody went on with {sorted(before)}", MOST_S)


def _spread(took: Sequence[float]) -> dict[str, float]:
    ordered = sorted(took)
    return {"middle": round(ordered[len(ordered) // 2], 2), "most": round(ordered[-1], 2)} if ordered else {}
