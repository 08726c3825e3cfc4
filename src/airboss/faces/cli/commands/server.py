"""`airboss serve`, `airboss demo`, and what one asks of a running server: services."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Final

import typer

from airboss.faces.cli import completion
from airboss.faces.cli.commands.verdicts import one_service
from airboss.faces.cli.exit_codes import Exit
from airboss.faces.cli.options import AsJson, Cursor, Limit, listed
from airboss.faces.cli.problems import Problem
from airboss.faces.cli.screen import emit, table
from airboss.faces.cli.words import seconds

ROLES: Final = ("all", "control", "ingest")


def serve(
    data: Annotated[Path | None, typer.Option("--data", help="The data folder.  [env: AIRBOSS_DATA]")] = None,
    host: Annotated[str | None, typer.Option("--host", help="Where to listen; loopback unless named.")] = None,
    port: Annotated[int | None, typer.Option("--port", min=0, max=65535, help="Of API and pages.")] = None,
    ingest_port: Annotated[
        int | None, typer.Option("--ingest-port", min=0, max=65535, help="Of telemetry, OTLP over HTTP.")
    ] = None,
    database: Annotated[
        str | None, typer.Option("--database", help="postgresql://…; a file in the folder otherwise.")
    ] = None,
    buckets: Annotated[
        str | None, typer.Option("--buckets", help="Where telemetry is counted; as the database.")
    ] = None,
    public_url: Annotated[str | None, typer.Option("--public-url", help="How people reach the pages.")] = None,
    hosts: Annotated[
        str | None, typer.Option("--hosts", help="Further host names requests may use, by commas.")
    ] = None,
    behind_proxy: Annotated[bool, typer.Option("--behind-proxy", help="A proxy before it does TLS.")] = False,
    tls_certificate: Annotated[Path | None, typer.Option("--tls-certificate")] = None,
    tls_key: Annotated[Path | None, typer.Option("--tls-key")] = None,
    role: Annotated[str, typer.Option("--role", help="all, control or ingest.")] = "all",
) -> None:
    """Run a server until Ctrl-C. What is not given is read from AIRBOSS_* (AIRBOSS_DATA, AIRBOSS_PORT, …)."""
    from airboss.bootstrap import read_settings
    from airboss.faces.server import serve as serve_until_told

    if role not in ROLES:
        raise Problem(
            f"{role!r} is no role", exit_code=Exit.USAGE, code="role-unknown", way_out=f"use {', '.join(ROLES)}"
        )
    settings = read_settings(
        data=data,
        host=host,
        port=port,
        ingest_port=ingest_port,
        database=database,
        buckets=buckets,
        public_url=public_url,
        hosts=hosts,
        behind_proxy="1" if behind_proxy else None,
        tls_certificate=tls_certificate,
        tls_key=tls_key,
    )
    serve_until_told(settings, role=role)  # type: ignore[arg-type]  # checked above


def services(
    name: Annotated[
        str | None, typer.Argument(metavar="[SERVICE]", help="Show one of them.", autocompletion=completion.services)
    ] = None,
    as_json: AsJson = False,
    limit: Limit = None,
    cursor: Cursor = None,
) -> None:
    """List the services, or show one."""
    if name is not None:
        one_service(name, as_json=as_json)
        return
    found = listed("/services", limit, cursor)
    if as_json:
        emit(found)
        return
    rows = [
        (one["name"], one["owner"], one["tier"], _age(one), str(len(one.get("objectives") or [])))
        for one in found["items"]
    ]
    table(
        ("Service", "Owner", "Tier", "Newest telemetry", "Objectives"),
        rows,
        empty="No service yet: airboss apply -f service.yaml",
        give="Service",
    )


def _age(service: dict[str, object]) -> str:
    age = service.get("telemetry_age_s")
    return f"{seconds(age)} ago" if isinstance(age, (int, float)) else "none"


def demo(
    what: Annotated[
        str, typer.Argument(metavar="[release]", help="Two versions behind an Envoy, instead of flags.")
    ] = "",
    exit_: Annotated[bool, typer.Option("--exit", help="End after the stories instead of staying up.")] = False,
    json_file: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write the report there; - is standard output.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Another seed is another day in the shop.")] = 1,
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="Of the pages; 0 takes a free one.")] = 8700,
    data: Annotated[
        Path | None, typer.Option("--data", help="An empty folder to keep it in; a fresh one otherwise.")
    ] = None,
    fault: Annotated[str, typer.Option("--fault", help="What is wrong in story 2: none, mild or severe.")] = "severe",
) -> int:
    """Watch three changes go out under real traffic, here and now.

    One is good, one harms, and during one the server is killed.

    Ends with 0 when every story came out as a correct system must let it, with 1 when one did not.
    """
    from airboss.demo.caller import Away, Refused
    from airboss.demo.director import FAULT_WORDS, Wish, direct
    from airboss.demo.world import NotStarted
    from airboss.faces.cli.stage import stage

    if what not in ("", "release"):
        raise Problem(
            f"there is no demo called {what!r}",
            exit_code=Exit.USAGE,
            code="demo-unknown",
            way_out="airboss demo, or airboss demo release",
        )
    if fault not in FAULT_WORDS:
        raise Problem(
            f"{fault!r} is no fault of this demo",
            exit_code=Exit.USAGE,
            code="fault-unknown",
            way_out=f"use {', '.join(FAULT_WORDS)}",
        )
    to_stdout = json_file is not None and str(json_file) == "-"

    def keep(report: dict[str, object]) -> None:
        text = json.dumps(report, indent=2, ensure_ascii=False) + "\n"
        if to_stdout:
            typer.echo(text, nl=False)
        elif json_file is not None:
            json_file.write_text(text)

    wish = Wish(seed=seed, port=port, data=data, fault=fault, stay=not exit_, releases=what == "release")
    with stage(quiet=to_stdout) as shown:
        try:
            good = direct(wish, shown, keep)
        except NotStarted as fault_:
            raise Problem(str(fault_), code="demo-not-started", way_out="look at the log it names") from fault_
        except (Away, Refused) as fault_:
            raise Problem(str(fault_), code="demo-stopped") from fault_
    return Exit.OK if good else Exit.FAULT
