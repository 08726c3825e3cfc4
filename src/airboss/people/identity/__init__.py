"""Who somebody is: people, sessions, one-time links, tokens.

Faces call `Identity.authenticate_session` or `authenticate_token` on every request (they may read the database: not on
an event loop), and its services for the use cases. Secrets leave this room once, when they are made; the database holds
SHA-256 of them, and scrypt of passwords.
"""

from pathlib import Path

from airboss.kernel.clock import Clock
from airboss.kernel.ids import Chance, Ids
from airboss.people.access import Actor
from airboss.people.identity.authentication import Authentication
from airboss.people.identity.first_run import first_admin_link
from airboss.people.identity.model import (
    AddPerson,
    IssuedToken,
    IssueToken,
    Link,
    LinkPurpose,
    LinkView,
    Person,
    Settings,
    SignedIn,
    Token,
)
from airboss.people.identity.persons import Persons
from airboss.people.identity.ports import Ports
from airboss.people.identity.rules import LINK_PREFIX, PERSONAL_SCOPES, SERVICE_SCOPES, SESSION_PREFIX, TOKEN_PREFIX
from airboss.people.identity.sign_in import SignIn
from airboss.people.identity.tokens import Tokens
from airboss.records.journal import Journal
from airboss.records.store import Store

__all__ = [
    "LINK_PREFIX",
    "PERSONAL_SCOPES",
    "SERVICE_SCOPES",
    "SESSION_PREFIX",
    "TOKEN_PREFIX",
    "AddPerson",
    "Identity",
    "IssueToken",
    "IssuedToken",
    "Link",
    "LinkPurpose",
    "LinkView",
    "Person",
    "Persons",
    "Settings",
    "SignIn",
    "SignedIn",
    "Token",
    "Tokens",
]


class Identity:
    """The room's services over one store: `persons`, `sign_in`, `tokens`, and authentication."""

    def __init__(
        self,
        store: Store,
        journal: Journal,
        *,
        clock: Clock,
        ids: Ids,
        chance: Chance,
        settings: Settings | None = None,
    ) -> None:
        ports = Ports(
            store=store, journal=journal, clock=clock, ids=ids, chance=chance, settings=settings or Settings()
        )
        self._authentication = Authentication(ports)
        self.persons = Persons(ports)
        self.sign_in = SignIn(ports, self.persons, self._authentication)
        self.tokens = Tokens(ports, self._authentication)

    def authenticate_session(self, secret: str) -> Actor:
        """Return the person of a session's secret. Raises Unauthenticated. At most one query."""
        return self._authentication.session(secret)

    def authenticate_token(self, secret: str) -> Actor:
        """Return the actor of an API token's secret. Raises Unauthenticated. At most one query."""
        return self._authentication.token(secret)

    def first_admin_link(self, folder: Path, *, base_url: str) -> str | None:
        """Return the link that makes the first admin of an empty store, also written to `folder`; else None."""
        return first_admin_link(self.sign_in, folder, base_url=base_url)
