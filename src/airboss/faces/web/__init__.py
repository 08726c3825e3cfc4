"""The web face: pages for people, rendered on the server from the same services and read views as the API.

`routes(house)` is the site, for `create_app(house, web_routes=…)`; `error_page(house)` shows what the application refuses.
`Renderer(Assets()).page(name, view)` gives the HTML of a page; what each page is made of is documented in `views`.
"""

from airboss.faces.web.assets import Asset, Assets
from airboss.faces.web.render import SECURITY_HEADERS, Renderer
from airboss.faces.web.site import Web, error_page, live_address, routes

__all__ = ["SECURITY_HEADERS", "Asset", "Assets", "Renderer", "Web", "error_page", "live_address", "routes"]
