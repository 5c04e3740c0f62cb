"""CORS: let pages of the allowed origins read answers, and answer the preflights of browsers.

Source: the Fetch standard, section "CORS protocol". Cookies and other browser credentials are never
allowed, because the API does not use them.
"""

from collections.abc import Awaitable, Callable

from aiohttp import web

from api.parts import PARTS
from api.problems import PRIVATE

PATHS = ("/api/", "/attachments/")
"""Beginnings of the paths that pages may call. The other paths are for stores and load balancers,
which do not need CORS."""

MAX_AGE_S = 7200
"""Time, in seconds, for which a browser may cache the answer to a preflight: the maximum of
Chromium."""

ALLOWED = {
    "Access-Control-Allow-Methods": "GET, HEAD, POST, PATCH, DELETE",
    "Access-Control-Allow-Headers": (
        "Accept, Authorization, Content-Type, Idempotency-Key, If-Match, If-None-Match, Prefer,"
        " Range, Traceparent, Tracestate, X-Auth-Token, X-Organization-Id, X-Request-Id"
    ),
    "Access-Control-Max-Age": str(MAX_AGE_S),
}
"""The headers of the answer to a preflight."""

EXPOSED = (
    "Content-Length, ETag, Location, Preference-Applied, RateLimit, RateLimit-Policy, Retry-After,"
    " X-Request-Id"
)
"""The headers of an answer that a page's script may read, besides those that it may always read."""

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@web.middleware
async def share_with_pages(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Add CORS headers to every answer for an allowed origin, also to errors.

    An answer to any other origin has no CORS headers, and a preflight from such an origin is
    answered like any other OPTIONS request.
    """
    if not request.path.startswith(PATHS):
        return await handler(request)
    origin = _allowed_origin(request)
    if origin is not None and _is_preflight(request):
        response: web.StreamResponse = web.Response(status=204, headers=ALLOWED)
    else:
        response = await handler(request)
    headers = response.headers
    if "Cache-Control" not in headers:
        headers.update(PRIVATE)
    # Add Vary even if the origin is not allowed. Otherwise a cache could return this answer to a
    # page of another origin.
    headers["Vary"] = f"{headers['Vary']}, Origin" if "Vary" in headers else "Origin"
    if origin is not None:
        headers["Access-Control-Allow-Origin"] = origin
        headers["Access-Control-Expose-Headers"] = EXPOSED
    return response


def _allowed_origin(request: web.Request) -> str | None:
    given = request.headers.getall("Origin", [])
    if len(given) == 1 and request.app[PARTS].settings.origins.allow(given[0]):
        return given[0]
    return None


def _is_preflight(request: web.Request) -> bool:
    return request.method == "OPTIONS" and "Access-Control-Request-Method" in request.headers
