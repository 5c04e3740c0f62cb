"""The routes of the description: /openapi.json, and the page /docs with the files of Swagger UI.

No token is needed, because the description has no data of clients. The files come from an installed
package, so the page needs no other host. Each answer is built and compressed once per process, at
its first request.
"""

import asyncio
from base64 import urlsafe_b64encode
from dataclasses import dataclass
from functools import cache
from hashlib import blake2b
from importlib import resources

from aiohttp import web

from api.compression import accepts_gzip, compress
from api.conditions import is_current
from api.openapi.description import rendered
from api.problems import not_found

PACKAGE = "mkdocs_swagger_ui_tag"
"""The installed package that has a folder with the files of Swagger UI. The code of the package is
never run."""

FILES = {
    "swagger-ui.css": ("stylesheets", "text/css; charset=utf-8"),
    "swagger-ui-bundle.js": ("javascripts", "text/javascript; charset=utf-8"),
}
"""Maps the names of Swagger UI's files to their folder in the package and their content type."""

START_FILE = "start.js"
START = """SwaggerUIBundle({
  url: "/openapi.json",
  dom_id: "#docs",
  deepLinking: true,
  docExpansion: "list",
  defaultModelsExpandDepth: 0,
  validatorUrl: null,
  queryConfigEnabled: false,
});
"""
"""The script of the page. It is a separate file, because the content security policy allows no
script inside the page."""

PAGE = f"""<!DOCTYPE html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Attachments API</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="/docs/swagger-ui.css">
<div id="docs"></div>
<script src="/docs/swagger-ui-bundle.js"></script>
<script src="/docs/{START_FILE}"></script>
</html>
"""

HEADERS = {
    "Cache-Control": "public, no-cache",
    "Vary": "Accept-Encoding",
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:;"
        " connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}
"""Headers of every answer. They allow `data:` because the style sheet of Swagger UI contains its
pictures in this form."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """A body in plain and compressed form, its content type, and its entity tag with the quotes."""

    body: bytes
    compressed: bytes
    content_type: str
    tag: str


async def show_document(request: web.Request) -> web.Response:
    """Answer GET /openapi.json: the description for machines."""
    return await _answer(request, "openapi.json")


async def show_page(request: web.Request) -> web.Response:
    """Answer GET /docs: the page that shows the description to readers."""
    return await _answer(request, "docs")


async def show_file(request: web.Request) -> web.Response:
    """Answer GET /docs/{file}: a script or style sheet of the page, or 404."""
    name = request.match_info["file"]
    if name != START_FILE and name not in FILES:
        raise not_found()
    return await _answer(request, name)


async def _answer(request: web.Request, name: str) -> web.Response:
    served = await asyncio.to_thread(_make, name)
    headers = {**HEADERS, "ETag": served.tag}
    if is_current(request, served.tag):
        return web.Response(status=304, headers=headers)
    headers["Content-Type"] = served.content_type
    if accepts_gzip(",".join(request.headers.getall("Accept-Encoding", ()))):
        headers["Content-Encoding"] = "gzip"
        return web.Response(body=served.compressed, headers=headers)
    return web.Response(body=served.body, headers=headers)


@cache
def _make(name: str) -> Served:
    body, content_type = _read(name)
    digest = urlsafe_b64encode(blake2b(body, digest_size=12).digest()).decode()
    return Served(
        body=body,
        compressed=compress(body),
        content_type=content_type,
        tag=f'"{digest}"',
    )


def _read(name: str) -> tuple[bytes, str]:
    if name == "openapi.json":
        return rendered(), "application/json"
    if name == "docs":
        return PAGE.encode(), "text/html; charset=utf-8"
    if name == START_FILE:
        return START.encode(), "text/javascript; charset=utf-8"
    folder, content_type = FILES[name]
    place = resources.files(PACKAGE).joinpath("swagger-ui", folder, name)
    return place.read_bytes(), content_type


ROUTES = (
    web.get("/openapi.json", show_document),
    web.get("/docs", show_page),
    web.get("/docs/{file}", show_file),
)
