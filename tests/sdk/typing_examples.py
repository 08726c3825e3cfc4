"""What a service writes against `airboss.sdk`; checked by two type checkers, run by nobody.

Every line marked `wrong` must be refused by both; every other line must be accepted by both.
"""

from __future__ import annotations

from typing import assert_type

from openfeature import api
from openfeature.evaluation_context import EvaluationContext
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider

from airboss.sdk import (
    AirbossProvider,
    ExposureHook,
    Resolution,
    Snapshot,
    compile_snapshot,
    follow_local_roots,
    resource_attributes,
)

attributes = resource_attributes(service="checkout", version="2.4.0", environment="production")
assert_type(attributes, dict[str, str])
traces = TracerProvider(resource=Resource.create(attributes))
follow_local_roots(traces)

provider = AirbossProvider("http://127.0.0.1:8700", "abt_secret", cache_file="flags.json", poll_s=5)
assert_type(provider.revision, int | None)
api.set_provider(provider)
client = api.get_client()
client.add_hooks([ExposureHook()])
assert_type(client.get_boolean_value("tax.engine", False, EvaluationContext("user-1")), bool)

snapshot = compile_snapshot({"flags": {}})
assert_type(snapshot, Snapshot)
answer = snapshot.evaluate("tax.engine", "user-1", {"country": "de"})
assert_type(answer, Resolution)
assert_type(answer.variant, str | None)
assert_type(answer.arm, str | None)

resource_attributes(version="2.4.0")  # wrong: the service is not optional
AirbossProvider("http://127.0.0.1:8700")  # wrong: a token is needed
AirbossProvider("http://127.0.0.1:8700", "abt_secret", 2.0)  # wrong: options have names
snapshot.evaluate("tax.engine", 7, {})  # wrong: a key is a text
provider.revision = 3  # wrong: the revision is the server's
