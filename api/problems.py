"""The one place where errors become statuses: JSON:API error documents, in the contract's words."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Literal, NotRequired, TypedDict

import orjson
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from api.measuring import route_of
from api.noise import NOISE
from shared.database import DatabaseAway
from shared.errors import Busy, StoreError
from shared.log import get_logger

MEDIA_TYPE = "application/vnd.api+json"
CONTENT_TYPE = f"{MEDIA_TYPE}; charset=utf-8"
BULK_TYPE = f"{MEDIA_TYPE}; ext=bulk; charset=utf-8"

PRIVATE = {
    "Cache-Control": "private, no-cache",
    "Vary": "Accept, Authorization, X-Auth-Token, X-Organization-Id",
}
"""The headers of every answer that has no Cache-Control of its own: no cache may give it to
another client. X-Auth-Token is no sign to a shared cache, as Authorization is (RFC 9111, 3.5)."""

log = get_logger(__name__)


ErrorCode = Literal["invalid_attribute", "quota_exceeded"]
"""Codes of error objects; an error whose status says all has none."""


class ErrorObject(TypedDict):
    """An error object of JSON:API 1.1."""

    status: str
    title: str
    detail: str
    code: NotRequired[ErrorCode]
    source: NotRequired[dict[str, str]]
    links: NotRequired[dict[str, str]]
    meta: NotRequired[dict[str, Any]]


class Problem(Exception):
    """An answer other than success: a status, its error objects, and headers.

    `reason` is for the log of 401 and 403 only: a constant of the code, nothing of the request.
    """

    reason = "not allowed"

    def __init__(
        self, status: int, errors: list[ErrorObject], headers: dict[str, str] | None = None
    ) -> None:
        super().__init__(status)
        self.status = status
        self.errors = errors
        self.headers = headers or {}

    def response(self) -> web.Response:
        """Write the error document."""
        return document_response({"errors": self.errors}, status=self.status, headers=self.headers)


# status → title and detail, as the contract words them
GENERAL = {
    400: ("Bad Request", "The request could not be read"),
    401: ("Unauthenticated", "You are not authenticated"),
    403: ("Access Denied", "You are not authorized to access this resource"),
    404: ("Record Not Found", "The requested record was not found"),
    405: ("Method Not Allowed", "The method is not allowed on this endpoint"),
    406: ("Not Acceptable", "The request was not accepted"),
    408: ("Request Timeout", "The request was not received in time"),
    409: ("Conflict", "The request does not fit the resource"),
    413: ("Payload Too Large", "The request body is too large"),
    414: ("URI Too Long", "The address is too long"),
    415: ("Unsupported Media Type", "Unsupported content type"),
    417: ("Expectation Failed", "The expectation cannot be met"),
    429: ("Too Many Requests", "Too many requests were sent in a given amount of time"),
    431: ("Request Header Fields Too Large", "The request headers are too large"),
    500: ("Server Error", "The server met an unexpected condition"),
    503: ("Service Unavailable", "The service is not available at the moment"),
    505: ("HTTP Version Not Supported", "HTTP/2 is not spoken here; HTTP/1.1 is"),
}


def general(
    status: int, detail: str | None = None, headers: dict[str, str] | None = None
) -> Problem:
    """Make a problem of the table above, with a detail of its own where that helps."""
    title, usual = GENERAL[status]
    return Problem(
        status, [{"status": str(status), "title": title, "detail": detail or usual}], headers
    )


def bad_request(detail: str) -> Problem:
    """400: the request cannot be read; `detail` names the rule."""
    return general(400, detail)


def bad_parameter(
    name: str, detail: str, *, kind: str | None = None, meta: dict[str, Any] | None = None
) -> Problem:
    """400: a parameter of the query; `kind` is the URI of a kind of error that a profile names."""
    return about(general(400, detail), name, kind=kind, meta=meta)


def about(
    problem: Problem,
    name: str,
    *,
    kind: str | None = None,
    meta: dict[str, Any] | None = None,
) -> Problem:
    """Add to a problem which parameter it is about, and what `bad_parameter` may."""
    error = problem.errors[0]
    error["source"] = {"parameter": name}
    if kind is not None:
        error["links"] = {"type": kind}
    if meta is not None:
        error["meta"] = meta
    return problem


def unsupported(what: str, name: str) -> Problem:
    """400: a filter, sort or include that this endpoint does not know."""
    prefix = {"Filter": f"Filter '{name}'", "Sort": f"Sort by '{name}'"}
    detail = f"{prefix.get(what, f'{what} {name!r}')} is not supported on this endpoint"
    if what == "Include":
        detail = f"Include '{name}' is not supported on this endpoint"
    return Problem(400, [{"status": "400", "title": f"Unsupported {what}", "detail": detail}])


def unauthenticated(reason: str) -> Problem:
    """401: no token, or none that lives; `reason` is logged, not answered."""
    problem = general(401, headers={"WWW-Authenticate": "Bearer"})
    problem.reason = reason
    return problem


def access_denied(detail: str | None = None, *, reason: str) -> Problem:
    """403: the caller is known, and may not; `reason` is logged, not answered."""
    problem = general(403, detail)
    problem.reason = reason
    return problem


def not_found() -> Problem:
    """404: missing, deleted or another organization's; no one can tell which."""
    return general(404)


