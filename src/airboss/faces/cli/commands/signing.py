"""`airboss login`: from a one-time link, a password or a token to a token that the command line keeps."""

from __future__ import annotations

from typing import Annotated, Any, Final

import typer

from airboss.faces.cli import config
from airboss.faces.cli.exit_codes import Exit
from airboss.faces.cli.options import WAY, AsJson
from airboss.faces.cli.problems import Problem
from airboss.faces.cli.screen import emit, say

SCOPES: Final = ("read", "changes.write", "operate", "approve")
"""What a token of the command line may do; an admin's may administer too. It never exceeds its person's role."""


def login(
    server: Annotated[str | None, typer.Option("--server", help="The server's address.")] = None,
    link: Annotated[str | None, typer.Option("--link", help="A one-time link; it is spent.")] = None,
    handle: Annotated[
        str | None, typer.Option("--handle", help="Your name there; with a first link, the one you choose.")
    ] = None,
    days: Annotated[int, typer.Option("--days", min=1, max=365, help="How long the new token lasts.")] = 90,
    forget: Annotated[bool, typer.Option("--forget", help="Remove what was kept.")] = False,
    as_json: AsJson = False,
) -> None:
    """Keep a server and a token of yours in a file only you can read.

    With --link or --handle it signs in and makes the token; else a token is asked for. Secrets are asked for, or read
    from a pipe.
    """
    if forget:
        gone = config.forget()
        _said({"forgotten": gone}, "Forgotten." if gone else "Nothing was kept.", as_json=as_json)
        return
    from airboss.faces.cli.client import Api

    where = (server or WAY.server or _of_link(link) or config.read().server).rstrip("/")
    token = _sign_in(where, link=link, handle=handle, days=days) if link or handle else _secret("Token")
    me = Api(config.Reach(server=where, token=token, source="login")).get("/me")
    path = config.write(where, token)
    value = {"server": where, "file": str(path), **me}
    _said(value, f"You are {me['name']} ({me['role']}) on {where}; kept in {path}", as_json=as_json)


def _sign_in(where: str, *, link: str | None, handle: str | None, days: int) -> str:
    """Open a session, make a personal token in it, and end the session."""
    from airboss.faces.cli.client import Api

    if link:
        given: dict[str, Any] = {"link": link.rstrip("/").rpartition("/")[2]}
        if handle:
            given["handle"] = handle
    else:
        given = {"handle": handle, "password": _secret("Password")}
    api = Api(config.Reach(server=where, token=None, source="login"), origin=where)
    api.post("/session", given)
    role = api.get("/me")["role"]
    scopes = [*SCOPES, *(["admin"] if role == "admin" else [])]
    made = api.post("/tokens", {"label": "command line", "personal": True, "days": days, "scopes": scopes})
    api.delete("/session")
    return str(made["secret"])


def _of_link(link: str | None) -> str | None:
    """Return the server a link leads to, None for its secret alone."""
    from urllib.parse import urlsplit

    parts = urlsplit(link or "")
    return f"{parts.scheme}://{parts.netloc}" if parts.scheme in {"http", "https"} and parts.netloc else None


def _secret(what: str) -> str:
    piped = typer.get_text_stream("stdin")
    typed: str = typer.prompt(what, hide_input=True) if piped.isatty() else piped.readline()
    if not typed.strip():
        raise Problem(
            f"no {what.lower()} was given",
            exit_code=Exit.USAGE,
            code="nothing-given",
            way_out=f"type it when asked, or pipe it in: airboss login < {what.lower()}.txt",
        )
    return typed.strip()


def _said(value: object, sentence: str, *, as_json: bool) -> None:
    if as_json:
        emit(value)
    else:
        say(sentence)
