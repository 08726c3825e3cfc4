"""An ingest, a store and a reader on one hand-moved clock: what the app does, without network or threads."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from tests.watch.telemetry.otlp import CHANGE, Span, body

from airboss.kernel.clock import to_micros
from airboss.testing import ManualClock
from airboss.testing.telemetry import ListedExposures
from airboss.watch.telemetry import (
    ANY_SERVICE,
    BucketStore,
    Flush,
    Ingest,
    ProtobufReader,
    Receipt,
    SealedBlock,
    TelemetryReader,
    TelemetrySettings,
)


class Line:
    """One boot of one ingester, from bytes to the store."""

    def __init__(
        self,
        store: BucketStore,
        clock: ManualClock,
        exposures: ListedExposures,
        settings: TelemetrySettings,
        ingester: str = "ing_a",
    ) -> None:
        self.store, self.clock, self.exposures, self.settings = store, clock, exposures, settings
        self.ingest = Ingest(settings)
        self.wire = ProtobufReader()
        self.source = store.begin(ingester, to_micros(clock.now()))
        self.refresh()

    def refresh(self) -> None:
        known = self.exposures.known(self.ingest.unknown_changes())
        rows = self.exposures.since(self.clock.now() - self.settings.changes_idle)
        for change in self.ingest.unloaded(rows, now_us=to_micros(self.clock.now())):
            self.ingest.load_subjects(change, self.store.subjects(change))
        self.ingest.update(rows, known=known, now_us=to_micros(self.clock.now()))

    def send(self, *spans: Span, sender: str = ANY_SERVICE, **more: dict[str, str]) -> Receipt:
        return self.send_bytes(body(spans, **more), sender=sender)

    def send_bytes(self, data: bytes, *, sender: str = ANY_SERVICE) -> Receipt:
        columns = self.wire.read(data, "traces")
        now_us = to_micros(self.clock.now())
        return self.ingest.accept(columns, signal="traces", sender_service=sender, received_us=now_us)

    def flush(self) -> Flush:
        taken = self.ingest.take(source=self.source, at_us=to_micros(self.clock.now()))
        self.store.flush(taken)
        self.ingest.confirm(taken)
        return taken

    def run(self, seconds: int) -> None:
        """Live for some seconds with a refresh and a flush in each."""
        for _ in range(seconds):
            self.clock.advance(1)
            self.refresh()
            self.flush()

    @property
    def reader(self) -> TelemetryReader:
        return TelemetryReader(self.store, self.exposures, self.settings)

    def blocks(self, *, step: int = 1, attempt: int = 1, after: datetime | None = None) -> Sequence[SealedBlock]:
        return self.reader.blocks(
            CHANGE, "checkout", "production", attempt=attempt, step=step, after=after, now=self.clock.now()
        )
