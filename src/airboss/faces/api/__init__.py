"""The API: every use case over HTTP, with problem+json, streams and an OpenAPI description.

`airboss serve` calls `create_app`; web pages use `Doorkeeper` (in `app.state.doorkeeper`) to know who is asking, and their
routes are given to `create_app`. Importing builds nothing.
"""

from airboss.faces.api.app import V1, create_app
from airboss.faces.api.callers import COOKIE, Doorkeeper, bearer
from airboss.faces.api.live import Broadcaster
from airboss.faces.api.problems import ErrorPage, Problem, TooMany, problem_of
from airboss.faces.api.routes.system import clock_agrees

__all__ = [
    "COOKIE",
    "V1",
    "Broadcaster",
    "Doorkeeper",
    "ErrorPage",
    "Problem",
    "TooMany",
    "bearer",
    "clock_agrees",
    "create_app",
    "problem_of",
]
