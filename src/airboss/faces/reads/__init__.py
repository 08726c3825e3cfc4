"""What faces show: views over the services, shared by the web pages and the API, as plain JSON values.

Each view says how many queries it costs. Times are RFC 3339 text, shares are percent, IDs are whole; people stand by
their handles. Nothing here changes anything.
"""

from airboss.faces.reads.change import approval_view, change_view, list_view, summary
from airboss.faces.reads.course import Courses, canary_gates, course_view
from airboss.faces.reads.facts import fact_view, facts_shown, facts_view
from airboss.faces.reads.proof import proof_view
from airboss.faces.reads.review import review_view
from airboss.faces.reads.rollout import rollout_view, series_view
from airboss.faces.reads.standing import exposed, forecast_view, waiting_for

__all__ = [
    "Courses",
    "approval_view",
    "canary_gates",
    "change_view",
    "course_view",
    "exposed",
    "fact_view",
    "facts_shown",
    "facts_view",
    "forecast_view",
    "list_view",
    "proof_view",
    "review_view",
    "rollout_view",
    "series_view",
    "summary",
    "waiting_for",
]
