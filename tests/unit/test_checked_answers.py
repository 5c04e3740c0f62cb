"""The tests' HTTP client accepts only answers that the OpenAPI document describes."""

import copy
from typing import Any

import pytest

from api.openapi import samples
from api.openapi.webhook_events import HEADERS
from tests.support.described import check_answer, check_delivery

JSON_API = {"Content-Type": "application/vnd.api+json; charset=utf-8"}
PATH = "/api/v2/attachments/4?include=task"
ERROR = {"errors": [{"status": "404", "title": "Record Not Found", "detail": "none"}]}


def changed(document: Any, path: str, value: Any) -> Any:
    """Return a copy of a document with another value at a dotted path of members."""
    found = copy.deepcopy(document)
    *outer, last = path.split(".")
    inner = found
    for name in outer:
        inner = inner[name]
    inner[last] = value
    return found


def test_a_described_answer_is_accepted() -> None:
    check_answer("GET", PATH, 200, {**JSON_API, "ETag": '"1"'}, samples.ATTACHMENT)
    check_answer("GET", f"{PATH.partition('?')[0]}/", 304, {"ETag": '"1"'}, None)
    check_answer("GET", PATH, 404, JSON_API, ERROR)
    check_answer("GET", "/nowhere", 404, JSON_API, ERROR)
    check_answer(
        "GET", "/attachments/files/000/000/004/original/a.png", 302, {"Location": "x"}, None
    )


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("data.attributes.another", None),
        ("data.meta.state", "done"),
        ("data.attributes.size", "12"),
        ("data.attributes.created_at", "yesterday"),
        ("data.relationships.task", {"data": {"type": "people", "id": "1"}}),
        ("data.id", "04"),
        ("another", 1),
    ],
)
def test_a_body_that_is_not_described_is_refused(path: str, value: Any) -> None:
    with pytest.raises(AssertionError, match="is not as described"):
        check_answer("GET", PATH, 200, JSON_API, changed(samples.ATTACHMENT, path, value))


@pytest.mark.parametrize(
    ("method", "path", "status", "headers", "document", "fault"),
    [
        ("GET", PATH, 201, JSON_API, samples.ATTACHMENT, "the status 201"),
        ("GET", "/nowhere", 403, JSON_API, ERROR, "the status 403"),
        ("GET", PATH, 200, {**JSON_API, "X-Other": "1"}, samples.ATTACHMENT, "x-other"),
        ("GET", PATH, 200, {"Content-Type": "text/html"}, None, "text/html"),
        ("GET", PATH, 401, JSON_API, ERROR, "401"),
    ],
    ids=["a status", "a status without a route", "a header field", "a type", "another error"],
)
def test_another_answer_is_refused(
    method: str, path: str, status: int, headers: dict[str, str], document: Any, fault: str
) -> None:
    with pytest.raises(AssertionError, match=fault):
        check_answer(method, path, status, headers, document)


NEWS = samples.news("attachment.ready")
SENT = {each["name"]: each["example"] for each in HEADERS}


def test_a_described_delivery_is_accepted() -> None:
    check_delivery(SENT, NEWS)
    check_delivery(SENT, samples.TEST_EVENT)
    check_delivery({**SENT, "user-agent": "attachments"}, NEWS)


@pytest.mark.parametrize(
    ("headers", "document", "fault"),
    [
        ({**SENT, "webhook-signature": "v2,x"}, NEWS, "webhook-signature is not as described"),
        ({"webhook-id": SENT["webhook-id"]}, NEWS, "webhook-timestamp is missing"),
        (SENT, changed(NEWS, "data.meta.state", "done"), "is not as described"),
        (SENT, changed(NEWS, "data.attributes.another", 1), "is not as described"),
        (SENT, changed(NEWS, "another", 1), "is not as described"),
        (SENT, changed(samples.TEST_EVENT, "data.type", "people"), "is not as described"),
    ],
)
def test_another_delivery_is_refused(headers: dict[str, str], document: Any, fault: str) -> None:
    with pytest.raises(AssertionError, match=fault):
        check_delivery(headers, document)