def too_many_requests(*, retry_after_s: int) -> Problem:
    """429, with the seconds after which to try again."""
    return general(429, headers={"Retry-After": str(retry_after_s)})


def unavailable(detail: str | None = None) -> Problem:
    """503: a part that this request needs is away; a source of events tries again."""
    return general(503, detail, headers={"Retry-After": "5"})


def invalid(pointer: str, detail: str, meta: dict[str, Any]) -> ErrorObject:
    """Make one error object of a 422; `pointer` names the attribute."""
    return {
        "status": "422",
        "code": "invalid_attribute",
        "title": "Invalid Attribute",
        "detail": detail,
        "meta": meta,
        "source": {"pointer": pointer},
    }


def document_response(
    document: dict[str, Any], *, status: int = 200, headers: dict[str, str] | None = None
) -> web.Response:
    """Answer with a JSON:API document."""
    return web.Response(
        status=status,
        body=orjson.dumps(document),
        headers={"Content-Type": CONTENT_TYPE, **(headers or {})},
    )


Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@web.middleware
async def answer_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn whatever is raised into an error document; of a bug nothing but a bare 500 is shown."""
    try:
        return await handler(request)
    except Problem as problem:
        if problem.status in (401, 403):
            request[NOISE].denied(
                request, problem.status, reason=problem.reason, route=route_of(request)
            )
        return problem.response()
    except web.HTTPException as error:
        if error.status < 400:
            raise
        status = error.status if error.status in GENERAL else 400
        headers = {"Allow": error.headers["Allow"]} if "Allow" in error.headers else None
        return general(status, headers=headers).response()
    except HttpProcessingError:
        return general(400).response()
    except Busy as error:
        if error.own:
            return too_many_requests(retry_after_s=1).response()
        return unavailable().response()
    except DatabaseAway as error:
        # Any client can cause it, as often as it asks: by route, because a client can do nothing
        # about it wherever it is.
        route = route_of(request)
        request[NOISE].warning.log(
            "database is away", (str(error), route), error=str(error), route=route
        )
        return unavailable(error.refusal.detail if error.refusal else None).response()
    except StoreError as error:
        kind, route = type(error).__name__, route_of(request)
        request[NOISE].warning.log("store is away", (kind, route), error=kind, route=route)
        return unavailable().response()
    except (asyncio.CancelledError, ConnectionResetError):
        raise
    except Exception:
        log.exception("unexpected error", method=request.method, route=route_of(request))
        return general(500).response()
