"""Turn errors into HTTP statuses and JSON:API error documents. No other module does this.

Titles and details are those of contract.md.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Literal, NotRequired, TypedDict

import orjson
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from api.measuring import route_of
from api.noise import NOISE, DenialReason, SnsReason
from shared.database import DatabaseAway, DatabaseRefusesContent
from shared.errors import Busy, StoreError, StoreUnavailable
from shared.log import get_logger

MEDIA_TYPE = "application/vnd.api+json"
CONTENT_TYPE = f"{MEDIA_TYPE}; charset=utf-8"
BULK_TYPE = f"{MEDIA_TYPE}; ext=bulk; charset=utf-8"

PRIVATE = {
    "Cache-Control": "private, no-cache",
    "Vary": "Accept, Accept-Encoding, Authorization, X-Auth-Token, X-Organization-Id",
}
"""Headers of every answer that has no Cache-Control of its own. With these headers, no cache gives
the answer to another client. They are needed because a token may be in X-Auth-Token: shared caches
protect only answers to requests with Authorization (RFC 9111, section 3.5)."""

log = get_logger(__name__)


ErrorCode = Literal[
    "invalid_attribute", "quota_exceeded", "not_configured", "idempotency_key_reused"
]
"""Codes of error objects. An error has no code if its status is clear enough."""


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
    """An error answer: a status, its error objects, and headers.

    `reason` is logged, for 401 and 403 only. It is a constant and never contains text of the
    request.
    """

    reason: DenialReason | SnsReason = "not allowed"

    def __init__(
        self, status: int, errors: list[ErrorObject], headers: dict[str, str] | None = None
    ) -> None:
        super().__init__(status)
        self.status = status
        self.errors = errors
        self.headers = headers or {}

    def response(self) -> web.Response:
        """Return the response with the error document."""
        return document_response({"errors": self.errors}, status=self.status, headers=self.headers)


# The title and detail of each status, in the words of contract.md.
GENERAL = {
    400: ("Bad Request", "The request could not be read"),
    401: ("Unauthenticated", "You are not authenticated"),
    403: ("Access Denied", "You are not authorized to access this resource"),
    404: ("Record Not Found", "The requested record was not found"),
    405: ("Method Not Allowed", "The method is not allowed on this endpoint"),
    406: ("Not Acceptable", "The request was not accepted"),
    408: ("Request Timeout", "The request was not received in time"),
    409: ("Conflict", "The request does not fit the resource"),
    412: ("Precondition Failed", "A condition of the request does not hold"),
    413: ("Payload Too Large", "The request body is too large"),
    414: ("URI Too Long", "The address is too long"),
    415: ("Unsupported Media Type", "Unsupported content type"),
    417: ("Expectation Failed", "The expectation cannot be met"),
    429: ("Too Many Requests", "Too many requests were sent in a given amount of time"),
    431: ("Request Header Fields Too Large", "The request headers are too large"),
    500: ("Server Error", "The server met an unexpected condition"),
    503: ("Service Unavailable", "The service is not available at the moment"),
    505: ("HTTP Version Not Supported", "HTTP/2 is not supported; use HTTP/1.1"),
}


def general(
    status: int, detail: str | None = None, headers: dict[str, str] | None = None
) -> Problem:
    """Return an error for a status.

    The title comes from GENERAL. If `detail` is None, the detail comes from there too.
    """
    title, usual = GENERAL[status]
    return Problem(
        status, [{"status": str(status), "title": title, "detail": detail or usual}], headers
    )


def bad_request(detail: str) -> Problem:
    """Return a 400: the request cannot be parsed. `detail` names the broken rule."""
    return general(400, detail)


def bad_parameter(
    name: str, detail: str, *, kind: str | None = None, meta: dict[str, Any] | None = None
) -> Problem:
    """Return a 400 for a query parameter. `kind` is the URI of an error type in a profile."""
    return about(general(400, detail), name, kind=kind, meta=meta)


def about(
    problem: Problem,
    name: str,
    *,
    kind: str | None = None,
    meta: dict[str, Any] | None = None,
) -> Problem:
    """Add the name of a query parameter to the error that it caused.

    `kind` is explained at `bad_parameter`.
    """
    error = problem.errors[0]
    error["source"] = {"parameter": name}
    if kind is not None:
        error["links"] = {"type": kind}
    if meta is not None:
        error["meta"] = meta
    return problem


def unsupported(what: str, name: str) -> Problem:
    """Return a 400 for a filter, sort or include that this endpoint does not know."""
    prefix = {"Filter": f"Filter '{name}'", "Sort": f"Sort by '{name}'"}
    detail = f"{prefix.get(what, f'{what} {name!r}')} is not supported on this endpoint"
    if what == "Include":
        detail = f"Include '{name}' is not supported on this endpoint"
    return Problem(400, [{"status": "400", "title": f"Unsupported {what}", "detail": detail}])


def unsupported_value(detail: str) -> Problem:
    """Return a 400 for a value that a filter does not allow.

    `detail` names the filter and its rule.
    """
    return Problem(400, [{"status": "400", "title": "Unsupported Filter Value", "detail": detail}])


def unauthenticated(reason: DenialReason) -> Problem:
    """Return a 401: the request has no valid token.

    `reason` is logged, and the client does not see it.
    """
    problem = general(401, headers={"WWW-Authenticate": "Bearer"})
    problem.reason = reason
    return problem


def access_denied(detail: str | None = None, *, reason: DenialReason | SnsReason) -> Problem:
    """Return a 403: the caller lacks the right.

    `reason` is logged, and the client does not see it.
    """
    problem = general(403, detail)
    problem.reason = reason
    return problem


def not_found() -> Problem:
    """Return a 404: the object is missing, or deleted, or belongs to another organization.

    Clients see no difference between these three cases.
    """
    return general(404)


def too_many_requests(*, retry_after_s: int) -> Problem:
    """Return a 429 with the number of seconds after which the client may retry."""
    return general(429, headers={"Retry-After": str(retry_after_s)})


def unavailable(detail: str | None = None) -> Problem:
    """Return a 503 with Retry-After 5 s: a part that the request needs is unavailable."""
    return general(503, detail, headers={"Retry-After": "5"})


def invalid(pointer: str, detail: str, meta: dict[str, Any]) -> ErrorObject:
    """Return one error object of a 422. `pointer` leads to the attribute in the document."""
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
    """Return a response with a JSON:API document."""
    return web.Response(
        status=status,
        body=orjson.dumps(document),
        headers={"Content-Type": CONTENT_TYPE, **(headers or {})},
    )


Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@web.middleware
async def answer_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn every exception into an error document. A bug is logged and answered with a bare 500."""
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
        if isinstance(error, DatabaseRefusesContent):  # `shared.outages` logs all other faults
            # Any request can cause this line, so it is throttled. The throttle is per error and
            # route and not per client, because the client's address says nothing about the cause.
            route = route_of(request)
            request[NOISE].warning.log(
                "database refuses content", (str(error), route), error=str(error), route=route
            )
        return unavailable(error.refusal.detail if error.refusal else None).response()
    except StoreError as error:
        if not isinstance(error, StoreUnavailable):  # `shared.outages` has logged StoreUnavailable
            kind, route = type(error).__name__, route_of(request)
            request[NOISE].warning.log("store refuses", (kind, route), error=kind, route=route)
        return unavailable().response()
    except (asyncio.CancelledError, ConnectionResetError):
        raise
    except Exception:
        log.exception("unexpected error", method=request.method, route=route_of(request))
        return general(500).response()
