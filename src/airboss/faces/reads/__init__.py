"""What faces show: views over the services, shared by the web pages and the API, as plain JSON values.

Each view says how many queries it costs. Times are RFC 3339 text, shares are percent, IDs are whole; people stand by
their handles. Nothing here changes anything.
"""

from airboss.faces.reads.change import change_view, list_view
from airboss.faces.reads.facts import fact_view, facts_view
from airboss.faces.reads.review import review_view
from airboss.faces.reads.rollout import rollout_view, series_view

__all__ = ["change_view", "fact_view", "facts_view", "list_view", "review_view", "rollout_view", "series_view"]
