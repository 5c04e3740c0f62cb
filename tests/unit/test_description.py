"""The service's OpenAPI document is valid OpenAPI 3.1, complete, and agrees with the code."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
from aiohttp import web
from openapi_spec_validator import OpenAPIV31SpecValidator

from api.app import routes
from api.filters import NAMES
from api.openapi import description as module
from api.problems import GENERAL, ErrorCode
from shared.attachable_types import ATTACHABLE_TYPES
from shared.documents import RELATIONSHIPS
from shared.notifications.event import Effect
from shared.quotas import QuotaName
from shared.reasons import REASONS
from shared.states import STATES
from shared.verdicts import Verdict
from shared.webhooks.kinds import (
    DELIVERY_STATES,
    EVENTS,
    TEST,
    Deactivation,
    DeliveryEvent,
    DeliveryFault,
)
from tests.support.described import description, resolved

METHODS = ("get", "post", "patch", "delete", "options")


def operations() -> Iterator[tuple[str, str, Any]]:
    """Yield the method, path and description of every operation."""
    for path, found in description()["paths"].items():
        for method in METHODS:
            if method in found:
                yield method, path, found[method]


def test_the_description_is_valid() -> None:
    assert list(OpenAPIV31SpecValidator(description()).iter_errors()) == []


def test_every_route_is_described_and_every_described_operation_is_a_route() -> None:
    app = web.Application()
    app.router.add_routes(routes())
    served = set()
    for route in app.router.routes():
        assert route.resource is not None
        path = route.resource.canonical
        # The document describes HEAD, and a slash at the end of a path, once for all paths.
        if route.method != "HEAD" and not (path.endswith("/") and path != "/"):
            served.add((route.method.lower(), path))
    assert len(served) > 25
    assert {(method, path) for method, path, _ in operations()} == served


def test_every_parameter_of_a_path_is_described() -> None:
    for path, found in description()["paths"].items():
        for method in METHODS:
            if method not in found:
                continue
            given = [*found.get("parameters", ()), *found[method].get("parameters", ())]
            named = {each["name"] for each in map(resolved, given) if each["in"] == "path"}
            assert named == {part[1:-1] for part in path.split("/") if part.startswith("{")}, path


ENUMERATIONS = {
    "State": STATES,
    "AttachableType": ATTACHABLE_TYPES,
    "AttachmentType": ("inline",),
    "ReasonCode": tuple(REASONS),
    "ScanVerdict": get_args(Verdict),
    "ErrorCode": get_args(ErrorCode),
    "Quota": (*get_args(QuotaName), "webhooks"),
    "WebhookEvent": EVENTS,
    "DeliveryEvent": get_args(DeliveryEvent),
    "DeliveryState": DELIVERY_STATES,
    "DeliveryFault": get_args(DeliveryFault),
    "Deactivation": get_args(Deactivation),
}


@pytest.mark.parametrize("name", ENUMERATIONS)
def test_an_enumeration_has_the_values_of_the_code(name: str) -> None:
    assert tuple(description()["components"]["schemas"][name]["enum"]) == ENUMERATIONS[name]


def test_every_event_that_is_delivered_is_a_described_webhook() -> None:
    sent = description()["webhooks"]
    assert set(sent) == {*EVENTS, TEST}
    for event, found in sent.items():
        operation = found["post"]
        (body,) = operation["requestBody"]["content"].values()
        assert body["schema"]["properties"]["type"]["const"] == event
        required = {each["name"] for each in operation["parameters"] if each["required"]}
        assert required == {"webhook-id", "webhook-timestamp", "webhook-signature"}
        assert {"2XX", "410", "default"} == set(operation["responses"])


def test_relationships_filters_effects_and_statuses_are_those_of_the_code() -> None:
    schemas = description()["components"]["schemas"]
    shown = schemas["AttachmentRelationships"]["properties"]
    assert list(shown) == ["organization", *RELATIONSHIPS]
    given = description()["paths"]["/api/v2/attachments"]["get"]["parameters"]
    named = {resolved(each)["name"] for each in given}
    filtered = {name[7:].partition("]")[0] for name in named if name.startswith("filter[")}
    assert filtered == set(NAMES)
    effects = schemas["EventsDocument"]["properties"]["meta"]["properties"]
    assert tuple(effects) == get_args(Effect)
    assert set(schemas["Error"]["properties"]["status"]["enum"]) == {"422", *map(str, GENERAL)}


def test_every_error_that_a_handler_makes_is_described_with_its_words() -> None:
    answers = description()["components"]["responses"]
    shown = {}
    for each in answers.values():
        (error,) = each["content"]["application/vnd.api+json"]["example"]["errors"]
        shown[error["status"]] = (error["title"], error["detail"])
    assert {int(status): words for status, words in shown.items() if status != "422"} == GENERAL


def test_the_description_is_made_once() -> None:
    assert module.rendered() is module.rendered()


def test_no_file_of_the_page_is_vendored() -> None:
    root = Path(__file__).parents[2]
    folder = root / "api/openapi"
    found = [path for path in folder.rglob("*") if path.suffix in (".js", ".css", ".html")]
    assert found == []
