"""What production says: OTLP taken in, counted by arm of each change in flight, and read as blocks, windows and coverage.

`airboss serve` composes the ingest process from `IngestApp` and `open_bucket_store`; the tower, the pages and the API ask
`TelemetryReader`, in their own process, over the same store. Whoever steers exposures fills the port `ActiveExposures`;
whoever knows tokens gives `Authenticate`. `Ingest` is the counting itself, without network or database.

Meaning. Server spans and local root spans count (kind SERVER or CONSUMER, no parent, or a remote one); status ERROR is bad;
durations lie in log2/8 bins. A span counts in the plain series of its service and environment, and in an arm of each change
that was in flight here when it ended: of a ramp in the arm its element of `airboss.exposure` names, or the answer
a plain OpenTelemetry hook tells (`feature_flag.evaluation`), with every subject counted once per attempt and once per step; of a deploy in the canary if the process that made it names the change, else in
the baseline, by pod.
"""

from airboss.watch.telemetry.adapters.sql import SqlBucketStore, open_bucket_store
from airboss.watch.telemetry.app import WRITE_SCOPE, IngestApp, bound_service
from airboss.watch.telemetry.columns import Columns, Origin
from airboss.watch.telemetry.ingest import ANY_SERVICE, Ingest, Receipt
from airboss.watch.telemetry.model import (
    ARMS,
    GROUP_FIELDS,
    NUM_BINS,
    NUM_GROUPS,
    SIGNALS,
    ActiveExposure,
    ArmSeries,
    Asked,
    BucketSeries,
    Counts,
    Coverage,
    Delay,
    Design,
    Exemplar,
    RampedFlag,
    SealedBlock,
    Signal,
    Sums,
    TelemetrySettings,
    WindowCounts,
)
from airboss.watch.telemetry.ports import (
    ActiveExposures,
    Authenticate,
    Boot,
    BucketRow,
    BucketStore,
    CoverageRow,
    ExemplarRow,
    Flush,
    Sender,
    Series,
    SubjectChunk,
)
from airboss.watch.telemetry.reader import TelemetryReader
from airboss.watch.telemetry.rules import bin_index, bin_lower_us, quantile_us
from airboss.watch.telemetry.schema import require_fast_parser
from airboss.watch.telemetry.wire import ProtobufReader
from airboss.watch.telemetry.wire_json import read_json

__all__ = [
    "ANY_SERVICE",
    "ARMS",
    "GROUP_FIELDS",
    "NUM_BINS",
    "NUM_GROUPS",
    "SIGNALS",
    "WRITE_SCOPE",
    "ActiveExposure",
    "ActiveExposures",
    "ArmSeries",
    "Asked",
    "Authenticate",
    "Boot",
    "BucketRow",
    "BucketSeries",
    "BucketStore",
    "Columns",
    "Counts",
    "Coverage",
    "CoverageRow",
    "Delay",
    "Design",
    "Exemplar",
    "ExemplarRow",
    "Flush",
    "Ingest",
    "IngestApp",
    "Origin",
    "ProtobufReader",
    "RampedFlag",
    "Receipt",
    "SealedBlock",
    "Sender",
    "Series",
    "Signal",
    "SqlBucketStore",
    "SubjectChunk",
    "Sums",
    "TelemetryReader",
    "TelemetrySettings",
    "WindowCounts",
    "bin_index",
    "bin_lower_us",
    "bound_service",
    "open_bucket_store",
    "quantile_us",
    "read_json",
    "require_fast_parser",
]
