"""Parameters, header fields, error answers and security schemes that operations share."""

from typing import Any

from api.cors import EXPOSED
from api.filters import CREATED_AT, FILTERS, MAX_TIME, RANGES
from api.openapi import samples
from api.openapi.shapes import TEXT, Json, answer, content, error_name, schema
from api.problems import GENERAL, PRIVATE
from api.queries import MAX_PAGE_NUMBER, MAX_PAGE_SIZE, PAGE_SIZE
from api.request_keys import HEADER as KEY_HEADER
from api.waiters import MAX_WAIT_S
from shared.attachable_types import ATTACHABLE_TYPES
from shared.documents import INCLUDABLE
from shared.states import STATES

NUMBER = "[1-9][0-9]{0,18}"
CURSOR: Json = {"type": "string", "pattern": "^[A-Za-z0-9_-]*$"}

BACKEND: list[Json] = [{"token": [], "organization": []}, {"bearer": [], "organization": []}]
"""Security of every request under /api/v2: an API token and the id of its organization."""

NOBODY: list[Json] = []
"""Security of operations that need no token."""

STORE: list[Json] = [{"storeKey": []}, {"storeBearer": []}, {"storeBasic": []}]
"""Security of operations for stores: an events token."""

SECURITY: Json = {
    "token": {"type": "apiKey", "in": "header", "name": "X-Auth-Token"},
    "bearer": {"type": "http", "scheme": "bearer"},
    "organization": {
        "type": "apiKey",
        "in": "header",
        "name": "X-Organization-Id",
        "description": "The id of the token's organization",
    },
    "storeKey": {"type": "apiKey", "in": "header", "name": "X-Api-Key"},
    "storeBearer": {"type": "http", "scheme": "bearer", "description": "A token of events"},
    "storeBasic": {
        "type": "http",
        "scheme": "basic",
        "description": "Any user; the token of events is the password",
    },
}


def list_of(names: str) -> Json:
    """Return the schema of a comma-separated list. Each item must match the pattern `names`."""
    return {"type": "string", "pattern": f"^({names})?(,({names})?)*$"}


def _query(name: str, description: str, values: Json, example: Any) -> Json:
    return {
        "name": name,
        "in": "query",
        "description": description,
        "schema": values,
        "example": example,
    }


def _header(name: str, description: str, values: Json, example: str) -> Json:
    return {**_query(name, description, values, example), "in": "header"}


def _filter_values(name: str) -> tuple[Json, str]:
    if name == "state":
        return {"type": "string", "pattern": _words(STATES)}, "ready,failed"
    if name == "attachable_type":
        return {"type": "string", "pattern": _words(ATTACHABLE_TYPES)}, "task,comment"
    if name in ("external_id", "message_id"):
        pattern = r"^[^\u0000\r\n]*[^\s\u0000][^\u0000\r\n]*$"
        return {"type": "string", "maxLength": 255, "pattern": pattern}, "A-17"
    return {"type": "string", "pattern": f"^{NUMBER}(,{NUMBER})*$"}, "1,2"


def _words(values: tuple[str, ...]) -> str:
    either = "|".join(values)
    return f"^({either})(,({either}))*$"


def filters() -> list[Json]:
    """Return the parameters that filter the list of attachments."""
    found = []
    for name, (_, rule) in FILTERS.items():
        values, example = _filter_values(name)
        description = f"Only attachments with one of these {rule}"
        found.append(_query(f"filter[{name}]", description, values, example))
        description = "Only attachments with none of these"
        found.append(_query(f"filter[{name}][not_eq]", description, values, example))
    for operator in RANGES:
        time: Json = {"type": "string", "minLength": 1, "maxLength": MAX_TIME}
        name = f"filter[{CREATED_AT}][{operator}]"
        found.append(_query(name, "A time of ISO 8601", time, "2026-04-17T06:02:48Z"))
    return found


