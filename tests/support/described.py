"""Checks of the API's answers against the service's OpenAPI document, with compiled validators."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import jsonschema_rs
import orjson

from api.openapi.description import rendered

METHODS = ("get", "post", "patch", "delete", "options")

TRANSPORT = {
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "date",
    "keep-alive",
    "server",
    "transfer-encoding",
}
"""Header fields of HTTP itself; the OpenAPI document need not list them."""

UNROUTED = {404, 405, *(400, 408, 413, 414, 417, 431, 500, 503, 505)}
"""Statuses of the errors for requests that reach no route of the API."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Described:
    """One answer in the OpenAPI document.

    `headers` are the names of its header fields in lower case. `bodies` has a validator for each
    content type; if it is empty, the answer has no body.
    """

    headers: frozenset[str]
    bodies: Mapping[str, "jsonschema_rs.Draft202012Validator | None"]


@cache
def description() -> Any:
    """Return the OpenAPI document as a client reads it."""
    return orjson.loads(rendered())


def find(reference: str) -> Any:
    """Return the part of the OpenAPI document that a `$ref` names."""
    found = description()
    for name in reference.removeprefix("#/").split("/"):
        found = found[name]
    return found


def resolved(part: Any) -> Any:
    """Return a part of the OpenAPI document; follow a `$ref` to the part that it names."""
    return find(part["$ref"]) if "$ref" in part else part


def closed(part: Any) -> Any:
    """Return a part of the OpenAPI document, changed to allow only the described members."""
    if isinstance(part, list):
        return [closed(each) for each in part]
    if not isinstance(part, dict):
        return part
    found = {name: closed(each) for name, each in part.items()}
    if isinstance(part.get("properties"), dict):
        found.setdefault("additionalProperties", False)
    return found


@cache
def closed_components() -> Any:
    """Return the components of the OpenAPI document, changed to allow only described members."""
    return closed(description()["components"])


@cache
def routes() -> list[tuple[re.Pattern[str], str]]:
    """Return each path of the OpenAPI document with its pattern.

    Paths with fewer parameters come first.
    """
    paths = sorted(description()["paths"], key=lambda path: path.count("{"))
    return [(re.compile(_pattern(path)), path) for path in paths]


def _pattern(path: str) -> str:
    # In aiohttp, a path parameter cannot contain a brace, even if it is percent-encoded.
    text = re.sub(r"\\\{(\w+)\\\}", lambda _: r"(?:(?!%7B|%7D)[^/{}])+", re.escape(path))
    # Only the path of a file has a parameter that may contain slashes.
    return re.sub(r"files/\(.*\)\+$", "files/.+", text) + "/?"


@cache
def operation(method: str, path: str) -> Any:
    """Return the operation of the OpenAPI document for a request, or None if there is none."""
    method = "get" if method == "HEAD" else method.lower()
    for pattern, name in routes():
        if pattern.fullmatch(path) and method in description()["paths"][name]:
            return description()["paths"][name][method]
    return None


@cache
def _answers(operation_id: str) -> dict[int, Described]:
    (found,) = (
        each[method]
        for each in description()["paths"].values()
        for method in METHODS
        if method in each and each[method]["operationId"] == operation_id
    )
    return {int(status): _described(part) for status, part in found["responses"].items()}


def compile_all() -> None:
    """Compile the validators of all answers now, for the processes that are forked later."""
    for part in description()["paths"].values():
        for method in METHODS:
            if method in part:
                _answers(part[method]["operationId"])
    _unrouted()


def _described(part: Any) -> Described:
    part = resolved(part)
    return Described(
        headers=frozenset(name.lower() for name in part["headers"]),
        bodies={kind: _validator(each) for kind, each in part.get("content", {}).items()},
    )


def _validator(media: Any) -> "jsonschema_rs.Draft202012Validator":
    return compiled(orjson.dumps(media["schema"]))


@cache
def compiled(body: bytes) -> "jsonschema_rs.Draft202012Validator":
    """Return a validator for a schema, given as JSON. It allows only the described members."""
    whole = {**closed(orjson.loads(body)), "components": closed_components()}
    return jsonschema_rs.Draft202012Validator(whole, validate_formats=True)


@cache
def _unrouted() -> Described:
    return _described(description()["components"]["responses"]["BadRequest"])


def check_answer(
    method: str, path: str, status: int, headers: Mapping[str, str], document: Any
) -> None:
    """Fail if the OpenAPI document does not describe this answer; `path` may have a query.

    `document` is the JSON of the body, or None without a body.
    """
    if method == "OPTIONS" and status == 204:  # the document describes no CORS preflight
        return
    described = _find_described(method, path.partition("?")[0], status)
    place = f"{method} {path}: {status}"
    unknown = {name.lower() for name in headers} - described.headers - TRANSPORT
    if "Allow" in headers and status == 405:
        unknown.discard("allow")
    assert not unknown, f"{place} has header fields without a description: {sorted(unknown)}"
    if method == "HEAD" or (document is None and not described.bodies):
        return
    kind = ",".join(headers.get("Content-Type", "").split(";")[:1])
    if "ext=bulk" in headers.get("Content-Type", ""):
        kind += "; ext=bulk"
    validator = described.bodies.get(kind) or described.bodies.get("*/*")
    assert validator is not None, f"{place} has the content type {kind!r} without a description"
    if document is None:
        return
    faults = [f"{each.instance_path}: {each.message}" for each in validator.iter_errors(document)]
    assert not faults, f"{place} is not as described: {faults[:3]}"
    if status >= 400:
        assert {each["status"] for each in document["errors"]} == {str(status)}, place


def _find_described(method: str, path: str, status: int) -> Described:
    found = operation(method, path)
    if found is not None:
        answers = _answers(found["operationId"])
        if status in answers:
            return answers[status]
    known = UNROUTED if found is None else set()
    assert status in known, f"{method} {path}: the status {status} is without a description"
    return _unrouted()


@cache
def _message(event: str) -> tuple[dict[str, Any], "jsonschema_rs.Draft202012Validator"]:
    sent = description()["webhooks"][event]["post"]
    headers = {each["name"]: each for each in sent["parameters"]}
    return headers, _validator(sent["requestBody"]["content"]["application/json"])


def check_delivery(headers: Mapping[str, str], document: Any) -> None:
    """Fail if the OpenAPI document does not describe this delivery of a webhook.

    The names in `headers` are in lower case.
    """
    described, validator = _message(document["type"])
    for name, each in described.items():
        assert name in headers or not each["required"], f"{name} is missing"
        if name in headers:
            values = compiled(orjson.dumps(each["schema"]))
            assert values.is_valid(headers[name]), f"{name} is not as described: {headers[name]}"
    faults = [f"{each.instance_path}: {each.message}" for each in validator.iter_errors(document)]
    assert not faults, f"{document['type']} is not as described: {faults[:3]}"
