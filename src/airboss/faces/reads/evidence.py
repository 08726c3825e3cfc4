"""The evidence of one change to take away: its facts with proofs, the page that tells them, and how to check both offline."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping
from datetime import UTC
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from sqlalchemy import Connection

from airboss.bootstrap import House
from airboss.changes import Change
from airboss.faces.reads.controls import controls_of
from airboss.faces.reads.facts import facts_view
from airboss.kernel.clock import parse_rfc3339
from airboss.records.audit import TreeHead, evidence, open_note

LONGEST_AGO: Final = (1980, 1, 1, 0, 0, 0)
"""The date of files in an archive: the earliest it can say, so that the same evidence is the same bytes."""


def evidence_view(house: House, connection: Connection, change: Change) -> dict[str, Any]:
    """Return what the page of a change's evidence tells. Some ten queries, one of which reads every leaf.

    Facts that no checkpoint covers yet are counted in `later` and not shown. Raises Refused while none is covered.
    """
    pack: Mapping[str, Any] = evidence(connection, change.id)
    proofs = {one["position"]: one["proof"] for one in pack["facts"]}
    told = [one for one in facts_view(house, connection, change.id) if one["position"] in proofs]
    head = TreeHead.read(open_note(pack["checkpoint"].encode(), [house.signer.key]).text)
    return {
        "change": change.id,
        "title": change.title,
        "kind": change.kind,
        "services": list(change.services),
        "phase": str(change.phase),
        "sentence": change.sentence,
        "digest": change.digest,
        "facts": [
            {
                **{name: one[name] for name in ("position", "type", "actor", "text", "leaf", "fact_id")},
                "at": parse_rfc3339(one["at"]).astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S"),
                "proof": proofs[one["position"]],
            }
            for one in told
        ],
        "later": pack["later"],
        "size": head.size,
        "root": head.root.hex(),
        "origin": head.origin,
        "checkpoint": pack["checkpoint"],
        "key": house.signer.vkey,
        "fingerprint": house.signer.key.short,
        "controls": controls_of(told),
        "commands": [
            "airboss audit verify evidence.json --key audit.pub",
            f"airboss audit pack {change.id} --out evidence.json",
        ],
    }


def evidence_page(view: Mapping[str, Any]) -> str:
    """Return the page as one HTML file that asks nobody for anything and prints well."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("evidence.html").render(view)


def evidence_archive(house: House, connection: Connection, change: Change) -> bytes:
    """Return a ZIP of the evidence: evidence.json, evidence.html, checkpoint.txt, audit.pub, READ-ME.txt.

    The same evidence gives the same bytes. Queries and errors as `evidence_view`.
    """
    view = evidence_view(house, connection, change)
    files = {
        "READ-ME.txt": _READ_ME.format(title=view["title"], change=view["change"], fingerprint=view["fingerprint"]),
        "audit.pub": f"{view['key']}\n",
        "checkpoint.txt": view["checkpoint"],
        "evidence.html": evidence_page(view),
        "evidence.json": json.dumps(dict(evidence(connection, change.id)), indent=1, ensure_ascii=False),
    }
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in files.items():
            archive.writestr(zipfile.ZipInfo(f"{change.id}/{name}", LONGEST_AGO), text.encode())
    return out.getvalue()


_READ_ME: Final = """\
The evidence of one change: {title} ({change}).

evidence.json   every fact as it is stored, each with its proof of inclusion; the signed checkpoint; the texts referred to
evidence.html   the same to read and to print; it asks no other computer for anything
checkpoint.txt  the signed checkpoint alone
audit.pub       the public key this server says is the log's; fingerprint {fingerprint}

Check it on any machine that has Airboss, without the server it came from:

    airboss audit verify evidence.json --key audit.pub

A key that came with the evidence proves only that the files agree with each other. Compare it with the one that was noted
when the log was made (airboss audit key). Ends with 0 when all is as it was recorded, with 11 when anything is not.
"""
