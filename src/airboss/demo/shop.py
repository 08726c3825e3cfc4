"""One service of the demo's shop: a real HTTP service that knows Airboss only through ordinary SDKs.

    python -m airboss.demo.shop --service checkout --port 8101 --server http://127.0.0.1:8080 \
        --flags-token-file flags.token --otlp http://127.0.0.1:8081 --otlp-token-file otlp.token --fault severe

It answers GET /checkout (or /search, /pay: see SERVICES) for the customer named in `shop-customer`, asks its flag through
OpenFeature which engine that customer gets, does its work (a wait whose length is drawn as services' durations are), and
reports each request as a server span through OpenTelemetry. It has no other way to the server than these two, and goes on
serving with what it last knew when the server is away.

What is true of its requests is in `nature`. When it listens it prints one JSON line {service, url}; it ends by itself
after `--seconds`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import socket
import sys
import time
from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Any, Final

import uvicorn
from openfeature import api
from openfeature.evaluation_context import EvaluationContext
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import SpanKind, Status, StatusCode, Tracer

from airboss.demo.nature import FAULTS, SERVICES, Nature
from airboss.sdk import AirbossProvider, follow_local_roots, resource_attributes

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


LIFE_S: Final = 900.0


class Shop:
    """The service as an ASGI application."""

    def __init__(self, name: str, nature: Nature, tracer: Tracer, is_new: Callable[[str], bool]) -> None:
        """`is_new(customer)` says whether this customer meets the new engine."""
        self.is_new = is_new
        self.name, self.nature, self.tracer = name, nature, tracer
        self.shape = nature.shape
        self.path = self.shape.route
        self.span_name = f"GET {self.path}"
        self.attributes = {
            "http.request.method": "GET",
            "http.route": self.path,
            "url.path": self.path,
            "url.scheme": "http",
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002  # ASGI's signature
        """Answer one request."""
        if scope["type"] != "http":
            return
        headers = dict(scope["headers"])
        customer = headers.get(b"shop-customer", b"")
        if scope["path"] != self.path or not customer:
            await answer(send, 404 if scope["path"] != self.path else 400, b"")
            return
        with self.tracer.start_as_current_span(
            self.span_name, kind=SpanKind.SERVER, attributes=self.attributes, record_exception=False
        ) as span:
            new = self.is_new(customer.decode("latin-1"))
            seconds, fails = self.nature.draw(customer, headers.get(b"shop-build", b""), new=new)
            await asyncio.sleep(seconds)
            status = 500 if fails else 200
            span.set_attribute("http.response.status_code", status)
            if fails:
                span.set_attribute("error.type", "500")
                span.set_status(Status(StatusCode.ERROR))
            await answer(send, status, b"on" if new else b"off")


async def answer(send: Send, status: int, variant: bytes) -> None:
    """Send a small JSON answer that says which variant served it."""
    body = b'{"served":true}' if status < 400 else b'{"served":false}'
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", b"%d" % len(body)),
        (b"shop-variant", variant),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def telemetry(options: argparse.Namespace) -> TracerProvider:
    """Return the ordinary tracer provider: what any service would set up, with a queue that outlasts a short outage."""
    attributes = resource_attributes(
        service=options.service,
        version=options.version,
        environment=options.environment,
        change_id=options.change,
    )
    resource = Resource.create(attributes | {"service.instance.id": options.instance or options.service})
    exporter = OTLPSpanExporter(
        endpoint=options.otlp.rstrip("/") + "/v1/traces",
        headers={"authorization": f"Bearer {options.otlp_token_file.read_text().strip()}"},
        timeout=5,
    )
    provider = TracerProvider(resource=resource)
    follow_local_roots(provider)
    provider.add_span_processor(
        BatchSpanProcessor(exporter, max_queue_size=50_000, max_export_batch_size=1_024, schedule_delay_millis=1_000)
    )
    return provider


def follow_flag(options: argparse.Namespace) -> Callable[[str], bool]:
    """Return what asks the service's flag which engine a customer gets."""
    api.set_provider(AirbossProvider(options.server, token=options.flags_token_file.read_text().strip()))
    client, flag = api.get_client(), SERVICES[options.service].flag
    return lambda customer: client.get_boolean_value(flag, False, EvaluationContext(targeting_key=customer))


def arguments() -> argparse.ArgumentParser:
    """Return the command line."""
    parser = argparse.ArgumentParser(prog="python -m airboss.demo.shop", description=__doc__.split("\n", 1)[0])
    parser.add_argument("--service", choices=sorted(SERVICES), required=True)
    parser.add_argument("--environment", default="production")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--server", required=True, help="where flags come from")
    parser.add_argument("--flags-token-file", type=Path, required=True)
    parser.add_argument("--otlp", required=True, help="where spans go, without /v1/traces")
    parser.add_argument("--otlp-token-file", type=Path, required=True)
    parser.add_argument("--fault", choices=sorted(FAULTS), default="none", help="what is wrong with the new engine")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--shock-at", type=float, default=45, help="seconds into each minute when the common shock begins"
    )
    parser.add_argument("--minutes-from", type=float, help="on the monotonic clock, which processes of a machine share")
    parser.add_argument(
        "--runs", choices=("flag", "old", "new"), default="flag", help="one engine for all, or whom the flag says"
    )
    parser.add_argument("--version", default="2.3.9")
    parser.add_argument("--change", help="the change that deployed this process")
    parser.add_argument("--instance", help="tells this process from others of the service")
    parser.add_argument("--seconds", type=float, default=LIFE_S, help="ends by itself after so long")
    return parser


async def serve(server: uvicorn.Server, listening: socket.socket, seconds: float) -> None:
    """Serve until told to stop or the time is over."""
    asyncio.get_running_loop().call_later(seconds, setattr, server, "should_exit", True)
    await server.serve(sockets=[listening])


def main() -> None:
    """Run from the command line."""
    options = arguments().parse_args()
    logging.basicConfig(level=logging.ERROR, stream=sys.stderr)
    traces = telemetry(options)
    nature = Nature(
        SERVICES[options.service],
        FAULTS[options.fault],
        seed=f"{options.seed}/{options.service}",  # each service has its own weather
        phase_s=options.shock_at,
        monotonic=time.monotonic,
        start_s=options.minutes_from,
    )
    is_new = follow_flag(options) if options.runs == "flag" else (lambda _: bool(options.runs == "new"))
    shop = Shop(options.service, nature, traces.get_tracer("airboss.demo.shop"), is_new)
    with socket.create_server(("127.0.0.1", options.port), backlog=512) as listening:
        config = uvicorn.Config(shop, access_log=False, log_level="error", lifespan="off", timeout_graceful_shutdown=2)
        server = uvicorn.Server(config)
        url = f"http://127.0.0.1:{listening.getsockname()[1]}{shop.path}"
        print(json.dumps({"service": options.service, "url": url}), flush=True)  # noqa: T201  # what the starter waits for
        with asyncio.Runner(loop_factory=config.get_loop_factory()) as runner:
            runner.run(serve(server, listening, options.seconds))
    traces.shutdown()
    api.shutdown()


if __name__ == "__main__":
    main()
