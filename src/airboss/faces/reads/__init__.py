"""What faces show: views over the services, shared by the web pages and the API, as plain JSON values.

Each view says how many queries it costs. Times are RFC 3339 text, shares are percent, IDs are whole; people stand by
their handles. Nothing here changes anything.
"""

from airboss.faces.reads.approver import approver_view, conflicts
from airboss.faces.reads.audit import audit_view
from airboss.faces.reads.change import approval_view, change_view, flight_view, summary
from airboss.faces.reads.course import Courses, canary_gates, course_view, replay_view
from airboss.faces.reads.dossier import Dossier
from airboss.faces.reads.evidence import evidence_archive, evidence_page, evidence_view
from airboss.faces.reads.explanation import explanation_view
from airboss.faces.reads.facts import fact_view, facts_shown, facts_view
from airboss.faces.reads.flags import evaluation_view, flag_page_view, flag_state, flag_view, flags_view
from airboss.faces.reads.inbox import inbox_view
from airboss.faces.reads.on_call import on_call_view
from airboss.faces.reads.people import people_view, person_view, token_view, tokens_view
from airboss.faces.reads.policy import policy_view
from airboss.faces.reads.proof import proof_view
from airboss.faces.reads.review import blocked_view, review_view, reviews_view
from airboss.faces.reads.rollout import rollout_view, series_view
from airboss.faces.reads.search import Wanted, search_view
from airboss.faces.reads.services import coverage_view, service_page_view, service_view, services_view
from airboss.faces.reads.standing import exposed, forecast_view, waiting_for
from airboss.faces.reads.telemetry import exemplars_view, telemetry_view
from airboss.faces.reads.tracks import tracks_view
from airboss.faces.reads.windows import calendar_view

__all__ = [
    "Courses",
    "Dossier",
    "Wanted",
    "approval_view",
    "approver_view",
    "audit_view",
    "blocked_view",
    "calendar_view",
    "canary_gates",
    "change_view",
    "conflicts",
    "course_view",
    "coverage_view",
    "evaluation_view",
    "evidence_archive",
    "evidence_page",
    "evidence_view",
    "exemplars_view",
    "explanation_view",
    "exposed",
    "fact_view",
    "facts_shown",
    "facts_view",
    "flag_page_view",
    "flag_state",
    "flag_view",
    "flags_view",
    "flight_view",
    "forecast_view",
    "inbox_view",
    "on_call_view",
    "people_view",
    "person_view",
    "policy_view",
    "proof_view",
    "replay_view",
    "review_view",
    "reviews_view",
    "rollout_view",
    "search_view",
    "series_view",
    "service_page_view",
    "service_view",
    "services_view",
    "summary",
    "telemetry_view",
    "token_view",
    "tokens_view",
    "tracks_view",
    "waiting_for",
]