def parameters() -> dict[str, Json]:
    """Return the parameters that operations share, by name."""
    names = "|".join(sorted(INCLUDABLE))
    wait: Json = {"type": "string", "pattern": "^[0-9]+$"}
    tags = "Entity tags, or `*`"
    return {
        "id": {
            "name": "id",
            "in": "path",
            "required": True,
            "schema": schema("Id"),
            "example": "4",
        },
        "include": _query("include", "Names of relationships", list_of(names), "task,creator"),
        "fields": _query(
            "fields[attachments]",
            "Names of attributes and relationships to show; unknown ones are ignored",
            TEXT,
            "name,url,thumb",
        ),
        "usage_fields": _query("fields[usage]", "Names of attributes to show", TEXT, "bytes"),
        "sort": _query("sort", "The order: by id", {"type": "string", "enum": ["id", "-id"]}, "id"),
        "page_number": _query(
            "page[number]",
            "The page, from 1. Beyond the first 100,000 attachments use `page[after]`",
            {"type": "integer", "minimum": 1, "maximum": MAX_PAGE_NUMBER},
            2,
        ),
        "page_size": _query(
            "page[size]",
            f"Attachments of a page; more than {MAX_PAGE_SIZE} count as {MAX_PAGE_SIZE}, or are an"
            " error with a cursor",
            {"type": "integer", "minimum": 1, "default": PAGE_SIZE},
            50,
        ),
        "page_after": _query(
            "page[after]", "The cursor of `links.next`; empty to begin", CURSOR, ""
        ),
        "page_before": _query(
            "page[before]", "The cursor of `links.prev`; empty for the last page", CURSOR, "NA"
        ),
        "wait": _query(
            "wait",
            "Seconds to wait for a final state; more than"
            f" {MAX_WAIT_S} count as {MAX_WAIT_S}. Goes before `Prefer`",
            wait,
            "20",
        ),
        "prefer": _header("Prefer", "`wait=20` means the same as `wait`", TEXT, "wait=20"),
        "if_match": _header("If-Match", f"{tags}: else 412", TEXT, "*"),
        "if_none_match": _header(
            "If-None-Match", f"{tags}: a current copy is 304 in GET, else 412", TEXT, '"3.a.b"'
        ),
        "key": _header(
            KEY_HEADER,
            "A request that is repeated with the same key makes nothing twice, for 24 hours",
            {"type": "string", "minLength": 1, "pattern": "^[!#-~]([ -~]*[!-~])?$"},
            "4f1c0c4e-5b0b-4c6f",
        ),
        "request_id": _header(
            "X-Request-Id", "The id of the request in the log; else a new one", TEXT, "req-17"
        ),
    }


def headers() -> Json:
    """Return the header fields of answers, by name."""
    described = {
        "X-Request-Id": ("The id of the request in the log", "req-17"),
        "Cache-Control": ("How the answer may be cached", PRIVATE["Cache-Control"]),
        "Vary": (
            "The header fields of the request that the answer depends on",
            PRIVATE["Vary"],
        ),
        "ETag": ("A strong entity tag", '"3.a.b"'),
        "Location": (
            "The address of what was made, or of the file at the store",
            f"{samples.API}/api/v2/attachments/4",
        ),
        "Retry-After": ("Seconds after which to try again", "1"),
        "Allow": ("The methods of the address", "GET,HEAD"),
        "Preference-Applied": ("`wait=…` if `Prefer` was heeded", "wait=20"),
        "RateLimit": (
            "What is left of the limits, by name: `r` requests for `t` seconds",
            '"organization";r=999;t=1',
        ),
        "RateLimit-Policy": (
            "The limits, by name: `q` requests in `w` seconds",
            '"organization";q=1000;w=1',
        ),
        "WWW-Authenticate": ("How to authenticate", "Bearer"),
        "Content-Encoding": (
            "`gzip` for JSON of more than 1 KiB, if Accept-Encoding allows it",
            "gzip",
        ),
        "Content-Security-Policy": (
            "The page may load only files of this service",
            "default-src 'none'; script-src 'self'",
        ),
        "X-Content-Type-Options": ("Always `nosniff`", "nosniff"),
        "Cross-Origin-Resource-Policy": ("Every page may load the script", "cross-origin"),
        "Referrer-Policy": ("The address is not sent to other sites", "no-referrer"),
        "Access-Control-Allow-Origin": (
            "The page's origin, if the settings allow it",
            "https://app.example",
        ),
        "Access-Control-Expose-Headers": (
            "The header fields that such a page may read",
            EXPOSED,
        ),
    }
    return {
        name: {"description": text, "schema": TEXT, "example": example}
        for name, (text, example) in described.items()
    }


OF_STATUS = {
    401: ("WWW-Authenticate",),
    405: ("Allow",),
    429: ("Retry-After",),
    503: ("Retry-After",),
}
"""Additional header fields of error answers, by status."""

LIMITS = ("RateLimit", "RateLimit-Policy")
SHARED = ("Access-Control-Allow-Origin", "Access-Control-Expose-Headers")
"""Names of header fields. Those in LIMITS are in answers to requests that a rate limit counts.
Those in SHARED are in answers to pages of other origins."""

OF_ERRORS = (*LIMITS, *SHARED, "Referrer-Policy")
"""Header fields that any error answer may have. Referrer-Policy is set if the request's address has
a token."""


def error_answers() -> Json:
    """Return the error answers that operations share, by name."""
    found = {}
    for status, (title, detail) in GENERAL.items():
        example: Json = {"errors": [{"status": str(status), "title": title, "detail": detail}]}
        body = content(schema("ErrorDocument"), example)
        found[error_name(status)] = answer(detail, body, *OF_STATUS.get(status, ()), *OF_ERRORS)
    example = {
        "errors": [
            {
                "status": "422",
                "code": "invalid_attribute",
                "title": "Invalid Attribute",
                "detail": "can't be blank",
                "meta": {},
                "source": {"pointer": "data/attributes/name"},
            }
        ]
    }
    found[error_name(422)] = answer(
        "Attributes are not valid: all faults at once. Also a quota that is used up, a key that was"
        " used for another request, and a setting that is missing",
        content(schema("ErrorDocument"), example),
        *OF_ERRORS,
    )
    return found
