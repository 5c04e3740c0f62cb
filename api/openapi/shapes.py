"""Short forms for the parts of an OpenAPI document: schemas, parameters, answers, operations."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from api.problems import GENERAL, MEDIA_TYPE

Json = dict[str, Any]
"""A part of the document."""

BULK = f"{MEDIA_TYPE}; ext=bulk"

ALWAYS = (400, 408, 414, 417, 431, 500, 503, 505)
"""The errors that every request may get, because of its form or the state of the service."""

TEXT: Json = {"type": "string"}
NULL: Json = {"type": "null"}
BLANK: Json = {"type": "string", "pattern": r"^\s*$"}
"""A blank string, which counts as null where a value may be left out."""


def schema(name: str) -> Json:
    """Refer to a schema of the components."""
    return {"$ref": f"#/components/schemas/{name}"}


def parameter(name: str) -> Json:
    """Refer to a parameter of the components."""
    return {"$ref": f"#/components/parameters/{name}"}


def words(values: Iterable[str], description: str) -> Json:
    """Describe an enumeration."""
    return {"type": "string", "enum": list(values), "description": description}


def or_null(*choices: Json) -> Json:
    """Describe a value that may be null; a single plain type becomes a list of types."""
    if len(choices) == 1 and isinstance(choices[0].get("type"), str) and "enum" not in choices[0]:
        return {**choices[0], "type": [choices[0]["type"], "null"]}
    return {"anyOf": [*choices, NULL]}


def members(
    properties: Mapping[str, Json], *, required: Sequence[str] | None = None, description: str = ""
) -> Json:
    """Describe an object; all members are required unless `required` names those that are."""
    needed = list(properties if required is None else required)
    return {
        "type": "object",
        **({"description": description} if description else {}),
        "properties": dict(properties),
        **({"required": needed} if needed else {}),
    }


def resource(kind: str, properties: Mapping[str, Json]) -> Json:
    """Describe a resource object of an answer; `properties` are its members after `type`."""
    return members({"id": schema("Id"), "type": {"const": kind, "type": "string"}, **properties})


def document(data: Json, **more: Json) -> Json:
    """Describe a document with primary data; `meta` is empty unless `more` has it."""
    return members({"data": data, "meta": members({}), **more})


def content(body: Json, example: Any, kind: str = MEDIA_TYPE) -> Json:
    """Describe the content of a body of one media type."""
    return {kind: {"schema": body, "example": example}}


def answer(description: str, body: Json | None = None, *headers: str) -> Json:
    """Describe an answer: its body, from `content`, and its header fields beside the usual ones."""
    named = ("X-Request-Id", "Cache-Control", "Vary", *headers)
    return {
        "description": description,
        "headers": {name: {"$ref": f"#/components/headers/{name}"} for name in named},
        **({"content": body} if body is not None else {}),
    }


def error_name(status: int) -> str:
    """Return the name of the component that describes the answer of a general error."""
    return GENERAL[status][0].replace(" ", "") if status != 422 else "InvalidAttribute"


def errors(*statuses: int) -> Json:
    """Describe error answers: those of ALWAYS and the given ones."""
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
    """Describe an operation; `security` of None is a token of the API and its organization."""
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
