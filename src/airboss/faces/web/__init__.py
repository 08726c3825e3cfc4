"""The web face: pages for people, rendered on the server from the same services and read views as the API.

`Renderer(Assets()).page(name, view)` gives the HTML of a page; what each page is made of is documented in `views`.
"""

from airboss.faces.web.assets import Asset, Assets
from airboss.faces.web.render import SECURITY_HEADERS, Renderer

__all__ = ["SECURITY_HEADERS", "Asset", "Assets", "Renderer"]
