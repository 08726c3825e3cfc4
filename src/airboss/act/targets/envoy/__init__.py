"""Envoy: a weighted route as a target. Bootstrap wires the target, the inspector and the check of its connections."""

from airboss.act.targets.envoy.connection import SYSTEM, EnvoyConnection, check_connection, read_connection
from airboss.act.targets.envoy.inspector import EnvoyInspector
from airboss.act.targets.envoy.target import EnvoyTarget

__all__ = ["SYSTEM", "EnvoyConnection", "EnvoyInspector", "EnvoyTarget", "check_connection", "read_connection"]
