"""Who may do what. Every service method, route and command asks here first.

`require(actor, Action.CHANGE_SUBMIT, Scope(services=frozenset({"checkout"})))` returns or raises; `RULES` is the whole
table, for the documentation and for the test that no route goes without its rule. The caller resolves the scope.
Approving is not a role: who may fill a seat comes from groups in the catalog; here only the way of asking is judged.
"""

from airboss.people.access.model import (
    ANONYMOUS,
    LOCAL,
    SYSTEM,
    Access,
    Action,
    Actor,
    ActorKind,
    Role,
    Rule,
    Scope,
    TokenScope,
)
from airboss.people.access.rules import RULES, allowed, may, require, why_not

__all__ = [
    "ANONYMOUS",
    "LOCAL",
    "RULES",
    "SYSTEM",
    "Access",
    "Action",
    "Actor",
    "ActorKind",
    "Role",
    "Rule",
    "Scope",
    "TokenScope",
    "allowed",
    "may",
    "require",
    "why_not",
]
