"""Describe all other operations: usage, events, files, statuses, health, and this description."""

from api.client_files import NAMES
from api.openapi import samples
from api.openapi.attachment_operations import REFUSED
from api.openapi.components import LIMITS, NOBODY, SHARED, STORE
from api.openapi.shapes import TEXT, Json, answer, content, errors, operation, parameter, schema

ADDRESS = "The query of the address is a signature; it cannot be made by a client."
NO_SNIFF = "X-Content-Type-Options"


def paths() -> Json:
    """Return all paths except those of attachments and webhooks, with their operations."""
    usage = content(schema("UsageDocument"), samples.USAGE)
    token = {
        "name": "token",
        "in": "path",
        "required": True,
        "description": "A token of events",
        "schema": TEXT,
        "example": samples.TOKEN,
    }
    return {
        "/api/v2/usage": {
            "get": operation(
                "show_usage",
                "Show the usage and the quotas of the organization",
                tag="usage",
                parameters=[parameter("usage_fields"), parameter("request_id")],
                responses={"200": answer("The usage", usage, *LIMITS, *SHARED)}
                | errors(*REFUSED, 404),
            )
        },
        "/events/s3": {"post": _events("take_events", "by a header")},
        "/events/s3/{token}": {
            "parameters": [token],
            "post": _events("take_events_by_path", "in the path") | {"security": NOBODY},
        },
        "/attachments/files/{tail}": {"get": _file()},
        "/attachments/status/{id}": {"parameters": [parameter("id")], "get": _status()},
        **{f"/health/{name}": _health(name) for name in ("live", "ready")},
        "/client/{name}": {"get": _script()},
        "/openapi.json": {
            "get": _page(
                "show_description",
                "This document",
                content({"type": "object"}, samples.DESCRIPTION, "application/json"),
            )
        },
        "/docs": {
            "get": _page(
                "show_docs", "This document for readers", content(TEXT, samples.PAGE, "text/html")
            )
        },
        "/docs/{file}": {
            "parameters": [_file_name()],
            "get": _page(
                "show_docs_file",
                "A file of the page /docs",
                content(TEXT, samples.SCRIPT, "text/javascript")
                | content(TEXT, samples.STYLE, "text/css"),
                404,
            ),
        },
    }


def _events(name: str, where: str) -> Json:
    taken = content(schema("EventsDocument"), samples.EVENTS_TAKEN)
    body = content({}, samples.EVENT, "application/json")
    return operation(
        name,
        f"Take events of a store, which sends its token {where}",
        tag="stores",
        description="Any dialect of S3's events, or a message that SNS has signed. The"
        " Content-Type does not matter: SNS sends `text/plain`.",
        body=body,
        body_required=False,
        security=STORE,
        responses={"200": answer("The events are recorded", taken)} | errors(401, 403, 413),
    )


def _file() -> Json:
    path = {
        "name": "tail",
        "in": "path",
        "required": True,
        "description": "The rest of the key: groups of the id, `original` or a style, and the name,"
        " with slashes",
        "schema": TEXT,
        "example": "000/000/004/original/photo.jpg",
    }
    token = {
        "name": "token",
        "in": "query",
        "description": "A token of the API, in place of a signature; better not used",
        "schema": TEXT,
        "example": samples.TOKEN,
    }
    headers = ("Location", NO_SNIFF, "Referrer-Policy", *LIMITS, *SHARED)
    found = answer("The file at the store", None, *headers)
    return operation(
        "show_file",
        "Redirect to a file or thumbnail at the store",
        tag="files",
        description=ADDRESS,
        parameters=[path, *_signature(), token],
        security=NOBODY,
        responses={"302": found} | errors(404, 429),
    )


def _status() -> Json:
    shown = content(schema("StatusDocument"), samples.STATUS)
    return operation(
        "show_status",
        "Show the state of an upload to a page without a token",
        tag="files",
        description=ADDRESS,
        parameters=[*_signature(), parameter("wait"), parameter("prefer")],
        security=NOBODY,
        responses={
            "200": answer("The state", shown, "Preference-Applied", "Referrer-Policy", *SHARED)
        }
        | errors(404, 429),
    )


def _signature() -> list[Json]:
    return [
        {
            "name": "e",
            "in": "query",
            "description": "The Unix time at which the address ends",
            "schema": TEXT,
            "example": samples.ENDS,
        },
        {
            "name": "s",
            "in": "query",
            "description": "The signature of the path, the end, and the time that is in the query"
            " as a parameter without a value",
            "schema": TEXT,
            "example": samples.SIGNATURE,
        },
    ]


def _health(name: str) -> Json:
    states = {"live": "alive", "ready": "ready"}
    body = content(schema("Health"), {"status": states[name]}, "application/json")
    return {
        method: operation(
            f"{method}_{name}",
            f"Show whether the process is {states[name]}",
            tag="health",
            security=NOBODY,
            responses={"200": answer("It is", body)} | errors(),
        )
        for method in ("get", "options")
    }


def _script() -> Json:
    name = {
        "name": "name",
        "in": "path",
        "required": True,
        "schema": {"type": "string", "enum": list(NAMES)},
        "example": NAMES[0],
    }
    headers = ("ETag", NO_SNIFF, "Access-Control-Allow-Origin", "Cross-Origin-Resource-Policy")
    return operation(
        "show_script",
        "A script for pages that upload",
        tag="files",
        parameters=[name, parameter("if_none_match")],
        security=NOBODY,
        responses={
            "200": answer("The script", content(TEXT, samples.SCRIPT, "text/javascript"), *headers),
            "304": answer("The client's copy is current", None, *headers),
        }
        | errors(404),
    )


def _file_name() -> Json:
    return {
        "name": "file",
        "in": "path",
        "required": True,
        "description": "The name of a file that the page uses",
        "schema": TEXT,
        "example": samples.STYLE_FILE,
    }


def _page(name: str, summary: str, body: Json, *statuses: int) -> Json:
    headers = ("ETag", NO_SNIFF, "Content-Security-Policy", "Referrer-Policy")
    return operation(
        name,
        summary,
        tag="description",
        parameters=[parameter("if_none_match")],
        security=NOBODY,
        responses={
            "200": answer(summary, body, *headers),
            "304": answer("The client's copy is current", None, *headers),
        }
        | errors(*statuses),
    )
