"""Build the parts of an OpenAPI document: schemas, parameters, answers, operations."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from api.problems import GENERAL, MEDIA_TYPE

Json = dict[str, Any]
"""A part of the OpenAPI document."""

BULK = f"{MEDIA_TYPE}; ext=bulk"

ALWAYS = (400, 408, 414, 417, 431, 500, 503, 505)
"""The errors that any request may get, because of its form or because of the service's state."""

TEXT: Json = {"type": "string"}
NULL: Json = {"type": "null"}
BLANK: Json = {"type": "string", "pattern": r"^\s*$"}
"""The schema of a blank string. In requests, a blank string means null if the value is optional."""


def schema(name: str) -> Json:
    """Return a reference to a shared schema."""
    return {"$ref": f"#/components/schemas/{name}"}


def parameter(name: str) -> Json:
    """Return a reference to a shared parameter."""
    return {"$ref": f"#/components/parameters/{name}"}


def words(values: Iterable[str], description: str) -> Json:
    """Return the schema of an enumeration."""
    return {"type": "string", "enum": list(values), "description": description}


def or_null(*choices: Json) -> Json:
    """Return the schema of a value that may be null.

    A single plain type becomes a list of types; everything else becomes an `anyOf`.
    """
    if len(choices) == 1 and isinstance(choices[0].get("type"), str) and "enum" not in choices[0]:
        return {**choices[0], "type": [choices[0]["type"], "null"]}
    return {"anyOf": [*choices, NULL]}


def members(
    properties: Mapping[str, Json], *, required: Sequence[str] | None = None, description: str = ""
) -> Json:
    """Return the schema of an object. All members are required if `required` is None."""
    needed = list(properties if required is None else required)
    return {
        "type": "object",
        **({"description": description} if description else {}),
        "properties": dict(properties),
        **({"required": needed} if needed else {}),
    }


def resource(kind: str, properties: Mapping[str, Json]) -> Json:
    """Return the schema of a resource object in an answer.

    `properties` are its members after `id` and `type`.
    """
    return members({"id": schema("Id"), "type": {"const": kind, "type": "string"}, **properties})


def document(data: Json, **more: Json) -> Json:
    """Return the schema of a document. Its primary data is `data`; its other members are `more`."""
    return members({"data": data, "meta": members({}), **more})


def content(body: Json, example: Any, kind: str = MEDIA_TYPE) -> Json:
    """Return the content of a body that has one media type."""
    return {kind: {"schema": body, "example": example}}


def answer(description: str, body: Json | None = None, *headers: str) -> Json:
    """Return an answer: its body, made by `content`, and its header fields.

    `headers` are names of header fields in addition to those of every answer.
    """
    named = ("X-Request-Id", "Cache-Control", "Vary", *headers)
    return {
        "description": description,
        "headers": {name: {"$ref": f"#/components/headers/{name}"} for name in named},
        **({"content": body} if body is not None else {}),
    }


def error_name(status: int) -> str:
    """Return the name of the shared answer that describes an error with this status."""
    return GENERAL[status][0].replace(" ", "") if status != 422 else "InvalidAttribute"


def errors(*statuses: int) -> Json:
    """Return the error answers of an operation: those of ALWAYS and the given ones."""
    return {
        str(status): {"$ref": f"#/components/responses/{error_name(status)}"}
        for status in sorted({*ALWAYS, *statuses})
    }


def operation(
    name: str,
    summary: str,
    *,
    tag: str,
    responses: Json,
    parameters: Sequence[Json] = (),
    body: Json | None = None,
    body_required: bool = True,
    security: Sequence[Json] | None = None,
    description: str = "",
) -> Json:
    """Return an operation.

    If `security` is None, the operation needs an API token and the id of its organization.
    """
    return {
        "operationId": name,
        "summary": summary,
        **({"description": description} if description else {}),
        "tags": [tag],
        **({"parameters": list(parameters)} if parameters else {}),
        **({"requestBody": {"required": body_required, "content": body}} if body else {}),
        "responses": responses,
        **({} if security is None else {"security": list(security)}),
    }
