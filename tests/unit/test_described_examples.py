"""Each parameter, header field and body in the OpenAPI document has a valid example."""

from collections.abc import Iterator
from typing import Any

import orjson
import pytest

from api.openapi import samples, served
from tests.support.described import compiled, description

OPAQUE = ("schema", "schemas", "example", "examples")
"""Members that are not searched, because their values are data."""


def parts(value: Any, place: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the path and the value of each parameter, header field and media type."""
    if isinstance(value, list):
        value = {str(number): each for number, each in enumerate(value)}
    if not isinstance(value, dict):
        return
    for name, each in value.items():
        if name in OPAQUE:
            continue
        inner = f"{place}/{name}"
        if name in ("parameters", "headers", "content"):
            found = enumerate(each) if isinstance(each, list) else each.items()
            for key, part in found:
                if "$ref" not in part:
                    yield f"{inner}/{part.get('name', key)}", part
        yield from parts(each, inner)


def faults(value: Any) -> list[str]:
    """Return the paths of the parts that have no example."""
    return [place for place, part in parts(value) if "example" not in part]


def test_every_parameter_header_and_body_has_an_example() -> None:
    found = [place for place, _ in parts(description())]
    assert len(found) > 150
    for kind in ("/parameters/", "/headers/", "/requestBody/content/", "/200/content/"):
        assert any(kind in place for place in found), kind
    assert faults(description()) == []


@pytest.mark.parametrize(
    "value",
    [
        {"paths": {"/a": {"get": {"parameters": [{"name": "b", "schema": {}}]}}}},
        {"paths": {"/a": {"parameters": [{"name": "b", "schema": {}}]}}},
        {"paths": {"/a": {"post": {"requestBody": {"content": {"text/css": {"schema": {}}}}}}}},
        {"webhooks": {"a": {"post": {"requestBody": {"content": {"text/css": {}}}}}}},
        {"paths": {"/a": {"get": {"responses": {"200": {"headers": {"ETag": {}}}}}}}},
        {"components": {"responses": {"Fault": {"content": {"text/css": {"schema": {}}}}}}},
        {"components": {"headers": {"ETag": {"schema": {}}}}},
        {"components": {"parameters": {"b": {"name": "b", "schema": {}}}}},
    ],
)
def test_a_part_without_an_example_is_found(value: Any) -> None:
    assert len(faults(value)) == 1


@pytest.mark.parametrize(
    "part", [pytest.param(part, id=place) for place, part in parts(description())]
)
def test_an_example_fits_its_schema(part: Any) -> None:
    validator = compiled(orjson.dumps(part["schema"]))
    assert [each.message for each in validator.iter_errors(part["example"])] == []


def test_the_example_of_a_file_is_one_that_is_served() -> None:
    assert samples.STYLE_FILE in served.FILES
